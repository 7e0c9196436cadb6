output "helm_values" {
  description = "Values for `helm install longhaul charts/longhaul`, as YAML: `terraform output -raw helm_values`. No secrets are in them."
  value       = yamlencode(local.helm_values)

  precondition {
    condition     = local.sessions <= module.data.postgres_max_sessions
    error_message = "All pods together may open ${local.sessions} sessions, and PostgreSQL of this size has ${module.data.postgres_max_sessions}: take a larger postgres.sku_name, or have fewer workers (worker_pools, tasks_per_worker)."
  }
}

output "secrets_values" {
  description = "Values for the chart modules/release/secrets, as YAML: which Secrets to make of which secrets of the vault. No secrets are in them."
  value       = yamlencode(local.secrets_values)
}

output "sizing" {
  description = "The sizing guide's numbers for the assumptions, and the nodes that are needed."
  value       = { for name, value in module.sizing : name => value if name != "requests" }
}

output "resource_group_name" {
  description = "The resource group."
  value       = azurerm_resource_group.this.name
}

output "cluster_name" {
  description = "The cluster, for `az aks get-credentials`."
  value       = module.aks.name
}

output "namespace" {
  description = "Namespace that the identities trust: install there."
  value       = local.namespace
}

output "registry_name" {
  description = "The registry, for `az acr login`."
  value       = module.registry.name
}

output "registry_login_server" {
  description = "Address of the registry, to tag and push images."
  value       = module.registry.login_server
}

output "key_vault_name" {
  description = "The vault with the secrets."
  value       = module.data.key_vault_name
}

output "postgres_fqdn" {
  description = "Address of PostgreSQL: 5432 for Longhaul, 6432 through PgBouncer for reports and dashboards."
  value       = module.data.postgres_fqdn
}

output "redis_address" {
  description = "`host:port` of Redis."
  value       = module.data.redis_address
}

output "outbound_ip" {
  description = "Address that jobs reach the internet from, for others' firewalls; null without the NAT gateway."
  value       = module.network.outbound_ip
}

output "identity_principal_ids" {
  description = "Object ids of the components' identities, to give jobs further rights (worker)."
  value       = module.identity.principal_ids
}

output "prometheus_query_endpoint" {
  description = "Where managed Prometheus answers queries, for Grafana."
  value       = module.monitoring.prometheus_query_endpoint
}

output "accounts_sql" {
  description = "SQL that makes a PostgreSQL account for each component, for `separate_accounts`. Passwords are in it."
  value       = module.data.accounts_sql
  sensitive   = true
}
