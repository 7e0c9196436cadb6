output "virtual_network_id" {
  description = "The virtual network, to peer it with yours."
  value       = azurerm_virtual_network.this.id
}

output "nodes_subnet_id" {
  description = "Where nodes go. Known once its way out is there, too."
  value       = azurerm_subnet.nodes.id
  depends_on = [
    azurerm_nat_gateway_public_ip_association.this,
    azurerm_subnet_nat_gateway_association.nodes,
    azurerm_subnet_network_security_group_association.nodes,
  ]
}

output "endpoints_subnet_id" {
  description = "Where private endpoints go."
  value       = azurerm_subnet.endpoints.id
  depends_on = [
    azurerm_private_dns_zone_virtual_network_link.this,
    azurerm_subnet_network_security_group_association.endpoints,
  ]
}

output "endpoints_address_prefix" {
  description = "Range of the private endpoints, for NetworkPolicies."
  value       = cidrsubnet(var.address_space, 6, 16)
}

output "private_dns_zone_ids" {
  description = "The private DNS zones, by short name."
  value       = { for name, zone in azurerm_private_dns_zone.this : name => zone.id }
}

output "outbound_ip" {
  description = "Address that nodes reach the internet from; null without the NAT gateway."
  value       = one(azurerm_public_ip.nat[*].ip_address)
}

output "outbound_type" {
  description = "How nodes reach the internet, as AKS names it."
  value       = var.nat_gateway_enabled ? "userAssignedNATGateway" : "loadBalancer"
}
