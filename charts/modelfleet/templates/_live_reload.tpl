{{- /* `skaffold dev`: packages on a volume, and a shell that restarts the process after a sync. */}}
{{- define "modelfleet.reload.init" -}}
initContainers:
  - name: sources
    image: {{ index . 1 | quote }}
    imagePullPolicy: {{ (index . 0).Values.image.pullPolicy }}
    command: [cp, -r, /opt/modelfleet/., /sources]
    securityContext: {{ include "modelfleet.containerSecurity" (list (index . 0) dict) | nindent 6 }}
    resources:
      requests: {cpu: 10m, memory: 32Mi}
      limits: {memory: 256Mi}
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
      [ -n "$stop" ] || sleep 1
    done
  - reload
  - modelfleet
{{- end }}

{{- /* The same for model servers, as a patch of their pods. */}}
{{- define "modelfleet.reload.server" -}}
spec:
  {{- include "modelfleet.reload.init" (list . (include "modelfleet.image" (list . .Values.server.cpuImage "server" "-cpu"))) | nindent 2 }}
  containers:
    - name: server
      {{- include "modelfleet.reload.command" . | nindent 6 }}
        - server
      volumeMounts:
        - {name: sources, mountPath: /opt/modelfleet}
  volumes:
    - {name: sources, emptyDir: {sizeLimit: 1Gi}}
{{- end }}
