resource "azurerm_user_assigned_identity" "control_plane" {
  name                = "${var.name}-control-plane"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags
}

resource "azurerm_user_assigned_identity" "kubelet" {
  name                = "${var.name}-kubelet"
  resource_group_name = var.resource_group_name
  location            = var.location
  tags                = var.tags
}

# Load balancers and nodes join the network.
resource "azurerm_role_assignment" "control_plane_network" {
  scope                = var.resource_group_id
  role_definition_name = "Network Contributor"
  principal_id         = azurerm_user_assigned_identity.control_plane.principal_id
  principal_type       = "ServicePrincipal"
}

# It gives nodes the identity that pulls images.
resource "azurerm_role_assignment" "control_plane_kubelet" {
  scope                = azurerm_user_assigned_identity.kubelet.id
  role_definition_name = "Managed Identity Operator"
  principal_id         = azurerm_user_assigned_identity.control_plane.principal_id
  principal_type       = "ServicePrincipal"
}

resource "azurerm_kubernetes_cluster" "this" {
  #checkov:skip=CKV_AZURE_117:Disks are encrypted by the platform and by the hosts; a key of one's own is the subscription's to decide.
  #checkov:skip=CKV_AZURE_226:Standard_DS2_v2 has room for an ephemeral disk of 86 GiB, of which images would need most: the disk is managed.
  #checkov:skip=CKV_AZURE_227:The hosts encrypt by default (cluster.host_encryption), which the check can't follow into an object.
  name                              = var.name
  resource_group_name               = var.resource_group_name
  location                          = var.location
  node_resource_group               = "${var.resource_group_name}-nodes"
  dns_prefix                        = var.name
  kubernetes_version                = var.cluster.kubernetes_version
  sku_tier                          = var.cluster.sku_tier
  cost_analysis_enabled             = var.cluster.sku_tier != "Free"
  private_cluster_enabled           = var.cluster.private
  role_based_access_control_enabled = true
  local_account_disabled            = true
  oidc_issuer_enabled               = true
  workload_identity_enabled         = true
  azure_policy_enabled              = true
  run_command_enabled               = var.cluster.private # the way in for who is not on the network
  image_cleaner_enabled             = true
  image_cleaner_interval_hours      = 168
  automatic_upgrade_channel         = var.cluster.upgrade_channel == "none" ? null : var.cluster.upgrade_channel
  node_os_upgrade_channel           = "NodeImage"
  tags                              = var.tags

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.control_plane.id]
  }

  kubelet_identity {
    client_id                 = azurerm_user_assigned_identity.kubelet.client_id
    object_id                 = azurerm_user_assigned_identity.kubelet.principal_id
    user_assigned_identity_id = azurerm_user_assigned_identity.kubelet.id
  }

  azure_active_directory_role_based_access_control {
    azure_rbac_enabled     = true
    admin_group_object_ids = var.cluster.admin_group_object_ids
  }

  dynamic "api_server_access_profile" {
    for_each = length(var.cluster.authorized_ip_ranges) > 0 ? [1] : []
    content {
      authorized_ip_ranges = setunion(var.cluster.authorized_ip_ranges, [for address in var.outbound_ip[*] : "${address}/32"])
    }
  }

  default_node_pool {
    name                         = local.system_name
    temporary_name_for_rotation  = "${local.system_name}tmp"
    vm_size                      = var.system_pool.vm_size
    zones                        = var.zones
    vnet_subnet_id               = var.nodes_subnet_id
    auto_scaling_enabled         = true
    min_count                    = var.system_pool.min_count
    max_count                    = var.system_pool.max_count
    max_pods                     = local.max_pods
    only_critical_addons_enabled = true
    host_encryption_enabled      = var.cluster.host_encryption
    tags                         = var.tags

    upgrade_settings {
      max_surge                = "33%"
      drain_timeout_in_minutes = 30
    }
  }

  network_profile {
    network_plugin      = "azure"
    network_plugin_mode = "overlay"
    network_data_plane  = "cilium"
    network_policy      = "cilium"
    load_balancer_sku   = "standard"
    outbound_type       = var.outbound_type
  }

  # AKS's own 600 s would cut longer jobs short when a node goes.
  auto_scaler_profile {
    max_graceful_termination_sec  = tostring(local.graceful_seconds)
    expander                      = "least-waste"
    balance_similar_node_groups   = true
    scale_down_delay_after_add    = "10m"
    scale_down_unneeded           = "10m"
    skip_nodes_with_local_storage = false # workers keep a spool in an emptyDir, which is empty once they have drained
    skip_nodes_with_system_pods   = false # those run on the system pool
  }

  workload_autoscaler_profile {
    keda_enabled = var.cluster.keda_enabled
  }

  key_vault_secrets_provider {
    secret_rotation_enabled = true
  }

  maintenance_window_auto_upgrade {
    frequency   = "Weekly"
    interval    = 1
    day_of_week = var.maintenance.day_of_week
    start_time  = var.maintenance.start_time
    utc_offset  = var.maintenance.utc_offset
    duration    = var.maintenance.hours
  }

  maintenance_window_node_os {
    frequency   = "Weekly"
    interval    = 1
    day_of_week = var.maintenance.day_of_week
    start_time  = var.maintenance.start_time
    utc_offset  = var.maintenance.utc_offset
    duration    = var.maintenance.hours
  }

  dynamic "monitor_metrics" {
    for_each = var.metrics_enabled ? [1] : []
    content {}
  }

  dynamic "oms_agent" {
    for_each = var.logs_enabled ? [1] : []
    content {
      log_analytics_workspace_id      = var.log_analytics_workspace_id
      msi_auth_for_monitoring_enabled = true
    }
  }

  dynamic "microsoft_defender" {
    for_each = var.cluster.defender_enabled && var.logs_enabled ? [1] : []
    content {
      log_analytics_workspace_id = var.log_analytics_workspace_id
    }
  }

  lifecycle {
    ignore_changes = [
      default_node_pool[0].node_count, # the autoscaler's
      kubernetes_version,              # the upgrade channel's, after the first
    ]
  }

  depends_on = [
    azurerm_role_assignment.control_plane_network,
    azurerm_role_assignment.control_plane_kubelet,
  ]
}

resource "azurerm_kubernetes_cluster_node_pool" "user" {
  #checkov:skip=CKV_AZURE_227:The hosts encrypt by default (cluster.host_encryption), which the check can't follow into an object.
  name                        = local.user_name
  temporary_name_for_rotation = "${local.user_name}tmp"
  kubernetes_cluster_id       = azurerm_kubernetes_cluster.this.id
  mode                        = "User"
  vm_size                     = var.user_pool.vm_size
  zones                       = var.zones
  vnet_subnet_id              = var.nodes_subnet_id
  auto_scaling_enabled        = true
  min_count                   = var.user_pool.min_count
  max_count                   = var.user_pool.max_count
  max_pods                    = local.max_pods
  host_encryption_enabled     = var.cluster.host_encryption
  node_labels                 = { (local.node_label) = local.user_name }
  tags                        = var.tags

  upgrade_settings {
    max_surge                     = "33%"
    drain_timeout_in_minutes      = local.drain_minutes # AKS's own 30 would fail the upgrade, or cut jobs short
    undrainable_node_behavior     = "Cordon"
    node_soak_duration_in_minutes = 0
  }

  lifecycle {
    ignore_changes = [node_count]
  }
}

resource "azurerm_kubernetes_cluster_node_pool" "worker" {
  #checkov:skip=CKV_AZURE_227:The hosts encrypt by default (cluster.host_encryption), which the check can't follow into an object.
  for_each = var.worker_pools

  name                        = each.key
  temporary_name_for_rotation = "tmp${substr(each.key, 0, 9)}"
  kubernetes_cluster_id       = azurerm_kubernetes_cluster.this.id
  mode                        = "User"
  vm_size                     = each.value.vm_size
  zones                       = var.zones
  vnet_subnet_id              = var.nodes_subnet_id
  auto_scaling_enabled        = true
  min_count                   = each.value.min_count
  max_count                   = each.value.max_count
  max_pods                    = local.max_pods
  host_encryption_enabled     = var.cluster.host_encryption
  priority                    = each.value.spot ? "Spot" : "Regular"
  eviction_policy             = each.value.spot ? "Delete" : null
  spot_max_price              = each.value.spot ? -1 : null # up to the price on demand
  node_labels = merge(
    { (local.node_label) = each.key },
    each.value.spot ? { (local.spot_label) = "spot" } : {},
  )
  node_taints = concat(
    ["${local.node_label}=${each.key}:NoSchedule"],
    each.value.spot ? [local.spot_taint] : [],
  )
  tags = var.tags

  # Spot nodes are not surged, and go when Azure wants them.
  dynamic "upgrade_settings" {
    for_each = each.value.spot ? [] : [1]
    content {
      max_surge                     = "33%"
      drain_timeout_in_minutes      = local.drain_minutes
      undrainable_node_behavior     = "Cordon"
      node_soak_duration_in_minutes = 0
    }
  }

  lifecycle {
    ignore_changes = [node_count]
  }
}

resource "azurerm_role_assignment" "operator" {
  scope                = azurerm_kubernetes_cluster.this.id
  role_definition_name = "Azure Kubernetes Service RBAC Cluster Admin"
  principal_id         = var.operator_object_id
}
