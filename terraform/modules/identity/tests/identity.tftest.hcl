mock_provider "azurerm" {
  source = "../../tests/mocks"
}

variables {
  name                 = "longhaul"
  resource_group_name  = "longhaul"
  location             = "westeurope"
  oidc_issuer_url      = "https://westeurope.oic.prod-aks.azure.com/mock/"
  namespace            = "jobs"
  service_accounts     = { for component in ["api", "worker", "controller", "secrets"] : component => "longhaul-${component}" }
  role_scope           = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/longhaul"
  results_container_id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/longhaul/providers/Microsoft.Storage/storageAccounts/longhaul/blobServices/default/containers/longhaul"
  secret_ids           = { postgres-url = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/longhaul/providers/Microsoft.KeyVault/vaults/longhaul/secrets/postgres-url" }
}

run "rights" {
  command = apply

  assert {
    condition     = azurerm_federated_identity_credential.this["worker"].subject == "system:serviceaccount:jobs:longhaul-worker"
    error_message = "An identity trusts one ServiceAccount of one namespace."
  }
  assert {
    condition     = [for action in azurerm_role_definition.results["api"].permissions[0].data_actions : action if !endswith(action, "/blobs/read")] == []
    error_message = "The API reads results, and does nothing else to them."
  }
  assert {
    condition     = [for action in azurerm_role_definition.results["worker"].permissions[0].data_actions : action if endswith(action, "/read") || endswith(action, "/delete")] == []
    error_message = "Workers, and so the code of tasks, can neither read nor delete results."
  }
  assert {
    condition     = toset(keys(azurerm_role_assignment.results)) == toset(["api", "worker", "controller"])
    error_message = "The identity that reads secrets has no right to results."
  }
  assert {
    condition     = azurerm_role_assignment.secrets["postgres-url"].scope == var.secret_ids["postgres-url"]
    error_message = "It may read the secrets that are named, and no others."
  }
}

run "refused" {
  command = plan
  variables {
    service_accounts = { api = "longhaul-api" }
  }
  expect_failures = [var.service_accounts]
}
