{{/*
Combinations that cannot work, all told at once. Wrong types and unknown keys are told by values.schema.json before.
*/}}
{{- define "order-gateway.validate" -}}
{{- $values := .Values }}
{{- $faults := list }}

{{- if and (kindIs "string" $values.existingSecret) (empty $values.existingSecret) }}
{{- $faults = append $faults (printf "existingSecret: must not be empty. Name the secret that holds accounts and callers, or leave it unset for %q." (include "order-gateway.fullname" .)) }}
{{- end }}
{{- if and (empty $values.existingSecretKey) (empty $values.config.accounts) }}
{{- $faults = append $faults "existingSecretKey: must not be empty, unless config.accounts and config.clients say who they are." }}
{{- end }}

{{- $postgres := $values.store.postgres }}
{{- if $postgres.url }}
{{- if not (regexMatch "^postgres(ql)?://[^:@/]+@[^@/]+/.+$" $postgres.url) }}
{{- if regexMatch "^postgres(ql)?://[^:@/]*:.*@" $postgres.url }}
{{- $faults = append $faults "store.postgres.url: must not hold the password. Put it into a secret and name that in store.postgres.existingSecret." }}
{{- else }}
{{- $faults = append $faults "store.postgres.url: must be postgres://user@host:5432/db." }}
{{- end }}
{{- end }}
{{- if and (empty $postgres.existingSecret) (empty $postgres.passwordFile) }}
{{- $faults = append $faults "store.postgres.existingSecret: is required with store.postgres.url (or passwordFile)." }}
{{- end }}
{{- if and $postgres.existingSecret $postgres.passwordFile }}
{{- $faults = append $faults "store.postgres.passwordFile: must not stand beside store.postgres.existingSecret; one of them has the password." }}
{{- end }}
{{- else }}
{{- if or $postgres.existingSecret $postgres.passwordFile }}
{{- $faults = append $faults "store.postgres.url: is required with store.postgres.existingSecret or passwordFile. Without it the store is SQLite." }}
{{- end }}
{{- if gt (int $values.replicaCount) 1 }}
{{- $faults = append $faults (printf "replicaCount: must be 1 (or 0) with SQLite, is %d. A second gateway on one file refuses to start; many replicas need store.postgres.url." (int $values.replicaCount)) }}
{{- end }}
{{- if $values.autoscaling.enabled }}
{{- $faults = append $faults "autoscaling.enabled: must be false with SQLite, which is for one replica; many replicas need store.postgres.url." }}
{{- end }}
{{- if and $values.persistence.existingClaim (not $values.persistence.enabled) }}
{{- $faults = append $faults "persistence.existingClaim: has no use with persistence.enabled=false." }}
{{- end }}
{{- end }}
{{- if $values.autoscaling.enabled }}
{{- with $values.autoscaling }}
{{- if gt (int .minReplicas) (int .maxReplicas) }}
{{- $faults = append $faults (printf "autoscaling.minReplicas: must be at most maxReplicas (%d), is %d." (int .maxReplicas) (int .minReplicas)) }}
{{- end }}
{{- if not (or .targetCPUUtilizationPercentage .targetMemoryUtilizationPercentage .metrics) }}
{{- $faults = append $faults "autoscaling: needs targetCPUUtilizationPercentage, targetMemoryUtilizationPercentage or metrics to go by." }}
{{- end }}
{{- end }}
{{- end }}

{{- $tls := $values.tls }}
{{- if $tls.enabled }}
{{- if not (or $tls.existingSecret $tls.certManager.enabled) }}
{{- $faults = append $faults "tls.existingSecret: is required with tls.enabled, or tls.certManager.enabled." }}
{{- end }}
{{- if and $tls.existingSecret $tls.certManager.enabled }}
{{- $faults = append $faults "tls.existingSecret: must not stand beside tls.certManager.enabled; one of them gives the certificate." }}
{{- end }}
{{- if and $tls.certManager.enabled (empty $tls.certManager.issuerRef.name) }}
{{- $faults = append $faults "tls.certManager.issuerRef.name: is required with tls.certManager.enabled." }}
{{- end }}
{{- if $values.probes.grpc }}
{{- $faults = append $faults "probes.grpc: must be false with tls.enabled, as gRPC probes do not speak TLS. Probes over HTTP do not need it." }}
{{- end }}
{{- else }}
{{- if or $tls.existingSecret $tls.certManager.enabled $tls.clientCA.existingSecret }}
{{- $faults = append $faults "tls.enabled: must be true when tls.existingSecret, tls.certManager.enabled or tls.clientCA.existingSecret is set; calls would be plaintext." }}
{{- end }}
{{- end }}

{{- if and $values.ingress.enabled (empty $values.ingress.hosts) }}
{{- $faults = append $faults "ingress.hosts: must name a host with ingress.enabled; without one it would take webhooks of every host." }}
{{- end }}
{{- range $route := list "httpRoute" "grpcRoute" }}
{{- $of := get $values $route }}
{{- if $of.enabled }}
{{- if empty $of.parentRefs }}
{{- $faults = append $faults (printf "%s.parentRefs: must name a Gateway with %s.enabled." $route $route) }}
{{- end }}
{{- if empty $of.hostnames }}
{{- $faults = append $faults (printf "%s.hostnames: must name a host with %s.enabled; without one it would take those of every host." $route $route) }}
{{- end }}
{{- end }}
{{- end }}

{{- if eq (int $values.containerPorts.grpc) (int $values.containerPorts.http) }}
{{- $faults = append $faults "containerPorts.http: must be another port than containerPorts.grpc." }}
{{- end }}
{{- range $other := list "grpc" "http" }}
{{- if eq (int $values.containerPorts.admin) (int (get $values.containerPorts $other)) }}
{{- $faults = append $faults (printf "containerPorts.admin: must be another port than containerPorts.%s." $other) }}
{{- end }}
{{- end }}
{{- if eq (int $values.service.ports.grpc) (int $values.service.ports.http) }}
{{- $faults = append $faults "service.ports.http: must be another port than service.ports.grpc." }}
{{- end }}

{{- range $own := list (list "grpc" "listen" "bindAddress and containerPorts.grpc") (list "http" "listen" "bindAddress and containerPorts.http") (list "admin" "listen" "bindAddress and containerPorts.admin") (list "grpc" "tls" "tls") (list "store" "url" "store.postgres.url") (list "store" "password_file" "store.postgres.existingSecret") }}
{{- $section := default dict (get $values.config (index $own 0)) }}
{{- if hasKey $section (index $own 1) }}
{{- $faults = append $faults (printf "config.%s.%s: is set by the chart; use %s." (index $own 0) (index $own 1) (index $own 2)) }}
{{- end }}
{{- end }}
{{- if hasKey (default dict $values.config.store) "password" }}
{{- $faults = append $faults "config.store.password: must not be here, where everybody who may read the ConfigMap sees it; use store.postgres.existingSecret." }}
{{- end }}
{{- range $list := list "accounts" "clients" }}
{{- range $position, $entry := default list (get $values.config $list) }}
{{- $places := list (list "" $entry) }}
{{- with $entry.webhook }}{{ $places = append $places (list "webhook." .) }}{{ end }}
{{- range $place := $places }}
{{- range $key := list "client_secret" "secret" "password" "token" }}
{{- if hasKey (index $place 1) $key }}
{{- $faults = append $faults (printf "config.%s[%d].%s%s: must not be here, where everybody who may read the ConfigMap sees it; give %s_file, or put it into existingSecret." $list $position (index $place 0) $key $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- $grace := include "order-gateway.seconds" (default "20s" (default dict $values.config.shutdown).grace) }}
{{- if $grace }}
{{- $least := add (int $values.preStopSeconds) (int $grace) }}
{{- if le (int $values.terminationGracePeriodSeconds) (int $least) }}
{{- $faults = append $faults (printf "terminationGracePeriodSeconds: must be more than preStopSeconds and config.shutdown.grace together (%d), is %d; calls in flight would be cut off." $least (int $values.terminationGracePeriodSeconds)) }}
{{- end }}
{{- else }}
{{- $faults = append $faults "config.shutdown.grace: must be a whole number with a unit (ms, s, m, h, d), such as 20s." }}
{{- end }}

{{- if $faults }}
{{- fail (printf "the values cannot work:\n- %s" (join "\n- " $faults)) }}
{{- end }}
{{- end }}
