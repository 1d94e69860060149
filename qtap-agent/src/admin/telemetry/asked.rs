//! Which of qtap's own signals to export. In: the variables of the OpenTelemetry specification, from a caller that reads the environment.
//! Out: the signals to export. By default none.

/// The signals to export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// The log.
    pub logs: bool,
    /// Metrics.
    pub metrics: bool,
    /// Spans.
    pub traces: bool,
    /// A variable sets the service name.
    pub named: bool,
}

impl Asked {
    /// Evaluates the variables. The second result lists, in words, the values that are not supported.
    ///
    /// A signal is exported when its `OTEL_…_EXPORTER` is `otlp`, or when that is unset but an endpoint is set: the general one or the signal's own.
    /// Exception: the logs endpoint alone does not enable logs, because it is also the default endpoint of stores that set none.
    #[must_use]
    pub fn by(env: &dyn Fn(&str) -> Option<String>) -> (Asked, Vec<String>) {
        let set = |name: &str| env(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let mut unknown = Vec::new();
        if set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return (Asked::default(), unknown);
        }
        let general = set("OTEL_EXPORTER_OTLP_ENDPOINT").is_some();
        let mut wanted = |signal: &str, own_endpoint: bool| {
            let variable = format!("OTEL_{signal}_EXPORTER");
            let Some(value) = set(&variable) else {
                return general || (own_endpoint && set(&format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")).is_some());
            };
            let mut exporters = value.split(',').map(str::trim);
            if exporters.clone().any(|one| one == "otlp") {
                return true;
            }
            if let Some(other) = exporters.find(|one| *one != "none") {
                unknown.push(format!("`{variable}`: there is no exporter `{other}` here, only `otlp` and `none`"));
            }
            false
        };
        let (logs, metrics, traces) = (wanted("LOGS", false), wanted("METRICS", true), wanted("TRACES", true));
        let in_attributes =
            |list: String| list.split(',').any(|one| one.split('=').next().map(str::trim) == Some("service.name"));
        let named = set("OTEL_SERVICE_NAME").is_some() || set("OTEL_RESOURCE_ATTRIBUTES").is_some_and(in_attributes);
        (Asked { logs, metrics, traces, named }, unknown)
    }

    /// True when at least one signal is exported.
    #[must_use]
    pub fn anything(self) -> bool {
        self.logs || self.metrics || self.traces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(variables: &[(&str, &str)]) -> (String, usize) {
        let env = |name: &str| variables.iter().find(|(has, _)| *has == name).map(|(_, value)| (*value).to_owned());
        let (asked, unknown) = Asked::by(&env);
        let told = [(asked.logs, "logs"), (asked.metrics, "metrics"), (asked.traces, "traces"), (asked.named, "named")];
        let told: Vec<_> = told.into_iter().filter(|(is, _)| *is).map(|(_, name)| name).collect();
        (told.join(" "), unknown.len())
    }

    #[test]
    fn nothing_goes_out_unless_it_is_asked_for() {
        for (variables, wanted, unknown) in [
            (&[][..], "", 0),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")], "", 0),
            (&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], "", 0),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a")], "logs metrics traces", 0),
            (&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://a")], "metrics", 0),
            (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://a")], "traces", 0),
            (&[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://a")], "", 0),
            (&[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://a"), ("OTEL_LOGS_EXPORTER", "otlp")], "logs", 0),
            (&[("OTEL_METRICS_EXPORTER", "otlp")], "metrics", 0),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), ("OTEL_LOGS_EXPORTER", "none")], "metrics traces", 0),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), ("OTEL_METRICS_EXPORTER", "prometheus")], "logs traces", 1),
            (&[("OTEL_TRACES_EXPORTER", "console, otlp")], "traces", 0),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), ("OTEL_SDK_DISABLED", "TRUE")], "", 0),
            (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a"), ("OTEL_SDK_DISABLED", "no")], "logs metrics traces", 0),
            (&[("OTEL_SERVICE_NAME", "mine")], "named", 0),
            (&[("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name=mine")], "named", 0),
            (&[("OTEL_RESOURCE_ATTRIBUTES", "a=b,x.service.name=mine")], "", 0),
        ] {
            assert_eq!(asked(variables), (wanted.to_owned(), unknown), "{variables:?}");
        }
    }
}
