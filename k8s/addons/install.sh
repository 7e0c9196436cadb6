#!/usr/bin/env bash
# KEDA and metrics-server, of the versions that the chart is tested with. Safe to run again.
set -euo pipefail

KEDA_VERSION=${KEDA_VERSION:-2.21.0}
METRICS_SERVER_VERSION=${METRICS_SERVER_VERSION:-3.13.0} # the chart of metrics-server 0.8.0
KUBELET_INSECURE_TLS=${KUBELET_INSECURE_TLS:-false}      # true on kind, whose kubelets sign their own certificates

here=$(cd "$(dirname "$0")" && pwd)

helm upgrade --install keda keda --repo https://kedacore.github.io/charts --version "$KEDA_VERSION" \
  --namespace keda --create-namespace --values "$here/keda.values.yaml" --wait --timeout 5m

if kubectl get apiservice v1beta1.metrics.k8s.io >/dev/null 2>&1; then
  echo "metrics-server is there already: AKS, for one, brings its own."
else
  args=()
  if [ "$KUBELET_INSECURE_TLS" = true ]; then args=(--set 'args={--kubelet-insecure-tls}'); fi
  helm upgrade --install metrics-server metrics-server --repo https://kubernetes-sigs.github.io/metrics-server \
    --version "$METRICS_SERVER_VERSION" --namespace kube-system --wait --timeout 5m ${args[@]+"${args[@]}"}
fi
