{{/*
A pod's template: metadata and spec. All pods of the chart are made here. Takes
  root, component    what the pod belongs to
  config             the component's values: command, resources, podLabels, nodeSelector, extraEnv, ...
  image              the image's whole name
  env                variables, as a YAML list; those of config.extraEnv win
  container          the rest of the container (args, ports, probes, ...), as YAML
  mounts             further writable directories by name: {path, size}; /tmp is always there, of tmpSize
  spread             whether pods are spread over nodes and zones; spreadKeys: matchLabelKeys of that
  labels, annotations, initContainers, volumes, volumeMounts, tolerations, affinity   added to the config's own
  account, hasToken  the ServiceAccount's name, and whether the pod gets its token
  grace, deadline (of the pod), restartPolicy, priorityClassName, hasSettings (reads the ConfigMap)
*/}}
{{- define "longhaul.pod" -}}
{{- $root := .root -}}
{{- $config := .config -}}
{{- $selector := include "longhaul.selectorLabels" . | fromYaml -}}
{{- $own := .env | default "[]" | fromYamlArray -}}
{{- $extra := $config.extraEnv | default list -}}
{{- $taken := list -}}
{{- range $extra }}{{ $taken = append $taken .name }}{{ end -}}
{{- $class := include "longhaul.priorityClass" . -}}
metadata:
  labels:
    {{- toYaml (merge $selector (.labels | default dict) ($config.podLabels | default dict)) | nindent 4 }}
  {{- $annotations := merge (dict) (.annotations | default dict) ($config.podAnnotations | default dict) }}
  {{- if .hasSettings }}
  {{- $_ := set $annotations "checksum/settings" (print (include "longhaul.settings" $root) (include "longhaul.connections" $root) | sha256sum | trunc 16) }}
  {{- end }}
  {{- with $annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ .account | default "default" }}
  automountServiceAccountToken: {{ .hasToken | default false }}
  enableServiceLinks: false
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .restartPolicy }}
  restartPolicy: {{ . }}
  {{- end }}
  {{- with .deadline }}
  activeDeadlineSeconds: {{ int . }}
  {{- end }}
  {{- if hasKey . "grace" }}
  terminationGracePeriodSeconds: {{ int .grace }}
  {{- end }}
  {{- with $class }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext:
    {{- toYaml $root.Values.securityContext.pod | nindent 4 }}
  {{- with concat (.initContainers | default list) ($config.extraInitContainers | default list) }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ .image }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      {{- with $config.command }}
      command:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .container }}
      {{- . | nindent 6 }}
      {{- end }}
      securityContext:
        {{- toYaml $root.Values.securityContext.container | nindent 8 }}
      env:
        {{- range $own }}
        {{- if not (has .name $taken) }}
        - {{ toYaml . | nindent 10 | trim }}
        {{- end }}
        {{- end }}
        # Where libraries may keep their caches: the root file system is read-only.
        {{- if not (has "HOME" $taken) }}
        - name: HOME
          value: /tmp
        {{- end }}
        {{- with $extra }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- if or .hasSettings $config.extraEnvFrom }}
      envFrom:
        {{- if .hasSettings }}
        - configMapRef:
            name: {{ include "longhaul.fullname" $root }}
        {{- end }}
        {{- with $config.extraEnvFrom }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      resources:
        {{- toYaml $config.resources | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- range $name, $mount := .mounts }}
        - name: {{ $name }}
          mountPath: {{ $mount.path }}
        {{- end }}
        {{- with concat (.volumeMounts | default list) ($config.extraVolumeMounts | default list) }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir:
        sizeLimit: {{ .tmpSize | default "256Mi" }}
    {{- range $name, $mount := .mounts }}
    - name: {{ $name }}
      emptyDir:
        sizeLimit: {{ $mount.size }}
    {{- end }}
    {{- with concat (.volumes | default list) ($config.extraVolumes | default list) }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with include "longhaul.placement" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* Where pods may run: node labels, taints, affinity, spread. Takes what "longhaul.pod" does. */}}
{{- define "longhaul.placement" -}}
{{- with .config.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat (.tolerations | default list) (.config.tolerations | default list) }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with mergeOverwrite (.affinity | default dict) (.config.affinity | default dict) }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $constraints := get .config "topologySpreadConstraints" }}
{{- if kindIs "slice" $constraints }}
{{- with $constraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- else if .spread }}
topologySpreadConstraints:
  {{- $of := . }}
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- toYaml (merge (include "longhaul.selectorLabels" $of | fromYaml) ($of.labels | default dict)) | nindent 8 }}
    {{- with $of.spreadKeys }}
    matchLabelKeys:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* The PriorityClass of a pod: its own, the config's, the release's, or none. The migration is a hook that runs before
the release's is made. */}}
{{- define "longhaul.priorityClass" -}}
{{- $values := .root.Values -}}
{{- $made := $values.priorityClass.name | default (include "longhaul.fullname" .root) -}}
{{- .priorityClassName | default .config.priorityClassName | default (ternary $made "" (and $values.priorityClass.create (ne .component "migrate"))) -}}
{{- end -}}

{{/* The three probes of a container on its port .port, which have .startupSeconds to answer /startupz or .startup. */}}
{{- define "longhaul.probes" -}}
startupProbe:
  httpGet: {path: {{ .startup }}, port: {{ .port }}}
  periodSeconds: 1
  timeoutSeconds: 5
  failureThreshold: {{ int .startupSeconds }}
readinessProbe:
  httpGet: {path: /readyz, port: {{ .port }}}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
livenessProbe:
  httpGet: {path: /livez, port: {{ .port }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
{{- end -}}
