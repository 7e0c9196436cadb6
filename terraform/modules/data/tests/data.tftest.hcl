mock_provider "azurerm" {
  source = "../../tests/mocks"
}
mock_provider "time" {}
mock_provider "random" {
  mock_resource "random_password" {
    defaults = { result = "0123456789abcdefghijABCDEFGHIJ0123456789" }
  }
}

variables {
  name                = "longhaul-of-nrth"
  suffix              = "abc12"
  resource_group_name = "longhaul"
  location            = "westeurope"
  endpoints_subnet_id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/longhaul/providers/Microsoft.Network/virtualNetworks/longhaul/subnets/endpoints"
  private_dns_zone_ids = { for name in ["blob", "postgres", "redis", "vault"] :
    name => "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/longhaul/providers/Microsoft.Network/privateDnsZones/privatelink.${name}.net"
  }
  tenant_id = "11111111-1111-1111-1111-111111111111"
  operator  = { object_id = "33333333-3333-3333-3333-333333333333" }
}

run "servers" {
  command = apply

  assert {
    condition = (
      azurerm_managed_redis.this.sku_name == "Balanced_B1" && azurerm_managed_redis.this.high_availability_enabled &&
      azurerm_managed_redis.this.default_database[0].clustering_policy == "NoCluster" &&
      azurerm_managed_redis.this.default_database[0].eviction_policy == "NoEviction" &&
      azurerm_managed_redis.this.default_database[0].client_protocol == "Encrypted"
    )
    error_message = "Redis has 1 GB and a replica, is not clustered, evicts nothing, and speaks TLS."
  }
  assert {
    condition     = azurerm_postgresql_flexible_server.this.high_availability[0].mode == "ZoneRedundant"
    error_message = "PostgreSQL has a standby in another zone."
  }
  assert {
    condition     = output.postgres_max_sessions == 844
    error_message = "Two vCores have 844 sessions."
  }
  assert {
    condition = (
      azurerm_postgresql_flexible_server_configuration.pgbouncer_enabled["pgbouncer.enabled"].value == "true" &&
      azurerm_postgresql_flexible_server_configuration.pgbouncer["pgbouncer.pool_mode"].value == "session"
    )
    error_message = "PgBouncer is on, and leaves sessions whole."
  }
  assert {
    condition = (
      azurerm_key_vault_secret.this["postgres-url"].value ==
      "postgresql://longhaul:0123456789abcdefghijABCDEFGHIJ0123456789@mock.postgres.database.azure.com:5432/longhaul?sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt"
    )
    error_message = "Longhaul speaks to PostgreSQL itself, not to PgBouncer."
  }
  assert {
    condition     = startswith(azurerm_key_vault_secret.this["postgres-worker-url"].value, "postgresql://longhaul_worker:") && strcontains(output.accounts_sql, "CREATE ROLE longhaul_worker")
    error_message = "Each component has an account, and the SQL that makes it."
  }
  assert {
    condition = (
      azurerm_key_vault_secret.this["redis-url"].value == "rediss://:bW9jaw%2B%2F%3D%3D@mock.westeurope.redis.azure.net:10000/0" &&
      azurerm_key_vault_secret.this["redis-address"].value == "mock.westeurope.redis.azure.net:10000" &&
      azurerm_key_vault_secret.this["redis-password"].value == "bW9jaw+/=="
    )
    error_message = "In a URL what is special in a key is escaped; KEDA gets the key as it is."
  }
  assert {
    condition = (
      !azurerm_postgresql_flexible_server.this.public_network_access_enabled &&
      azurerm_managed_redis.this.public_network_access == "Disabled" &&
      !azurerm_storage_account.results[0].public_network_access_enabled &&
      !azurerm_key_vault.this.public_network_access_enabled &&
      length(azurerm_private_endpoint.this) == 4
    )
    error_message = "PostgreSQL, Redis, the results and the vault are reached by private endpoints alone."
  }
  assert {
    condition     = !azurerm_storage_account.results[0].shared_access_key_enabled
    error_message = "Results are reached by identities, not by keys."
  }
  assert {
    condition     = azurerm_key_vault.this.name == "longhaul-of-nrth-abc12" && azurerm_storage_account.results[0].name == "longhaulofnrthabc12"
    error_message = "The longest name fits what Azure allows for a vault and a storage account: 24 characters."
  }
}

run "least" {
  command = plan
  variables {
    postgres = { sku_name = "B_Standard_B2s", zone_redundant = false, pgbouncer_enabled = false }
    results  = { enabled = false }
    operator = { object_id = "33333333-3333-3333-3333-333333333333", cidrs = ["198.51.100.7/32"] }
  }

  assert {
    condition     = length(azurerm_postgresql_flexible_server.this.high_availability) == 0 && length(azurerm_postgresql_flexible_server_configuration.pgbouncer) == 0
    error_message = "A small PostgreSQL has neither a standby nor PgBouncer."
  }
  assert {
    condition     = length(azurerm_storage_account.results) == 0 && length(azurerm_private_endpoint.this) == 3
    error_message = "Without a result store there is no account."
  }
  assert {
    condition     = azurerm_key_vault.this.public_network_access_enabled && azurerm_key_vault.this.network_acls[0].default_action == "Deny"
    error_message = "The operator reaches the vault, and nobody else from outside."
  }
}

run "refused" {
  command = plan
  variables {
    suffix   = "too-long"
    postgres = { sku_name = "Standard_D2ds_v5" }
    redis    = { sku_name = "Balanced_B50" }
    results  = { replication = "three" }
  }
  expect_failures = [var.suffix, var.postgres, var.redis, var.results]
}

run "refused_burstable" {
  command = plan
  variables {
    postgres = { sku_name = "B_Standard_B2s" }
  }
  expect_failures = [var.postgres]
}

run "refused_old" {
  command = plan
  variables {
    postgres = { version = "14" }
  }
  expect_failures = [var.postgres]
}

run "refused_backups" {
  command = plan
  variables {
    postgres = { backup_retention_days = 90 }
  }
  expect_failures = [var.postgres]
}
