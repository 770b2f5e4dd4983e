{{- /* The containers of hub, link, workshops service and proxy with their volumes: all in one pod, or hub, link and
proxy each in its own. The workshops service is always in the link's pod. */ -}}

{{- define "factorygate.curl" -}}
{{- $url := index . 1 -}}
{{- $curl := list "curl" "--fail" "--silent" "--show-error" "--output" "/dev/null" "--max-time" "5" -}}
{{- if include "factorygate.apart" (index . 0) -}}
{{- $tls := "/run/secrets/factorygate-tls" -}}
{{- $curl = concat $curl (list "--cacert" (printf "%s/ca.crt" $tls) "--cert" (printf "%s/tls.crt" $tls) "--key" (printf "%s/tls.key" $tls)) -}}
{{- $url = replace "http://" "https://" $url -}}
{{- end -}}
{{- toJson (append $curl $url) -}}
{{- end -}}

{{- define "factorygate.hub" -}}
{{- $root := . -}}
- name: hub
  {{- include "factorygate.container" (list . .Values.hub.image) | nindent 2 }}
  args: [jupyterhub, -f, /opt/factorygate/hub_config/jupyterhub_config.py]
  {{- if include "factorygate.apart" . }}
  ports:
    - {name: hub, containerPort: 8081}
  {{- end }}
  env:
    {{- include "factorygate.hubEnv" . | nindent 4 }}
    {{- include "factorygate.env" .Values.hub.extraEnv | nindent 4 }}
  {{- include "factorygate.probes" (list .Values.hub (include "factorygate.curl" (list . (printf "http://127.0.0.1:8081%shub/health" .Values.hub.baseUrl)) | fromJsonArray)) | nindent 2 }}
  resources:
    {{- toYaml .Values.hub.resources | nindent 4 }}
  volumeMounts:
    {{- include "factorygate.hubMounts" . | nindent 4 }}
    {{- range $name, $file := .Values.hub.extraFiles }}
    - {name: extra-files, mountPath: {{ $file.mountPath | quote }}, subPath: {{ $name | quote }}, readOnly: true}
    {{- end }}
{{- end -}}

{{- define "factorygate.hubEnv" -}}
- {name: FACTORYGATE_HUB_CONFIG, value: /etc/factorygate/hub.yaml}
{{- if eq .Values.hub.db.type "postgres" }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .Values.hub.db.passwordSecret.name }}, key: {{ .Values.hub.db.passwordSecret.key }}}
{{- end }}
{{- end -}}

{{- define "factorygate.hubMounts" -}}
- {name: hub-config, mountPath: /etc/factorygate, readOnly: true}
{{- if .Values.catalogue.factories }}
- {name: hub-catalogue, mountPath: /etc/factorygate-catalogue/factories, readOnly: true}
{{- end }}
{{- if .Values.catalogue.antennas }}
- {name: hub-antennas, mountPath: /etc/factorygate-catalogue/antennas.yaml, subPath: antennas.yaml, readOnly: true}
{{- end }}
- {name: hub-settings, mountPath: /etc/factorygate-settings, readOnly: true}
- {name: hub-secrets, mountPath: /run/secrets/factorygate, readOnly: true}
{{- if .Values.hub.login }}
- {name: login-secrets, mountPath: /run/secrets/factorygate-login, readOnly: true}
{{- end }}
- {name: hub-state, mountPath: /var/lib/factorygate}
- {name: hub-tmp, mountPath: /tmp}
{{- if include "factorygate.apart" . }}
- {name: hub-tls, mountPath: /run/secrets/factorygate-tls, readOnly: true}
{{- else }}
- {name: run, mountPath: /run/factorygate}
{{- if .Values.workshops.enabled }}
- {name: workshops-run, mountPath: /run/factorygate-workshops}
{{- end }}
{{- end }}
{{- end -}}

{{- /* The init containers that run before the hub starts. */ -}}
{{- define "factorygate.hubInit" -}}
{{- if .Values.hub.demoUsers }}
- name: demo-passwords
  {{- include "factorygate.container" (list . .Values.hub.image) | nindent 2 }}
  args: [python, /etc/factorygate/demo_passwords.py]
  resources:
    {{- toYaml .Values.hub.resources | nindent 4 }}
  volumeMounts:
    {{- include "factorygate.hubMounts" . | nindent 4 }}
    - {name: demo-passwords, mountPath: /run/secrets/factorygate-demo, readOnly: true}
{{- end }}
{{- if .Values.hub.db.upgrade }}
- name: upgrade-hub
  {{- include "factorygate.container" (list . .Values.hub.image) | nindent 2 }}
  # The image's environment names hub.yaml and link.yaml; this container has hub.yaml only.
  args: [env, -u, FACTORYGATE_LINK, factorygate, stores, upgrade, --hub, /etc/factorygate/hub.yaml]
  env:
    {{- include "factorygate.hubEnv" . | nindent 4 }}
  resources:
    {{- toYaml .Values.hub.resources | nindent 4 }}
  volumeMounts:
    {{- include "factorygate.hubMounts" . | nindent 4 }}
{{- end }}
{{- end -}}

{{- define "factorygate.hubVolumes" -}}
- name: hub-tmp
  emptyDir: {}
- name: hub-config
  configMap:
    name: {{ include "factorygate.fullname" . }}-hub
    defaultMode: 292
{{- if .Values.catalogue.factories }}
- name: hub-catalogue
  configMap:
    name: {{ include "factorygate.fullname" . }}-catalogue
    defaultMode: 292
{{- end }}
{{- if .Values.catalogue.antennas }}
- name: hub-antennas
  configMap:
    name: {{ include "factorygate.fullname" . }}-antennas
    defaultMode: 292
{{- end }}
- name: hub-settings
  secret:
    secretName: {{ include "factorygate.fullname" . }}-hub-settings
    defaultMode: {{ .Values.secretMode }}
- name: hub-secrets
  secret:
    secretName: {{ include "factorygate.secretName" . }}
    defaultMode: {{ .Values.secretMode }}
    items:
      {{- range $key := include "factorygate.secretKeys" . | fromJsonArray }}
      - {key: {{ $key }}, path: {{ $key }}}
      {{- end }}
{{- if .Values.hub.login }}
- name: login-secrets
  secret:
    secretName: {{ .Values.hub.loginSecret }}
    defaultMode: {{ .Values.secretMode }}
    items:
      {{- range .Values.hub.login.providers }}
      - {key: {{ .id }}, path: {{ .id }}}
      {{- end }}
{{- end }}
- name: hub-state
  persistentVolumeClaim:
    claimName: {{ include "factorygate.fullname" . }}-hub
{{- if include "factorygate.apart" . }}
- name: hub-tls
  secret:
    secretName: {{ include "factorygate.fullname" . }}-hub-tls
    defaultMode: {{ .Values.secretMode }}
{{- end }}
{{- end -}}

{{- /* Volumes of the hub's pod that a backup job does not mount. */ -}}
{{- define "factorygate.hubPodVolumes" -}}
{{- if .Values.hub.demoUsers }}
- name: demo-passwords
  secret:
    secretName: {{ include "factorygate.secretName" . }}
    defaultMode: {{ .Values.secretMode }}
    items:
      {{- range .Values.hub.demoUsers }}
      - {key: demo-{{ . }}, path: {{ . | quote }}}
      {{- end }}
{{- end }}
{{- if .Values.hub.extraFiles }}
- name: extra-files
  secret:
    secretName: {{ include "factorygate.fullname" . }}-extra-files
    defaultMode: {{ .Values.secretMode }}
    items:
      {{- range $name, $file := .Values.hub.extraFiles }}
      - {key: {{ $name | quote }}, path: {{ $name | quote }}{{ with $file.mode }}, mode: {{ int . }}{{ end }}}
      {{- end }}
{{- end }}
{{- end -}}

{{- define "factorygate.runVolume" -}}
- name: run
  emptyDir: {}
{{- end -}}

{{- /* The sockets of link and workshops service for each other. The link's socket for the hub is not among them. */ -}}
{{- define "factorygate.workshopsRunVolume" -}}
{{- if .Values.workshops.enabled -}}
- name: workshops-run
  emptyDir: {}
{{- end }}
{{- end -}}

{{- /* What the workshops service writes and the link reads, and what both read. */ -}}
{{- define "factorygate.workshopsDataVolumes" -}}
{{- if .Values.workshops.enabled -}}
- name: workshops-state
  persistentVolumeClaim:
    claimName: {{ include "factorygate.fullname" . }}-workshops
- name: workshop-pools
  configMap:
    name: {{ include "factorygate.fullname" . }}-workshop-pools
    defaultMode: 292
{{- end }}
{{- end -}}

{{- define "factorygate.link" -}}
- name: link
  {{- include "factorygate.container" (list . .Values.link.image) | nindent 2 }}
  args: [python, -m, factorylink, --config, /etc/factorygate/link.yaml]
  ports:
    {{- if include "factorygate.apart" . }}
    - {name: user-api, containerPort: 8090}
    - {name: hub-api, containerPort: 8443}
    {{- end }}
    {{- if .Values.metrics.enabled }}
    - {name: link-metrics, containerPort: 9099}
    {{- end }}
  env:
    {{- include "factorygate.linkEnv" . | nindent 4 }}
    {{- include "factorygate.env" .Values.link.extraEnv | nindent 4 }}
  {{- include "factorygate.probes" (list .Values.link (list "curl" "--fail" "--silent" "--show-error" "--output" "/dev/null" "--max-time" "5" "--unix-socket" "/run/factorygate/link.sock" "http://link/health")) | nindent 2 }}
  resources:
    {{- toYaml .Values.link.resources | nindent 4 }}
  volumeMounts:
    {{- include "factorygate.linkMounts" . | nindent 4 }}
{{- end -}}

{{- define "factorygate.linkEnv" -}}
- {name: FACTORYGATE_LINK, value: /etc/factorygate/link.yaml}
- {name: FACTORYGATE_SOCKET, value: /run/factorygate/link.sock}
{{- if .Values.catalogue.factories }}
- {name: FACTORYGATE_CATALOGUE, value: /etc/factorygate-catalogue/factories}
{{- end }}
{{- if eq .Values.link.ledger.type "postgres" }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .Values.link.ledger.passwordSecret.name }}, key: {{ .Values.link.ledger.passwordSecret.key }}}
{{- end }}
{{- end -}}

{{- define "factorygate.linkMounts" -}}
- {name: link-config, mountPath: /etc/factorygate, readOnly: true}
{{- if .Values.projects }}
- {name: projects, mountPath: /etc/factorygate-projects, readOnly: true}
{{- end }}
{{- if .Values.catalogue.factories }}
- {name: catalogue, mountPath: /etc/factorygate-catalogue/factories, readOnly: true}
{{- end }}
{{- if .Values.catalogue.antennas }}
- {name: antennas, mountPath: /etc/factorygate-catalogue/antennas.yaml, subPath: antennas.yaml, readOnly: true}
{{- end }}
- {name: link-secrets, mountPath: /run/secrets/factorygate, readOnly: true}
{{- range $id, $_ := .Values.factories }}
- {name: factory-{{ $id }}, mountPath: /run/secrets/factorygate-factories/{{ $id }}, readOnly: true}
{{- end }}
- {name: link-state, mountPath: /var/lib/factorygate}
- {name: link-tmp, mountPath: /tmp}
- {name: run, mountPath: /run/factorygate}
{{- if .Values.workshops.enabled }}
- {name: workshops-run, mountPath: /run/factorygate-workshops}
- {name: workshops-state, mountPath: /var/lib/factorygate-workshops, readOnly: true}
- {name: workshop-pools, mountPath: /etc/factorygate-pools, readOnly: true}
{{- end }}
{{- if include "factorygate.apart" . }}
- {name: link-tls, mountPath: /run/secrets/factorygate-tls, readOnly: true}
{{- end }}
{{- end -}}

{{- define "factorygate.linkVolumes" -}}
{{- $name := include "factorygate.fullname" . -}}
- name: link-tmp
  emptyDir: {}
- name: link-config
  configMap:
    name: {{ $name }}-link
    defaultMode: 292
{{- if .Values.projects }}
- name: projects
  configMap:
    name: {{ $name }}-projects
    defaultMode: 292
{{- end }}
{{- if .Values.catalogue.factories }}
- name: catalogue
  configMap:
    name: {{ $name }}-catalogue
    defaultMode: 292
{{- end }}
{{- if .Values.catalogue.antennas }}
- name: antennas
  configMap:
    name: {{ $name }}-antennas
    defaultMode: 292
{{- end }}
- name: link-secrets
  secret:
    secretName: {{ include "factorygate.secretName" . }}
    defaultMode: {{ .Values.secretMode }}
    items:
      - {key: service-token, path: service-token}
{{- range $id, $factory := .Values.factories }}
- name: factory-{{ $id }}
  secret:
    secretName: {{ $factory.existingSecret }}
    defaultMode: {{ $.Values.secretMode }}
{{- end }}
- name: link-state
  persistentVolumeClaim:
    claimName: {{ $name }}-link
{{- if include "factorygate.apart" . }}
- name: link-tls
  secret:
    secretName: {{ $name }}-link-tls
    defaultMode: {{ .Values.secretMode }}
{{- end }}
{{- end -}}

{{- define "factorygate.workshops" -}}
{{- if .Values.workshops.enabled -}}
- name: workshops
  {{- include "factorygate.container" (list . .Values.workshops.image) | nindent 2 }}
  args: [python, -m, workshops, --config, /etc/factorygate/workshops.yaml]
  {{- if include "factorygate.apart" . }}
  ports:
    - {name: workshops-api, containerPort: 8092}
    - {name: workshops-hub, containerPort: 8444}
  {{- end }}
  env:
    {{- include "factorygate.workshopsEnv" . | nindent 4 }}
  {{- include "factorygate.probes" (list .Values.workshops (list "curl" "--fail" "--silent" "--show-error" "--output" "/dev/null" "--max-time" "5" "--unix-socket" "/run/factorygate-workshops/workshops.sock" "http://workshops/health")) | nindent 2 }}
  resources:
    {{- toYaml .Values.workshops.resources | nindent 4 }}
  volumeMounts:
    {{- include "factorygate.workshopsMounts" . | nindent 4 }}
{{- end }}
{{- end -}}

{{- define "factorygate.workshopsEnv" -}}
- {name: FACTORYGATE_WORKSHOPS, value: /etc/factorygate/workshops.yaml}
- {name: FACTORYGATE_WORKSHOPS_SOCKET, value: /run/factorygate-workshops/workshops.sock}
{{- if eq .Values.workshops.db.type "postgres" }}
- name: PGPASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .Values.workshops.db.passwordSecret.name }}, key: {{ .Values.workshops.db.passwordSecret.key }}}
{{- end }}
{{- end -}}

{{- define "factorygate.workshopsMounts" -}}
- {name: workshops-config, mountPath: /etc/factorygate, readOnly: true}
- {name: workshop-pools, mountPath: /etc/factorygate-pools, readOnly: true}
- {name: workshops-secrets, mountPath: /run/secrets/factorygate, readOnly: true}
{{- if .Values.workshops.mailSecret.name }}
- {name: workshops-mail, mountPath: /run/secrets/factorygate-mail, readOnly: true}
{{- end }}
{{- if .Values.workshops.materialSecret }}
- {name: workshops-material, mountPath: /run/secrets/factorygate-material, readOnly: true}
{{- end }}
- {name: workshops-state, mountPath: /var/lib/factorygate-workshops}
- {name: workshops-tmp, mountPath: /tmp}
- {name: workshops-run, mountPath: /run/factorygate-workshops}
{{- if include "factorygate.apart" . }}
- {name: workshops-tls, mountPath: /run/secrets/factorygate-tls, readOnly: true}
{{- end }}
{{- end -}}

{{- /* The volumes that only the workshops service mounts. */ -}}
{{- define "factorygate.workshopsVolumes" -}}
{{- if .Values.workshops.enabled -}}
{{- $name := include "factorygate.fullname" . -}}
- name: workshops-tmp
  emptyDir: {}
- name: workshops-config
  configMap:
    name: {{ $name }}-workshops
    defaultMode: 292
- name: workshops-secrets
  secret:
    secretName: {{ include "factorygate.secretName" . }}
    defaultMode: {{ .Values.secretMode }}
    items:
      - {key: workshops-token, path: workshops-token}
{{- with .Values.workshops.materialSecret }}
- name: workshops-material
  secret:
    secretName: {{ . }}
    defaultMode: {{ $.Values.secretMode }}
    items:
      {{- range $index, $token := $.Values.workshops.material.tokens }}
      {{- $key := printf "token-%d" (add $index 1) }}
      - {key: {{ $key }}, path: {{ $key }}}
      {{- end }}
{{- end }}
{{- with .Values.workshops.mailSecret }}
{{- if .name }}
- name: workshops-mail
  secret:
    secretName: {{ .name }}
    defaultMode: {{ $.Values.secretMode }}
    items:
      - {key: {{ .key }}, path: password}
{{- end }}
{{- end }}
{{- if include "factorygate.apart" . }}
- name: workshops-tls
  secret:
    secretName: {{ $name }}-workshops-tls
    defaultMode: {{ .Values.secretMode }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "factorygate.proxy" -}}
{{- $name := include "factorygate.fullname" . -}}
{{- $apart := include "factorygate.apart" . -}}
{{- $tls := "/run/secrets/factorygate-tls" -}}
{{- $arguments := list "--ip" "0.0.0.0" "--port" "8000" "--error-path" "/opt/factorygate/proxy/error" -}}
{{- if $apart -}}
{{- $arguments = concat $arguments (list "--api-ip" "0.0.0.0" "--api-port" "8001" "--default-target" (printf "https://%s-hub:8081" $name)) -}}
{{- range $side := list "api" "client" -}}
{{- $arguments = concat $arguments (list
  (printf "--%s-ssl-key" $side) (printf "%s/tls.key" $tls)
  (printf "--%s-ssl-cert" $side) (printf "%s/tls.crt" $tls)
  (printf "--%s-ssl-ca" $side) (printf "%s/ca.crt" $tls)
  (printf "--%s-ssl-request-cert" $side) (printf "--%s-ssl-reject-unauthorized" $side)) -}}
{{- end -}}
{{- else -}}
{{- $arguments = concat $arguments (list "--api-ip" "127.0.0.1" "--api-port" "8001" "--default-target" "http://127.0.0.1:8081") -}}
{{- end -}}
{{- if .Values.metrics.enabled -}}
{{- $arguments = concat $arguments (list "--metrics-ip" "0.0.0.0" "--metrics-port" "8002") -}}
{{- end -}}
{{- if .Values.hub.subdomains }}{{ $arguments = append $arguments "--host-routing" }}{{ end -}}
{{- /* The server that ends TLS in front of the proxy sends X-Forwarded-Proto: https. Without --no-x-forward the proxy
would replace it by http. */ -}}
{{- if hasPrefix "https:" .Values.publicUrl }}{{ $arguments = append $arguments "--no-x-forward" }}{{ end -}}
- name: proxy
  {{- include "factorygate.container" (list . .Values.proxy.chp.image) | nindent 2 }}
  args: {{ toJson (prepend $arguments "configurable-http-proxy") }}
  ports:
    - {name: http, containerPort: 8000}
    {{- if $apart }}
    - {name: api, containerPort: 8001}
    {{- end }}
    {{- if .Values.metrics.enabled }}
    - {name: proxy-metrics, containerPort: 8002}
    {{- end }}
  env:
    - name: NODE_OPTIONS
      value: --max-old-space-size={{ int .Values.proxy.chp.heapMegabytes }} --require=/opt/factorygate/proxy/restore-routes.cjs{{ if $apart }} --require=/opt/factorygate/proxy/certificates.cjs{{ end }}
    - {name: RESTORE_ROUTES_URL, value: {{ printf "http://127.0.0.1:8000%shub/api/proxy" .Values.hub.baseUrl | quote }}}
    - name: RESTORE_ROUTES_TOKEN
      valueFrom:
        secretKeyRef: {name: {{ include "factorygate.secretName" . }}, key: restore-routes-token}
    - name: CONFIGPROXY_AUTH_TOKEN
      valueFrom:
        secretKeyRef: {name: {{ include "factorygate.secretName" . }}, key: proxy-token}
    {{- if .Values.metrics.tls }}
    - {name: FACTORYGATE_METRICS_TLS, value: "1"}
    {{- end }}
  {{- include "factorygate.probes" (list .Values.proxy.chp (list "curl" "--fail" "--silent" "--show-error" "--output" "/dev/null" "--max-time" "5" "http://127.0.0.1:8000/_chp_healthz")) | nindent 2 }}
  resources:
    {{- toYaml .Values.proxy.chp.resources | nindent 4 }}
  volumeMounts:
    - {name: proxy-tmp, mountPath: /tmp}
    {{- if $apart }}
    - {name: proxy-tls, mountPath: {{ $tls }}, readOnly: true}
    {{- end }}
{{- end -}}

{{- define "factorygate.proxyVolumes" -}}
- name: proxy-tmp
  emptyDir: {}
{{- if include "factorygate.apart" . }}
- name: proxy-tls
  secret:
    secretName: {{ include "factorygate.fullname" . }}-proxy-tls
    defaultMode: {{ .Values.secretMode }}
{{- end }}
{{- end -}}
