locals {
  is_premium = var.sku == "Premium"
  is_public  = !local.is_premium || length(var.operator_cidrs) > 0
}

resource "azurerm_container_registry" "this" {
  #checkov:skip=CKV_AZURE_163:Scanning belongs to Microsoft Defender for Containers, which the whole subscription has or has not.
  #checkov:skip=CKV_AZURE_164:Content trust is being retired; what runs is pinned by digest in the chart's values.
  #checkov:skip=CKV_AZURE_165:One region has one cluster: a copy of its images elsewhere would serve nobody.
  #checkov:skip=CKV_AZURE_166:Quarantine needs a scanner that lets images out again.
  #checkov:skip=CKV_AZURE_233:Zones are on with Premium, which alone has them.
  name                          = var.name
  resource_group_name           = var.resource_group_name
  location                      = var.location
  sku                           = var.sku
  admin_enabled                 = false
  anonymous_pull_enabled        = false
  public_network_access_enabled = local.is_public
  network_rule_bypass_option    = "AzureServices"
  data_endpoint_enabled         = local.is_premium
  zone_redundancy_enabled       = local.is_premium
  retention_policy_in_days      = local.is_premium ? 30 : null
  network_rule_set = local.is_premium && local.is_public ? [{
    default_action = "Deny"
    ip_rule        = [for range in var.operator_cidrs : { action = "Allow", ip_range = range }]
  }] : null
  tags = var.tags
}

resource "azurerm_private_endpoint" "this" {
  count = local.is_premium ? 1 : 0

  name                = "${var.name}-registry"
  resource_group_name = var.resource_group_name
  location            = var.location
  subnet_id           = var.endpoints_subnet_id
  tags                = var.tags

  private_service_connection {
    name                           = "registry"
    private_connection_resource_id = azurerm_container_registry.this.id
    subresource_names              = ["registry"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "registry"
    private_dns_zone_ids = [var.private_dns_zone_id]
  }
}

resource "azurerm_role_assignment" "pull" {
  scope                = azurerm_container_registry.this.id
  role_definition_name = "AcrPull"
  principal_id         = var.puller_principal_id
  principal_type       = "ServicePrincipal"
}
