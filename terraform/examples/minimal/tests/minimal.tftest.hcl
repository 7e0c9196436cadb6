mock_provider "azurerm" {
  source = "../../tests/mocks"
}

variables {
  location       = "westeurope"
  image_registry = "registry.example.com/team"
}

run "minimal" {
  command = apply

  assert {
    condition     = yamldecode(output.helm_values).worker.poolDefaults.autoscaling.maxReplicas == 4 && module.aks.node_counts.user == [1, 2]
    error_message = "20 tasks at once are 4 workers of 5 slots, which one node holds; one more is headroom."
  }
}
