output "get_credentials" {
  description = "The command that lets kubectl and helm reach the cluster."
  value       = "az aks get-credentials --resource-group ${azurerm_resource_group.this.name} --name ${module.aks.name}"
}

output "helm_values" {
  description = "Values for `helm install longhaul charts/longhaul`, as YAML: `terraform output -raw helm_values`."
  value = yamlencode({
    image   = { registry = var.image_registry }
    keda    = { namespace = "kube-system" }
    backing = { enabled = true }
    api = { autoscaling = {
      minReplicas = module.sizing.api_min_replicas
      maxReplicas = module.sizing.api_max_replicas
    } }
    worker = { poolDefaults = { autoscaling = { maxReplicas = module.sizing.worker_max_replicas } } }
  })
}
