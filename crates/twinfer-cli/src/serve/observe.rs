//! What `twinfer serve` lets be seen: the form of its log, metrics, traces.

use std::sync::Arc;

use clap::{Args, ValueEnum};
use twinfer::{Result, err};
use twinfer_host::{HostConfig, LogFormat, ObserveOptions, Observer, StateSeen};
use twinfer_observe::TraceSettings;
use twinfer_state::State;

use super::releases::Releases;
use crate::host_error::host_error;

/// How log lines are written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Json,
    Text,
}

/// Flags of observability.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Observability")]
pub struct ObserveArgs {
    /// Form of the log: a JSON object a line, or text for people
    #[arg(long, value_enum, default_value_t = Format::Json)]
    log_format: Format,

    /// Answer nothing at /metrics
    #[arg(long)]
    no_metrics: bool,

    /// Collector that traces are sent to (OTLP over HTTP); /v1/traces is added. Other variables of
    /// OpenTelemetry are followed too: see docs/observability.md [default: traces go nowhere]
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,

    /// Share of the traces that begin here and are recorded, from 0 to 1
    #[arg(long, value_name = "RATIO", env = "OTEL_TRACES_SAMPLER_ARG")]
    trace_sample: Option<String>,

    /// Name of this server in traces [default: twinfer]
    #[arg(long, value_name = "NAME", env = "OTEL_SERVICE_NAME")]
    service_name: Option<String>,
}

impl ObserveArgs {
    /// The form of the log.
    pub fn log_format(&self) -> LogFormat {
        match self.log_format {
            Format::Json => LogFormat::Json,
            Format::Text => LogFormat::Text,
        }
    }

    /// Tells the component where the page finds the traffic of all instances: under Triton's names,
    /// which its own statistics have, too.
    pub fn tell(&self, config: &mut HostConfig) {
        if !self.no_metrics {
            let address = "/metrics?names=triton".to_owned();
            config.env.push(("TWINFER_HOST_METRICS".into(), address));
        }
    }

    /// What observes this server: by the flags, and by the variables that `variable` gives.
    ///
    /// # Errors
    /// `invalid_parameter`: a variable of OpenTelemetry that cannot be followed, with its name.
    pub fn observer(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Observer> {
        let traces = TraceSettings::read(|name| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => self.otlp_endpoint.clone(),
            "OTEL_TRACES_SAMPLER_ARG" => self.trace_sample.clone(),
            "OTEL_SERVICE_NAME" => self.service_name.clone(),
            name => variable(name),
        });
        let options = ObserveOptions {
            metrics: !self.no_metrics,
            traces: traces.map_err(|e| err!(InvalidParameter, "{e}"))?,
        };
        Observer::new(options).map_err(host_error)
    }
}

/// What is asked at each scrape: state and deployments.
pub fn watch(observer: &Observer, state: &Arc<dyn State>, releases: &Arc<Releases>) {
    let state = state.clone();
    observer.watch_state(move || {
        let status = state.status();
        StateSeen {
            place: status.kind,
            connected: status.connected,
            pending: status.pending,
        }
    });
    // They have a log, which has this observer.
    let releases = Arc::downgrade(releases);
    observer.watch_deployments(move || {
        let releases = releases.upgrade();
        releases.map_or_else(Vec::new, |releases| releases.seen())
    });
}

/// A variable of the environment.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: ObserveArgs,
    }

    fn parse(arguments: &[&str]) -> ObserveArgs {
        let arguments = std::iter::once("serve").chain(arguments.iter().copied());
        Command::try_parse_from(arguments).unwrap().args
    }

    #[test]
    fn flags_and_variables_that_cannot_be_followed_are_refused() {
        let none = |_: &str| None;
        for arguments in [
            &["--otlp-endpoint", "collector"][..],
            &["--otlp-endpoint", "http://c:4318", "--trace-sample", "2"],
        ] {
            let error = parse(arguments).observer(none).unwrap_err();
            assert_eq!(error.code().as_str(), "invalid_parameter", "{error}");
        }
        let grpc = |name: &str| (name == "OTEL_EXPORTER_OTLP_PROTOCOL").then(|| "grpc".to_owned());
        let args = parse(&["--otlp-endpoint", "http://c:4318"]);
        assert!(
            args.observer(grpc)
                .unwrap_err()
                .to_string()
                .contains("grpc")
        );
        args.observer(none).unwrap();
        // Without a collector nothing is sent, whatever else is said.
        parse(&["--trace-sample", "2"]).observer(none).unwrap();
    }

    #[test]
    fn the_log_has_two_forms() {
        assert_eq!(parse(&[]).log_format(), LogFormat::Json);
        assert_eq!(
            parse(&["--log-format", "text"]).log_format(),
            LogFormat::Text
        );
    }
}
