output "log_analytics_workspace_id" {
  description = "Where logs go."
  value       = azurerm_log_analytics_workspace.this.id
}

output "data_collection_rule_ids" {
  description = "What is collected of a cluster, to associate with it."
  value = {
    metrics = azurerm_monitor_data_collection_rule.metrics.id
    logs    = azurerm_monitor_data_collection_rule.logs.id
  }
}

output "action_group_id" {
  description = "Who is told of alerts; null where nobody is."
  value       = one(azurerm_monitor_action_group.this[*].id)
}

output "prometheus_query_endpoint" {
  description = "Where managed Prometheus answers queries, for Grafana."
  value       = azurerm_monitor_workspace.this.query_endpoint
}
