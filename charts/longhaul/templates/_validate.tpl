{{/*
Values that contradict each other, each answered with one sentence that says what to change. What one value alone may be
is the schema's. `helm lint` prints the sentences, too, and goes on.
*/}}
{{- define "longhaul.validate" -}}
{{- $problems := concat
      (include "longhaul.validate.servers" . | fromYamlArray)
      (include "longhaul.validate.api" . | fromYamlArray)
      (include "longhaul.validate.pools" . | fromYamlArray)
      (include "longhaul.validate.cluster" . | fromYamlArray)
      (include "longhaul.validate.autoscalers" . | fromYamlArray) -}}
{{- if $problems -}}
{{- fail (printf "\n\n%s\n" (join "\n" $problems)) -}}
{{- end -}}
{{- end -}}

{{- define "longhaul.validate.servers" -}}
{{- range $name := list "database" "redis" }}
{{- $server := index $.Values $name }}
{{- $shown := ternary "PostgreSQL" "Redis" (eq $name "database") }}
{{- $isNamed := or $server.url $server.existingSecret }}
{{- if and $.Values.backing.enabled $isNamed }}
- {{ printf "%s of one's own and the development %s exclude each other: set backing.enabled to false, or leave %s.url and %s.existingSecret empty." $shown $shown $name $name | quote }}
{{- else if not (or $.Values.backing.enabled $isNamed) }}
- {{ printf "No %s is named: set %s.existingSecret (or %s.url), or backing.enabled to true for development." $shown $name $name | quote }}
{{- end }}
{{- if and $server.url $server.existingSecret }}
- {{ printf "%s.url and %s.existingSecret name two servers: leave one of them empty." $name $name | quote }}
{{- end }}
{{- end }}
{{- if and .Values.events.url .Values.events.existingSecret }}
- "events.url and events.existingSecret name two servers: leave one of them empty."
{{- end }}
{{- if and .Values.resultStore.options .Values.resultStore.existingSecret }}
- "resultStore.options and resultStore.existingSecret both hold the store's options: put all of them into the Secret, and leave resultStore.options empty."
{{- end }}
{{- if and .Values.resultStore.existingSecret (not .Values.resultStore.url) }}
- "resultStore.existingSecret says how to reach a store that is not named: set resultStore.url."
{{- end }}
{{- if and .Values.backing.enabled (not (and .Values.backing.postgres.enabled .Values.backing.redis.enabled)) }}
- "The development servers come together: leave backing.postgres.enabled and backing.redis.enabled true, or set backing.enabled to false and name servers of your own."
{{- end }}
{{- if include "longhaul.usesKeda" . }}
{{- if contains "%" (regexFind "//[^@/]*@" .Values.redis.url) }}
- "redis.url has an escaped password, which KEDA can't be given: put the URL, the address and the password as it is into a Secret, and name it in redis.existingSecret."
{{- end }}
{{- if and .Values.redis.existingSecret (not .Values.redis.keys.address) }}
- "KEDA reads Redis' address from the Secret in redis.existingSecret: name its key in redis.keys.address."
{{- end }}
{{- end }}
{{- if lt (float64 .Values.lease.seconds) (mulf 3 .Values.lease.renewSeconds) }}
- {{ printf "lease.seconds (%v) must be at least three times lease.renewSeconds (%v), or one slow renewal loses running jobs." .Values.lease.seconds .Values.lease.renewSeconds | quote }}
{{- end }}
{{- end -}}

{{- define "longhaul.validate.api" -}}
{{- with .Values.api }}
{{- if .autoscaling.enabled }}
{{- if gt (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas) }}
- {{ printf "api.autoscaling.minReplicas (%d) is more than maxReplicas (%d): change one of them." (int .autoscaling.minReplicas) (int .autoscaling.maxReplicas) | quote }}
{{- end }}
{{- if not (kindIs "invalid" .replicas) }}
- "api.replicas and the HPA would both set the number of pods: leave api.replicas null, or set api.autoscaling.enabled to false."
{{- end }}
{{- end }}
{{- $stop := add .shutdownDelaySeconds .shutdownSeconds 5 }}
{{- if and .terminationGracePeriodSeconds (lt (int .terminationGracePeriodSeconds) (int $stop)) }}
- {{ printf "api.terminationGracePeriodSeconds (%d) is too short for a shutdown that may take %d s: set it to at least that, or to null." (int .terminationGracePeriodSeconds) $stop | quote }}
{{- end }}
{{- if and (eq .auth.mode "none") (not .auth.noneAnywhere) }}
- "api.auth.mode none lets everyone who reaches the API do everything: use keys, or set api.auth.noneAnywhere to true to say that this is what you want."
{{- end }}
{{- if and .ingress.enabled .httpRoute.enabled }}
- "api.ingress and api.httpRoute would publish the API twice: enable one of them."
{{- end }}
{{- if and .httpRoute.enabled (not .httpRoute.parentRefs) }}
- "api.httpRoute needs a Gateway: name it in api.httpRoute.parentRefs."
{{- end }}
{{- end }}
{{- end -}}

{{- define "longhaul.validate.pools" -}}
{{- range $name, $pool := include "longhaul.pools" . | fromYaml }}
{{- $at := printf "worker.pools.%s" $name }}
{{- $scaling := $pool.autoscaling }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,18}[a-z0-9])?$" $name) }}
- {{ printf "worker.pools has a pool named %s: choose a name of at most 20 lower-case letters, digits and dashes." $name | quote }}
{{- end }}
{{- if and $pool.isScaled (gt (int $scaling.minReplicas) (int $scaling.maxReplicas)) }}
- {{ printf "%s.autoscaling.minReplicas (%d) is more than maxReplicas (%d): change one of them." $at (int $scaling.minReplicas) (int $scaling.maxReplicas) | quote }}
{{- end }}
{{- if and $pool.isScaled (not (kindIs "invalid" $pool.replicas)) }}
- {{ printf "%s.replicas and KEDA would both set the number of pods: leave it null, or set %s.autoscaling.mode to none." $at $at | quote }}
{{- end }}
{{- if and $pool.isScaled (gt (int $scaling.target) (int $pool.slots)) }}
- {{ printf "%s.autoscaling.target (%d) is more than its slots (%d), so that busy pods would be taken away: leave it null, or raise the slots." $at (int $scaling.target) (int $pool.slots) | quote }}
{{- end }}
{{- if lt (int $pool.grace) (int (add $pool.drainSeconds 30)) }}
- {{ printf "%s.terminationGracePeriodSeconds (%d) is shorter than its drain (%d s) and the 30 s to write what was done: set it to at least %d, or to null; or make drainSeconds smaller." $at (int $pool.grace) (int $pool.drainSeconds) (add $pool.drainSeconds 30) | quote }}
{{- end }}
{{- if eq $pool.mode "job" }}
{{- if eq $scaling.mode "none" }}
- {{ printf "%s.mode job is made by KEDA, and its autoscaling.mode is none: use mode deployment, or autoscaling.mode keda." $at | quote }}
{{- end }}
{{- if gt (int $pool.ownSlots) 1 }}
- {{ printf "%s.mode job runs one job a pod: leave slots (%d) out, or use mode deployment." $at (int $pool.ownSlots) | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "longhaul.validate.cluster" -}}
{{- $kinds := .Capabilities.APIVersions }}
{{- if and (include "longhaul.usesKeda" .) (not ($kinds.Has "keda.sh/v1alpha1")) }}
- "KEDA is not in this cluster, and worker pools scale by it: install it with `helm install keda keda --repo https://kedacore.github.io/charts --namespace {{ .Values.keda.namespace }} --create-namespace`, or set autoscaling.mode to none (with `helm template`, add `--api-versions keda.sh/v1alpha1`)."
{{- end }}
{{- if and .Values.api.httpRoute.enabled (not ($kinds.Has "gateway.networking.k8s.io/v1")) }}
- "The Gateway API is not in this cluster: install its CRDs and a controller, or use api.ingress (with `helm template`, add `--api-versions gateway.networking.k8s.io/v1`)."
{{- end }}
{{- $monitoring := .Values.monitoring }}
{{- if and (or $monitoring.serviceMonitor.enabled $monitoring.podMonitor.enabled $monitoring.rules.enabled) (not ($kinds.Has "monitoring.coreos.com/v1")) }}
- "The Prometheus operator is not in this cluster: install it, or leave serviceMonitor, podMonitor and rules in monitoring disabled (with `helm template`, add `--api-versions monitoring.coreos.com/v1`)."
{{- end }}
{{- end -}}

{{/* Two autoscalers would fight over one Deployment: in extraObjects, or already in the cluster. */}}
{{- define "longhaul.validate.autoscalers" -}}
{{- $prefix := include "longhaul.fullname" . }}
{{- $scaled := list }}
{{- if .Values.api.autoscaling.enabled }}{{ $scaled = append $scaled (printf "%s-api" $prefix) }}{{ end }}
{{- range $name, $pool := include "longhaul.pools" . | fromYaml }}
{{- if and $pool.hasDeployment $pool.isScaled }}{{ $scaled = append $scaled (printf "%s-worker-%s" $prefix $name) }}{{ end }}
{{- end }}
{{- $others := list }}
{{- range .Values.extraObjects }}
{{- $object := . }}
{{- if kindIs "string" $object }}{{ $object = tpl $object $ | fromYaml }}{{ end }}
{{- if has (get $object "kind") (list "HorizontalPodAutoscaler" "ScaledObject") }}{{ $others = append $others $object }}{{ end }}
{{- end }}
{{- $inCluster := (lookup "autoscaling/v2" "HorizontalPodAutoscaler" .Release.Namespace "").items | default list }}
{{- if and (include "longhaul.usesKeda" .) (.Capabilities.APIVersions.Has "keda.sh/v1alpha1") }}
{{- $inCluster = concat $inCluster ((lookup "keda.sh/v1alpha1" "ScaledObject" .Release.Namespace "").items | default list) }}
{{- end }}
{{- range $inCluster }}
{{- $owner := dig "labels" "app.kubernetes.io/instance" "" .metadata }}
{{- /* KEDA makes that one of a ScaledObject, and would make it again. */}}
{{- $isOfScaledObject := hasPrefix "keda-hpa-" .metadata.name }}
{{- if not (or $isOfScaledObject (eq $owner $.Release.Name)) }}{{ $others = append $others . }}{{ end }}
{{- end }}
{{- range $others }}
{{- $target := dig "spec" "scaleTargetRef" "name" "" . }}
{{- if has $target $scaled }}
- {{ printf "The %s %s and this chart's own autoscaler would both scale %s: delete it, or turn the chart's off (api.autoscaling.enabled, worker.pools.<name>.autoscaling.mode)." .kind .metadata.name $target | quote }}
{{- end }}
{{- end }}
{{- end -}}
