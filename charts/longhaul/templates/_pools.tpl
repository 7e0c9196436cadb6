{{/*
The worker pools as they are: what each says, on `worker.poolDefaults`, and what follows from that. As YAML, by name.
*/}}
{{- define "longhaul.pools" -}}
{{- $pools := dict -}}
{{- range $name, $own := .Values.worker.pools -}}
{{- $own := deepCopy ($own | default dict) -}}
{{- $pool := mergeOverwrite (deepCopy $.Values.worker.poolDefaults) $own -}}
{{- $scaling := $pool.autoscaling -}}
{{- $isJob := eq $pool.mode "job" -}}
{{- $_ := set $pool "ownSlots" (dig "slots" 1 $own) -}}
{{- if $isJob -}}
{{- $_ := set $pool "slots" 1 -}}
{{- $_ := set $scaling "minReplicas" (dig "autoscaling" "minReplicas" 0 $own) -}}
{{- end -}}
{{- $_ := set $scaling "mode" ($scaling.mode | default $.Values.autoscaling.mode) -}}
{{- $_ := set $scaling "target" (ternary 1 ($scaling.target | default $pool.slots) $isJob) -}}
{{- $_ := set $pool "drainSeconds" ($pool.drainSeconds | default $pool.maxJobSeconds) -}}
{{- $_ := set $pool "grace" ($pool.terminationGracePeriodSeconds | default (add $pool.drainSeconds 60)) -}}
{{- $_ := set $pool "isScaled" (or $isJob (eq $scaling.mode "keda")) -}}
{{- $_ := set $pool "hasDeployment" (not $isJob) -}}
{{- $_ := set $pools $name $pool -}}
{{- end -}}
{{- toYaml $pools -}}
{{- end -}}

{{/* The queues that pools serve, with commas between them. */}}
{{- define "longhaul.queues" -}}
{{- $queues := list -}}
{{- range include "longhaul.pools" . | fromYaml }}{{ $queues = concat $queues .queues }}{{ end -}}
{{- $queues | uniq | sortAlpha | join "," -}}
{{- end -}}

{{/* Whether a pool scales by KEDA: `true`, or nothing. */}}
{{- define "longhaul.usesKeda" -}}
{{- range $name, $pool := include "longhaul.pools" . | fromYaml }}{{ if $pool.isScaled }}true{{ end }}{{ end -}}
{{- end -}}

{{/* Whether a pool has the tasks that `helm test` submits: `true`, or nothing. */}}
{{- define "longhaul.hasDemoTasks" -}}
{{- range $name, $pool := include "longhaul.pools" . | fromYaml }}{{ if has "longhaul_examples.demo" $pool.tasks }}true{{ end }}{{ end -}}
{{- end -}}
