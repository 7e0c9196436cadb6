variable "subscription_id" {
  description = "The subscription; ARM_SUBSCRIPTION_ID where null."
  type        = string
  default     = null
}

variable "location" {
  description = "Region, such as westeurope."
  type        = string
}

variable "image_registry" {
  description = "Where Longhaul's images are, such as registry.example.com/team. Nodes must be able to pull from there."
  type        = string
}
