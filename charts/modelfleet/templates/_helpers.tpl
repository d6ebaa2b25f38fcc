{{- define "modelfleet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "modelfleet.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "modelfleet.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "modelfleet.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Name of a cluster-scoped object: releases in different namespaces may have the same name. */}}
{{- define "modelfleet.clusterName" -}}
{{ .Release.Namespace }}-{{ include "modelfleet.fullname" . }}
{{- end }}

{{- /* Labels that select a component's pods. Arguments: root context, component. */}}
{{- define "modelfleet.selector" -}}
app.kubernetes.io/name: {{ include "modelfleet.name" (index . 0) }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "modelfleet.labels" -}}
{{ include "modelfleet.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version | replace "+" "_" }}
{{- end }}

{{- /* An image: the full reference, or one built from `image`. Arguments: root, reference, kind, suffix of the tag. */}}
{{- define "modelfleet.image" -}}
{{- $root := index . 0 }}
{{- $image := $root.Values.image }}
{{- if index . 1 }}
{{- index . 1 }}
{{- else }}
{{- with $image.registry }}{{ trimSuffix "/" . }}/{{ end }}
{{- $image.prefix }}{{ index . 2 }}:{{ default $root.Chart.AppVersion $image.tag }}{{ index . 3 }}
{{- end }}
{{- end }}

{{- /* JSON: the namespaces served, the release's own first; or ["*"]. */}}
{{- define "modelfleet.namespaces" -}}
{{- if has "*" .Values.watchNamespaces }}
{{- if gt (len .Values.watchNamespaces) 1 }}{{ fail "watchNamespaces: \"*\" must be the only entry" }}{{ end }}
{{- list "*" | toJson }}
{{- else }}
{{- $own := list .Release.Namespace }}
{{- with .Values.modelNamespace.name }}{{ $own = append $own . }}{{ end }}
{{- concat $own .Values.watchNamespaces | uniq | toJson }}
{{- end }}
{{- end }}

{{- /* JSON: the known namespaces, for objects that models' pods use. */}}
{{- define "modelfleet.modelNamespaces" -}}
{{- if has "*" .Values.watchNamespaces }}
{{- list .Release.Namespace (include "modelfleet.modelNamespace" .) | uniq | toJson }}
{{- else }}{{ include "modelfleet.namespaces" . }}{{ end }}
{{- end }}

{{- define "modelfleet.cacheClaim" -}}
{{- default (printf "%s-models" (include "modelfleet.fullname" .)) .Values.modelCache.existingClaim }}
{{- end }}

{{- define "modelfleet.hfTokenSecret" -}}
{{- if .Values.hfToken.existingSecret }}{{ .Values.hfToken.existingSecret }}
{{- else if .Values.hfToken.token }}{{ include "modelfleet.fullname" . }}-hf-token{{ end }}
{{- end }}

{{- define "modelfleet.apiKeysSecret" -}}
{{- if .Values.apiKeys.existingSecret }}{{ .Values.apiKeys.existingSecret }}
{{- else if .Values.apiKeys.keys }}{{ include "modelfleet.fullname" . }}-api-keys{{ end }}
{{- end }}

{{- /* What may expose the router outside of the cluster, as text; empty if nothing does. */}}
{{- define "modelfleet.exposure" -}}
{{- $ways := list }}
{{- if .Values.ingress.enabled }}{{ $ways = append $ways "an Ingress" }}{{ end }}
{{- if .Values.httpRoute.enabled }}{{ $ways = append $ways "an HTTPRoute" }}{{ end }}
{{- with .Values.router.service.type }}{{ if ne . "ClusterIP" }}{{ $ways = append $ways (printf "a Service of type %s" .) }}{{ end }}{{ end }}
{{- join " and " $ways }}
{{- end }}

{{- define "modelfleet.remoteKeysSecret" -}}
{{- if .Values.router.remoteKeys.existingSecret }}{{ .Values.router.remoteKeys.existingSecret }}
{{- else if .Values.router.remoteKeys.values }}{{ include "modelfleet.fullname" . }}-remote-keys{{ end }}
{{- end }}

{{- /* JSON: environment variables of every model server. */}}
{{- define "modelfleet.serverEnv" -}}
{{- $env := dict }}
{{- with .Values.server.mirrors.pypiIndexUrl }}{{ $_ := set $env "PIP_INDEX_URL" . }}{{ end }}
{{- with .Values.server.mirrors.pypiTrustedHost }}{{ $_ := set $env "PIP_TRUSTED_HOST" . }}{{ end }}
{{- with .Values.server.mirrors.hubEndpoint }}{{ $_ := set $env "HF_ENDPOINT" . }}{{ end }}
{{- if not .Values.server.fetchWeights }}{{ $_ := set $env "AUTO_DOWNLOAD_MODELS" "0" }}{{ end }}
{{- range $name, $value := .Values.server.env }}{{ $_ := set $env $name (toString $value) }}{{ end }}
{{- $env | toJson }}
{{- end }}

{{- define "modelfleet.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "modelfleet.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "modelfleet.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Scheduling of a component's pods. Argument: its values. */}}
{{- define "modelfleet.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{- /* ID_PREFIXES of operator and router. */}}
{{- define "modelfleet.idPrefixes" -}}
{{- $pairs := list }}
{{- range $namespace, $prefix := .Values.idPrefixes }}{{ $pairs = append $pairs (printf "%s=%s" $namespace $prefix) }}{{ end }}
{{- join "," $pairs }}
{{- end }}

{{- /* Placement of pods that leave a lost node after 20 s, instead of Kubernetes' 300, unless they have
       other tolerations of these taints. */}}
{{- define "modelfleet.evictable" -}}
{{- $placement := . }}
{{- $all := .tolerations | default list }}
{{- range $taint := tuple "not-ready" "unreachable" }}
{{- $key := printf "node.kubernetes.io/%s" $taint }}
{{- $known := false }}
{{- range $placement.tolerations }}{{ if eq (toString .key) $key }}{{ $known = true }}{{ end }}{{ end }}
{{- if not $known }}
{{- $all = append $all (dict "key" $key "operator" "Exists" "effect" "NoExecute" "tolerationSeconds" 20) }}
{{- end }}
{{- end }}
{{- include "modelfleet.placement" (merge (dict "tolerations" $all) $placement) }}
{{- end }}

{{- /* JSON: placement of the CRD's upgrade; that of the operator where it has none of its own. */}}
{{- define "modelfleet.crds.placement" -}}
{{- $found := dict }}
{{- range tuple "nodeSelector" "tolerations" "affinity" "priorityClassName" }}
{{- $_ := set $found . (default (get $.Values.operator .) (get $.Values.crds .)) }}
{{- end }}
{{- $found | toJson }}
{{- end }}

{{- /* Settings as environment variables: defaults overlaid with the user's. Arguments: defaults, settings. */}}
{{- define "modelfleet.env" -}}
{{- $all := dict }}
{{- range $name, $value := index . 0 }}{{ $_ := set $all $name $value }}{{ end }}
{{- range $name, $value := index . 1 }}{{ $_ := set $all $name (toString $value) }}{{ end }}
{{- range $name, $value := $all }}
- name: {{ $name }}
  value: {{ toString $value | quote }}
{{- end }}
{{- end }}
