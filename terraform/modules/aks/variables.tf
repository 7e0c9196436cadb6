variable "name" {
  description = "What names start with."
  type        = string
}

variable "resource_group_name" {
  description = "Where the cluster goes."
  type        = string
}

variable "resource_group_id" {
  description = "The same resource group's id: the control plane's rights on its network end there."
  type        = string
}

variable "location" {
  description = "Region."
  type        = string
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "zones" {
  description = "Availability zones that nodes are spread over; none where the region has none."
  type        = set(string)
  default     = ["1", "2", "3"]
  nullable    = false
}

variable "nodes_subnet_id" {
  description = "Where nodes go."
  type        = string
}

variable "outbound_type" {
  description = "How nodes reach the internet: loadBalancer, userAssignedNATGateway, or userDefinedRouting through a firewall of yours."
  type        = string
  default     = "loadBalancer"
  nullable    = false

  validation {
    condition     = contains(["loadBalancer", "userAssignedNATGateway", "userDefinedRouting"], var.outbound_type)
    error_message = "Nodes reach the internet by loadBalancer, userAssignedNATGateway or userDefinedRouting: choose one."
  }
}

variable "outbound_ip" {
  description = "The address that nodes come from behind a NAT gateway; null otherwise. A guarded control plane must let them in."
  type        = string
  default     = null
}

variable "cluster" {
  description = "The control plane."
  type = object({
    kubernetes_version     = optional(string)             # Azure's default where null
    sku_tier               = optional(string, "Standard") # with an SLA; Free has none
    private                = optional(bool, false)        # reached from the network alone
    authorized_ip_ranges   = optional(set(string), [])    # who may reach a public one; everyone where empty
    admin_group_object_ids = optional(list(string), [])   # Entra groups that may do everything
    upgrade_channel        = optional(string, "patch")
    keda_enabled           = optional(bool, true) # the managed add-on
    defender_enabled       = optional(bool, false)
    host_encryption        = optional(bool, true)
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["Free", "Standard", "Premium"], var.cluster.sku_tier)
    error_message = "The control plane's tier is Free, Standard or Premium: set sku_tier to one of them."
  }
  validation {
    condition     = contains(["patch", "stable", "rapid", "node-image", "none"], var.cluster.upgrade_channel)
    error_message = "The upgrade channel is patch, stable, rapid, node-image or none: set upgrade_channel to one of them."
  }
  validation {
    condition     = !var.cluster.private || length(var.cluster.authorized_ip_ranges) == 0
    error_message = "A private cluster has no public address to guard: leave authorized_ip_ranges empty, or set private to false."
  }
  validation {
    condition     = alltrue([for range in var.cluster.authorized_ip_ranges : can(cidrhost(range, 0))])
    error_message = "Who may reach the cluster is given as IPv4 ranges, such as 198.51.100.7/32: correct authorized_ip_ranges."
  }
}

variable "max_job_seconds" {
  description = "How long a job may need to end when its pod must go: the chart's maxJobSeconds. What takes nodes away waits as long."
  type        = number
  default     = 3600
  nullable    = false

  validation {
    condition     = var.max_job_seconds >= 1 && var.max_job_seconds <= 84600 && var.max_job_seconds == floor(var.max_job_seconds)
    error_message = "AKS drains a node for at most 24 h: set max_job_seconds to a whole number from 1 to 84600, and let longer jobs checkpoint."
  }
}

variable "system_pool" {
  description = "Nodes for what AKS itself runs: the sizing guide's 2 to 3 Standard_DS2_v2."
  type = object({
    vm_size   = optional(string, "Standard_DS2_v2")
    min_count = optional(number, 2)
    max_count = optional(number, 3)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.system_pool.min_count >= 1 && var.system_pool.min_count <= var.system_pool.max_count
    error_message = "The system pool needs at least one node and at most max_count: correct min_count or max_count."
  }
}

variable "user_pool" {
  description = "Nodes for the API, the controller and the default workers."
  type = object({
    vm_size   = optional(string, "Standard_D4s_v5")
    min_count = optional(number, 2)
    max_count = number
  })
  nullable = false

  validation {
    condition     = var.user_pool.min_count >= 1 && var.user_pool.min_count <= var.user_pool.max_count
    error_message = "The user pool needs at least one node, for the API, and at most max_count: correct min_count or max_count."
  }
}

variable "worker_pools" {
  description = "Further nodes, for workers alone, by name: tainted, and from 0 where nothing runs."
  type = map(object({
    vm_size   = optional(string, "Standard_D4s_v5")
    spot      = optional(bool, false)
    min_count = optional(number, 0)
    max_count = optional(number, 10)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.worker_pools) : can(regex("^[a-z][a-z0-9]{0,11}$", name)) && !contains(["system", "user"], name)])
    error_message = "AKS names node pools with at most 12 lower-case letters and digits, a letter first, and system and user are taken: rename the worker pool."
  }
  validation {
    condition     = alltrue([for pool in values(var.worker_pools) : pool.min_count >= 0 && pool.min_count <= pool.max_count])
    error_message = "A worker pool has min_count nodes at least and max_count at most: correct the pool whose min_count is negative or more than its max_count."
  }
}

variable "maintenance" {
  description = "When Azure may upgrade: the cluster once a week, node images on every such day, too."
  type = object({
    day_of_week = optional(string, "Sunday")
    start_time  = optional(string, "02:00")
    utc_offset  = optional(string, "+00:00")
    hours       = optional(number, 8)
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"], var.maintenance.day_of_week)
    error_message = "Maintenance is on a day from Monday to Sunday: correct day_of_week."
  }
  validation {
    condition     = can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]$", var.maintenance.start_time)) && can(regex("^[+-][0-9]{2}:[0-9]{2}$", var.maintenance.utc_offset))
    error_message = "Maintenance starts at a time such as 02:00, at an offset such as +01:00: correct start_time or utc_offset."
  }
  validation {
    condition     = var.maintenance.hours >= 4 && var.maintenance.hours <= 24
    error_message = "Azure wants a maintenance window of 4 to 24 hours: correct hours."
  }
}

variable "log_analytics_workspace_id" {
  description = "Where the control plane's and the containers' logs go; null for no logs."
  type        = string
  default     = null
}

variable "logs_enabled" {
  description = "Whether that workspace is there, which must be known before it is made."
  type        = bool
  default     = false
  nullable    = false
}

variable "metrics_enabled" {
  description = "Collect metrics for Azure Monitor's managed Prometheus."
  type        = bool
  default     = false
  nullable    = false
}

variable "operator_object_id" {
  description = "Who runs Terraform: may do everything in the cluster, whose local accounts are off."
  type        = string
}
