{{- /* Names, labels, images, and the settings that all pods share. */ -}}

{{- define "factorygate.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "factorygate.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "factorygate.apart" -}}
{{- if eq .Values.topology "apart" }}true{{ end -}}
{{- end -}}

{{- /* The pod in which a part (hub, link, workshops or proxy) runs. Argument: a list of context and part. The workshops
service runs beside the link, which reads its table of projects from its volume. */ -}}
{{- define "factorygate.component" -}}
{{- $root := index . 0 -}}
{{- if include "factorygate.apart" $root }}{{ ternary "link" (index . 1) (eq (index . 1) "workshops") }}{{ else }}gateway{{ end -}}
{{- end -}}

{{- define "factorygate.selector" -}}
app.kubernetes.io/name: {{ include "factorygate.name" (index . 0) }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "factorygate.labels" -}}
{{ include "factorygate.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* The metadata of an object. Argument: a list of context, part, and the end of the object's name. */ -}}
{{- define "factorygate.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "factorygate.fullname" $root }}{{ if index . 2 }}-{{ index . 2 }}{{ end }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "factorygate.labels" (list $root (index . 1)) | nindent 2 }}
{{- end -}}

{{- define "factorygate.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- $path := $image.name -}}
{{- with $root.Values.image.registry }}{{ $path = printf "%s/%s" (trimSuffix "/" .) $path }}{{ end -}}
{{- if $image.digest -}}
{{ printf "%s@%s" $path $image.digest }}
{{- else -}}
{{ printf "%s:%s" $path (coalesce $image.tag $root.Values.image.tag $root.Chart.AppVersion) }}
{{- end -}}
{{- end -}}

{{- /* The settings that Pod Security "restricted" demands of a pod, and no token of a service account. */ -}}
{{- define "factorygate.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.podSecurityContext.runAsUser }}
  runAsGroup: 0
  fsGroup: {{ .Values.podSecurityContext.fsGroup }}
  fsGroupChangePolicy: {{ .Values.podSecurityContext.fsGroupChangePolicy }}
  seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "factorygate.container" -}}
image: {{ include "factorygate.image" . | quote }}
imagePullPolicy: {{ (index . 0).Values.image.pullPolicy }}
securityContext:
  runAsNonRoot: true
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- define "factorygate.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* The probes of a part. Argument: a list of the part's values and the command that succeeds if it is healthy. */ -}}
{{- define "factorygate.probes" -}}
{{- $command := index . 1 -}}
{{- range $name := list "startupProbe" "livenessProbe" "readinessProbe" }}
{{- $probe := index (index $ 0) $name }}
{{- if $probe.enabled }}
{{ $name }}:
  exec:
    command: {{ toJson $command }}
  {{- range $key := list "initialDelaySeconds" "periodSeconds" "timeoutSeconds" "failureThreshold" }}
  {{ $key }}: {{ index $probe $key }}
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* The environment of a container, made from a map of names and values. */ -}}
{{- define "factorygate.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{- define "factorygate.claim" -}}
{{- $root := index . 0 }}
{{- $pvc := index . 3 -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  {{- include "factorygate.metadata" (list $root (index . 1) (index . 2)) | nindent 2 }}
  annotations:
    helm.sh/resource-policy: keep
    {{- with $pvc.annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  accessModes: {{ toJson $pvc.accessModes }}
  {{- with $pvc.storageClassName }}
  storageClassName: {{ . | quote }}
  {{- end }}
  resources:
    requests:
      storage: {{ $pvc.storage }}
{{- end -}}

{{- /* Parts of NetworkPolicies: peers and ports. */ -}}
{{- define "factorygate.peer" -}}
- podSelector:
    matchLabels:
      {{- include "factorygate.selector" . | nindent 6 }}
{{- end -}}

{{- define "factorygate.dns" -}}
- to:
    - namespaceSelector: {}
    - ipBlock: {cidr: 169.254.0.0/16}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end -}}

{{- define "factorygate.egress" -}}
{{- range . }}
- to:
    {{- if .cidr }}
    - ipBlock: {cidr: {{ .cidr | quote }}}
    {{- else }}
    {{- toYaml .to | nindent 4 }}
    {{- end }}
  ports:
    {{- range .ports }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
{{- end -}}

{{- define "factorygate.workshopsEgress" -}}
{{- if .Values.workshops.enabled }}{{ include "factorygate.egress" .Values.workshops.networkPolicy.egress }}{{ end -}}
{{- end -}}

{{- define "factorygate.publicIngress" -}}
{{- $from := .Values.proxy.chp.networkPolicy.from -}}
- ports:
    - {protocol: TCP, port: 8000}
  {{- with $from }}
  from:
    {{- toYaml . | nindent 4 }}
{{- /* Also allowed: the pod of `helm test`, and Prometheus, which reads the hub's metrics through the proxy. */}}
    {{- include "factorygate.peer" (list $ "test") | nindent 4 }}
    {{- if and $.Values.metrics.enabled $.Values.metrics.serviceMonitor.enabled }}
    {{- toYaml (default (list (dict "namespaceSelector" dict)) $.Values.metrics.from) | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end -}}

{{- /* The rule for those who may read the metrics. Argument: a list of context and ports. */ -}}
{{- define "factorygate.metricsIngress" -}}
{{- if (index . 0).Values.metrics.enabled -}}
- ports:
    {{- range index . 1 }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  from:
    {{- toYaml (default (list (dict "namespaceSelector" dict)) (index . 0).Values.metrics.from) | nindent 4 }}
{{- end }}
{{- end -}}
