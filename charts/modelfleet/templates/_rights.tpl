{{- /* Namespace of the values' models. */}}
{{- define "modelfleet.modelNamespace" -}}
{{ default .Release.Namespace .Values.modelNamespace.name }}
{{- end }}

{{- /* ServiceAccount of model servers; empty for the default one of their namespace. */}}
{{- define "modelfleet.serverAccount" -}}
{{- with .Values.server.serviceAccount }}
{{- if .name }}{{ .name }}
{{- else if .create }}{{ include "modelfleet.fullname" $ }}-server{{ end }}
{{- end }}
{{- end }}

{{- /* JSON: Secrets that the operator passes to pods, which models may not refer to. */}}
{{- define "modelfleet.platformSecrets" -}}
{{- $names := .Values.image.pullSecrets }}
{{- with include "modelfleet.hfTokenSecret" . }}{{ $names = append $names . }}{{ end }}
{{- range $_, $profile := .Values.profiles }}
{{- with ($profile | default dict).hfTokenSecret }}{{ $names = append $names . }}{{ end }}
{{- with ($profile | default dict).registrySecret }}{{ $names = append $names . }}{{ end }}
{{- with ((($profile | default dict).s3 | default dict).secretRef | default dict).name }}{{ $names = append $names . }}{{ end }}
{{- end }}
{{- $names | uniq | toJson }}
{{- end }}

{{- /* JSON: names of remote keys without a rule of their own, which go to every https address. */}}
{{- define "modelfleet.remoteKeys.open" -}}
{{- $remote := .Values.router.remoteKeys }}
{{- $ruled := list }}
{{- range $remote.rules }}{{ $ruled = append $ruled .name }}{{ end }}
{{- $names := $remote.names }}
{{- if not $names }}{{ $names = keys $remote.values | sortAlpha }}{{ end }}
{{- $open := list }}
{{- range $names }}{{ if not (has . $ruled) }}{{ $open = append $open . }}{{ end }}{{ end }}
{{- toJson $open }}
{{- end }}

{{- /* JSON: names of all remote keys. */}}
{{- define "modelfleet.remoteKeys.names" -}}
{{- $names := include "modelfleet.remoteKeys.open" . | fromJsonArray }}
{{- range .Values.router.remoteKeys.rules }}{{ $names = append $names .name }}{{ end }}
{{- $names | uniq | sortAlpha | toJson }}
{{- end }}

{{- /* The setting REMOTE_KEYS of router and operator; empty without keys. */}}
{{- define "modelfleet.remoteKeys" -}}
{{- $open := include "modelfleet.remoteKeys.open" . | fromJsonArray }}
{{- $rules := .Values.router.remoteKeys.rules }}
{{- if $rules }}
{{- range $open }}{{ $rules = append $rules (dict "name" . "addresses" (list "https://")) }}{{ end }}
{{- toJson $rules }}
{{- else }}{{ join "," $open }}{{ end }}
{{- end }}
