{{/* Labels of every object. */}}
{{- define "groupgate.labels" -}}
app.kubernetes.io/name: groupgate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/*
The objects in a file that `make generate` copied from config. Arguments: file, root, and optionally labels and
annotations to add.
*/}}
{{- define "groupgate.objects" -}}
{{- $root := .root }}
{{- $labels := merge (fromYaml (include "groupgate.labels" $root)) (.labels | default dict) }}
{{- $annotations := .annotations | default dict }}
{{- range $document := regexSplit "(?m)^---$" ($root.Files.Get .file) -1 }}
{{- $object := fromYaml (replace "groupgate-system" $root.Release.Namespace $document) }}
{{- with $object.metadata }}
{{- $_ := set . "labels" (merge $labels (.labels | default dict)) }}
{{- if $annotations }}
{{- $_ := set . "annotations" (merge $annotations (.annotations | default dict)) }}
{{- end }}
---
{{ toYaml $object }}
{{ end }}
{{- end }}
{{- end }}

{{/* Plain HTTP or HTTPS between a proxy and the pods. */}}
{{- define "groupgate.portName" -}}
{{ eq .Values.tls.source "None" | ternary "http" "https" }}
{{- end }}

{{- define "groupgate.port" -}}
{{ eq .Values.tls.source "None" | ternary 80 443 }}
{{- end }}

{{/* Whether all namespaces are watched: "true" or nothing. */}}
{{- define "groupgate.clusterWide" -}}
{{ if has "*" .Values.watchNamespaces }}true{{ end }}
{{- end }}

{{/* The namespace that the page shows, or nothing for all. */}}
{{- define "groupgate.pageNamespace" -}}
{{- with .Values.page.namespace }}{{ . }}
{{- else }}{{ if not (include "groupgate.clusterWide" .) }}{{ first .Values.watchNamespaces }}{{ end }}
{{- end }}
{{- end }}

{{- define "groupgate.image" -}}
{{ .Values.image.repository }}{{ with .Values.image.digest }}@{{ . }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* Nine tenths of the memory limit of resources, in MiB. */}}
{{- define "groupgate.memoryLimit" -}}
{{- $limit := dig "limits" "memory" "" . | toString }}
{{- if $limit }}
{{- $mebibytes := hasSuffix "Gi" $limit | ternary (mul 1024 (trimSuffix "Gi" $limit | int)) (trimSuffix "Mi" $limit | int) }}
{{- div (mul 9 $mebibytes) 10 }}MiB
{{- end }}
{{- end }}
