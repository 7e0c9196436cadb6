{{/* Egress rules that components share, for .root; each is one item of a list. */}}

{{- define "longhaul.egress.dns" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end -}}

{{- define "longhaul.egress.database" -}}
{{- $values := .root.Values -}}
- ports:
    - protocol: TCP
      port: {{ ternary "5432" (include "longhaul.port" $values.database) $values.backing.enabled }}
  {{- if $values.backing.enabled }}
  to:
    - podSelector:
        matchLabels:
          {{- include "backing.selectorLabels" (dict "root" .root.Subcharts.backing "component" "postgres") | nindent 10 }}
  {{- else }}
  {{- with $values.networkPolicy.databaseTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end -}}

{{- define "longhaul.egress.redis" -}}
{{- $values := .root.Values -}}
- ports:
    - protocol: TCP
      port: {{ ternary "6379" (include "longhaul.port" $values.redis) $values.backing.enabled }}
    {{- $events := include "longhaul.port" (dict "url" $values.events.url "port" "6379") }}
    {{- if and $values.events.url (not $values.backing.enabled) (ne $events (include "longhaul.port" $values.redis)) }}
    - protocol: TCP
      port: {{ $events }}
    {{- end }}
  {{- if $values.backing.enabled }}
  to:
    - podSelector:
        matchLabels:
          {{- include "backing.selectorLabels" (dict "root" .root.Subcharts.backing "component" "redis") | nindent 10 }}
  {{- else }}
  {{- with $values.networkPolicy.redisTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
{{- end -}}

{{- define "longhaul.egress.results" -}}
{{- if .root.Values.resultStore.url -}}
- ports:
    - protocol: TCP
      port: {{ int .root.Values.resultStore.port }}
  {{- with .root.Values.networkPolicy.resultStoreTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{- define "longhaul.egress.traces" -}}
{{- with .root.Values.telemetry.otlpEndpoint -}}
- ports:
    - protocol: TCP
      port: {{ include "longhaul.port" (dict "url" . "port" (ternary "443" "4318" (hasPrefix "https:" .))) }}
{{- end -}}
{{- end -}}

{{/* The control plane's address is not known to a chart. */}}
{{- define "longhaul.egress.kubernetes" -}}
- ports:
    - {protocol: TCP, port: 443}
    - {protocol: TCP, port: 6443}
{{- end -}}

{{/* Ingress for whoever reads metrics on .port of .root, where monitoring is on. */}}
{{- define "longhaul.ingress.metrics" -}}
- ports:
    - port: {{ .port }}
  {{- with .root.Values.networkPolicy.metricsFrom }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
