# What `helm install` takes: charts/longhaul's values, as far as they follow from what is here.
locals {
  secret_names = { postgres = "longhaul-postgres", redis = "longhaul-redis" }

  # Keys of that Secret. The migration's account owns the tables.
  database_keys = { for component in ["api", "worker", "controller", "migrate"] : component =>
    var.separate_accounts && component != "migrate" ? "${component}-url" : "url"
  }

  on_user_pool = { (module.aks.node_label) = module.aks.user_pool_name }
  endpoints    = [{ ipBlock = { cidr = module.network.endpoints_address_prefix } }]

  # Pods get tokens for their identities by this label; the annotation says which.
  pod_labels = { "azure.workload.identity/use" = "true" }
  service_accounts = { for component in local.components : component => {
    annotations = { "azure.workload.identity/client-id" = module.identity.client_ids[component] }
  } }

  # Tokens come from Microsoft's addresses.
  https_outside = {
    to = [{ ipBlock = {
      cidr   = "0.0.0.0/0"
      except = ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]
    } }]
    ports = [{ protocol = "TCP", port = 443 }]
  }

  helm_values = merge(concat(
    [{
      image   = merge({ registry = module.registry.login_server }, var.image_tag == null ? {} : { tag = var.image_tag })
      backing = { enabled = false }
      database = {
        existingSecret = local.secret_names.postgres
        port           = 5432
        keys           = local.database_keys
      }
      redis = {
        existingSecret = local.secret_names.redis
        tls            = true
        databaseIndex  = 0
        port           = module.data.redis_port
      }
      keda = { namespace = var.cluster.keda_enabled ? "kube-system" : "keda" }
      api = {
        autoscaling = {
          minReplicas = module.sizing.api_min_replicas
          maxReplicas = module.sizing.api_max_replicas
        }
        resources      = local.pod_resources.api
        serviceAccount = local.service_accounts.api
        podLabels      = local.pod_labels
        nodeSelector   = local.on_user_pool
      }
      worker = {
        serviceAccount = local.service_accounts.worker
        poolDefaults = {
          slots         = module.sizing.keda_target
          maxJobSeconds = var.max_job_seconds
          autoscaling   = { maxReplicas = module.sizing.worker_max_replicas }
          resources     = local.pod_resources.worker
          podLabels     = local.pod_labels
          nodeSelector  = local.on_user_pool
        }
        pools = merge({ default = {} }, local.worker_pools)
      }
      controller = {
        serviceAccount = local.service_accounts.controller
        podLabels      = local.pod_labels
        nodeSelector   = local.on_user_pool
      }
      jobs = { nodeSelector = local.on_user_pool }
      networkPolicy = {
        databaseTo    = local.endpoints
        redisTo       = local.endpoints
        resultStoreTo = local.endpoints
        apiEgress     = var.results.enabled ? [local.https_outside] : []
      }
      priorityClass = { create = true }
    }],
    [for container in module.data.results_container_name[*] : {
      resultStore = {
        url     = "az://${container}/${local.release}"
        options = { azure_storage_account_name = module.data.results_account_name }
      }
    }],
    # KEDA scales the headroom by the clock: nodes that nothing else needs go with it.
    [for hours in var.off_hours[*] : {
      headroom = {
        enabled      = true
        replicas     = hours.room_for_pods
        nodeSelector = local.on_user_pool
      }
      extraObjects = [{
        apiVersion = "keda.sh/v1alpha1"
        kind       = "ScaledObject"
        metadata   = { name = "${local.release}-headroom" }
        spec = {
          scaleTargetRef  = { name = "${local.release}-headroom" }
          minReplicaCount = 0
          maxReplicaCount = hours.room_for_pods
          triggers = [{
            type = "cron"
            metadata = {
              timezone        = hours.timezone
              start           = hours.start
              end             = hours.end
              desiredReplicas = tostring(hours.room_for_pods)
            }
          }]
        }
      }]
    }],
  )...)

  worker_pools = { for name, pool in var.worker_pools : name => merge(concat(
    [{
      queues       = pool.queues
      slots        = pool.slots
      resources    = local.pod_resources["pool ${name}"]
      autoscaling  = { minReplicas = 0, maxReplicas = local.pool_replicas[name] }
      nodeSelector = { (module.aks.node_label) = name }
      tolerations  = [{ key = module.aks.node_label, operator = "Equal", value = name, effect = "NoSchedule" }]
    }],
    # Azure takes a spot node back 30 s after it said so.
    [for spot in [{ spot = true, drainSeconds = 20, handoverSeconds = 20 }] : spot if pool.spot],
  )...) }

  secrets_values = {
    name     = "${local.release}-secrets"
    vault    = module.data.key_vault_name
    tenantId = data.azurerm_client_config.current.tenant_id
    clientId = module.identity.client_ids.secrets
    secrets = {
      (local.secret_names.postgres) = { for key in toset(values(local.database_keys)) : key => "postgres-${key}" }
      (local.secret_names.redis)    = { url = "redis-url", address = "redis-address", password = "redis-password" }
    }
    nodeSelector = local.on_user_pool
  }
}
