{{/* A test: runs .script in a pod. Takes root, script, weight, env (further variables), and hasToken. */}}
{{- define "longhaul.test" -}}
{{- $name := printf "test-%s" (.script | trimSuffix ".py" | replace "_" "-") -}}
{{- $values := .root.Values -}}
apiVersion: v1
kind: Pod
{{- $pod := include "longhaul.pod" (dict
      "root" .root
      "component" "test"
      "config" (merge (dict "command" (list "python" (printf "/tests/%s" .script)) "podAnnotations" dict) $values.jobs)
      "image" (include "longhaul.image" (dict "root" .root "image" $values.api.image))
      "env" (include "longhaul.test.env" .)
      "account" (ternary (printf "%s-test" (include "longhaul.fullname" .root)) "" (.hasToken | default false))
      "hasToken" (.hasToken | default false)
      "deadline" $values.tests.deadlineSeconds
      "restartPolicy" "Never"
      "volumes" (list (dict "name" "tests" "configMap" (dict "name" (printf "%s-test" (include "longhaul.fullname" .root)))))
      "volumeMounts" (list (dict "name" "tests" "mountPath" "/tests" "readOnly" true))) | fromYaml }}
metadata:
  {{- include "longhaul.metadata" (dict "root" .root "component" "test" "name" $name
        "annotations" (include "longhaul.test.hook" .weight | fromYaml)) | nindent 2 }}
spec:
  {{- toYaml $pod.spec | nindent 2 }}
{{- end -}}

{{/* Annotations of an object of the tests: nothing of them stays after success. */}}
{{- define "longhaul.test.hook" -}}
helm.sh/hook: test
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}

{{- define "longhaul.test.env" -}}
{{- $values := .root.Values -}}
- name: LONGHAUL_URL
  value: http://{{ include "longhaul.fullname" .root }}-api:{{ $values.api.service.port }}
{{- if .queue }}
- name: LONGHAUL_TEST_QUEUE
  value: {{ .queue }}
{{- if $values.tests.existingKeySecret }}
- name: LONGHAUL_API_KEY
  valueFrom:
    secretKeyRef: {name: {{ $values.tests.existingKeySecret }}, key: {{ $values.tests.existingKeySecretKey }}}
{{- else }}
{{- $database := include "longhaul.databaseSecret" (dict "root" .root "component" "migrate") | fromYaml }}
- name: LONGHAUL_DATABASE_URL
  valueFrom:
    secretKeyRef: {name: {{ $database.name }}, key: {{ $database.key }}}
{{- end }}
{{- end }}
{{- end -}}

{{/* A queue that a pool with the tests' tasks serves, or nothing. */}}
{{- define "longhaul.test.queue" -}}
{{- $found := "" -}}
{{- if .Values.tests.enabled -}}
{{- range $name, $pool := include "longhaul.pools" . | fromYaml -}}
{{- if and (not $found) (has "longhaul_examples.demo" $pool.tasks) }}{{ $found = first $pool.queues }}{{ end -}}
{{- end -}}
{{- end -}}
{{- $found -}}
{{- end -}}
