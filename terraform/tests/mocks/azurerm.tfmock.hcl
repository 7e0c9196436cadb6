# Computed values that look like Azure's: other resources check the shape of an id that they are given.

mock_data "azurerm_client_config" {
  defaults = {
    tenant_id       = "11111111-1111-1111-1111-111111111111"
    subscription_id = "22222222-2222-2222-2222-222222222222"
    object_id       = "33333333-3333-3333-3333-333333333333"
    client_id       = "44444444-4444-4444-4444-444444444444"
  }
}

mock_resource "azurerm_resource_group" {
  defaults = { id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock" }
}

mock_resource "azurerm_virtual_network" {
  defaults = { id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.Network/virtualNetworks/mock" }
}

mock_resource "azurerm_subnet" {
  defaults = { id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.Network/virtualNetworks/mock/subnets/mock" }
}

mock_resource "azurerm_network_security_group" {
  defaults = { id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.Network/networkSecurityGroups/mock" }
}

mock_resource "azurerm_public_ip" {
  defaults = {
    id         = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.Network/publicIPAddresses/mock"
    ip_address = "203.0.113.7"
  }
}

mock_resource "azurerm_nat_gateway" {
  defaults = { id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.Network/natGateways/mock" }
}

mock_resource "azurerm_private_dns_zone" {
  defaults = { id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.Network/privateDnsZones/privatelink.mock.net" }
}

mock_resource "azurerm_user_assigned_identity" {
  defaults = {
    id           = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.ManagedIdentity/userAssignedIdentities/mock"
    client_id    = "55555555-5555-5555-5555-555555555555"
    principal_id = "66666666-6666-6666-6666-666666666666"
    tenant_id    = "11111111-1111-1111-1111-111111111111"
  }
}

mock_resource "azurerm_role_definition" {
  defaults = {
    role_definition_id          = "77777777-7777-7777-7777-777777777777"
    role_definition_resource_id = "/subscriptions/22222222-2222-2222-2222-222222222222/providers/Microsoft.Authorization/roleDefinitions/77777777-7777-7777-7777-777777777777"
  }
}

mock_resource "azurerm_kubernetes_cluster" {
  defaults = {
    id              = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.ContainerService/managedClusters/mock"
    oidc_issuer_url = "https://westeurope.oic.prod-aks.azure.com/11111111-1111-1111-1111-111111111111/mock/"
    kube_config = [{
      host                   = "https://mock.hcp.westeurope.azmk8s.io:443"
      cluster_ca_certificate = "bW9jaw=="
      client_certificate     = ""
      client_key             = ""
      password               = ""
      username               = ""
    }]
  }
}

mock_resource "azurerm_kubernetes_cluster_node_pool" {
  defaults = { id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.ContainerService/managedClusters/mock/agentPools/mock" }
}

mock_resource "azurerm_container_registry" {
  defaults = {
    id           = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.ContainerRegistry/registries/mock"
    login_server = "mock.azurecr.io"
  }
}

mock_resource "azurerm_postgresql_flexible_server" {
  defaults = {
    id   = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.DBforPostgreSQL/flexibleServers/mock"
    fqdn = "mock.postgres.database.azure.com"
  }
}

mock_resource "azurerm_managed_redis" {
  defaults = {
    id       = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.Cache/redisEnterprise/mock"
    hostname = "mock.westeurope.redis.azure.net"
    default_database = {
      port               = 10000
      primary_access_key = "bW9jaw+/=="
    }
  }
}

mock_resource "azurerm_storage_account" {
  defaults = { id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.Storage/storageAccounts/mock" }
}

mock_resource "azurerm_storage_container" {
  defaults = { id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.Storage/storageAccounts/mock/blobServices/default/containers/longhaul" }
}

mock_resource "azurerm_key_vault" {
  defaults = {
    id        = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.KeyVault/vaults/mock"
    vault_uri = "https://mock.vault.azure.net/"
  }
}

mock_resource "azurerm_key_vault_secret" {
  defaults = {
    id                      = "https://mock.vault.azure.net/secrets/mock/0123456789abcdef0123456789abcdef"
    resource_versionless_id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.KeyVault/vaults/mock/secrets/mock"
  }
}

mock_resource "azurerm_log_analytics_workspace" {
  defaults = { id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.OperationalInsights/workspaces/mock" }
}

mock_resource "azurerm_monitor_workspace" {
  defaults = {
    id                                  = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.Monitor/accounts/mock"
    default_data_collection_endpoint_id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.Insights/dataCollectionEndpoints/mock"
    query_endpoint                      = "https://mock.westeurope.prometheus.monitor.azure.com"
  }
}

mock_resource "azurerm_monitor_data_collection_rule" {
  defaults = { id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.Insights/dataCollectionRules/mock" }
}

mock_resource "azurerm_monitor_action_group" {
  defaults = { id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.Insights/actionGroups/mock" }
}

mock_resource "azurerm_role_assignment" {
  defaults = { id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/mock/providers/Microsoft.Authorization/roleAssignments/88888888-8888-8888-8888-888888888888" }
}
