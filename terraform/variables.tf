# Attributes without a default here have theirs in the module that takes them, where it is explained.

variable "subscription_id" {
  description = "The subscription; ARM_SUBSCRIPTION_ID where null."
  type        = string
  default     = null
}

variable "name" {
  description = "What names start with: one for each environment."
  type        = string
  default     = "longhaul"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,14}[a-z0-9]$", var.name))
    error_message = "Names are made from 3 to 16 lower-case letters, digits and dashes, a letter first: choose another name."
  }
}

variable "location" {
  description = "Region, such as westeurope."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]+$", var.location))
    error_message = "A region is written like westeurope, without spaces: correct location."
  }
}

variable "zones" {
  description = "Availability zones of the region; [] where it has none."
  type        = set(string)
  default     = ["1", "2", "3"]
  nullable    = false
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "operator_cidrs" {
  description = "IPv4 ranges that Terraform and image pushes come from, such as 198.51.100.7/32. Empty: from the network alone."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for range in var.operator_cidrs : can(cidrhost(range, 0))])
    error_message = "Where Terraform runs is given as IPv4 ranges, such as 198.51.100.7/32: correct operator_cidrs."
  }
}

variable "assumptions" {
  description = "What is known about the load: `longhaul size --emit tfvars` writes it. Defaults, units and reasons: modules/sizing."
  type = object({
    request_rate_per_second         = optional(number)
    api_requests_per_second_per_pod = optional(number)
    api_headroom                    = optional(number)
    api_min_replicas                = optional(number)
    concurrent_tasks                = optional(number)
    tasks_per_worker                = optional(number)
    task_seconds                    = optional(number)
    task_cpu                        = optional(number)
    task_memory_gib                 = optional(number)
    worker_cpu                      = optional(number)
    worker_memory_gib               = optional(number)
    api_cpu                         = optional(number)
    api_memory_gib                  = optional(number)
    node_cpu                        = optional(number)
    node_memory_gib                 = optional(number)
    node_daemons_cpu                = optional(number)
    node_daemons_memory_gib         = optional(number)
    node_min                        = optional(number)
    node_headroom                   = optional(number)
  })
  default  = {}
  nullable = false
}

variable "max_job_seconds" {
  description = "How long the longest job may run on while its pod or node goes. The chart's drain, the cluster autoscaler and upgrades follow."
  type        = number
  default     = 3600
  nullable    = false
}

variable "network" {
  description = "The virtual network."
  type = object({
    address_space       = optional(string)
    nat_gateway_enabled = optional(bool)
  })
  default  = {}
  nullable = false
}

variable "cluster" {
  description = "The control plane."
  type = object({
    kubernetes_version     = optional(string)
    sku_tier               = optional(string)
    private                = optional(bool)
    authorized_ip_ranges   = optional(set(string))
    admin_group_object_ids = optional(list(string))
    upgrade_channel        = optional(string)
    keda_enabled           = optional(bool, true) # AKS's add-on; where false, `release` installs KEDA
    defender_enabled       = optional(bool)
    host_encryption        = optional(bool)
  })
  default  = {}
  nullable = false
}

variable "system_pool" {
  description = "Nodes for what AKS itself runs."
  type = object({
    vm_size   = optional(string)
    min_count = optional(number)
    max_count = optional(number)
  })
  default  = {}
  nullable = false
}

variable "user_pool" {
  description = "Nodes for the API, the controller and the default workers. The counts follow from the assumptions where null; the size must be the assumptions' own."
  type = object({
    vm_size   = optional(string)
    min_count = optional(number)
    max_count = optional(number)
  })
  default  = {}
  nullable = false
}

variable "worker_pools" {
  description = "Further pools by name, each of workers on nodes of their own: tainted, on demand or spot, and from 0 to max_count nodes."
  type = map(object({
    queues       = list(string)
    vm_size      = optional(string)
    spot         = optional(bool, false)
    min_count    = optional(number, 0)
    max_count    = optional(number, 10)
    slots        = optional(number, 1)
    cpu          = optional(number) # what a pod requests, vCPU; worker_cpu of the assumptions where null
    memory_gib   = optional(number)
    max_replicas = optional(number) # as many as fit on nodes of the assumptions' size where null
  }))
  default = {
    long  = { queues = ["long"] }
    batch = { queues = ["batch"], spot = true }
  }
  nullable = false

  validation {
    condition     = !contains(keys(var.worker_pools), "default")
    error_message = "The pool default is on the user pool, and sized by the assumptions: rename the worker pool."
  }
  validation {
    condition     = alltrue([for pool in values(var.worker_pools) : length(pool.queues) > 0])
    error_message = "A worker pool without a queue gets no jobs: name its queues."
  }
  validation {
    condition     = alltrue([for pool in values(var.worker_pools) : pool.slots >= 1 && pool.slots == floor(pool.slots)])
    error_message = "A worker pod runs at least one job at once: set slots to a whole number of 1 or more."
  }
}

variable "off_hours" {
  description = "In working hours room for so many worker pods is kept free, so that a burst waits for no node. Off hours it is not, and nodes go down to their least. null: never."
  type = object({
    room_for_pods = optional(number, 7) # one node of the sizing guide's
    timezone      = optional(string, "Europe/Berlin")
    start         = optional(string, "0 7 * * 1-5") # of working hours, cron
    end           = optional(string, "0 19 * * 1-5")
  })
  default = {}

  validation {
    condition     = var.off_hours == null || try(var.off_hours.room_for_pods >= 1, false)
    error_message = "Room is kept for at least one pod: set room_for_pods to 1 or more, or off_hours to null."
  }
  validation {
    condition     = var.off_hours == null || try(alltrue([for cron in [var.off_hours.start, var.off_hours.end] : length(split(" ", cron)) == 5]), false)
    error_message = "Working hours start and end at times of cron, such as 0 7 * * 1-5: correct start or end."
  }
}

variable "maintenance" {
  description = "When Azure may upgrade the cluster and its nodes."
  type = object({
    day_of_week = optional(string)
    start_time  = optional(string)
    utc_offset  = optional(string)
    hours       = optional(number)
  })
  default  = {}
  nullable = false
}

variable "postgres" {
  description = "The ledger."
  type = object({
    version               = optional(string)
    sku_name              = optional(string)
    storage_mb            = optional(number)
    zone_redundant        = optional(bool)
    pgbouncer_enabled     = optional(bool)
    backup_retention_days = optional(number)
    geo_redundant_backup  = optional(bool)
  })
  default  = {}
  nullable = false
}

variable "separate_accounts" {
  description = "Let each component use a PostgreSQL account of its own, once `accounts_sql` has made them; the owner's where false."
  type        = bool
  default     = false
  nullable    = false
}

variable "redis" {
  description = "The doorbells."
  type = object({
    sku_name          = optional(string)
    high_availability = optional(bool)
  })
  default  = {}
  nullable = false
}

variable "results" {
  description = "The result store."
  type = object({
    enabled              = optional(bool, true)
    replication          = optional(string)
    keep_deleted_in_days = optional(number)
  })
  default  = {}
  nullable = false
}

variable "registry_sku" {
  description = "The registry's size: Premium has a private endpoint and zones."
  type        = string
  default     = "Premium"
  nullable    = false
}

variable "monitoring" {
  description = "Logs, metrics and alerts in Azure Monitor."
  type = object({
    retention_in_days = optional(number)
    daily_quota_gb    = optional(number)
    alert_emails      = optional(set(string))
    monthly_budget    = optional(number) # in the subscription's currency; alert_emails are told
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.monitoring.monthly_budget == null || try(length(var.monitoring.alert_emails) > 0, false)
    error_message = "A budget tells somebody: set alert_emails, or monthly_budget to null."
  }
}

variable "namespace" {
  description = "Namespace of the release. The identities trust ServiceAccounts of it."
  type        = string
  default     = "longhaul"
  nullable    = false
}

variable "image_tag" {
  description = "Tag of Longhaul's images in the registry; the chart's own where null."
  type        = string
  default     = null
}

variable "release" {
  description = "Install the chart, too: for a second apply, once the images are in the registry. Needs kubelogin and a way to the cluster."
  type = object({
    enabled       = optional(bool, false)
    chart         = optional(string) # the folder beside this one where null
    chart_version = optional(string)
    keda_version  = optional(string, "2.21.0") # where cluster.keda_enabled is false
    values        = optional(list(string), []) # YAML, on top of helm_values
  })
  default  = {}
  nullable = false
}
