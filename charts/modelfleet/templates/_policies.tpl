{{- /* Rules that several NetworkPolicies share. */}}
{{- define "modelfleet.policy.dns" }}
- ports:
    {{- range .Values.networkPolicy.dnsPorts }}
    - {protocol: UDP, port: {{ . }}}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
{{- define "modelfleet.policy.ports" }}
{{- if . }}
- ports:
    {{- range . }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
{{- end }}
{{- end }}
{{- define "modelfleet.policy.models" }}
- to:
    - podSelector:
        matchExpressions:
          - {key: modelfleet.dev/inferencemodel, operator: Exists}
      namespaceSelector:
        {{- if has "*" .Values.watchNamespaces }} {}
        {{- else }}
        matchExpressions:
          - key: kubernetes.io/metadata.name
            operator: In
            values: {{ include "modelfleet.namespaces" . }}
        {{- end }}
{{- end }}
