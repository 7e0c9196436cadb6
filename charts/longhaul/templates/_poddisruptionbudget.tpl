{{/* Takes root, component, name, labels (further ones that select), and config with its podDisruptionBudget. */}}
{{- define "longhaul.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "longhaul.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ .config.podDisruptionBudget.maxUnavailable }}
  # A pod that is not ready protects nothing, and must not hold up a drain.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "longhaul.selectorLabels" . | nindent 6 }}
      {{- with .labels }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
{{- end -}}
