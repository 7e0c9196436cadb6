variable "name" {
  description = "Name of the registry: letters and digits, unique in all of Azure."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9]{5,50}$", var.name))
    error_message = "A registry's name has 5 to 50 letters and digits: choose another."
  }
}

variable "resource_group_name" {
  description = "Where the registry goes."
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

variable "sku" {
  description = "Premium has private endpoints and zones; Standard and Basic have a public address."
  type        = string
  default     = "Premium"
  nullable    = false

  validation {
    condition     = contains(["Basic", "Standard", "Premium"], var.sku)
    error_message = "A registry is Basic, Standard or Premium: choose one."
  }
}

variable "operator_cidrs" {
  description = "Addresses that may push to a Premium registry; from the network alone where empty."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "endpoints_subnet_id" {
  description = "Where the private endpoint of a Premium registry goes."
  type        = string
}

variable "private_dns_zone_id" {
  description = "Private DNS zone of registries."
  type        = string
}

variable "puller_principal_id" {
  description = "Who pulls images: the nodes."
  type        = string
}
