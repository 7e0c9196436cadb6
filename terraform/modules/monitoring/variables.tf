variable "name" {
  description = "What names start with."
  type        = string
}

variable "resource_group_name" {
  description = "Where everything goes."
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

variable "retention_in_days" {
  description = "How long logs are kept."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.retention_in_days >= 30 && var.retention_in_days <= 730
    error_message = "Logs are kept for 30 to 730 days: correct retention_in_days."
  }
}

variable "daily_quota_gb" {
  description = "Logs of a day, in GB, after which none are taken; -1 for no limit."
  type        = number
  default     = 5
  nullable    = false
}

variable "alert_emails" {
  description = "Who is told of alerts; nobody where empty, and then there are none."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for email in var.alert_emails : can(regex("^[^@ ]+@[^@ ]+$", email))])
    error_message = "Alerts go to addresses such as team@example.com: correct alert_emails."
  }
}

variable "cluster_id" {
  description = "The cluster."
  type        = string
}

variable "postgres_id" {
  description = "PostgreSQL."
  type        = string
}

variable "redis_id" {
  description = "Redis."
  type        = string
}

variable "budget" {
  description = "Tells `emails` when the month's costs reach 80 % of `amount` and when they will pass it, in the subscription's currency; null for none."
  type = object({
    amount               = number
    emails               = set(string)
    subscription_id      = string
    resource_group_names = list(string) # AKS keeps nodes in a group of their own
  })
  default = null

  validation {
    condition     = var.budget == null || try(var.budget.amount > 0 && length(var.budget.emails) > 0, false)
    error_message = "A budget has an amount above 0 and somebody to tell: correct amount or emails."
  }
}
