{{/* A pool's pods. Takes root, name and pool. */}}
{{- define "longhaul.worker.pod" -}}
{{- $pool := .pool -}}
{{- $isJob := eq $pool.mode "job" -}}
{{- $spot := dict "tolerations" list "affinity" dict -}}
{{- if $pool.spot }}{{ $spot = include "longhaul.worker.spot" . | fromYaml }}{{ end -}}
{{- include "longhaul.pod" (dict
      "root" .root
      "component" "worker"
      "config" $pool
      "labels" (include "longhaul.worker.labels" . | fromYaml)
      "image" (include "longhaul.image" (dict "root" .root "image" $pool.image))
      "env" (include "longhaul.worker.env" .)
      "container" (include "longhaul.worker.container" .)
      "tmpSize" $pool.tmpSize
      "mounts" (dict "spool" (dict "path" "/var/spool/longhaul" "size" $pool.spoolSize))
      "account" (include "longhaul.serviceAccount" (dict "root" .root "component" "worker" "account" .root.Values.worker.serviceAccount))
      "grace" $pool.grace
      "restartPolicy" (ternary "Never" "Always" $isJob)
      "tolerations" $spot.tolerations
      "affinity" $spot.affinity
      "spread" true
      "spreadKeys" (ternary list (list "pod-template-hash") $isJob)
      "hasSettings" true) -}}
{{- end -}}

{{- define "longhaul.worker.labels" -}}
longhaul.dev/pool: {{ .name }}
{{- end -}}

{{- define "longhaul.worker.env" -}}
{{- $pool := .pool -}}
{{ include "longhaul.connectionEnv" (dict "root" .root "component" "worker") }}
- name: POD_NAME
  valueFrom:
    fieldRef: {fieldPath: metadata.name}
- name: LONGHAUL_POOL
  value: {{ .name }}
- name: LONGHAUL_TASKS
  value: {{ join "," $pool.tasks | quote }}
- name: LONGHAUL_QUEUES
  value: {{ join "," $pool.queues | quote }}
- name: LONGHAUL_SLOTS
  value: {{ int $pool.slots | quote }}
- name: LONGHAUL_DRAIN_SECONDS
  value: {{ int $pool.drainSeconds | quote }}
- name: LONGHAUL_HANDOVER_SECONDS
  value: {{ int $pool.handoverSeconds | quote }}
- name: LONGHAUL_MAX_JOBS_PER_CHILD
  value: {{ int $pool.maxJobsPerChild | quote }}
{{- with $pool.maxMemoryPerChildKib }}
- name: LONGHAUL_MAX_MEMORY_PER_CHILD_KIB
  value: {{ int . | quote }}
{{- end }}
- name: LONGHAUL_DEAF_SECONDS
  value: {{ int $pool.deafSeconds | quote }}
- name: LONGHAUL_DEEP_QUEUE
  value: {{ int $pool.deepQueue | quote }}
{{- if eq $pool.mode "job" }}
- name: LONGHAUL_EXIT_AFTER_JOBS
  value: "1"
- name: LONGHAUL_EXIT_IDLE_SECONDS
  value: {{ int $pool.job.idleSeconds | quote }}
{{- end }}
- name: LONGHAUL_SPOOL_DIR
  value: /var/spool/longhaul
- name: LONGHAUL_PROBE_HOST
  value: 0.0.0.0
- name: LONGHAUL_PROBE_PORT
  value: "8081"
{{- end -}}

{{- define "longhaul.worker.container" -}}
ports:
  - name: probes
    containerPort: 8081
{{ include "longhaul.probes" (dict "port" "probes" "startup" "/startupz" "startupSeconds" .pool.startupSeconds) }}
{{- end -}}

{{/* The taints of spot nodes on AKS and GKE, and a wish for such nodes. */}}
{{- define "longhaul.worker.spot" -}}
tolerations:
  - {key: kubernetes.azure.com/scalesetpriority, operator: Equal, value: spot, effect: NoSchedule}
  - {key: cloud.google.com/gke-spot, operator: Equal, value: "true", effect: NoSchedule}
affinity:
  nodeAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        preference:
          matchExpressions:
            - {key: kubernetes.azure.com/scalesetpriority, operator: In, values: [spot]}
      - weight: 100
        preference:
          matchExpressions:
            - {key: cloud.google.com/gke-spot, operator: In, values: ["true"]}
      - weight: 100
        preference:
          matchExpressions:
            - {key: karpenter.sh/capacity-type, operator: In, values: [spot]}
{{- end -}}
