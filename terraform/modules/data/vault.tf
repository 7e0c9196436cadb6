resource "azurerm_key_vault" "this" {
  #checkov:skip=CKV2_AZURE_32:It has a private endpoint, in main.tf; the check can't see through for_each.
  #checkov:skip=CKV_AZURE_189:Whoever runs Terraform writes the secrets: from operator.cidrs, and from the network alone where it is empty.
  name                          = "${substr(var.name, 0, 24 - length(var.suffix) - 1)}-${var.suffix}"
  resource_group_name           = var.resource_group_name
  location                      = var.location
  tenant_id                     = var.tenant_id
  sku_name                      = "standard"
  rbac_authorization_enabled    = true
  purge_protection_enabled      = true
  soft_delete_retention_days    = 30
  public_network_access_enabled = length(var.operator.cidrs) > 0
  tags                          = var.tags

  network_acls {
    default_action = "Deny"
    bypass         = "AzureServices"
    ip_rules       = var.operator.cidrs
  }
}

resource "azurerm_role_assignment" "operator" {
  scope                = azurerm_key_vault.this.id
  role_definition_name = "Key Vault Secrets Officer"
  principal_id         = var.operator.object_id
}

# A new right is not known everywhere at once.
resource "time_sleep" "operator_is_known" {
  create_duration = "2m"
  triggers        = { right = azurerm_role_assignment.operator.id }
}

# From the first apply on, once.
resource "time_offset" "secrets_end" {
  offset_hours = var.secrets_valid_hours
}

locals {
  redis_key     = azurerm_managed_redis.this.default_database[0].primary_access_key
  redis_address = "${azurerm_managed_redis.this.hostname}:${local.redis_port}"

  # The images have the roots of Azure's certificates there. sslrootcert=system would look where psycopg's own OpenSSL has none.
  verified = "sslmode=verify-full&sslrootcert=/etc/ssl/certs/ca-certificates.crt"
  # At 5432, not by PgBouncer: Longhaul gives settings at the start of a session, which PgBouncer does not pass on.
  accounts = merge(
    { "postgres-url" = "${azurerm_postgresql_flexible_server.this.administrator_login}:${random_password.postgres.result}" },
    { for component, password in random_password.account : "postgres-${component}-url" => "longhaul_${component}:${password.result}" },
  )
  secrets = merge(
    { for name, account in local.accounts : name =>
      "postgresql://${account}@${azurerm_postgresql_flexible_server.this.fqdn}:5432/${azurerm_postgresql_flexible_server_database.longhaul.name}?${local.verified}"
    },
    {
      "redis-url"      = "rediss://:${urlencode(local.redis_key)}@${local.redis_address}/0"
      "redis-address"  = local.redis_address
      "redis-password" = local.redis_key
    },
  )
  secret_names = toset([
    "postgres-url", "postgres-api-url", "postgres-worker-url", "postgres-controller-url",
    "redis-url", "redis-address", "redis-password",
  ])
}

resource "azurerm_key_vault_secret" "this" {
  for_each = local.secret_names

  name            = each.value
  key_vault_id    = azurerm_key_vault.this.id
  value           = local.secrets[each.value]
  content_type    = "text/plain"
  expiration_date = time_offset.secrets_end.rfc3339
  tags            = var.tags

  depends_on = [time_sleep.operator_is_known, azurerm_private_endpoint.this]
}
