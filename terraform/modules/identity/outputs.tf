output "client_ids" {
  description = "Client ids of the identities, by component: for `azure.workload.identity/client-id`."
  value       = { for component, identity in azurerm_user_assigned_identity.this : component => identity.client_id }
}

output "principal_ids" {
  description = "Object ids of the identities, by component: to give a component further rights."
  value       = { for component, identity in azurerm_user_assigned_identity.this : component => identity.principal_id }
}
