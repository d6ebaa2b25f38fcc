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

{{- /* Labels of an object; `commonLabels` never replace those of the chart. */}}
{{- define "modelfleet.labels" -}}
{{ include "modelfleet.podLabels" (list (index . 0) (index . 1) dict) }}
{{- end }}

{{- /* The same, for pods. Arguments: root context, component, labels that take precedence over `commonLabels`. */}}
{{- define "modelfleet.podLabels" -}}
{{- $root := index . 0 }}
{{- $own := include "modelfleet.selector" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion }}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" $root.Chart.Name ($root.Chart.Version | replace "+" "_")) }}
{{- merge $own (index . 2 | default dict) ($root.Values.commonLabels | default dict) | toYaml }}
{{- end }}

{{- /* `annotations:` of an object or pod on a line of its own; nothing if there are none. Arguments:
       root context, annotations that take precedence over `commonAnnotations`, indentation. */}}
{{- define "modelfleet.annotations" -}}
{{- with merge (dict) (index . 1 | default dict) ((index . 0).Values.commonAnnotations | default dict) }}
{{- dict "annotations" . | toYaml | nindent (index $ 2) }}
{{- end }}
{{- end }}

{{- /* Number of operators; `helm upgrade --reuse-values` has no value of an earlier chart. */}}
{{- define "modelfleet.shards" -}}
{{ .Values.operator.shards | default 1 }}
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

{{- /* Security contexts of a component: those of all pods, overlaid with its own, of which null removes
       a field. Arguments: root context, values of the component. */}}
{{- define "modelfleet.podSecurity" -}}
{{- include "modelfleet.overlay" (list (index . 0).Values.podSecurityContext (index . 1).podSecurityContext) }}
{{- end }}

{{- define "modelfleet.containerSecurity" -}}
{{- include "modelfleet.overlay" (list (index . 0).Values.containerSecurityContext (index . 1).containerSecurityContext) }}
{{- end }}

{{- /* YAML: the first mapping with the fields of the second; `mergeOverwrite` would ignore `false`. */}}
{{- define "modelfleet.overlay" -}}
{{- $all := deepCopy (index . 0) }}
{{- range $name, $value := index . 1 }}
{{- if kindIs "invalid" $value }}{{ $_ := unset $all $name }}{{ else }}{{ $_ := set $all $name $value }}{{ end }}
{{- end }}
{{- toYaml $all }}
{{- end }}

{{- define "modelfleet.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Scheduling of a component's pods. Arguments: root context, values of the component. */}}
{{- define "modelfleet.placement" -}}
{{- $architectures := (index . 0).Values.image.architectures }}
{{- with index . 1 }}
{{- with .nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with include "modelfleet.affinity" (list .affinity $architectures) | fromJson }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- /* ID_PREFIXES of operator and router. */}}
{{- define "modelfleet.idPrefixes" -}}
{{- $pairs := list }}
{{- range $namespace, $prefix := .Values.idPrefixes }}{{ $pairs = append $pairs (printf "%s=%s" $namespace $prefix) }}{{ end }}
{{- join "," $pairs }}
{{- end }}

{{- /* As modelfleet.placement, for pods that leave a lost node after 20 s, instead of Kubernetes' 300,
       unless they have other tolerations of these taints. */}}
{{- define "modelfleet.evictable" -}}
{{- $values := index . 1 }}
{{- $all := $values.tolerations | default list }}
{{- range $taint := tuple "not-ready" "unreachable" }}
{{- $key := printf "node.kubernetes.io/%s" $taint }}
{{- $known := false }}
{{- range $values.tolerations }}{{ if eq (toString .key) $key }}{{ $known = true }}{{ end }}{{ end }}
{{- if not $known }}
{{- $all = append $all (dict "key" $key "operator" "Exists" "effect" "NoExecute" "tolerationSeconds" 20) }}
{{- end }}
{{- end }}
{{- include "modelfleet.placement" (list (index . 0) (merge (dict "tolerations" $all) $values)) }}
{{- end }}

{{- /* JSON: an affinity that only accepts nodes of the architectures; the terms of a node affinity are
       alternatives, so each of them gets the requirement. Arguments: affinity, architectures. */}}
{{- define "modelfleet.affinity" -}}
{{- $affinity := deepCopy (index . 0 | default dict) }}
{{- with index . 1 }}
{{- $wanted := dict "key" "kubernetes.io/arch" "operator" "In" "values" . }}
{{- $node := $affinity.nodeAffinity | default dict }}
{{- $required := $node.requiredDuringSchedulingIgnoredDuringExecution | default dict }}
{{- $terms := list }}
{{- range $required.nodeSelectorTerms | default (list dict) }}
{{- $terms = append $terms (set . "matchExpressions" (append (.matchExpressions | default list) $wanted)) }}
{{- end }}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms) }}
{{- $_ := set $affinity "nodeAffinity" $node }}
{{- end }}
{{- $affinity | toJson }}
{{- end }}

{{- /* File and mount of the bundle of certificate authorities. */}}
{{- define "modelfleet.caBundle.volume" -}}
{{- with .Values.caBundle }}
{{- if .configMap }}
- name: ca-bundle
  configMap: {name: {{ .configMap }}, items: [{key: {{ .key | quote }}, path: ca.crt}]}
{{- end }}
{{- end }}
{{- end }}

{{- define "modelfleet.caBundle.mount" -}}
{{- if .Values.caBundle.configMap }}
- {name: ca-bundle, mountPath: /etc/modelfleet-ca, readOnly: true}
{{- end }}
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

{{- /* CPU quantity in thousandths of a core. */}}
{{- define "modelfleet.millicores" -}}
{{- $text := toString . }}
{{- if hasSuffix "m" $text }}{{ trimSuffix "m" $text | int64 }}{{ else }}{{ mulf (float64 $text) 1000 | int64 }}{{ end }}
{{- end }}

{{- /* YAML: resources of a router. On a full node a pod gets no more CPU than it requests, so with less
       than the target of the autoscaler no router would ever be added. */}}
{{- define "modelfleet.router.resources" -}}
{{- $resources := deepCopy (.Values.router.resources | default dict) }}
{{- if .Values.router.autoscaling.enabled }}
{{- $target := mul .Values.router.autoscaling.targetCPU 10 }}
{{- $requests := $resources.requests | default dict }}
{{- $limit := (($resources.limits | default dict).cpu | default "") | toString }}
{{- if and $limit (lt (include "modelfleet.millicores" $limit | int64) $target) }}
{{- fail (printf "router.autoscaling: no router would be added, since router.resources.limits.cpu (%s) is below targetCPU (%dm)" $limit $target) }}
{{- end }}
{{- if lt (include "modelfleet.millicores" ($requests.cpu | default 0) | int64) $target }}
{{- $_ := set $resources "requests" (merge (dict "cpu" (printf "%dm" $target)) $requests) }}
{{- end }}
{{- end }}
{{- toYaml $resources }}
{{- end }}
