{{- /* JSON: whether this release has the custom resource definition, and why not.

       helm adopts no object of someone else: a definition that is in the cluster already is left to
       its owner. One without an owner, as an earlier chart or kubectl installed it, must not differ. */}}
{{- define "modelfleet.crd" -}}
{{- $state := dict "rendered" false "owner" "" "differs" false }}
{{- if .Values.crds.enabled }}
{{- $own := .Files.Get "files/inferencemodels.modelfleet.dev.yaml" | fromYaml }}
{{- $name := $own.metadata.name }}
{{- $found := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $name }}
{{- $owner := printf "%s/%s" (dig "metadata" "annotations" "meta.helm.sh/release-namespace" "" $found) (dig "metadata" "annotations" "meta.helm.sh/release-name" "" $found) }}
{{- if or (not $found) .Values.crds.adopt (eq $owner (printf "%s/%s" .Release.Namespace .Release.Name)) }}
{{- $_ := set $state "rendered" true }}
{{- else }}
{{- $differs := ne ($found.spec.versions | toJson | fromJsonArray | toJson) ($own.spec.versions | toJson) }}
{{- $_ := set $state "differs" $differs }}
{{- if ne $owner "/" }}
{{- $_ := set $state "owner" $owner }}
{{- else if $differs }}
{{- fail (printf "crds: the CustomResourceDefinition %s in the cluster belongs to no release and differs from that of this chart. Let this release own it from now on: add `--take-ownership --set crds.adopt=true` once (Helm 3.17 or later), or run `kubectl label crd %s app.kubernetes.io/managed-by=Helm && kubectl annotate crd %s meta.helm.sh/release-name=%s meta.helm.sh/release-namespace=%s`. No InferenceModel changes. If something else updates the definition, set crds.enabled=false" $name $name $name .Release.Name .Release.Namespace) }}
{{- end }}
{{- end }}
{{- end }}
{{- $state | toJson }}
{{- end }}
