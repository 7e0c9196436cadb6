mock_provider "azurerm" {
  source = "../../tests/mocks"
}

variables {
  name                = "longhaul"
  resource_group_name = "longhaul"
  location            = "westeurope"
  cluster_id          = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/longhaul/providers/Microsoft.ContainerService/managedClusters/longhaul"
  postgres_id         = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/longhaul/providers/Microsoft.DBforPostgreSQL/flexibleServers/longhaul"
  redis_id            = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/longhaul/providers/Microsoft.Cache/redisEnterprise/longhaul"
}

run "told" {
  command = apply
  variables {
    alert_emails = ["team@example.com"]
    budget = {
      amount               = 1000
      emails               = ["team@example.com"]
      subscription_id      = "22222222-2222-2222-2222-222222222222"
      resource_group_names = ["longhaul", "longhaul-nodes"]
    }
  }

  assert {
    condition     = azurerm_monitor_metric_alert.this["redis-memory"].criteria[0].threshold == 70
    error_message = "The sizing guide takes the next tier of Redis above 70 % of its memory."
  }
  assert {
    condition     = azurerm_consumption_budget_subscription.this[0].amount == 1000
    error_message = "The budget covers the nodes' own group, too."
  }
}

run "nobody_told" {
  command = plan

  assert {
    condition     = length(azurerm_monitor_metric_alert.this) == 0 && length(azurerm_consumption_budget_subscription.this) == 0
    error_message = "Without an address there are no alerts, and no budget."
  }
}

run "refused" {
  command = plan
  variables {
    retention_in_days = 7
    alert_emails      = ["team"]
    budget            = { amount = 0, emails = ["team@example.com"], subscription_id = "", resource_group_names = [] }
  }
  expect_failures = [var.retention_in_days, var.alert_emails, var.budget]
}
