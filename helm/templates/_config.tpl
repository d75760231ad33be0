{{/*
The settings as a tree: what the values say, and what the chart knows better. Keys are those of config.defaults.toml.
*/}}
{{- define "order-gateway.settings" -}}
{{- $values := .Values }}
{{- $settings := deepCopy $values.config }}
{{- $address := ternary (printf "[%s]" $values.bindAddress) $values.bindAddress (contains ":" $values.bindAddress) }}
{{- $grpc := default dict (get $settings "grpc") }}
{{- $_ := set $grpc "listen" (printf "%s:%d" $address (int $values.containerPorts.grpc)) }}
{{- if $values.tls.enabled }}
{{- $tls := dict "cert_file" "/etc/order-gateway/tls/tls.crt" "key_file" "/etc/order-gateway/tls/tls.key" }}
{{- if $values.tls.clientCA.existingSecret }}
{{- $_ := set $tls "client_ca_file" (printf "/etc/order-gateway/client-ca/%s" $values.tls.clientCA.key) }}
{{- end }}
{{- $_ := set $grpc "tls" $tls }}
{{- end }}
{{- $_ := set $settings "grpc" $grpc }}
{{- $http := default dict (get $settings "http") }}
{{- $_ := set $http "listen" (printf "%s:%d" $address (int $values.containerPorts.http)) }}
{{- $_ := set $settings "http" $http }}
{{- $admin := default dict (get $settings "admin") }}
{{- $_ := set $admin "listen" (printf "%s:%d" $address (int $values.containerPorts.admin)) }}
{{- $_ := set $settings "admin" $admin }}
{{- $store := default dict (get $settings "store") }}
{{- if include "order-gateway.postgres" . }}
{{- $_ := set $store "url" $values.store.postgres.url }}
{{- $file := printf "/etc/order-gateway/postgres/%s" $values.store.postgres.passwordKey }}
{{- $_ := set $store "password_file" (default $file $values.store.postgres.passwordFile) }}
{{- else }}
{{- $_ := set $store "url" "sqlite:///var/lib/order-gateway/order-gateway.db" }}
{{- end }}
{{- $_ := set $settings "store" $store }}
{{- toJson $settings }}
{{- end }}

{{/*
A tree as TOML. Helm's own toToml writes whole numbers as floats, since all numbers of values are floats. Takes
(dict "table" map "path" "its.path"); each line begins with its line break.
*/}}
{{- define "order-gateway.toml" -}}
{{- $path := .path }}
{{- range $key, $value := .table }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value) (include "order-gateway.tables" $value)) }}
{{ $key }} = {{ toJson $value }}
{{- end }}
{{- end }}
{{- range $key, $value := .table }}
{{- $at := ternary (printf "%s.%s" $path $key) $key (ne $path "") }}
{{- if kindIs "map" $value }}

[{{ $at }}]
{{- include "order-gateway.toml" (dict "table" $value "path" $at) }}
{{- else if include "order-gateway.tables" $value }}
{{- range $value }}

[[{{ $at }}]]
{{- include "order-gateway.toml" (dict "table" . "path" $at) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* "true" for a list of maps, else nothing. */}}
{{- define "order-gateway.tables" -}}
{{- if kindIs "slice" . }}{{ if . }}{{ if kindIs "map" (first .) }}true{{ end }}{{ end }}{{ end }}
{{- end }}
