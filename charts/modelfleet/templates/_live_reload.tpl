{{- /* `skaffold dev`: the packages on a volume, and a shell that starts the process again when a sync ends it. */}}
{{- define "modelfleet.reload.init" -}}
initContainers:
  - name: sources
    image: {{ index . 1 | quote }}
    imagePullPolicy: {{ (index . 0).Values.image.pullPolicy }}
    command: [cp, -r, /opt/modelfleet/., /sources]
    securityContext: {{ include "modelfleet.containerSecurity" (index . 0) | nindent 6 }}
    volumeMounts:
      - {name: sources, mountPath: /sources}
{{- end }}

{{- define "modelfleet.reload.command" -}}
command:
  - sh
  - -c
  - |
    trap 'stop=1; kill -TERM "$child"' TERM
    while [ -z "$stop" ]; do
      "$@" & child=$!
      echo "$child" > /tmp/reload.pid
      while kill -0 "$child" 2>/dev/null; do wait "$child"; done
    done
  - reload
  - modelfleet
{{- end }}
