{{/* An init container for whoever needs the database at once. It waits for as long as its pod may live. */}}
{{- define "backing.postgres.wait" -}}
name: wait-for-postgres
image: {{ .Values.postgres.image }}
imagePullPolicy: {{ .Values.postgres.pullPolicy }}
command: [sh, -c, "until pg_isready --quiet --host {{ include "backing.name" (dict "root" . "component" "postgres") }}; do sleep 1; done"]
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.postgres.uid }}
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
  seccompProfile:
    type: RuntimeDefault
resources:
  requests:
    cpu: 10m
    memory: 16Mi
  limits:
    cpu: 100m
    memory: 64Mi
{{- end -}}
