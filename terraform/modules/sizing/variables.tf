variable "assumptions" {
  description = "What is known about the load and the nodes. The defaults are the sizing guide's case: 100 requests/s, 1,000 tasks at once, 30 s on 0.5 vCPU and 512 MiB each, on Standard_D4s_v5."
  type = object({
    request_rate_per_second         = optional(number, 100)
    api_requests_per_second_per_pod = optional(number, 20)
    api_headroom                    = optional(number, 1.5) # pods over what the rate needs
    api_min_replicas                = optional(number, 3)   # one for each zone
    concurrent_tasks                = optional(number, 1000)
    tasks_per_worker                = optional(number, 5)   # slots of a pod
    task_seconds                    = optional(number, 30)  # the mean
    task_cpu                        = optional(number, 0.5) # vCPU
    task_memory_gib                 = optional(number, 0.5)
    worker_cpu                      = optional(number, 0.5) # what a worker pod requests, vCPU
    worker_memory_gib               = optional(number, 0.5)
    api_cpu                         = optional(number, 0.25) # what an API pod requests, vCPU
    api_memory_gib                  = optional(number, 0.25)
    node_cpu                        = optional(number, 3.8) # what a node has for pods, vCPU
    node_memory_gib                 = optional(number, 14)
    node_daemons_cpu                = optional(number, 0.25) # what DaemonSets take of it
    node_daemons_memory_gib         = optional(number, 0.5)
    node_min                        = optional(number, 2)
    node_headroom                   = optional(number, 1.1) # most nodes over those at the peak
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name, value in var.assumptions : value > 0 if !startswith(name, "node_daemons_")])
    error_message = "Every assumption is a number above 0 (only what DaemonSets take may be 0): correct ${join(", ", [for name, value in var.assumptions : name if !startswith(name, "node_daemons_") && value <= 0])}."
  }
  validation {
    condition     = var.assumptions.node_daemons_cpu >= 0 && var.assumptions.node_daemons_memory_gib >= 0
    error_message = "What DaemonSets take of a node can't be less than 0: correct node_daemons_cpu and node_daemons_memory_gib."
  }
  validation {
    condition     = var.assumptions.api_headroom >= 1 && var.assumptions.node_headroom >= 1
    error_message = "A headroom multiplies what is needed: set api_headroom and node_headroom to 1 or more."
  }
  validation {
    condition = alltrue([
      for name in ["concurrent_tasks", "tasks_per_worker", "api_min_replicas", "node_min"] :
      var.assumptions[name] == floor(var.assumptions[name])
    ])
    error_message = "Tasks, slots, replicas and nodes are whole: give concurrent_tasks, tasks_per_worker, api_min_replicas and node_min without a fraction."
  }
  validation {
    condition = (
      var.assumptions.worker_cpu <= var.assumptions.node_cpu - var.assumptions.node_daemons_cpu &&
      var.assumptions.worker_memory_gib <= var.assumptions.node_memory_gib - var.assumptions.node_daemons_memory_gib &&
      var.assumptions.api_cpu <= var.assumptions.node_cpu - var.assumptions.node_daemons_cpu &&
      var.assumptions.api_memory_gib <= var.assumptions.node_memory_gib - var.assumptions.node_daemons_memory_gib
    )
    error_message = "A worker or API pod does not fit on a node beside its DaemonSets: make its request smaller, or take larger nodes (node_cpu, node_memory_gib)."
  }
}
