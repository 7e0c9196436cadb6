# A cluster with two modules, for a first look: PostgreSQL and Redis are the chart's own, for development.
data "azurerm_client_config" "current" {}

resource "azurerm_resource_group" "this" {
  name     = "longhaul-minimal"
  location = var.location
}

module "sizing" {
  source = "../../modules/sizing"

  assumptions = {
    request_rate_per_second = 5
    concurrent_tasks        = 20
    api_min_replicas        = 1
    node_min                = 1
  }
}

module "network" {
  source = "../../modules/network"

  name                = "longhaul-minimal"
  resource_group_name = azurerm_resource_group.this.name
  location            = var.location
  nat_gateway_enabled = false
  private_dns_zones   = {}
}

module "aks" {
  source = "../../modules/aks"

  name                = "longhaul-minimal"
  resource_group_name = azurerm_resource_group.this.name
  resource_group_id   = azurerm_resource_group.this.id
  location            = var.location
  nodes_subnet_id     = module.network.nodes_subnet_id
  outbound_type       = module.network.outbound_type
  cluster             = { sku_tier = "Free", host_encryption = false }
  system_pool         = { min_count = 1, max_count = 1 }
  user_pool           = { min_count = module.sizing.node_min, max_count = module.sizing.packed_nodes_max }
  operator_object_id  = data.azurerm_client_config.current.object_id
}
