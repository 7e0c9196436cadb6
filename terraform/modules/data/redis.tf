# No persistence: doorbells may be lost at any time, and are rung again from the ledger.
resource "azurerm_managed_redis" "this" {
  name                      = "${var.name}-${var.suffix}"
  resource_group_name       = var.resource_group_name
  location                  = var.location
  sku_name                  = var.redis.sku_name
  high_availability_enabled = var.redis.high_availability
  public_network_access     = "Disabled"
  tags                      = var.tags

  default_database {
    access_keys_authentication_enabled = true
    client_protocol                    = "Encrypted"
    clustering_policy                  = "NoCluster" # Celery's and Longhaul's keys must be in one place
    eviction_policy                    = "NoEviction"
  }
}

locals {
  redis_port = 10000 # of every Azure Managed Redis
}
