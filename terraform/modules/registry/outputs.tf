output "id" {
  description = "The registry's id."
  value       = azurerm_container_registry.this.id
}

output "name" {
  description = "The registry's name, for `az acr login`."
  value       = azurerm_container_registry.this.name
}

output "login_server" {
  description = "The registry's address: the chart's `image.registry`."
  value       = azurerm_container_registry.this.login_server
}
