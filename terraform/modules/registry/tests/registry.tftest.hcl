mock_provider "azurerm" {
  source = "../../tests/mocks"
}

variables {
  name                = "longhaulabc12"
  resource_group_name = "longhaul"
  location            = "westeurope"
  endpoints_subnet_id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/longhaul/providers/Microsoft.Network/virtualNetworks/longhaul/subnets/endpoints"
  private_dns_zone_id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/longhaul/providers/Microsoft.Network/privateDnsZones/privatelink.azurecr.io"
  puller_principal_id = "66666666-6666-6666-6666-666666666666"
}

run "premium" {
  command = apply

  assert {
    condition     = !azurerm_container_registry.this.public_network_access_enabled && length(azurerm_private_endpoint.this) == 1
    error_message = "With nobody named it is reached from the network alone."
  }
  assert {
    condition     = !azurerm_container_registry.this.admin_enabled && azurerm_role_assignment.pull.role_definition_name == "AcrPull"
    error_message = "Nodes pull by their identity: there is no password."
  }
}

run "premium_with_an_operator" {
  command = plan
  variables {
    operator_cidrs = ["198.51.100.7/32"]
  }

  assert {
    condition     = azurerm_container_registry.this.network_rule_set[0].default_action == "Deny" && length(azurerm_container_registry.this.network_rule_set[0].ip_rule) == 1
    error_message = "The operator pushes, and nobody else from outside."
  }
}

run "basic" {
  command = plan
  variables {
    sku = "Basic"
  }

  assert {
    condition     = azurerm_container_registry.this.public_network_access_enabled && length(azurerm_private_endpoint.this) == 0
    error_message = "A Basic registry has a public address, and only that."
  }
}

run "refused" {
  command = plan
  variables {
    name = "longhaul-abc12"
    sku  = "Free"
  }
  expect_failures = [var.name, var.sku]
}
