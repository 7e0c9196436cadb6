{{/* 35 characters leave room for `-worker-` and a pool's name of 20: KEDA puts the result into a label. */}}
{{- define "longhaul.fullname" -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $full | trunc 35 | trimSuffix "-" -}}
{{- end -}}

{{/* What selects the pods of .component in the release of .root. */}}
{{- define "longhaul.selectorLabels" -}}
app.kubernetes.io/name: {{ .root.Values.nameOverride | default .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "longhaul.labels" -}}
{{ include "longhaul.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- with .root.Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Metadata of an object of .component in .root; .name is what follows the release's name in its own. */}}
{{- define "longhaul.metadata" -}}
name: {{ include "longhaul.fullname" .root }}{{ with .name }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "longhaul.labels" . | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The image that .image names, in .root. */}}
{{- define "longhaul.image" -}}
{{- $name := .image.repository -}}
{{- with .root.Values.image.registry -}}{{- $name = printf "%s/%s" (trimSuffix "/" .) $name -}}{{- end -}}
{{- if .image.digest -}}
{{ $name }}@{{ .image.digest }}
{{- else -}}
{{ $name }}:{{ .image.tag | default .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The ServiceAccount of .component, whose settings are .account, in .root. */}}
{{- define "longhaul.serviceAccount" -}}
{{- $made := printf "%s-%s" (include "longhaul.fullname" .root) .component -}}
{{- .account.name | default (ternary $made "default" .account.create) -}}
{{- end -}}
