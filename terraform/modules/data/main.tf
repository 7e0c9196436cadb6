locals {
  endpoints = merge(
    {
      postgres = { id = azurerm_postgresql_flexible_server.this.id, subresource = "postgresqlServer" }
      redis    = { id = azurerm_managed_redis.this.id, subresource = "redisEnterprise" }
      vault    = { id = azurerm_key_vault.this.id, subresource = "vault" }
    },
    var.results.enabled ? { blob = { id = azurerm_storage_account.results[0].id, subresource = "blob" } } : {},
  )
}

resource "azurerm_private_endpoint" "this" {
  for_each = local.endpoints

  name                = "${var.name}-${each.key}"
  resource_group_name = var.resource_group_name
  location            = var.location
  subnet_id           = var.endpoints_subnet_id
  tags                = var.tags

  private_service_connection {
    name                           = each.key
    private_connection_resource_id = each.value.id
    subresource_names              = [each.value.subresource]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = each.key
    private_dns_zone_ids = [var.private_dns_zone_ids[each.key]]
  }
}
