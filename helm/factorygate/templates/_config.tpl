{{- /* Makes hub.yaml, link.yaml and workshops.yaml: values are written by toYaml, and never pasted into code. */ -}}

{{- define "factorygate.host" -}}
{{- (urlParse .Values.publicUrl).hostname -}}
{{- end -}}

{{- /* The hosts that people open, as JSON: with subdomains also those of their servers. */ -}}
{{- define "factorygate.hosts" -}}
{{- $host := include "factorygate.host" . -}}
{{- $hosts := list $host -}}
{{- if .Values.hub.subdomains }}{{ $hosts = append $hosts (printf "*.%s" $host) }}{{ end -}}
{{- toJson $hosts -}}
{{- end -}}

{{- define "factorygate.hubYaml" -}}
{{- $name := include "factorygate.fullname" . -}}
{{- $secrets := "/run/secrets/factorygate" -}}
{{- $state := "/var/lib/factorygate" -}}
{{- $yaml := dict
  "public_url" .Values.publicUrl
  "base_url" .Values.hub.baseUrl
  "log_format" .Values.logFormat
  "proxy_token_file" (printf "%s/proxy-token" $secrets)
  "service_token_file" (printf "%s/service-token" $secrets)
  "admin_token_file" (printf "%s/admin-token" $secrets)
  "cookie_secret_file" (printf "%s/cookie-secret" $secrets)
  "catalogue" (include "factorygate.catalogue" .)
  "named_servers" (int .Values.hub.namedServers)
  "extra_config" "/etc/factorygate/extra_config.py"
-}}
{{- if include "factorygate.apart" . -}}
{{- $_ := set $yaml "hub_url" (printf "https://%s-hub:8081" $name) -}}
{{- $_ := set $yaml "hub_bind_url" "https://0.0.0.0:8081" -}}
{{- $_ := set $yaml "proxy_api_url" (printf "https://%s-proxy-api:8001" $name) -}}
{{- $_ := set $yaml "link" (dict "url" (printf "https://%s-link:8443" $name)) -}}
{{- $_ := set $yaml "link_url" (printf "https://%s-link:8090" $name) -}}
{{- $_ := set $yaml "tls" (include "factorygate.tlsFiles" . | fromYaml) -}}
{{- else -}}
{{- $_ := set $yaml "hub_url" "http://127.0.0.1:8081" -}}
{{- $_ := set $yaml "proxy_api_url" "http://127.0.0.1:8001" -}}
{{- $_ := set $yaml "link_socket" "/run/factorygate/link.sock" -}}
{{- $_ := set $yaml "link_url" "http://127.0.0.1:8090" -}}
{{- end -}}
{{- if .Values.workshops.enabled -}}
{{- $workshops := dict "guests" .Values.workshops.guests "token_file" (printf "%s/workshops-token" $secrets) -}}
{{- if include "factorygate.apart" . -}}
{{- $_ := set $workshops "hub_api_url" (printf "https://%s-workshops:8444" $name) -}}
{{- $_ := set $workshops "url" (printf "https://%s-workshops:8092" $name) -}}
{{- else -}}
{{- $_ := set $workshops "socket" "/run/factorygate-workshops/workshops.sock" -}}
{{- $_ := set $workshops "url" "http://127.0.0.1:8092" -}}
{{- end -}}
{{- $_ := set $yaml "workshops" $workshops -}}
{{- end -}}
{{- if eq .Values.hub.db.type "postgres" -}}
{{- $_ := set $yaml "db_url" .Values.hub.db.url -}}
{{- else -}}
{{- $_ := set $yaml "db_file" (printf "%s/jupyterhub.sqlite" $state) -}}
{{- end -}}
{{- if .Values.hub.subdomains }}{{ $_ := set $yaml "subdomain_host" .Values.publicUrl }}{{ end -}}
{{- with .Values.hub.admins }}{{ $_ := set $yaml "admins" . }}{{ end -}}
{{- if .Values.hub.login -}}
{{- $login := deepCopy .Values.hub.login -}}
{{- range $login.providers -}}
{{- $_ := set . "client_secret_file" (printf "%s-login/%s" $secrets .id) -}}
{{- end -}}
{{- $_ := set $login "people_file" (printf "%s/people.sqlite" $state) -}}
{{- $_ := set $login "crypt_key_file" (printf "%s/crypt.key" $secrets) -}}
{{- $_ := set $yaml "login" $login -}}
{{- else if .Values.hub.demoUsers -}}
{{- $_ := set $yaml "passwords_file" (printf "%s/passwords.json" $state) -}}
{{- end -}}
{{- toYaml $yaml -}}
{{- end -}}

{{- /* The folder of factories; antennas.yaml may be beside it. */ -}}
{{- define "factorygate.catalogue" -}}
{{- ternary "/etc/factorygate-catalogue/factories" "/opt/factorygate/hub_config/factories" (gt (len .Values.catalogue.factories) 0) -}}
{{- end -}}

{{- define "factorygate.tlsFiles" -}}
certificate: /run/secrets/factorygate-tls/tls.crt
key: /run/secrets/factorygate-tls/tls.key
authority: /run/secrets/factorygate-tls/ca.crt
{{- end -}}

{{- define "factorygate.linkYaml" -}}
{{- $name := include "factorygate.fullname" . -}}
{{- $apart := include "factorygate.apart" . -}}
{{- $hub := dict
  "url" (ternary (printf "https://%s-hub:8081" $name) "http://127.0.0.1:8081" (not (not $apart)))
  "base_url" .Values.hub.baseUrl
  "public_url" .Values.publicUrl
  "token_file" "/run/secrets/factorygate/service-token"
  "name" .Values.link.name
-}}
{{- $factories := dict -}}
{{- range $id, $factory := .Values.factories -}}
{{- $access := deepCopy $factory.access -}}
{{- $folder := printf "/run/secrets/factorygate-factories/%s" $id -}}
{{- $credentials := $access.transport.credentials -}}
{{- if eq $credentials.kind "key" -}}
{{- $_ := set $credentials "keys" $folder -}}
{{- else if eq $credentials.kind "efp" -}}
{{- $_ := set $credentials "watcher_key" (printf "%s/watcher" $folder) -}}
{{- else -}}
{{- $_ := set $credentials "key" (printf "%s/%s" $folder (ternary "ca" "key" (eq $credentials.kind "ca"))) -}}
{{- end -}}
{{- $_ := set $factories $id $access -}}
{{- end -}}
{{- $yaml := dict
  "catalogue" (include "factorygate.catalogue" .)
  "state_dir" "/var/lib/factorygate/link"
  "socket" "/run/factorygate/link.sock"
  "listen_port" 8090
  "log_format" .Values.logFormat
  "session_ports" .Values.link.sessionPorts
  "hub" $hub
  "factories" $factories
-}}
{{- if .Values.metrics.enabled -}}
{{- $_ := set $yaml "metrics" (dict "host" "0.0.0.0" "port" 9099 "tls" .Values.metrics.tls) -}}
{{- end -}}
{{- if $apart -}}
{{- $_ := set $yaml "tls" (include "factorygate.tlsFiles" . | fromYaml) -}}
{{- $_ := set $yaml "listen_host" "0.0.0.0" -}}
{{- $_ := set $yaml "hub_listener" (dict "host" "0.0.0.0" "port" 8443) -}}
{{- $_ := set $yaml "sessions" (dict "listen_host" "0.0.0.0" "advertise" (printf "%s-link" $name)) -}}
{{- end -}}
{{- if eq .Values.link.ledger.type "postgres" }}{{ $_ := set $yaml "ledger" .Values.link.ledger.url }}{{ end -}}
{{- with .Values.link.limits }}{{ $_ := set $yaml "limits" . }}{{ end -}}
{{- with .Values.link.mail }}{{ $_ := set $yaml "mail" . }}{{ end -}}
{{- with .Values.link.applyUrl }}{{ $_ := set $yaml "apply_url" . }}{{ end -}}
{{- if .Values.projects }}{{ $_ := set $yaml "projects" "/etc/factorygate-projects/projects.yaml" }}{{ end -}}
{{- if .Values.workshops.enabled }}{{ $_ := set $yaml "workshops" (include "factorygate.workshopFiles" . | fromYaml) }}{{ end -}}
{{- toYaml $yaml -}}
{{- end -}}

{{- /* What link and workshops service share. */ -}}
{{- define "factorygate.workshopFiles" -}}
table: /var/lib/factorygate-workshops/workshops-projects.json
pools: /etc/factorygate-pools/workshop-pools.yaml
socket: /run/factorygate-workshops/link.sock
{{- end -}}

{{- define "factorygate.workshopsYaml" -}}
{{- $name := include "factorygate.fullname" . -}}
{{- $apart := include "factorygate.apart" . -}}
{{- $files := include "factorygate.workshopFiles" . | fromYaml -}}
{{- $hub := dict
  "url" (ternary (printf "https://%s-hub:8081" $name) "http://127.0.0.1:8081" (not (not $apart)))
  "base_url" .Values.hub.baseUrl
  "public_url" .Values.publicUrl
  "token_file" "/run/secrets/factorygate/workshops-token"
-}}
{{- $yaml := dict
  "state_dir" "/var/lib/factorygate-workshops/state"
  "socket" "/run/factorygate-workshops/workshops.sock"
  "listen_port" 8092
  "log_format" .Values.logFormat
  "table" $files.table
  "pools" $files.pools
  "link" (dict "socket" $files.socket)
  "hub" $hub
  "approval" .Values.workshops.approval
-}}
{{- if $apart -}}
{{- $_ := set $yaml "tls" (include "factorygate.tlsFiles" . | fromYaml) -}}
{{- $_ := set $yaml "listen_host" "0.0.0.0" -}}
{{- $_ := set $yaml "hub_listener" (dict "host" "0.0.0.0" "port" 8444) -}}
{{- end -}}
{{- if eq .Values.workshops.db.type "postgres" }}{{ $_ := set $yaml "database" .Values.workshops.db.url }}{{ end -}}
{{- with .Values.workshops.trainers }}{{ $_ := set $yaml "trainers" . }}{{ end -}}
{{- with .Values.workshops.limits }}{{ $_ := set $yaml "limits" . }}{{ end -}}
{{- if .Values.workshops.material -}}
{{- $material := deepCopy .Values.workshops.material -}}
{{- range $index, $token := $material.tokens -}}
{{- $_ := set $token "file" (printf "/run/secrets/factorygate-material/token-%d" (add $index 1)) -}}
{{- end -}}
{{- $_ := set $yaml "material" $material -}}
{{- end -}}
{{- if .Values.workshops.mail -}}
{{- $mail := deepCopy .Values.workshops.mail -}}
{{- if and $mail.smtp .Values.workshops.mailSecret.name -}}
{{- $_ := set $mail.smtp "password_file" "/run/secrets/factorygate-mail/password" -}}
{{- end -}}
{{- $_ := set $yaml "joining" $mail -}}
{{- end -}}
{{- toYaml $yaml -}}
{{- end -}}

{{- /* Checks that the schema of the values cannot express, or whose message would not be understood. */ -}}
{{- define "factorygate.validate" -}}
{{- $url := urlParse .Values.publicUrl -}}
{{- $here := has $url.hostname (list "127.0.0.1" "localhost") -}}
{{- if and (ne $url.scheme "https") (not $here) -}}
{{- fail (printf "publicUrl: %s: people log in over it: it must be https (plain http is for 127.0.0.1 and localhost)" .Values.publicUrl) -}}
{{- end -}}
{{- if and .Values.hub.demoUsers (not $here) -}}
{{- fail (printf "hub.demoUsers: is for a trial on 127.0.0.1, and publicUrl is %s: give hub.login" .Values.publicUrl) -}}
{{- end -}}
{{- if and .Values.hub.demoUsers .Values.hub.login -}}
{{- fail "hub.demoUsers, hub.login: give one of them" -}}
{{- end -}}
{{- $authenticator := dig "JupyterHub" "authenticator_class" "" .Values.hub.config -}}
{{- if not (or .Values.hub.demoUsers .Values.hub.login $authenticator .Values.hub.extraConfig) -}}
{{- fail "Nobody could log in: give hub.login, hub.demoUsers (a trial), or an authenticator in hub.config or hub.extraConfig" -}}
{{- end -}}
{{- if and .Values.hub.login (not .Values.hub.loginSecret) -}}
{{- fail "hub.loginSecret: hub.login needs a Secret with the client secret of each provider, under the provider's id" -}}
{{- end -}}
{{- range $id, $factory := .Values.factories -}}
{{- if not (or $.Values.projects $factory.access.accounts $factory.access.account_pool) -}}
{{- fail (printf "factories.%s.access: accounts and account_pool are both empty, so nobody could run a job there" $id) -}}
{{- end -}}
{{- end -}}
{{- $ports := .Values.link.sessionPorts -}}
{{- if gt (int (index $ports 0)) (int (index $ports 1)) -}}
{{- fail "link.sessionPorts: is no range: give the lowest port, then the highest" -}}
{{- end -}}
{{- range $what, $of := dict "hub.db" .Values.hub.db "link.ledger" .Values.link.ledger "workshops.db" .Values.workshops.db -}}
{{- if and (eq $of.type "postgres") (not (and $of.url $of.passwordSecret.name)) -}}
{{- fail (printf "%s: postgres needs url and passwordSecret.name" $what) -}}
{{- end -}}
{{- if and (ne $of.type "postgres") $of.url -}}
{{- fail (printf "%s: url is for the type postgres" $what) -}}
{{- end -}}
{{- end -}}
{{- $user := dig "smtp" "user" "" .Values.workshops.mail -}}
{{- if ne (not $user) (not .Values.workshops.mailSecret.name) -}}
{{- fail "workshops.mail.smtp.user, workshops.mailSecret.name: give both or none: the Secret has the user's password" -}}
{{- end -}}
{{- if ne (not (dig "tokens" list .Values.workshops.material)) (not .Values.workshops.materialSecret) -}}
{{- fail "workshops.material.tokens, workshops.materialSecret: give both or none: the Secret has token-1 for the first of the tokens, and so on" -}}
{{- end -}}
{{- if and .Values.hub.subdomains (or $here (regexMatch "^[0-9.]+$" $url.hostname) (not (contains "." $url.hostname))) -}}
{{- fail (printf "hub.subdomains: %s has no subdomains: publicUrl needs a name such as hub.example.org" $url.hostname) -}}
{{- end -}}
{{- if and .Values.catalogue.antennas (not .Values.catalogue.factories) -}}
{{- fail "catalogue.antennas: needs catalogue.factories: those of the image have their own" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.gateway.name) -}}
{{- fail "httpRoute.gateway.name: is needed: the Gateway that the route belongs to" -}}
{{- end -}}
{{- if include "factorygate.restored" . | fromJsonArray -}}
{{- if .Release.IsUpgrade -}}
{{- fail "restore: is for `helm template`, which writes the Jobs of a restore: hub and link must have ended before they run" -}}
{{- end -}}
{{- if not .Values.backup.enabled -}}
{{- fail "restore: needs backup.enabled: the backups are on its volumes" -}}
{{- end -}}
{{- if and .Values.restore.workshops (not .Values.workshops.enabled) -}}
{{- fail "restore.workshops: needs workshops.enabled" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.metrics.tls (not (include "factorygate.apart" .)) -}}
{{- fail "metrics.tls: is for the topology apart: together, there are no certificates" -}}
{{- end -}}
{{- end -}}
