data "azurerm_client_config" "current" {}

resource "azurerm_resource_group" "this" {
  name     = var.name
  location = var.location
  tags     = local.tags
}

# Names of vaults, accounts, servers and registries are unique in all of Azure.
resource "random_string" "suffix" {
  length  = 5
  upper   = false
  special = false
}

module "sizing" {
  source = "./modules/sizing"

  assumptions = var.assumptions
}

module "network" {
  source = "./modules/network"

  name                = var.name
  resource_group_name = azurerm_resource_group.this.name
  location            = var.location
  tags                = local.tags
  address_space       = var.network.address_space
  nat_gateway_enabled = var.network.nat_gateway_enabled
}

module "aks" {
  source = "./modules/aks"

  name                       = var.name
  resource_group_name        = azurerm_resource_group.this.name
  resource_group_id          = azurerm_resource_group.this.id
  location                   = var.location
  tags                       = local.tags
  zones                      = var.zones
  nodes_subnet_id            = module.network.nodes_subnet_id
  outbound_type              = module.network.outbound_type
  outbound_ip                = module.network.outbound_ip
  cluster                    = var.cluster
  max_job_seconds            = var.max_job_seconds
  system_pool                = var.system_pool
  user_pool                  = { vm_size = var.user_pool.vm_size, min_count = local.user_min, max_count = local.user_max }
  worker_pools               = var.worker_pools
  maintenance                = var.maintenance
  operator_object_id         = data.azurerm_client_config.current.object_id
  logs_enabled               = true
  metrics_enabled            = true
  log_analytics_workspace_id = module.monitoring.log_analytics_workspace_id
}

module "registry" {
  source = "./modules/registry"

  name                = "${replace(var.name, "-", "")}${random_string.suffix.result}"
  resource_group_name = azurerm_resource_group.this.name
  location            = var.location
  tags                = local.tags
  sku                 = var.registry_sku
  operator_cidrs      = var.operator_cidrs
  endpoints_subnet_id = module.network.endpoints_subnet_id
  private_dns_zone_id = module.network.private_dns_zone_ids.registry
  puller_principal_id = module.aks.kubelet_principal_id
}

module "data" {
  source = "./modules/data"

  name                 = var.name
  suffix               = random_string.suffix.result
  resource_group_name  = azurerm_resource_group.this.name
  location             = var.location
  tags                 = local.tags
  endpoints_subnet_id  = module.network.endpoints_subnet_id
  private_dns_zone_ids = module.network.private_dns_zone_ids
  tenant_id            = data.azurerm_client_config.current.tenant_id
  operator             = { object_id = data.azurerm_client_config.current.object_id, cidrs = var.operator_cidrs }
  postgres             = var.postgres
  redis                = var.redis
  results              = var.results
}

module "identity" {
  source = "./modules/identity"

  name                 = var.name
  resource_group_name  = azurerm_resource_group.this.name
  location             = var.location
  tags                 = local.tags
  oidc_issuer_url      = module.aks.oidc_issuer_url
  namespace            = local.namespace
  service_accounts     = { for component in concat(local.components, ["secrets"]) : component => "${local.release}-${component}" }
  role_scope           = azurerm_resource_group.this.id
  results_enabled      = var.results.enabled
  results_container_id = module.data.results_container_id
  secret_ids           = module.data.secret_ids
}

module "monitoring" {
  source = "./modules/monitoring"

  name                = var.name
  resource_group_name = azurerm_resource_group.this.name
  location            = var.location
  tags                = local.tags
  retention_in_days   = var.monitoring.retention_in_days
  daily_quota_gb      = var.monitoring.daily_quota_gb
  alert_emails        = var.monitoring.alert_emails
  cluster_id          = module.aks.id
  postgres_id         = module.data.postgres_id
  redis_id            = module.data.redis_id
  budget = var.monitoring.monthly_budget == null ? null : {
    amount               = var.monitoring.monthly_budget
    emails               = var.monitoring.alert_emails
    subscription_id      = data.azurerm_client_config.current.subscription_id
    resource_group_names = [azurerm_resource_group.this.name, module.aks.node_resource_group]
  }
}

module "release" {
  source = "./modules/release"
  count  = var.release.enabled ? 1 : 0

  name           = local.release
  namespace      = local.namespace
  chart          = coalesce(var.release.chart, "${path.root}/../charts/longhaul")
  chart_version  = var.release.chart_version
  values         = concat([yamlencode(local.helm_values)], var.release.values)
  secrets_values = yamlencode(local.secrets_values)
  keda           = var.cluster.keda_enabled ? null : var.release.keda_version

  depends_on = [module.aks, module.identity, module.data]
}
