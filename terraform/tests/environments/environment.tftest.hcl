# What holds in every environment: `terraform test -test-directory=tests/environments -var-file=environments/dev.tfvars`.

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

run "environment" {
  command = apply

  assert {
    condition     = alltrue([for pool in values(yamldecode(output.helm_values).worker.pools) : try(pool.autoscaling.minReplicas, 0) == 0])
    error_message = "Pools on nodes of their own cost nothing while nothing runs."
  }
  assert {
    condition     = alltrue([for name, counts in module.aks.node_counts : counts[0] == 0 || contains(["system", "user"], name)])
    error_message = "Nodes of worker pools come with the first job."
  }
  assert {
    condition     = module.aks.node_counts.user[1] >= output.sizing.packed_nodes
    error_message = "The user pool has room for the peak."
  }
  assert {
    condition     = module.aks.graceful_seconds > yamldecode(output.helm_values).worker.poolDefaults.maxJobSeconds && module.aks.drain_minutes * 60 >= module.aks.graceful_seconds
    error_message = "What takes a node away waits for the longest job."
  }
  assert {
    condition     = alltrue([for name in [output.key_vault_name, output.registry_name] : length(name) <= 24])
    error_message = "Azure's names have at most 24 characters here."
  }
}
