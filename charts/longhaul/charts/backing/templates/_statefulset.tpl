{{/*
One server's StatefulSet. Takes root, component (a key of the values), port, dataPath (where data lies), emptyDirs (paths
that must be writable beside it), and container (the rest of the container, as YAML).
*/}}
{{- define "backing.statefulset" -}}
{{- $values := index .root.Values .component -}}
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ include "backing.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "backing.labels" . | nindent 4 }}
spec:
  replicas: 1
  serviceName: {{ include "backing.name" . }}
  selector:
    matchLabels:
      {{- include "backing.selectorLabels" . | nindent 6 }}
  {{- if $values.persistence.enabled }}
  persistentVolumeClaimRetentionPolicy:
    whenDeleted: {{ ternary "Retain" "Delete" $values.persistence.retain }}
    whenScaled: Retain
  volumeClaimTemplates:
    - metadata:
        name: data
      spec:
        accessModes: [ReadWriteOnce]
        {{- with $values.persistence.storageClassName }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests:
            storage: {{ $values.persistence.size }}
  {{- end }}
  template:
    metadata:
      labels:
        {{- include "backing.selectorLabels" . | nindent 8 }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 60
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        runAsUser: {{ $values.uid }}
        runAsGroup: {{ $values.uid }}
        fsGroup: {{ $values.uid }}
        fsGroupChangePolicy: OnRootMismatch
        seccompProfile:
          type: RuntimeDefault
      containers:
        - name: {{ .component }}
          image: {{ $values.image }}
          imagePullPolicy: {{ $values.pullPolicy }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop: [ALL]
          ports:
            - name: {{ .component }}
              containerPort: {{ .port }}
          {{- .container | nindent 10 }}
          resources:
            {{- toYaml $values.resources | nindent 12 }}
          volumeMounts:
            - name: data
              mountPath: {{ .dataPath }}
            {{- range .emptyDirs }}
            - name: {{ base . }}
              mountPath: {{ . }}
            {{- end }}
      volumes:
        {{- range .emptyDirs }}
        - name: {{ base . }}
          emptyDir: {}
        {{- end }}
        {{- if not $values.persistence.enabled }}
        - name: data
          emptyDir: {}
        {{- end }}
      {{- with $values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end -}}

{{/* The Service in front of it. Takes root, component and port. */}}
{{- define "backing.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "backing.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "backing.labels" . | nindent 4 }}
spec:
  selector:
    {{- include "backing.selectorLabels" . | nindent 4 }}
  ports:
    - name: {{ .component }}
      port: {{ .port }}
      targetPort: {{ .component }}
{{- end -}}

{{/* The Secret with its data, as YAML. Takes root, component and data. It outlives the release where the volume does. */}}
{{- define "backing.secret" -}}
{{- $values := index .root.Values .component -}}
apiVersion: v1
kind: Secret
metadata:
  name: {{ include "backing.name" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "backing.labels" . | nindent 4 }}
  {{- if and $values.persistence.enabled $values.persistence.retain }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
type: Opaque
stringData:
  {{- .data | nindent 2 }}
{{- end -}}
