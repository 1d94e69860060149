{{/* Name of the chart, 63 characters at most: a DNS label (RFC 1123). */}}
{{- define "qtap.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Name of everything this release makes. */}}
{{- define "qtap.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "qtap.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels by which the DaemonSet knows its pods. They never change. */}}
{{- define "qtap.selectorLabels" -}}
app.kubernetes.io/name: {{ include "qtap.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of everything. */}}
{{- define "qtap.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "qtap.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "qtap.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "qtap.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* The image, by its digest where one is given. */}}
{{- define "qtap.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* How AppArmor is told to let qtap look at other processes: by a field, by an annotation (before Kubernetes 1.30), or not at all:
privileged containers have no profile. */}}
{{- define "qtap.appArmor" -}}
{{- if eq .Values.privileges.level "capabilities" -}}
{{- if semverCompare ">=1.30-0" .Capabilities.KubeVersion.Version -}}
field
{{- else -}}
annotation
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the container may do. Its own file system is never written to: qtap writes to the data directory alone. */}}
{{- define "qtap.securityContext" -}}
readOnlyRootFilesystem: true
runAsUser: 0
{{- if eq .Values.privileges.level "privileged" }}
privileged: true
{{- else }}
capabilities:
  drop: [ALL]
  add:
    {{- toYaml .Values.privileges.capabilities | nindent 4 }}
{{- if eq (include "qtap.appArmor" .) "field" }}
appArmorProfile:
  type: Unconfined
{{- end }}
{{- with .Values.privileges.seLinuxOptions }}
seLinuxOptions:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}
