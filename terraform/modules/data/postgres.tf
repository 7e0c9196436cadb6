resource "random_password" "postgres" {
  length  = 40
  special = false # it stands in a URL
}

# Accounts with fewer rights, which accounts.sql makes: Azure's API knows none but the first.
resource "random_password" "account" {
  for_each = toset(["api", "worker", "controller"])

  length  = 40
  special = false
}

resource "azurerm_postgresql_flexible_server" "this" {
  #checkov:skip=CKV2_AZURE_57:It has a private endpoint, in main.tf; the check can't see through for_each.
  #checkov:skip=CKV_AZURE_136:A copy of backups in another region doubles their price: postgres.geo_redundant_backup.
  name                          = "${var.name}-${var.suffix}"
  resource_group_name           = var.resource_group_name
  location                      = var.location
  version                       = var.postgres.version
  sku_name                      = var.postgres.sku_name
  storage_mb                    = var.postgres.storage_mb
  auto_grow_enabled             = true
  administrator_login           = "longhaul"
  administrator_password        = random_password.postgres.result
  public_network_access_enabled = false
  backup_retention_days         = var.postgres.backup_retention_days
  geo_redundant_backup_enabled  = var.postgres.geo_redundant_backup
  tags                          = var.tags

  # Longhaul gives a URL with a password; it does not renew Entra tokens, which end after an hour.
  authentication {
    password_auth_enabled         = true
    active_directory_auth_enabled = false
  }

  dynamic "high_availability" {
    for_each = var.postgres.zone_redundant ? [1] : []
    content {
      mode = "ZoneRedundant"
    }
  }

  maintenance_window {
    day_of_week  = 0
    start_hour   = 2
    start_minute = 0
  }

  lifecycle {
    ignore_changes = [
      storage_mb,                                           # it grows by itself; to make it smaller again would replace the server
      zone, high_availability[0].standby_availability_zone, # a failover swaps them
    ]
  }
}

resource "azurerm_postgresql_flexible_server_database" "longhaul" {
  name      = "longhaul"
  server_id = azurerm_postgresql_flexible_server.this.id
  charset   = "UTF8"
  collation = "C"
}

locals {
  # Sessions hold locks and settings of their own: a pooler must leave them whole.
  pgbouncer = var.postgres.pgbouncer_enabled ? {
    "pgbouncer.enabled"                   = "true"
    "pgbouncer.pool_mode"                 = "session"
    "pgbouncer.ignore_startup_parameters" = "extra_float_digits,options"
  } : {}

  parameters = {
    "require_secure_transport"            = "on"
    "log_lock_waits"                      = "on"
    "idle_in_transaction_session_timeout" = "60000" # for people; Longhaul's own sessions say 30 s
  }
}

resource "azurerm_postgresql_flexible_server_configuration" "this" {
  for_each = local.parameters

  server_id = azurerm_postgresql_flexible_server.this.id
  name      = each.key
  value     = each.value
}

# In an order: the others are hidden until the first is on.
resource "azurerm_postgresql_flexible_server_configuration" "pgbouncer_enabled" {
  for_each = { for name, value in local.pgbouncer : name => value if name == "pgbouncer.enabled" }

  server_id  = azurerm_postgresql_flexible_server.this.id
  name       = each.key
  value      = each.value
  depends_on = [azurerm_postgresql_flexible_server_configuration.this]
}

resource "azurerm_postgresql_flexible_server_configuration" "pgbouncer" {
  for_each = { for name, value in local.pgbouncer : name => value if name != "pgbouncer.enabled" }

  server_id  = azurerm_postgresql_flexible_server.this.id
  name       = each.key
  value      = each.value
  depends_on = [azurerm_postgresql_flexible_server_configuration.pgbouncer_enabled]
}

locals {
  # By vCores, but for Burstable. Source: Azure's page of limits, less the 15 that it keeps to itself.
  max_sessions_by_size = {
    B_Standard_B1ms = 35
    B_Standard_B2s  = 414
    B_Standard_B2ms = 844
  }
  vcores = tonumber(one(regex("_[A-Z]+([0-9]+)", var.postgres.sku_name)))
  max_sessions = lookup(local.max_sessions_by_size, var.postgres.sku_name, lookup(
    { 2 = 844, 4 = 1703, 8 = 3422 }, local.vcores, 4985
  ))
}
