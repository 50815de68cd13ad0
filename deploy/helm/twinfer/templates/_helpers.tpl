{{- define "twinfer.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "twinfer.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "twinfer.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "twinfer.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "twinfer.selector" -}}
app.kubernetes.io/name: {{ include "twinfer.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "twinfer.labels" -}}
{{ include "twinfer.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "twinfer.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The claim with the registry; nothing where there is none. */}}
{{- define "twinfer.claim" -}}
{{- if .Values.models.existingClaim -}}
{{ .Values.models.existingClaim }}
{{- else if .Values.models.create -}}
{{ include "twinfer.fullname" . }}-models
{{- end -}}
{{- end -}}

{{/* The file of settings. What JSON writes of texts, numbers and lists of them is TOML too. */}}
{{- define "twinfer.settings" -}}
listen = "0.0.0.0:8080"
{{- range $name, $value := .Values.settings }}
{{ $name }} = {{ $value | toJson }}
{{- end }}
{{- if .Values.access.existingSecret }}
access = "/etc/twinfer-access/{{ .Values.access.key }}"
{{- end }}
{{- if .Values.trust.existingSecret }}
trust = "/etc/twinfer-trust/{{ .Values.trust.key }}"
{{- end }}
{{- if .Values.tls.existingSecret }}
tls-certificate = "/etc/twinfer-tls/tls.crt"
tls-key = "/etc/twinfer-tls/tls.key"
{{- end }}
{{- end -}}

{{- define "twinfer.probe" -}}
httpGet:
  path: {{ .path }}
  port: http
  {{- if .root.Values.tls.existingSecret }}
  scheme: HTTPS
  {{- end }}
{{- end -}}
