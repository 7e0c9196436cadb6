mock_provider "azurerm" {
  source = "../../tests/mocks"
}

variables {
  name                       = "longhaul"
  resource_group_name        = "longhaul"
  resource_group_id          = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/longhaul"
  location                   = "westeurope"
  nodes_subnet_id            = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/longhaul/providers/Microsoft.Network/virtualNetworks/longhaul/subnets/nodes"
  operator_object_id         = "33333333-3333-3333-3333-333333333333"
  user_pool                  = { max_count = 33 }
  worker_pools               = { long = {}, batch = { spot = true } }
  log_analytics_workspace_id = "/subscriptions/22222222-2222-2222-2222-222222222222/resourceGroups/longhaul/providers/Microsoft.OperationalInsights/workspaces/longhaul"
  logs_enabled               = true
  metrics_enabled            = true
}

run "cluster" {
  command = apply

  assert {
    condition = (
      azurerm_kubernetes_cluster.this.default_node_pool[0].vm_size == "Standard_DS2_v2" &&
      azurerm_kubernetes_cluster.this.default_node_pool[0].min_count == 2 &&
      azurerm_kubernetes_cluster.this.default_node_pool[0].max_count == 3 &&
      azurerm_kubernetes_cluster.this.default_node_pool[0].only_critical_addons_enabled
    )
    error_message = "The system pool is the sizing guide's 2 to 3 Standard_DS2_v2, for the system alone."
  }
  assert {
    condition = (
      azurerm_kubernetes_cluster_node_pool.user.vm_size == "Standard_D4s_v5" &&
      azurerm_kubernetes_cluster_node_pool.user.min_count == 2 &&
      azurerm_kubernetes_cluster_node_pool.user.max_count == 33 &&
      azurerm_kubernetes_cluster_node_pool.user.node_taints == null
    )
    error_message = "The user pool is Standard_D4s_v5, from 2 nodes on, and takes whatever has no other place."
  }
  assert {
    condition     = azurerm_kubernetes_cluster.this.auto_scaler_profile[0].max_graceful_termination_sec == "3660"
    error_message = "The cluster autoscaler waits for a job of an hour and its grace, not for 600 s."
  }
  assert {
    condition = (
      azurerm_kubernetes_cluster_node_pool.user.upgrade_settings[0].drain_timeout_in_minutes == 61 &&
      azurerm_kubernetes_cluster_node_pool.worker["long"].upgrade_settings[0].drain_timeout_in_minutes == 61 &&
      azurerm_kubernetes_cluster_node_pool.user.upgrade_settings[0].undrainable_node_behavior == "Cordon"
    )
    error_message = "An upgrade waits as long, not for 30 minutes, and sets a node aside that still has jobs then."
  }
  assert {
    condition = (
      azurerm_kubernetes_cluster.this.oidc_issuer_enabled && azurerm_kubernetes_cluster.this.workload_identity_enabled &&
      azurerm_kubernetes_cluster.this.workload_autoscaler_profile[0].keda_enabled &&
      azurerm_kubernetes_cluster.this.network_profile[0].network_data_plane == "cilium" &&
      azurerm_kubernetes_cluster.this.local_account_disabled &&
      azurerm_kubernetes_cluster.this.azure_active_directory_role_based_access_control[0].azure_rbac_enabled
    )
    error_message = "KEDA, workload identity, the OIDC issuer, Cilium and Azure RBAC are on, local accounts off."
  }
  assert {
    condition = (
      azurerm_kubernetes_cluster_node_pool.worker["long"].priority == "Regular" &&
      azurerm_kubernetes_cluster_node_pool.worker["long"].node_taints == tolist(["longhaul.dev/nodes=long:NoSchedule"]) &&
      azurerm_kubernetes_cluster_node_pool.worker["long"].min_count == 0
    )
    error_message = "Nodes of a worker pool are for its workers alone, and from none on."
  }
  assert {
    condition = (
      azurerm_kubernetes_cluster_node_pool.worker["batch"].priority == "Spot" &&
      azurerm_kubernetes_cluster_node_pool.worker["batch"].node_taints == tolist([
        "longhaul.dev/nodes=batch:NoSchedule", "kubernetes.azure.com/scalesetpriority=spot:NoSchedule",
      ]) &&
      azurerm_kubernetes_cluster_node_pool.worker["batch"].spot_max_price == -1 &&
      length(azurerm_kubernetes_cluster_node_pool.worker["batch"].upgrade_settings) == 0
    )
    error_message = "Spot nodes have Azure's taint, too, at most the price on demand, and no surge."
  }
  assert {
    condition = (
      azurerm_kubernetes_cluster.this.maintenance_window_auto_upgrade[0].day_of_week == "Sunday" &&
      azurerm_kubernetes_cluster.this.maintenance_window_node_os[0].duration == 8
    )
    error_message = "Azure upgrades on Sundays."
  }
}

run "private" {
  command = plan
  variables {
    cluster         = { private = true, keda_enabled = false }
    max_job_seconds = 84600
  }

  assert {
    condition     = azurerm_kubernetes_cluster.this.private_cluster_enabled && azurerm_kubernetes_cluster.this.run_command_enabled
    error_message = "A private cluster is reached from the network, or by `az aks command invoke`."
  }
  assert {
    condition     = !azurerm_kubernetes_cluster.this.workload_autoscaler_profile[0].keda_enabled
    error_message = "KEDA of one's own and the add-on exclude each other."
  }
  assert {
    condition     = azurerm_kubernetes_cluster_node_pool.user.upgrade_settings[0].drain_timeout_in_minutes == 1411
    error_message = "A job of 23.5 h is waited for, within AKS's 24 h."
  }
}

run "guarded" {
  command = plan
  variables {
    cluster     = { authorized_ip_ranges = ["198.51.100.7/32"] }
    outbound_ip = "203.0.113.7"
  }

  assert {
    condition     = azurerm_kubernetes_cluster.this.api_server_access_profile[0].authorized_ip_ranges == toset(["198.51.100.7/32", "203.0.113.7/32"])
    error_message = "A guarded control plane lets its own nodes in."
  }
}

run "refused" {
  command = plan
  variables {
    outbound_type   = "none"
    cluster         = { sku_tier = "Paid" }
    max_job_seconds = 86400
    system_pool     = { min_count = 4 }
    user_pool       = { min_count = 0, max_count = 3 }
    worker_pools    = { long-jobs = {} }
    maintenance     = { day_of_week = "Sun" }
  }
  expect_failures = [
    var.outbound_type, var.cluster, var.max_job_seconds, var.system_pool, var.user_pool, var.worker_pools, var.maintenance,
  ]
}

run "refused_too" {
  command = plan
  variables {
    cluster      = { private = true, authorized_ip_ranges = ["198.51.100.7/32"] }
    worker_pools = { long = { min_count = 3, max_count = 2 } }
    maintenance  = { start_time = "2am" }
  }
  expect_failures = [var.cluster, var.worker_pools, var.maintenance]
}

run "refused_as_well" {
  command = plan
  variables {
    cluster     = { upgrade_channel = "beta" }
    maintenance = { hours = 2 }
  }
  expect_failures = [var.cluster, var.maintenance]
}

run "refused_last" {
  command = plan
  variables {
    cluster = { authorized_ip_ranges = ["198.51.100.7"] }
  }
  expect_failures = [var.cluster]
}
