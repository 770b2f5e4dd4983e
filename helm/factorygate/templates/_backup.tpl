{{- /* The parts that have a volume of their own, each with a backup of its own, as JSON. */ -}}
{{- define "factorygate.backedUp" -}}
{{- toJson (ternary (list "hub" "link" "workshops") (list "hub" "link") .Values.workshops.enabled) -}}
{{- end -}}

{{- /* The parts of which the values name a backup to restore, as JSON. */ -}}
{{- define "factorygate.restored" -}}
{{- $parts := list -}}
{{- range $part := list "hub" "link" "workshops" }}{{ if index $.Values.restore $part }}{{ $parts = append $parts $part }}{{ end }}{{ end -}}
{{- toJson $parts -}}
{{- end -}}

{{- /* The number of pods of hub and link: none while a backup is restored. */ -}}
{{- define "factorygate.replicas" -}}
{{- ternary 1 0 (empty (include "factorygate.restored" . | fromJsonArray)) -}}
{{- end -}}

{{- /* A job that backs up or restores one part: list of context, part, and "backup" or "restore". The volumes are those of
the part's own pod. A backup runs beside this pod, since a volume may be usable on one node only; a restore runs while
there is no such pod, and reads the file that the values name. */ -}}
{{- define "factorygate.backupJob" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
{{- $restores := eq (index . 2) "restore" -}}
{{- $together := not (include "factorygate.apart" $root) -}}
{{- $pvc := get (dict "hub" $root.Values.hub.db.pvc "link" $root.Values.link.pvc "workshops" $root.Values.workshops.pvc) $part -}}
{{- $once := not (has "ReadWriteMany" $pvc.accessModes) -}}
{{- $placed := ternary $root.Values.hub $root.Values.link (or $together (eq $part "hub")) -}}
{{- $arguments := list -}}
{{- if $restores -}}
{{- $arguments = list "factorygate" "restore" "--overwrite" "--skip-read-only" -}}
{{- else -}}
{{- $arguments = list "python" "/etc/factorygate-backup/backup.py" "--days" ($root.Values.backup.keepDays | toString) "--" "backup" -}}
{{- /* The file of the workshops service is named by the environment. */ -}}
{{- if ne $part "workshops" }}{{ $arguments = concat $arguments (list (printf "--%s" $part) (printf "/etc/factorygate/%s.yaml" $part)) }}{{ end -}}
{{- end -}}
{{- if not $root.Values.backup.databases }}{{ $arguments = append $arguments "--except-databases" }}{{ end -}}
{{- $arguments = append $arguments (ternary (printf "/backup/%s" (index $root.Values.restore $part)) "/backup" $restores) -}}
backoffLimit: {{ ternary 0 2 $restores }}
activeDeadlineSeconds: 1800
template:
  metadata:
    labels:
      {{- include "factorygate.labels" (list $root "backup") | nindent 6 }}
  spec:
    restartPolicy: Never
    {{- include "factorygate.pod" $root | nindent 4 }}
    {{- if $restores }}
    {{- include "factorygate.placement" $placed | nindent 4 }}
    {{- else }}
    {{- if $once }}
    affinity:
      podAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          - topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels:
                {{- include "factorygate.selector" (list $root (include "factorygate.component" (list $root $part))) | nindent 16 }}
    {{- end }}
    {{- with $placed.tolerations }}
    tolerations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- end }}
    containers:
      - name: {{ ternary "restore" "backup" $restores }}
        {{- include "factorygate.container" (list $root $root.Values.hub.image) | nindent 8 }}
        args: {{ toJson $arguments }}
        env:
          {{- include (printf "factorygate.%sEnv" $part) $root | nindent 10 }}
        resources:
          {{- toYaml $root.Values.backup.resources | nindent 10 }}
        volumeMounts:
          {{- include (printf "factorygate.%sMounts" $part) $root | nindent 10 }}
          {{- if $restores }}
          - {name: backup, mountPath: /backup, readOnly: true}
          {{- else }}
          - {name: backup, mountPath: /backup}
          - {name: backup-program, mountPath: /etc/factorygate-backup, readOnly: true}
          {{- end }}
    volumes:
      {{- if or (eq $part "link") (and $together (eq $part "hub")) }}
      {{- include "factorygate.runVolume" $root | nindent 6 }}
      {{- end }}
      {{- if or $together (ne $part "hub") }}
      {{- include "factorygate.workshopsRunVolume" $root | nindent 6 }}
      {{- end }}
      {{- if ne $part "hub" }}
      {{- include "factorygate.workshopsDataVolumes" $root | nindent 6 }}
      {{- end }}
      {{- include (printf "factorygate.%sVolumes" $part) $root | nindent 6 }}
      - name: backup
        persistentVolumeClaim:
          claimName: {{ include "factorygate.fullname" $root }}-{{ $part }}-backup
      {{- if not $restores }}
      - name: backup-program
        configMap:
          name: {{ include "factorygate.fullname" $root }}-backup
          defaultMode: 292
      {{- end }}
{{- end -}}
