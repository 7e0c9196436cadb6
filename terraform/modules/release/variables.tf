variable "name" {
  description = "Name of the release."
  type        = string
  default     = "longhaul"
  nullable    = false
}

variable "namespace" {
  description = "Namespace of the release."
  type        = string
  default     = "longhaul"
  nullable    = false
}

variable "chart" {
  description = "Where the chart is: a folder, or an address such as oci://registry.example.com/charts/longhaul."
  type        = string
}

variable "chart_version" {
  description = "Version of the chart; that of the folder where null."
  type        = string
  default     = null
}

variable "values" {
  description = "The chart's values, as YAML; a later one wins."
  type        = list(string)
}

variable "secrets_values" {
  description = "Values of the chart `secrets`, as YAML."
  type        = string
}

variable "keda" {
  description = "Install KEDA of this version from its own chart; null where the cluster has it as an add-on."
  type        = string
  default     = null
}

variable "timeout_seconds" {
  description = "How long each release may take: images must be pulled, and nodes may have to come."
  type        = number
  default     = 900
  nullable    = false
}
