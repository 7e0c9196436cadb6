# What is refused. Several at once: each plan takes seconds.

mock_provider "azurerm" {
  source = "./tests/mocks"
}
mock_provider "helm" {}
mock_provider "kubernetes" {}
mock_provider "time" {}
mock_provider "random" {
  mock_resource "random_string" {
    defaults = { result = "abc12" }
  }
  mock_resource "random_password" {
    defaults = { result = "0123456789abcdefghijABCDEFGHIJ0123456789" }
  }
}

variables {
  location = "westeurope"
}

run "each_with_a_sentence" {
  command = plan
  variables {
    name           = "Longhaul"
    location       = "West Europe"
    operator_cidrs = ["198.51.100.7"]
    worker_pools   = { default = { queues = ["default"] } }
    off_hours      = { room_for_pods = 0 }
    monitoring     = { monthly_budget = 1000 }
  }
  expect_failures = [var.name, var.location, var.operator_cidrs, var.worker_pools, var.off_hours, var.monitoring]
}

run "a_name_too_long_a_pool_without_a_queue_hours_that_are_no_cron" {
  command = plan
  variables {
    name         = "longhaul-of-the-north"
    worker_pools = { idle = { queues = [] } }
    off_hours    = { start = "7:00" }
  }
  expect_failures = [var.name, var.worker_pools, var.off_hours]
}

run "a_pool_without_a_slot" {
  command = plan
  variables {
    worker_pools = { idle = { queues = ["idle"], slots = 0 } }
  }
  expect_failures = [var.worker_pools]
}

run "more_sessions_than_postgresql_has" {
  command = plan
  variables {
    worker_pools = { many = { queues = ["many"], max_count = 100 } }
  }
  expect_failures = [output.helm_values]
}
