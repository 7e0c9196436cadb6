{{- define "backing.fullname" -}}
{{- .Values.fullnameOverride | default (printf "%s-backing" .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* For .component (postgres or redis) of .root. */}}
{{- define "backing.name" -}}
{{ include "backing.fullname" .root }}-{{ .component }}
{{- end -}}

{{- define "backing.selectorLabels" -}}
app.kubernetes.io/name: backing
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "backing.labels" -}}
{{ include "backing.selectorLabels" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- with .root.Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The password of .component: the given one, the one that the cluster has, or a new one. */}}
{{- define "backing.password" -}}
{{- $values := index .root.Values .component -}}
{{- $there := lookup "v1" "Secret" .root.Release.Namespace (include "backing.name" .) -}}
{{- if $values.password -}}
{{ $values.password }}
{{- else if $there -}}
{{ $there.data.password | b64dec }}
{{- else -}}
{{ randAlphaNum 32 }}
{{- end -}}
{{- end -}}
