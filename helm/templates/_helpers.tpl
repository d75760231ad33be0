{{/* The chart's name, as labels have it. */}}
{{- define "order-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/*
Name of the release's objects: short enough for a suffix of ours below the 63 characters of a DNS label, with room for
those that a StatefulSet adds to its pods' labels.
*/}}
{{- define "order-gateway.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := include "order-gateway.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Labels that never change: what selectors look for. */}}
{{- define "order-gateway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "order-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end }}

{{/* Labels of every object but those of `helm test`. */}}
{{- define "order-gateway.labels" -}}
{{ include "order-gateway.selectorLabels" . }}
{{ include "order-gateway.commonLabels" . }}
{{- end }}

{{- define "order-gateway.commonLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* `annotations:` below `metadata:`, with its line break, if there are any. Takes (list $ annotations…). */}}
{{- define "order-gateway.annotations" -}}
{{- $root := first . }}
{{- $all := deepCopy $root.Values.commonAnnotations }}
{{- range rest . }}
{{- $all = mergeOverwrite $all (deepCopy (default dict .)) }}
{{- end }}
{{- with $all }}
  annotations:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}

{{- define "order-gateway.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "order-gateway.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* registry/repository@digest, or :tag. */}}
{{- define "order-gateway.image" -}}
{{- $image := .Values.image }}
{{- $repository := $image.repository }}
{{- with $image.registry }}{{ $repository = printf "%s/%s" (trimSuffix "/" .) $repository }}{{ end }}
{{- if $image.digest }}
{{- printf "%s@%s" $repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion $image.tag) }}
{{- end }}
{{- end }}

{{/* The secret with accounts and callers. */}}
{{- define "order-gateway.secretName" -}}
{{- if kindIs "invalid" .Values.existingSecret }}
{{- include "order-gateway.fullname" . }}
{{- else }}
{{- .Values.existingSecret }}
{{- end }}
{{- end }}

{{/* The secret with certificate and key of the gRPC door. */}}
{{- define "order-gateway.tlsSecretName" -}}
{{- default (printf "%s-tls" (include "order-gateway.fullname" .)) .Values.tls.existingSecret }}
{{- end }}

{{- define "order-gateway.claimName" -}}
{{- default (printf "%s-store" (include "order-gateway.fullname" .)) .Values.persistence.existingClaim }}
{{- end }}

{{/* "true" with Postgres, else nothing. */}}
{{- define "order-gateway.postgres" -}}
{{- if .Values.store.postgres.url }}true{{ end }}
{{- end }}

{{/* "true" when there may be several replicas, else nothing. */}}
{{- define "order-gateway.several" -}}
{{- if .Values.autoscaling.enabled }}
{{- if gt (int .Values.autoscaling.maxReplicas) 1 }}true{{ end }}
{{- else if gt (int .Values.replicaCount) 1 }}true{{ end }}
{{- end }}

{{/* "true" when an object of the Prometheus operator is to be rendered. Takes (list $ kind values path-of-the-values). */}}
{{- define "order-gateway.operatorObject" -}}
{{- $root := index . 0 }}{{ $kind := index . 1 }}{{ $values := index . 2 }}
{{- if $values.enabled }}
{{- $group := "monitoring.coreos.com/v1" }}
{{- $versions := $root.Capabilities.APIVersions }}
{{- $known := or ($versions.Has (printf "%s/%s" $group $kind)) ($versions.Has $group) }}
{{- if or $known (eq $values.renderMode "alwaysRender") }}true
{{- else if eq $values.renderMode "failIfMissing" }}
{{- fail (printf "%s: the cluster does not know monitoring.coreos.com/v1 %s. Install the Prometheus operator, or set renderMode to skipIfMissing or alwaysRender." (index . 3) $kind) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Seconds of "20s", "1m", "500ms" (rounded up). Nothing for what is no duration. */}}
{{- define "order-gateway.seconds" -}}
{{- $text := toString . }}
{{- if regexMatch "^[0-9]+(ms|s|m|h|d)$" $text }}
{{- $number := regexFind "^[0-9]+" $text | int64 }}
{{- $unit := regexFind "[a-z]+$" $text }}
{{- if eq $unit "ms" }}{{ div (add $number 999) 1000 }}
{{- else }}{{ mul $number (get (dict "s" 1 "m" 60 "h" 3600 "d" 86400) $unit) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Port of a URL, or the second of the list where it has none. Takes (list url default). */}}
{{- define "order-gateway.portOf" -}}
{{- $host := (urlParse (index . 0)).host }}
{{- $port := regexFind ":[0-9]+$" $host | trimPrefix ":" }}
{{- default (index . 1) $port }}
{{- end }}

{{/* The ports of both Services. */}}
{{- define "order-gateway.servicePorts" -}}
- name: grpc
  port: {{ .Values.service.ports.grpc }}
  targetPort: grpc
  protocol: TCP
  appProtocol: {{ ternary "https" "kubernetes.io/h2c" .Values.tls.enabled }}
- name: http
  port: {{ .Values.service.ports.http }}
  targetPort: http
  protocol: TCP
  appProtocol: http
{{- end }}

{{/* Labels of the pod of `helm test`, which no selector of the gateway may match. */}}
{{- define "order-gateway.testLabels" -}}
app.kubernetes.io/name: {{ include "order-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: test
{{- end }}

{{/* "true" when there is a pod for `helm test`. It has no certificate of its own, so none with mTLS. */}}
{{- define "order-gateway.tested" -}}
{{- $tls := .Values.tls }}
{{- if and .Values.tests.enabled (or (not $tls.enabled) (and .Values.tests.caKey (not $tls.clientCA.existingSecret))) }}true{{ end }}
{{- end }}
