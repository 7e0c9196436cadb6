resource "kubernetes_namespace_v1" "this" {
  metadata {
    name   = var.namespace
    labels = { "pod-security.kubernetes.io/enforce" = "restricted" }
  }
}

# The settings of k8s/addons/keda.values.yaml: the operator reads Redis every few seconds for each pool, so a second
# replica takes over when its node goes. AKS's add-on can't be told that.
resource "helm_release" "keda" {
  count = var.keda == null ? 0 : 1

  name             = "keda"
  namespace        = "keda"
  create_namespace = true
  repository       = "https://kedacore.github.io/charts"
  chart            = "keda"
  version          = var.keda
  values           = [yamlencode({ operator = { replicaCount = 2 } })]
  timeout          = var.timeout_seconds
}

# First: the migration, a hook, reads the Secrets before anything else of the release is there.
resource "helm_release" "secrets" {
  name      = "${var.name}-secrets"
  namespace = kubernetes_namespace_v1.this.metadata[0].name
  chart     = "${path.module}/secrets"
  values    = [var.secrets_values]
  timeout   = var.timeout_seconds
}

resource "helm_release" "longhaul" {
  name      = var.name
  namespace = kubernetes_namespace_v1.this.metadata[0].name
  chart     = var.chart
  version   = var.chart_version
  values    = var.values
  timeout   = var.timeout_seconds

  depends_on = [helm_release.secrets, helm_release.keda]
}
