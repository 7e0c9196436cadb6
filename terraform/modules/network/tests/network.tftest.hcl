mock_provider "azurerm" {
  source = "../../tests/mocks"
}

variables {
  name                = "longhaul"
  resource_group_name = "longhaul"
  location            = "westeurope"
}

run "network" {
  command = apply

  assert {
    condition     = azurerm_subnet.nodes.address_prefixes == tolist(["10.40.0.0/18"]) && azurerm_subnet.endpoints.address_prefixes == tolist(["10.40.64.0/22"])
    error_message = "Nodes have the first quarter, private endpoints a part of the second."
  }
  assert {
    condition     = output.outbound_type == "userAssignedNATGateway" && output.outbound_ip == "203.0.113.7"
    error_message = "Nodes reach the internet from one fixed address."
  }
  assert {
    condition     = azurerm_network_security_rule.nodes_to_endpoints.destination_port_ranges == toset(["443", "5432", "6432", "10000"])
    error_message = "Nodes reach PostgreSQL, PgBouncer, Redis, and HTTPS."
  }
}

run "smallest_and_cheapest" {
  command = plan
  variables {
    address_space       = "10.1.0.0/20"
    nat_gateway_enabled = false
  }

  assert {
    condition     = azurerm_subnet.endpoints.address_prefixes == tolist(["10.1.4.0/26"]) && output.outbound_type == "loadBalancer" && output.outbound_ip == null
    error_message = "The smallest network has 64 addresses for private endpoints."
  }
}

run "refused" {
  command = plan
  variables {
    address_space = "10.1.0.0/24"
  }
  expect_failures = [var.address_space]
}
