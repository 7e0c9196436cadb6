# The rules of Terraform itself, all of them. Those of Azure need a plugin of their own, and check values that only
# `terraform plan` against Azure can.
config {
  call_module_type = "local"
}

plugin "terraform" {
  enabled = true
  preset  = "all"
}
