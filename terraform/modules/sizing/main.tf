# The sizing guide's arithmetic, and what it leaves out: whole pods are packed onto nodes, beside DaemonSets.
# `longhaul size` says the same with its reasons; a test compares the two.
locals {
  given = var.assumptions

  # What is rounded up is first rounded to its ninth digit: 30 * 1.1 is 33, and not a little more, which would be 34.
  digits = 1000000000

  # --- pods
  api_max_replicas = max(local.given.api_min_replicas, ceil(floor(
    local.given.request_rate_per_second / local.given.api_requests_per_second_per_pod * local.given.api_headroom * local.digits + 0.5
  ) / local.digits))
  worker_max_replicas = ceil(local.given.concurrent_tasks / local.given.tasks_per_worker)

  # --- nodes as the guide divides them
  peak_cpu        = local.api_max_replicas * local.given.api_cpu + local.worker_max_replicas * local.given.worker_cpu
  peak_memory_gib = local.api_max_replicas * local.given.api_memory_gib + local.worker_max_replicas * local.given.worker_memory_gib
  guide_nodes = max(local.given.node_min, ceil(floor(max(
    local.peak_cpu / local.given.node_cpu,
    local.peak_memory_gib / local.given.node_memory_gib,
  ) * local.digits + 0.5) / local.digits))

  # --- nodes as the scheduler fills them, in millicores and MiB, as Kubernetes counts
  whole = { for name, value in local.given : name => floor(
    value * (endswith(name, "_gib") ? 1024 : 1000) + 0.5
  ) if endswith(name, "_cpu") || endswith(name, "_gib") }

  # What a node has for pods that are not DaemonSets'.
  room_cpu         = local.whole.node_cpu - local.whole.node_daemons_cpu
  room_memory      = local.whole.node_memory_gib - local.whole.node_daemons_memory_gib
  workers_per_node = floor(min(local.room_cpu / local.whole.worker_cpu, local.room_memory / local.whole.worker_memory_gib))

  full_nodes   = floor(local.worker_max_replicas / local.workers_per_node)
  last_workers = local.worker_max_replicas - local.full_nodes * local.workers_per_node

  # API pods beside so many workers on one node.
  api_places = { for workers in toset([0, local.last_workers, local.workers_per_node]) : workers => floor(min(
    (local.room_cpu - workers * local.whole.worker_cpu) / local.whole.api_cpu,
    (local.room_memory - workers * local.whole.worker_memory_gib) / local.whole.api_memory_gib,
  )) }
  api_beside_workers = (
    local.full_nodes * local.api_places[local.workers_per_node]
    + (local.last_workers > 0 ? local.api_places[local.last_workers] : 0)
  )
  api_left = max(0, local.api_max_replicas - local.api_beside_workers)
  packed_nodes = max(
    local.given.node_min,
    local.full_nodes + (local.last_workers > 0 ? 1 : 0) + ceil(local.api_left / local.api_places[0]),
  )

  nodes_max = { for name, nodes in { guide = local.guide_nodes, packed = local.packed_nodes } :
    name => ceil(floor(nodes * local.given.node_headroom * local.digits + 0.5) / local.digits)
  }
}
