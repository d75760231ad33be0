{{/* The pod, the same for both kinds of workload. */}}
{{- define "order-gateway.pod" -}}
{{- $values := .Values }}
metadata:
  annotations:
    # Settings are read once, so new ones need new pods. Secrets are not part of it: their files are read again.
    checksum/config: {{ include "order-gateway.settings" . | sha256sum }}
    {{- with mergeOverwrite (deepCopy $values.commonAnnotations) $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  labels:
    {{- include "order-gateway.selectorLabels" . | nindent 4 }}
    {{- with mergeOverwrite (deepCopy $values.commonLabels) $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  serviceAccountName: {{ include "order-gateway.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    {{- toYaml $values.podSecurityContext | nindent 4 }}
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if not (kindIs "invalid" $values.topologySpreadConstraints) }}
  {{- with $values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- else if include "order-gateway.postgres" . }}
  topologySpreadConstraints:
    {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "order-gateway.selectorLabels" $ | nindent 10 }}
      matchLabelKeys:
        - pod-template-hash
    {{- end }}
  {{- end }}
  containers:
    - name: order-gateway
      image: {{ include "order-gateway.image" . | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args:
        - serve
        - --config
        - /etc/order-gateway/config/config.toml
        {{- with $values.existingSecretKey }}
        - --config
        - /etc/order-gateway/secrets/{{ . }}
        {{- end }}
        {{- with $values.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      env:
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        - name: POD_NAMESPACE
          valueFrom:
            fieldRef:
              fieldPath: metadata.namespace
        # Which pod a trace comes from.
        - name: OTEL_RESOURCE_ATTRIBUTES
          value: k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME)
        {{- with $values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: grpc
          containerPort: {{ $values.containerPorts.grpc }}
          protocol: TCP
        - name: http
          containerPort: {{ $values.containerPorts.http }}
          protocol: TCP
        - name: admin
          containerPort: {{ $values.containerPorts.admin }}
          protocol: TCP
      startupProbe:
        {{- include "order-gateway.probe" (list . "/readyz") | nindent 8 }}
        {{- toYaml $values.probes.startup | nindent 8 }}
      livenessProbe:
        {{- include "order-gateway.probe" (list . "/livez") | nindent 8 }}
        {{- toYaml $values.probes.liveness | nindent 8 }}
      readinessProbe:
        {{- include "order-gateway.probe" (list . "/readyz") | nindent 8 }}
        {{- toYaml $values.probes.readiness | nindent 8 }}
      lifecycle:
        preStop:
          # Endpoints are removed at the same time as the pod is told to end; until all have heard of it, it serves on.
          sleep:
            seconds: {{ $values.preStopSeconds }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        {{- toYaml $values.securityContext | nindent 8 }}
      # Whole folders, never subPath: a file that is mounted alone is never renewed.
      volumeMounts:
        - name: config
          mountPath: /etc/order-gateway/config
          readOnly: true
        - name: secrets
          mountPath: /etc/order-gateway/secrets
          readOnly: true
        {{- if include "order-gateway.postgres" . }}
        {{- if $values.store.postgres.existingSecret }}
        - name: postgres
          mountPath: /etc/order-gateway/postgres
          readOnly: true
        {{- end }}
        {{- else }}
        - name: store
          mountPath: /var/lib/order-gateway
        {{- end }}
        {{- if $values.tls.enabled }}
        - name: tls
          mountPath: /etc/order-gateway/tls
          readOnly: true
        {{- if $values.tls.clientCA.existingSecret }}
        - name: client-ca
          mountPath: /etc/order-gateway/client-ca
          readOnly: true
        {{- end }}
        {{- end }}
        {{- if $values.projectedTokens }}
        - name: tokens
          mountPath: /var/run/secrets/order-gateway
          readOnly: true
        {{- end }}
        - name: tmp
          mountPath: /tmp
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "order-gateway.fullname" . }}
    - name: secrets
      secret:
        secretName: {{ include "order-gateway.secretName" . }}
        defaultMode: 0440
    {{- if include "order-gateway.postgres" . }}
    {{- with $values.store.postgres.existingSecret }}
    - name: postgres
      secret:
        secretName: {{ . }}
        defaultMode: 0440
    {{- end }}
    {{- else }}
    - name: store
      {{- if $values.persistence.enabled }}
      persistentVolumeClaim:
        claimName: {{ include "order-gateway.claimName" . }}
      {{- else }}
      emptyDir: {}
      {{- end }}
    {{- end }}
    {{- if $values.tls.enabled }}
    - name: tls
      secret:
        secretName: {{ include "order-gateway.tlsSecretName" . }}
        defaultMode: 0440
    {{- with $values.tls.clientCA.existingSecret }}
    - name: client-ca
      secret:
        secretName: {{ . }}
        defaultMode: 0440
    {{- end }}
    {{- end }}
    {{- with $values.projectedTokens }}
    - name: tokens
      projected:
        defaultMode: 0440
        sources:
          {{- range $name, $token := . }}
          - serviceAccountToken:
              path: {{ $name }}
              {{- with $token.audience }}
              audience: {{ . | quote }}
              {{- end }}
              expirationSeconds: {{ default 3600 $token.expirationSeconds }}
          {{- end }}
    {{- end }}
    # For what SQLite sorts; the root is read-only.
    - name: tmp
      emptyDir: {}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* How a probe asks. Takes (list $ path). */}}
{{- define "order-gateway.probe" -}}
{{- $values := (index . 0).Values }}
{{- if $values.probes.grpc -}}
grpc:
  port: {{ $values.containerPorts.grpc }}
{{- else -}}
httpGet:
  path: {{ index . 1 }}
  port: http
{{- end }}
{{- end }}
