output "api_min_replicas" {
  description = "API pods at least."
  value       = local.given.api_min_replicas
}

output "api_max_replicas" {
  description = "API pods at most: the rate over a pod's, times the headroom, rounded up."
  value       = local.api_max_replicas
}

output "worker_max_replicas" {
  description = "Worker pods at most: tasks at once over a pod's slots, rounded up."
  value       = local.worker_max_replicas
}

output "keda_target" {
  description = "Jobs for each worker pod, KEDA's target: its slots."
  value       = local.given.tasks_per_worker
}

output "peak_cpu" {
  description = "What the pods request at the peak, in vCPU."
  value       = local.peak_cpu
}

output "peak_memory_gib" {
  description = "What the pods request at the peak, in GiB."
  value       = local.peak_memory_gib
}

output "guide_nodes" {
  description = "Nodes at the peak as the guide has them: what pods request over what a node has."
  value       = local.guide_nodes
}

output "guide_nodes_max" {
  description = "The guide's nodes with the headroom."
  value       = local.nodes_max.guide
}

output "workers_per_node" {
  description = "Whole worker pods on a node beside its DaemonSets."
  value       = local.workers_per_node
}

output "packed_nodes" {
  description = "Nodes at the peak as the scheduler needs them: workers first, API pods into what is left, further nodes for the rest."
  value       = local.packed_nodes
}

output "packed_nodes_max" {
  description = "The packed nodes with the headroom: the autoscaler's limit."
  value       = local.nodes_max.packed
}

output "oversubscription" {
  description = "vCPU that a full worker's tasks want over what its pod requests."
  value       = local.given.tasks_per_worker * local.given.task_cpu / local.given.worker_cpu
}

output "node_min" {
  description = "Nodes at least."
  value       = local.given.node_min
}

output "requests" {
  description = "What a pod of the API and a worker request: vCPU and GiB."
  value = {
    api    = { cpu = local.given.api_cpu, memory_gib = local.given.api_memory_gib }
    worker = { cpu = local.given.worker_cpu, memory_gib = local.given.worker_memory_gib }
  }
}
