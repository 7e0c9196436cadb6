{{/* The Secret with the database's URL for .component in .root, as {name, key}. */}}
{{- define "longhaul.databaseSecret" -}}
{{- $values := .root.Values -}}
{{- if $values.backing.enabled -}}
name: {{ include "backing.name" (dict "root" .root.Subcharts.backing "component" "postgres") }}
key: url
{{- else if $values.database.existingSecret -}}
name: {{ $values.database.existingSecret }}
key: {{ index $values.database.keys .component }}
{{- else if and (eq .component "migrate") .isHook -}}
{{- /* A hook runs before the release's own Secret is there. */ -}}
name: {{ include "longhaul.fullname" .root }}-migrate
key: database-url
{{- else -}}
name: {{ include "longhaul.fullname" .root }}-connections
key: database-url
{{- end -}}
{{- end -}}

{{/* The Secret with Redis' facts in .root, as {name, url, address, username, password}: keys, empty where there is none. */}}
{{- define "longhaul.redisSecret" -}}
{{- $values := .root.Values -}}
{{- if $values.backing.enabled -}}
name: {{ include "backing.name" (dict "root" .root.Subcharts.backing "component" "redis") }}
url: url
address: address
username: ""
password: password
{{- else if $values.redis.existingSecret -}}
name: {{ $values.redis.existingSecret }}
{{ toYaml $values.redis.keys }}
{{- else -}}
{{- $facts := include "longhaul.redisFacts" .root | fromYaml -}}
name: {{ include "longhaul.fullname" .root }}-connections
url: redis-url
address: redis-address
username: {{ ternary "redis-username" "" (ne $facts.username "") | quote }}
password: {{ ternary "redis-password" "" (ne $facts.password "") | quote }}
{{- end -}}
{{- end -}}

{{/* What KEDA needs to know of `redis.url`, as {address, username, password, databaseIndex, tls}. */}}
{{- define "longhaul.redisFacts" -}}
{{- $url := .Values.redis.url -}}
{{- $parts := urlParse $url -}}
{{- /* Not urlParse's, which escapes it: KEDA wants it as it is. */ -}}
{{- $credentials := regexFind "//[^@/]*@" $url | trimPrefix "//" | trimSuffix "@" -}}
{{- $password := ternary (regexReplaceAll "^[^:]*:" $credentials "") "" (contains ":" $credentials) -}}
{{- $index := trimPrefix "/" $parts.path -}}
{{- $host := regexReplaceAll ":[0-9]+$" $parts.host "" -}}
{{- /* KEDA asks from its own namespace, where a Service of this one has no short name. */ -}}
{{- $host = ternary $host (printf "%s.%s.svc" $host .Release.Namespace) (regexMatch "[.:]" $host) -}}
address: {{ printf "%s:%s" $host (regexFind ":[0-9]+$" $parts.host | trimPrefix ":" | default "6379") | quote }}
username: {{ regexFind "^[^:]*" $credentials | quote }}
password: {{ $password | quote }}
databaseIndex: {{ $index | default "0" | quote }}
tls: {{ eq $parts.scheme "rediss" | quote }}
{{- end -}}

{{/* The part of a Redis trigger's metadata that says how to reach it. */}}
{{- define "longhaul.redisTrigger" -}}
{{- if .Values.backing.enabled -}}
databaseIndex: "0"
enableTLS: "false"
{{- else if .Values.redis.existingSecret -}}
databaseIndex: {{ .Values.redis.databaseIndex | quote }}
enableTLS: {{ .Values.redis.tls | quote }}
{{- else -}}
{{- $facts := include "longhaul.redisFacts" . | fromYaml -}}
databaseIndex: {{ $facts.databaseIndex | quote }}
enableTLS: {{ $facts.tls | quote }}
{{- end -}}
{{- end -}}

{{/* The port in .url, or else .port. */}}
{{- define "longhaul.port" -}}
{{- $found := regexFind ":[0-9]+$" (urlParse (.url | default "")).host | trimPrefix ":" -}}
{{- $found | default .port -}}
{{- end -}}

{{/* Variables of .component in .root that hold credentials. */}}
{{- define "longhaul.connectionEnv" -}}
{{- $database := include "longhaul.databaseSecret" . | fromYaml -}}
{{- $redis := include "longhaul.redisSecret" . | fromYaml -}}
{{- $events := .root.Values.events -}}
- name: LONGHAUL_DATABASE_URL
  valueFrom:
    secretKeyRef: {name: {{ $database.name }}, key: {{ $database.key }}}
- name: LONGHAUL_REDIS_URL
  valueFrom:
    secretKeyRef: {name: {{ $redis.name }}, key: {{ $redis.url }}}
{{- if or $events.url $events.existingSecret }}
- name: LONGHAUL_EVENTS_URL
  valueFrom:
    secretKeyRef:
      name: {{ $events.existingSecret | default (printf "%s-connections" (include "longhaul.fullname" .root)) }}
      key: {{ ternary $events.key "events-url" (ne $events.existingSecret "") }}
{{- end }}
{{- with .root.Values.resultStore }}
{{- if .url }}
- name: LONGHAUL_RESULT_STORE_URL
  value: {{ .url | quote }}
{{- if .existingSecret }}
- name: LONGHAUL_RESULT_STORE_OPTIONS
  valueFrom:
    secretKeyRef: {name: {{ .existingSecret }}, key: {{ .key }}}
{{- else if .options }}
- name: LONGHAUL_RESULT_STORE_OPTIONS
  value: {{ toJson .options | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Settings that all components share: the ConfigMap's data. */}}
{{- define "longhaul.settings" -}}
LONGHAUL_LEASE_SECONDS: {{ .Values.lease.seconds | quote }}
LONGHAUL_RENEW_SECONDS: {{ .Values.lease.renewSeconds | quote }}
LONGHAUL_LOG_FORMAT: {{ .Values.logs.format }}
LONGHAUL_LOG_LEVEL: {{ .Values.logs.level }}
{{- with .Values.telemetry.otlpEndpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ . }}
{{- end }}
{{- end -}}

{{/* The release's own Secret: its data, or nothing where others hold all of it. */}}
{{- define "longhaul.connections" -}}
{{- if not .Values.backing.enabled -}}
{{- with .Values.database.url }}
database-url: {{ . | quote }}
{{- end }}
{{- if .Values.redis.url }}
{{- $facts := include "longhaul.redisFacts" . | fromYaml }}
redis-url: {{ .Values.redis.url | quote }}
redis-address: {{ $facts.address | quote }}
{{- with $facts.username }}
redis-username: {{ . | quote }}
{{- end }}
{{- with $facts.password }}
redis-password: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}
{{- with .Values.events.url }}
events-url: {{ . | quote }}
{{- end }}
{{- end -}}
