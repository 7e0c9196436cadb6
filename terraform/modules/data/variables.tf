variable "name" {
  description = "What names start with."
  type        = string
}

variable "suffix" {
  description = "What makes names unique in all of Azure: up to 6 lower-case letters and digits."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]{1,6}$", var.suffix))
    error_message = "Names are made unique by 1 to 6 lower-case letters and digits: correct suffix."
  }
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

variable "endpoints_subnet_id" {
  description = "Where private endpoints go."
  type        = string
}

variable "private_dns_zone_ids" {
  description = "Private DNS zones: blob, postgres, redis and vault."
  type        = map(string)
}

variable "tenant_id" {
  description = "The Entra tenant."
  type        = string
}

variable "operator" {
  description = "Who runs Terraform: writes the secrets."
  type = object({
    object_id = string
    cidrs     = optional(set(string), []) # from where; from the network alone where empty
  })
}

variable "postgres" {
  description = "The ledger: PostgreSQL Flexible Server."
  type = object({
    version               = optional(string, "17")
    sku_name              = optional(string, "GP_Standard_D2ds_v5")
    storage_mb            = optional(number, 131072) # to begin with: it grows by itself
    zone_redundant        = optional(bool, true)     # a standby in another zone, written to before a commit answers
    pgbouncer_enabled     = optional(bool, true)     # on port 6432; not for Burstable
    backup_retention_days = optional(number, 14)
    geo_redundant_backup  = optional(bool, false)
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^(B|GP|MO)_Standard_[A-Z]+[0-9]+", var.postgres.sku_name))
    error_message = "A PostgreSQL size is named like GP_Standard_D2ds_v5: correct sku_name."
  }
  validation {
    condition     = !startswith(var.postgres.sku_name, "B_") || !(var.postgres.zone_redundant || var.postgres.pgbouncer_enabled)
    error_message = "Burstable PostgreSQL has neither a standby nor PgBouncer: set zone_redundant and pgbouncer_enabled to false, or take a GP_ or MO_ size."
  }
  validation {
    condition     = tonumber(var.postgres.version) >= 15
    error_message = "The ledger needs PostgreSQL 15 or newer: correct version."
  }
  validation {
    condition     = var.postgres.backup_retention_days >= 7 && var.postgres.backup_retention_days <= 35
    error_message = "Azure keeps backups for 7 to 35 days: correct backup_retention_days."
  }
}

variable "redis" {
  description = "The doorbells: Azure Managed Redis, not clustered."
  type = object({
    sku_name          = optional(string, "Balanced_B1") # 1 GB; B3 and B5 are the next, from 70 % memory on
    high_availability = optional(bool, true)
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(regex("^(Balanced_B(0|1|3|5|10|20)|MemoryOptimized_M(10|20)|ComputeOptimized_X(3|5|10|20))$", var.redis.sku_name))
    error_message = "Longhaul needs a Redis that is not clustered, which Azure has up to 25 GB: take one from Balanced_B0 to B20, MemoryOptimized_M10 or M20, or ComputeOptimized_X3 to X20."
  }
}

variable "results" {
  description = "The result store: a storage account for results that are too large for PostgreSQL."
  type = object({
    enabled              = optional(bool, true)
    replication          = optional(string, "ZRS")
    keep_deleted_in_days = optional(number, 14) # as far back as backups of PostgreSQL reach
  })
  default  = {}
  nullable = false

  validation {
    condition     = contains(["LRS", "ZRS", "GRS", "GZRS", "RAGRS", "RAGZRS"], var.results.replication)
    error_message = "Storage is replicated as LRS, ZRS, GRS, GZRS, RAGRS or RAGZRS: correct replication."
  }
}

variable "secrets_valid_hours" {
  description = "How long the secrets in the vault say that they are good; a reminder to rotate them, which nothing enforces."
  type        = number
  default     = 8760
  nullable    = false
}
