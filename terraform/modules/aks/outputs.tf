output "id" {
  description = "The cluster's id."
  value       = azurerm_kubernetes_cluster.this.id
}

output "name" {
  description = "The cluster's name."
  value       = azurerm_kubernetes_cluster.this.name
}

output "node_resource_group" {
  description = "Where AKS keeps the nodes."
  value       = azurerm_kubernetes_cluster.this.node_resource_group
}

output "oidc_issuer_url" {
  description = "Who issues the pods' tokens, for workload identities."
  value       = azurerm_kubernetes_cluster.this.oidc_issuer_url
}

output "kubelet_principal_id" {
  description = "The identity that pulls images."
  value       = azurerm_user_assigned_identity.kubelet.principal_id
}

output "host" {
  description = "Address of the Kubernetes API."
  value       = azurerm_kubernetes_cluster.this.kube_config[0].host
  sensitive   = true
}

output "cluster_ca_certificate" {
  description = "The certificate that the Kubernetes API is known by, base64."
  value       = azurerm_kubernetes_cluster.this.kube_config[0].cluster_ca_certificate
  sensitive   = true
}

output "graceful_seconds" {
  description = "How long the cluster autoscaler waits for a pod."
  value       = local.graceful_seconds
}

output "drain_minutes" {
  description = "How long an upgrade waits for a node's pods."
  value       = local.drain_minutes
}

output "node_label" {
  description = "Label of nodes that holds their pool's name."
  value       = local.node_label
}

output "user_pool_name" {
  description = "Name of the user pool."
  value       = local.user_name
}

output "node_counts" {
  description = "Fewest and most nodes of each pool, by name."
  value = merge(
    { (local.system_name) = [var.system_pool.min_count, var.system_pool.max_count] },
    { (local.user_name) = [var.user_pool.min_count, var.user_pool.max_count] },
    { for name, pool in var.worker_pools : name => [pool.min_count, pool.max_count] },
  )
}
