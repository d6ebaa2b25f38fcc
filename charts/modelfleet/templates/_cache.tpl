{{- /* Bytes of a quantity, as a number with a fraction. */}}
{{- define "modelfleet.bytes" -}}
{{- $text := toString . | trimPrefix "+" }}
{{- $number := regexFind "^[0-9.]+([eE][+-]?[0-9]+)?" $text }}
{{- $factors := dict "" 1 "n" 1e-9 "u" 1e-6 "m" 1e-3 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18
  "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 }}
{{- mulf (float64 $number) (float64 (get $factors (trimPrefix $number $text))) }}
{{- end }}

{{- /* JSON: `spec` of the shared claim of a namespace and `notes` about values that it does not have;
       {} if there is none. Arguments: root context, namespace.

       Access mode and class of an existing claim cannot change, and its size can only grow, if it is
       bound and its class permits that: otherwise the claim stays as it is, so that the upgrade does
       not fail. A claim that is not wanted any more and has no annotation to be kept, as those of an
       earlier chart, is rendered once more with it: helm would delete it, and the weights with it. */}}
{{- define "modelfleet.cache" -}}
{{- $root := index . 0 }}
{{- $namespace := index . 1 }}
{{- $cache := $root.Values.modelCache }}
{{- $name := printf "%s-models" (include "modelfleet.fullname" $root) }}
{{- $found := lookup "v1" "PersistentVolumeClaim" $namespace $name }}
{{- $notes := list }}
{{- $result := dict }}
{{- if and $cache.enabled (not $cache.existingClaim) }}
{{- $spec := dict "accessModes" (list $cache.accessMode) "resources" (dict "requests" (dict "storage" (toString $cache.size))) }}
{{- with $cache.storageClassName }}{{ $_ := set $spec "storageClassName" . }}{{ end }}
{{- if $found }}
{{- $is := printf "the claim %s/%s has" $namespace $name }}
{{- $class := $found.spec.storageClassName | default "" }}
{{- if not (has $cache.storageClassName (list "" $class)) }}
{{- $notes = append $notes (printf "modelCache.storageClassName=%s: %s %s, which cannot change" $cache.storageClassName $is $class) }}
{{- end }}
{{- if not (has $cache.accessMode $found.spec.accessModes) }}
{{- $notes = append $notes (printf "modelCache.accessMode=%s: %s %s, which cannot change" $cache.accessMode $is (join "," $found.spec.accessModes)) }}
{{- end }}
{{- $_ := set $spec "accessModes" $found.spec.accessModes }}
{{- if hasKey $found.spec "storageClassName" }}{{ $_ := set $spec "storageClassName" $found.spec.storageClassName }}{{ end }}
{{- $size := $found.spec.resources.requests.storage }}
{{- $old := float64 (include "modelfleet.bytes" $size) }}
{{- $new := float64 (include "modelfleet.bytes" $cache.size) }}
{{- $problem := "" }}
{{- if lt $new $old }}
{{- $problem = "a claim cannot shrink" }}
{{- else if gt $new $old }}
{{- if ne (dig "status" "phase" "" $found) "Bound" }}
{{- $problem = "a claim can grow only once it is bound" }}
{{- else if not (dig "allowVolumeExpansion" false (lookup "storage.k8s.io/v1" "StorageClass" "" $class)) }}
{{- $problem = printf "its class %q does not allow it to grow" $class }}
{{- end }}
{{- end }}
{{- if $problem }}
{{- $notes = append $notes (printf "modelCache.size=%v: %s %s; %s" $cache.size $is $size $problem) }}
{{- $_ := set $spec "resources" (dict "requests" (dict "storage" $size)) }}
{{- end }}
{{- end }}
{{- $_ := set $result "spec" $spec }}
{{- else if and $found $cache.keep }}
{{- $annotations := dig "metadata" "annotations" dict $found }}
{{- $owner := printf "%s/%s" (get $annotations "meta.helm.sh/release-namespace") (get $annotations "meta.helm.sh/release-name") }}
{{- if and (eq $owner (printf "%s/%s" $root.Release.Namespace $root.Release.Name)) (ne (get $annotations "helm.sh/resource-policy") "keep") }}
{{- $_ := set $result "spec" (pick $found.spec "accessModes" "storageClassName" "resources") }}
{{- end }}
{{- $notes = append $notes (printf "The claim %s/%s and its weights are kept. To delete them: kubectl -n %s delete pvc %s" $namespace $name $namespace $name) }}
{{- end }}
{{- $_ := set $result "notes" $notes }}
{{- $result | toJson }}
{{- end }}
