{{- /* The parts that have a volume of their own, each with a backup of its own, as JSON. */ -}}
{{- define "factorygate.backedUp" -}}
{{- toJson (ternary (list "hub" "link" "workshops") (list "hub" "link") .Values.workshops.enabled) -}}
{{- end -}}

{{- /* A job that backs up one part: list of context and part. The volumes are those of the part's own pod, beside which
it runs, since a volume may be usable on one node only. */ -}}
{{- define "factorygate.backupJob" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
{{- $together := not (include "factorygate.apart" $root) -}}
{{- $pvc := get (dict "hub" $root.Values.hub.db.pvc "link" $root.Values.link.pvc "workshops" $root.Values.workshops.pvc) $part -}}
{{- $once := not (has "ReadWriteMany" $pvc.accessModes) -}}
{{- $arguments := list "python" "/etc/factorygate-backup/backup.py" "--days" ($root.Values.backup.keepDays | toString) "--" "backup" -}}
{{- /* The file of the workshops service is named by the environment. */ -}}
{{- if ne $part "workshops" }}{{ $arguments = concat $arguments (list (printf "--%s" $part) (printf "/etc/factorygate/%s.yaml" $part)) }}{{ end -}}
{{- if not $root.Values.backup.databases }}{{ $arguments = append $arguments "--except-databases" }}{{ end -}}
backoffLimit: 2
activeDeadlineSeconds: 1800
template:
  metadata:
    labels:
      {{- include "factorygate.labels" (list $root "backup") | nindent 6 }}
  spec:
    restartPolicy: Never
    {{- include "factorygate.pod" $root | nindent 4 }}
    {{- if $once }}
    affinity:
      podAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          - topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels:
                {{- include "factorygate.selector" (list $root (include "factorygate.component" (list $root $part))) | nindent 16 }}
    {{- end }}
    {{- with (ternary $root.Values.hub $root.Values.link (eq $part "hub")).tolerations }}
    tolerations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    containers:
      - name: backup
        {{- include "factorygate.container" (list $root $root.Values.hub.image) | nindent 8 }}
        args: {{ toJson (append $arguments "/backup") }}
        env:
          {{- include (printf "factorygate.%sEnv" $part) $root | nindent 10 }}
        resources:
          {{- toYaml $root.Values.backup.resources | nindent 10 }}
        volumeMounts:
          {{- include (printf "factorygate.%sMounts" $part) $root | nindent 10 }}
          - {name: backup, mountPath: /backup}
          - {name: backup-program, mountPath: /etc/factorygate-backup, readOnly: true}
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
      - name: backup-program
        configMap:
          name: {{ include "factorygate.fullname" $root }}-backup
          defaultMode: 292
{{- end -}}
