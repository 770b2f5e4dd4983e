{{- /* The gateway's secrets. The chart makes each once and finds it again by `lookup`; all templates of one run get the
same value. */ -}}

{{- define "factorygate.secretName" -}}
{{- default (include "factorygate.fullname" .) .Values.hub.existingSecret -}}
{{- end -}}

{{- /* The keys of the gateway's Secret, as JSON. */ -}}
{{- define "factorygate.secretKeys" -}}
{{- $keys := list "cookie-secret" "crypt.key" "proxy-token" "service-token" "admin-token" "restore-routes-token" "metrics-token" -}}
{{- if .Values.workshops.enabled }}{{ $keys = append $keys "workshops-token" }}{{ end -}}
{{- toJson $keys -}}
{{- end -}}

{{- /* Fills .Values._made with two maps, secrets and tls, from a name to a value in base64. All templates of a chart
share .Values. */ -}}
{{- define "factorygate.make" -}}
{{- if not (hasKey .Values "_made") -}}
{{- $name := include "factorygate.fullname" . -}}
{{- $kept := dict -}}
{{- $found := lookup "v1" "Secret" .Release.Namespace $name -}}
{{- if $found }}{{ $kept = default dict $found.data }}{{ end -}}
{{- $made := dict -}}
{{- $given := dict "cookie-secret" .Values.hub.cookieSecret "proxy-token" .Values.proxy.secretToken -}}
{{- range $key := include "factorygate.secretKeys" . | fromJsonArray -}}
{{- $value := index $kept $key -}}
{{- with index $given $key }}{{ $value = b64enc . }}{{ end -}}
{{- $_ := set $made $key (default (randAlphaNum 64 | sha256sum | b64enc) $value) -}}
{{- end -}}
{{- range $person := .Values.hub.demoUsers -}}
{{- $key := printf "demo-%s" $person -}}
{{- $_ := set $made $key (default (randAlphaNum 20 | b64enc) (index $kept $key)) -}}
{{- end -}}
{{- $_ := set .Values "_made" (dict "secrets" $made "tls" dict "authority" dict) -}}
{{- if include "factorygate.apart" . }}{{ include "factorygate.makeTls" . }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "factorygate.makeTls" -}}
{{- $name := include "factorygate.fullname" . -}}
{{- $generation := .Values.internalTls.generation | toString -}}
{{- $days := int .Values.internalTls.validDays -}}
{{- $now := now | unixEpoch | int64 -}}
{{- $authority := dict -}}
{{- $trusted := "" -}}
{{- $found := lookup "v1" "Secret" .Release.Namespace (printf "%s-internal-ca" $name) -}}
{{- if $found -}}
{{- $trusted = b64dec (index $found.data "trusted.crt") -}}
{{- end -}}
{{- if and $found (eq (index $found.metadata.annotations "factorygate/generation") $generation) -}}
{{- $authority = buildCustomCert (index $found.data "tls.crt") (index $found.data "tls.key") -}}
{{- else -}}
{{- $authority = genCA (printf "%s internal CA %s" $name $generation) (int (mul $days 4)) -}}
{{- /* Pods that still run trust the earlier authority, and the new ones must trust both. */ -}}
{{- $earlier := "" -}}
{{- if $found }}{{ $earlier = b64dec (index $found.data "tls.crt") }}{{ end -}}
{{- $trusted = printf "%s%s" $authority.Cert $earlier -}}
{{- end -}}
{{- $_ := set .Values._made "authority" (dict "tls.crt" (b64enc $authority.Cert) "tls.key" (b64enc $authority.Key) "trusted.crt" (b64enc $trusted)) -}}
{{- $parts := list "hub" "link" "proxy" -}}
{{- if .Values.workshops.enabled }}{{ $parts = append $parts "workshops" }}{{ end -}}
{{- if .Values.metrics.tls }}{{ $parts = append $parts "prometheus" }}{{ end -}}
{{- range $part := $parts -}}
{{- $secret := printf "%s-%s-tls" $name $part -}}
{{- $leaf := dict -}}
{{- $made := $now -}}
{{- $old := lookup "v1" "Secret" $.Release.Namespace $secret -}}
{{- $keep := false -}}
{{- if $old -}}
{{- $since := index $old.metadata.annotations "factorygate/made" | int64 -}}
{{- $young := lt (sub $now $since) (mul 86400 (int $.Values.internalTls.renewDays)) -}}
{{- $keep = and $young (eq (index $old.metadata.annotations "factorygate/generation") $generation) -}}
{{- if $keep }}{{ $made = $since }}{{ end -}}
{{- end -}}
{{- if $keep -}}
{{- $leaf = dict "tls.crt" (index $old.data "tls.crt") "tls.key" (index $old.data "tls.key") -}}
{{- else -}}
{{- $service := printf "%s-%s" $name $part -}}
{{- $names := list $part "localhost" $service (printf "%s.%s" $service $.Release.Namespace) (printf "%s.%s.svc" $service $.Release.Namespace) -}}
{{- if eq $part "proxy" }}{{ $names = append $names (printf "%s-api" $service) }}{{ end -}}
{{- $certificate := genSignedCert $part (list "127.0.0.1") $names $days $authority -}}
{{- $leaf = dict "tls.crt" (b64enc $certificate.Cert) "tls.key" (b64enc $certificate.Key) -}}
{{- end -}}
{{- $_ := set $leaf "ca.crt" (b64enc $trusted) -}}
{{- $_ := set $.Values._made.tls $part (dict "data" $leaf "made" ($made | toString)) -}}
{{- end -}}
{{- end -}}

{{- /* The checksums in a pod's annotations: if one changes, the pod is replaced. Argument: a list of context and part. */ -}}
{{- define "factorygate.checksums" -}}
{{- $root := index . 0 -}}
{{- include "factorygate.make" $root -}}
{{- $secrets := dict -}}
{{- if not $root.Values.hub.existingSecret }}{{ $secrets = $root.Values._made.secrets }}{{ end -}}
checksum/config: {{ include (printf "factorygate.checked.%s" (index . 1)) $root | sha256sum }}
checksum/secrets: {{ toJson $secrets | sha256sum }}
{{- end -}}

{{- define "factorygate.checked.hub" -}}
{{- include "factorygate.hubYaml" . }}
{{ toJson .Values.hub.config }}{{ toJson .Values.hub.extraConfig }}{{ toJson .Values.hub.extraFiles }}
{{ .Files.Get "files/extra_config.py" }}{{ .Values.internalTls.generation }}{{ toJson .Values.catalogue.antennas }}
{{- end -}}

{{- define "factorygate.checked.link" -}}
{{- include "factorygate.linkYaml" . }}
{{ toJson .Values.catalogue }}{{ .Values.internalTls.generation }}
{{- if .Values.workshops.enabled }}{{ include "factorygate.workshopsYaml" . }}{{ end -}}
{{- end -}}

{{- /* A new generation of certificates starts a new proxy, which then uses no file of the old one. */ -}}
{{- define "factorygate.checked.proxy" -}}
{{- .Values.hub.baseUrl }}{{ .Values.internalTls.generation }}
{{- end -}}

{{- define "factorygate.checked.gateway" -}}
{{- include "factorygate.checked.hub" . }}{{ include "factorygate.checked.link" . }}{{ include "factorygate.checked.proxy" . }}
{{- end -}}
