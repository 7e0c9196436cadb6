variable "name" {
  description = "What names start with."
  type        = string
}

variable "resource_group_name" {
  description = "Where identities go."
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

variable "oidc_issuer_url" {
  description = "Who issues the pods' tokens: the cluster."
  type        = string
}

variable "namespace" {
  description = "Namespace of the release."
  type        = string
}

variable "service_accounts" {
  description = "ServiceAccounts that get an identity, by component."
  type        = map(string)

  validation {
    condition     = length(setintersection(keys(var.service_accounts), ["api", "worker", "controller", "secrets"])) == 4 && length(var.service_accounts) == 4
    error_message = "Each component has an identity of its own: name the ServiceAccounts of api, worker, controller and secrets, and of nothing else."
  }
}

variable "results_container_id" {
  description = "The blob container with results, as Azure Resource Manager knows it; null without a result store."
  type        = string
  default     = null
}

variable "results_enabled" {
  description = "Whether there is such a container, which must be known before it is made."
  type        = bool
  default     = true
  nullable    = false
}

variable "role_scope" {
  description = "Id of the resource group that the roles on results belong to."
  type        = string
}

variable "secret_ids" {
  description = "Secrets of the vault that the identity `secrets` may read, by name, as Azure Resource Manager knows them; no others."
  type        = map(string)
  default     = {}
  nullable    = false
}
