# The sizing guide's case, with nothing said but where: what is made, and what `helm install` gets.

mock_provider "azurerm" {
  source = "./tests/mocks"
}
mock_provider "helm" {}
mock_provider "kubernetes" {}
mock_provider "time" {}
mock_provider "random" {
  mock_resource "random_string" {
    defaults = { result = "abc12" }
  }
  mock_resource "random_password" {
    defaults = { result = "0123456789abcdefghijABCDEFGHIJ0123456789" }
  }
}

variables {
  location = "westeurope"
}

run "guide" {
  command = apply

  # --- pods
  assert {
    condition = (
      yamldecode(output.helm_values).api.autoscaling == { minReplicas = 3, maxReplicas = 8 } &&
      yamldecode(output.helm_values).worker.poolDefaults.autoscaling.maxReplicas == 200 &&
      yamldecode(output.helm_values).worker.poolDefaults.slots == 5
    )
    error_message = "3 to 8 API pods, up to 200 workers of 5 slots."
  }
  assert {
    condition = yamldecode(output.helm_values).worker.poolDefaults.resources == {
      requests = { cpu = "500m", memory = "512Mi" }
      limits   = { cpu = "1000m", memory = "1Gi" }
    }
    error_message = "A worker requests 500m and 512Mi, and is limited to twice of both."
  }
  assert {
    condition     = yamldecode(output.helm_values).worker.pools.default == {}
    error_message = "The pool default is as the defaults are."
  }
  assert {
    condition = (
      yamldecode(output.helm_values).worker.pools.long.tolerations[0].value == "long" &&
      yamldecode(output.helm_values).worker.pools.long.nodeSelector == { "longhaul.dev/nodes" = "long" } &&
      yamldecode(output.helm_values).worker.pools.long.autoscaling == { minReplicas = 0, maxReplicas = 70 } &&
      !can(yamldecode(output.helm_values).worker.pools.long.spot)
    )
    error_message = "The pool long runs on its own nodes alone, up to 7 pods on each of 10, and from none."
  }
  assert {
    condition     = yamldecode(output.helm_values).worker.pools.batch.spot && yamldecode(output.helm_values).worker.pools.batch.drainSeconds == 20
    error_message = "A spot node gives 30 s: its workers drain in 20."
  }
  assert {
    condition     = !strcontains(output.helm_values, "0123456789abcdefghij") && !strcontains(output.helm_values, "bW9jaw")
    error_message = "The values hold neither PostgreSQL's password nor Redis' key."
  }

  # --- nodes
  assert {
    condition     = module.aks.node_counts == { system = [2, 3], user = [2, 33], long = [0, 10], batch = [0, 10] }
    error_message = "2 to 3 system nodes as the guide's; 2 to 33 for users: the guide's 30 are too few for whole pods; 0 to 10 in each worker pool."
  }
  assert {
    condition     = output.sizing.guide_nodes == 27 && output.sizing.guide_nodes_max == 30 && output.sizing.packed_nodes == 30
    error_message = "The guide's own figures are told, too."
  }
  assert {
    condition     = module.aks.graceful_seconds == 3660 && module.aks.drain_minutes == 61
    error_message = "What takes a node away waits for an hour's job and its grace."
  }

  # --- secrets
  assert {
    condition     = yamldecode(output.secrets_values).secrets["longhaul-redis"] == { url = "redis-url", address = "redis-address", password = "redis-password" }
    error_message = "The Secret for Redis has what the chart reads of it."
  }
}

run "separate_accounts" {
  command = plan
  variables {
    separate_accounts = true
  }

  assert {
    condition = (
      yamldecode(output.helm_values).database.keys == { api = "api-url", worker = "worker-url", controller = "controller-url", migrate = "url" } &&
      yamldecode(output.secrets_values).secrets["longhaul-postgres"] == {
        url = "postgres-url", api-url = "postgres-api-url", worker-url = "postgres-worker-url", controller-url = "postgres-controller-url"
      }
    )
    error_message = "Each component reads the URL of its own account, and the migration the owner's."
  }
}
