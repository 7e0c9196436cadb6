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

variable "address_space" {
  description = "The virtual network, an IPv4 range of /20 or larger. Pods have ranges of their own (overlay)."
  type        = string
  default     = "10.40.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.address_space, 0)) && tonumber(split("/", var.address_space)[1]) <= 20
    error_message = "The virtual network needs an IPv4 range of /20 or larger, such as 10.40.0.0/16."
  }
}

variable "nat_gateway_enabled" {
  description = "Let nodes reach the internet from one fixed address, through a NAT gateway; through the cluster's load balancer where false."
  type        = bool
  default     = true
  nullable    = false
}

variable "private_dns_zones" {
  description = "Private DNS zones to make and link, by a short name; those of the private endpoints."
  type        = map(string)
  default = {
    blob     = "privatelink.blob.core.windows.net"
    postgres = "privatelink.postgres.database.azure.com"
    redis    = "privatelink.redis.azure.net"
    registry = "privatelink.azurecr.io"
    vault    = "privatelink.vaultcore.azure.net"
  }
  nullable = false
}
