mock_provider "helm" {}
mock_provider "kubernetes" {}

variables {
  chart          = "../../../charts/longhaul"
  values         = ["backing: {enabled: false}"]
  secrets_values = "vault: longhaul"
}

run "with_the_add_on" {
  command = plan

  assert {
    condition     = length(helm_release.keda) == 0
    error_message = "Two KEDAs would fight: where the cluster has the add-on, none is installed."
  }
  assert {
    condition     = kubernetes_namespace_v1.this.metadata[0].labels["pod-security.kubernetes.io/enforce"] == "restricted"
    error_message = "The namespace enforces what every pod passes."
  }
}

run "with_keda" {
  command = plan
  variables {
    keda = "2.21.0"
  }

  assert {
    condition     = helm_release.keda[0].version == "2.21.0" && yamldecode(helm_release.keda[0].values[0]).operator.replicaCount == 2
    error_message = "KEDA's operator has a second replica, as in k8s/addons/keda.values.yaml."
  }
}
