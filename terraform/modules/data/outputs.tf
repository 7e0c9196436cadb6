output "postgres_fqdn" {
  description = "Address of PostgreSQL."
  value       = azurerm_postgresql_flexible_server.this.fqdn
}

output "postgres_id" {
  description = "PostgreSQL's id."
  value       = azurerm_postgresql_flexible_server.this.id
}

output "redis_address" {
  description = "`host:port` of Redis."
  value       = local.redis_address
}

output "redis_port" {
  description = "Port of Redis."
  value       = local.redis_port
}

output "redis_id" {
  description = "Redis' id."
  value       = azurerm_managed_redis.this.id
}

output "key_vault_id" {
  description = "The vault's id."
  value       = azurerm_key_vault.this.id
}

output "key_vault_name" {
  description = "The vault's name."
  value       = azurerm_key_vault.this.name
}

output "secret_ids" {
  description = "Ids of the secrets in the vault, by name, as Azure Resource Manager knows them."
  value       = { for name, secret in azurerm_key_vault_secret.this : name => secret.resource_versionless_id }
}

output "results_account_name" {
  description = "Storage account of the result store; null without."
  value       = one(azurerm_storage_account.results[*].name)
}

output "results_container_name" {
  description = "Blob container of the result store; null without."
  value       = one(azurerm_storage_container.results[*].name)
}

output "results_container_id" {
  description = "The container's id; null without a result store."
  value       = one(azurerm_storage_container.results[*].id)
}

output "accounts_sql" {
  description = "SQL that makes an account for each component: for the owner of a migrated database."
  value       = templatefile("${path.module}/accounts.sql.tftpl", { passwords = { for component, password in random_password.account : component => password.result } })
  sensitive   = true
}

output "postgres_max_sessions" {
  description = "Sessions that PostgreSQL of this size has for users."
  value       = local.max_sessions
}
