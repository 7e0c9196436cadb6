# What is observed: the cluster, PostgreSQL and Redis.

resource "azurerm_monitor_data_collection_rule_association" "cluster" {
  for_each = {
    metrics = azurerm_monitor_data_collection_rule.metrics.id
    logs    = azurerm_monitor_data_collection_rule.logs.id
  }

  name                    = "${var.name}-${each.key}"
  target_resource_id      = var.cluster_id
  data_collection_rule_id = each.value
}

# Who did what (without reads, which are most of it), why nodes came and went, who was let in.
resource "azurerm_monitor_diagnostic_setting" "cluster" {
  name                           = "longhaul"
  target_resource_id             = var.cluster_id
  log_analytics_workspace_id     = azurerm_log_analytics_workspace.this.id
  log_analytics_destination_type = "Dedicated"

  dynamic "enabled_log" {
    for_each = toset(["kube-audit-admin", "cluster-autoscaler", "kube-controller-manager", "guard"])
    content {
      category = enabled_log.value
    }
  }
}

resource "azurerm_monitor_diagnostic_setting" "postgres" {
  name                       = "longhaul"
  target_resource_id         = var.postgres_id
  log_analytics_workspace_id = azurerm_log_analytics_workspace.this.id

  enabled_log {
    category = "PostgreSQLLogs"
  }
}

locals {
  # Longhaul's own alerts are in the chart (monitoring.rules); these are for what only Azure sees.
  alerts = length(var.alert_emails) > 0 ? {
    redis-memory = {
      scope     = var.redis_id
      namespace = "Microsoft.Cache/redisEnterprise"
      metric    = "usedmemorypercentage"
      threshold = 70
      says      = "Redis uses more than 70 % of its memory: take the next size (redis.sku_name)."
    }
    postgres-storage = {
      scope     = var.postgres_id
      namespace = "Microsoft.DBforPostgreSQL/flexibleServers"
      metric    = "storage_percent"
      threshold = 80
      says      = "PostgreSQL uses more than 80 % of its disk: it grows by itself, and never gets smaller; keep jobs for less time (controller.retentionSeconds)."
    }
    postgres-cpu = {
      scope     = var.postgres_id
      namespace = "Microsoft.DBforPostgreSQL/flexibleServers"
      metric    = "cpu_percent"
      threshold = 80
      says      = "PostgreSQL is at 80 % of its CPU: take the next size (postgres.sku_name)."
    }
  } : {}
}

resource "azurerm_monitor_metric_alert" "this" {
  for_each = local.alerts

  name                = "${var.name}-${each.key}"
  resource_group_name = var.resource_group_name
  scopes              = [each.value.scope]
  description         = each.value.says
  severity            = 2
  frequency           = "PT5M"
  window_size         = "PT15M"
  tags                = var.tags

  criteria {
    metric_namespace = each.value.namespace
    metric_name      = each.value.metric
    aggregation      = "Average"
    operator         = "GreaterThan"
    threshold        = each.value.threshold
  }

  action {
    action_group_id = azurerm_monitor_action_group.this[0].id
  }
}
