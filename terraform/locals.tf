locals {
  release    = "longhaul"
  namespace  = var.namespace
  tags       = merge({ application = local.release, environment = var.name }, var.tags)
  components = ["api", "worker", "controller"]

  # --- nodes
  user_min = coalesce(var.user_pool.min_count, module.sizing.node_min)
  user_max = coalesce(var.user_pool.max_count, module.sizing.packed_nodes_max)

  # --- pods
  resources = module.sizing.requests

  # Limits are twice the requests, as the sizing guide's.
  pod_resources = { for name, wants in merge(local.resources, local.pool_resources) : name => {
    for level, factor in { requests = 1, limits = 2 } : level => {
      cpu                           = "${ceil(wants.cpu * 1000) * factor}m"
      memory = (
        ceil(wants.memory_gib * 1024) * factor % 1024 == 0
        ? "${ceil(wants.memory_gib * 1024) * factor / 1024}Gi"
        : "${ceil(wants.memory_gib * 1024) * factor}Mi"
      )
    }
  } }
  pool_resources = { for name, pool in var.worker_pools : "pool ${name}" => {
    cpu        = coalesce(pool.cpu, local.resources.worker.cpu)
    memory_gib = coalesce(pool.memory_gib, local.resources.worker.memory_gib)
  } }

  # Of PostgreSQL: one a worker, eight an API pod, five a controller.
  sessions = (
    module.sizing.worker_max_replicas + sum(concat([0], values(local.pool_replicas)))
    + 8 * module.sizing.api_max_replicas + 2 * 5
  )
  pool_replicas = { for name, pool in var.worker_pools : name => coalesce(
    pool.max_replicas, pool.max_count * module.sizing.workers_per_node
  ) }

  kubelogin = {
    api_version = "client.authentication.k8s.io/v1"
    command     = "kubelogin"
    args        = ["get-token", "--login", "azurecli", "--server-id", "6dae42f8-4368-4678-94ff-3960e28e3630"] # AKS itself
  }
}
