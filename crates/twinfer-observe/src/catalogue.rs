//! Every metric there is: the one list that counting, documentation, dashboard and tests go by.

use Kind::{Counter, Gauge, Histogram};
use Names::{KServe, Triton, Twinfer};

use crate::names::Names;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
    /// How often which value was seen, in buckets.
    Histogram(&'static [f64]),
}

impl Kind {
    /// As in a `# TYPE` line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// Who can know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Whoever sees requests and answers: the host, and the component by itself.
    Everywhere,
    /// Who runs the instances.
    Host,
}

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Whose name that is.
    pub names: Names,
    /// Who has it.
    pub place: Place,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it counts: the `# HELP` line.
    pub help: &'static str,
}

/// Seconds of a request and its parts: from a tenth of a millisecond (a small model, a warm
/// instance) to the limit of 30 s, about three for each power of ten.
const SECONDS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0,
];

const fn everywhere(
    names: Names,
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    let place = Place::Everywhere;
    Metric {
        name,
        kind,
        names,
        place,
        labels,
        help,
    }
}

const fn host(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    let (names, place) = (Twinfer, Place::Host);
    Metric {
        name,
        kind,
        names,
        place,
        labels,
        help,
    }
}

/// The metrics, by what the code calls them.
macro_rules! metrics {
    ($($(#[$doc:meta])* $constant:ident = $metric:expr;)*) => {
        $(pub(crate) const $constant: Metric = $metric;)*
        /// Every metric, in the order of the documentation.
        pub const ALL: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    REQUESTS = everywhere(Twinfer, "twinfer_requests_total", Counter, &["route", "method", "model", "version", "code"],
        "Requests that were answered, by route, model and HTTP status (499: the client went away)");
    REQUEST_SECONDS = everywhere(Twinfer, "twinfer_request_duration_seconds", Histogram(SECONDS), &["route", "model", "version"],
        "Time from the head of a request to its answer");
    LOAD_SECONDS = everywhere(Twinfer, "twinfer_load_duration_seconds", Histogram(SECONDS), &["model", "version"],
        "Time to find the model of a request, and to load it in an instance that has not");
    PREDICT_SECONDS = everywhere(Twinfer, "twinfer_predict_duration_seconds", Histogram(SECONDS), &["model", "version"],
        "Time from the loaded model to the answer: decode, preprocess, run, postprocess, encode");
    REFUSED = everywhere(Twinfer, "twinfer_requests_refused_total", Counter, &["reason"],
        "Requests that were turned away: unauthorized (401), forbidden (403), body_too_large (413), rate_limited (429), overloaded (503)");
    BUILD = everywhere(Twinfer, "twinfer_build_info", Gauge, &["version"],
        "1, with the version of Twinfer as a label");
    CACHE = everywhere(
        Twinfer, "twinfer_prediction_cache_total", Counter, &["model", "version", "result"],
        "Predictions that the cache was asked for: hit or miss");
    KSERVE_PREPROCESS = everywhere(
        KServe, "request_preprocess_seconds", Histogram(SECONDS), &["model_name"],
        "Time of the steps before the model, under the name that KServe's servers use");
    KSERVE_POSTPROCESS = everywhere(
        KServe, "request_postprocess_seconds", Histogram(SECONDS), &["model_name"],
        "Time of the steps after the model, under the name that KServe's servers use");
    KSERVE_PREDICT = everywhere(KServe, "request_predict_seconds", Histogram(SECONDS), &["model_name"],
        "Time that the model ran (all after loading, where the component does not say), under the name that KServe's servers use");

    IN_FLIGHT = host("twinfer_requests_in_flight", Gauge, &[],
        "Requests that are being answered now");
    QUEUE_LENGTH = host("twinfer_queue_length", Gauge, &[],
        "Requests that wait for an instance now");
    QUEUE_SECONDS = host("twinfer_queue_duration_seconds", Histogram(SECONDS), &[],
        "Time that requests waited for an instance");
    INSTANCES = host("twinfer_instances", Gauge, &["state"],
        "Instances of the component: busy with a request, or idle");
    INSTANCES_LIMIT = host("twinfer_instances_limit", Gauge, &[],
        "Most instances that serve at once");
    INSTANCE_MEMORY = host("twinfer_instance_memory_bytes", Gauge, &[],
        "Linear memory of all instances together");
    INSTANCES_STARTED = host("twinfer_instances_started_total", Counter, &[],
        "Instances that were started");
    INSTANCES_ENDED = host("twinfer_instances_ended_total", Counter, &["reason"],
        "Instances that were ended, by reason: idle for too long, served_enough requests, client_gone, other settings");
    INSTANCES_REPLACED = host("twinfer_instances_replaced_total", Counter, &["reason"],
        "Instances that were thrown away after a request, by error code (timeout, out_of_memory, internal)");
    MODEL_INSTANCES = host("twinfer_model_instances", Gauge, &["model", "version"],
        "Instances that have answered for this model and so have it loaded");
    FULL_NEEDED = host("twinfer_full_component_needed_total", Counter, &[],
        "Requests that a slim component handed on to the full one");
    COMPONENT_LOADS = host("twinfer_component_loads_total", Counter, &["from"],
        "Components made ready: taken compiled from the cache, or compiled (compiler)");
    COMPONENT_LOAD_SECONDS = host("twinfer_component_load_seconds", Gauge, &["from"],
        "Time that the last of these took");
    COMPONENT_CACHE_ERRORS = host("twinfer_component_cache_errors_total", Counter, &["reason"],
        "Compiled components that were not used because they were damaged (ignored), or could not be kept (not_written)");
    INDEX_SUCCESS = host("twinfer_index_last_success_timestamp_seconds", Gauge, &[],
        "When the registry was last read with success, in seconds since 1970");
    INDEX_UPDATES = host("twinfer_index_updates_total", Counter, &[],
        "Versions and aliases that were approved and are served, or were removed");
    INDEX_REFUSALS = host("twinfer_index_refusals_total", Counter, &["reason"],
        "Changes of the registry that were refused, by error code");
    INDEX_REFUSED = host("twinfer_index_refused", Gauge, &[],
        "Names whose present state in the registry is refused; the last good one is served");
    REGISTRY_REACHABLE = host("twinfer_registry_reachable", Gauge, &[],
        "1 if the registry could be read at the last look, else 0");
    DEPLOYMENT_INFO = host("twinfer_deployment_info", Gauge, &["model", "strategy", "phase"],
        "1, with the kind of the release that is in force here and how far it is as labels");
    DEPLOYMENT_REVISION = host("twinfer_deployment_revision", Gauge, &["model"],
        "Revision of the deployment that is in force here");
    DEPLOYMENT_TRAFFIC = host("twinfer_deployment_traffic_ratio", Gauge, &["model", "variant", "version"],
        "Share of the traffic that a variant of the deployment gets, from 0 to 1");
    DEPLOYMENT_READY = host("twinfer_deployment_ready", Gauge, &["model"],
        "1 if the newest deployment is in force here and the registry has all of its versions, else 0");
    DEPLOYMENT_EVALUATIONS = host("twinfer_deployment_evaluations_total", Counter, &["model", "outcome"],
        "Looks of this server at an open release and its guardrails, by what should come next: hold, advance, promote, rollback");
    DEPLOYMENT_CHANGES = host("twinfer_deployment_changes_total", Counter, &["model", "action", "by"],
        "Changes of a deployment that this server wrote: apply, advance, promote, rollback, pause, resume; by the controller, which goes by the guardrails, or by a person");
    SHADOW_REQUESTS = host("twinfer_shadow_requests_total", Counter, &["model", "version", "outcome"],
        "Requests that were to be copied to a shadow, by what came of the copy: equal or different (both compared), failed, skipped");
    STATE_CONNECTED = host(
        "twinfer_state_connected", Gauge, &["place"],
        "1 if the place of shared state (memory, sqlite, redis) answered the last time, else 0");
    STATE_PENDING = host(
        "twinfer_state_pending", Gauge, &["place"],
        "Counters whose sums wait for its return");
    SPANS_EXPORTED = host("twinfer_spans_exported_total", Counter, &[],
        "Spans that a collector took");
    SPANS_DROPPED = host("twinfer_spans_dropped_total", Counter, &["reason"],
        "Spans that were lost: queue_full, export_failed, or rejected by the collector");
    LOG_EVENTS = host("twinfer_log_events_total", Counter, &["level", "event"],
        "Events of the log, also of those below the level that is written");
    RELOAD_SUCCESSFUL = host("twinfer_config_last_reload_successful", Gauge, &[],
        "1 when the settings that were read last are in effect, 0 when they could not be taken");
    RELOAD_SUCCESS_TIME = host("twinfer_config_last_reload_success_timestamp_seconds", Gauge, &[],
        "When settings were taken the last time, in seconds since 1970");
    START_TIME = host("process_start_time_seconds", Gauge, &[],
        "When the server was started, in seconds since 1970");
    RESIDENT = host("process_resident_memory_bytes", Gauge, &[],
        "Resident memory of the process (Linux)");
    OPEN_FILES = host("process_open_fds", Gauge, &[],
        "Open file descriptors (Linux)");
    MAX_FILES = host("process_max_fds", Gauge, &[],
        "Most file descriptors that may be open (Linux)");

    TRITON_SUCCESS = everywhere(Triton, "nv_inference_request_success", Counter, &["model", "version"],
        "Inference requests that succeeded");
    TRITON_FAILURE = everywhere(Triton, "nv_inference_request_failure", Counter, &["model", "version", "reason"],
        "Inference requests that failed: REJECTED (429, 503), CANCELED (499), BACKEND (other 5xx), OTHER");
    TRITON_COUNT = everywhere(Triton, "nv_inference_count", Counter, &["model", "version"],
        "Inferences, without those of the cache: rows, for models that take a batch of any length; runs, for others");
    TRITON_EXECUTIONS = everywhere(Triton, "nv_inference_exec_count", Counter, &["model", "version"],
        "Executions of a model for requests that succeeded; one for those that ran together");
    TRITON_PENDING = everywhere(Triton, "nv_inference_pending_request_count", Gauge, &["model", "version"],
        "Inference requests that are not answered yet, of models that were asked before (the version is not known)");
    TRITON_REQUEST_US = everywhere(Triton, "nv_inference_request_duration_us", Counter, &["model", "version"],
        "Microseconds of all inference requests that succeeded, from head to answer");
    TRITON_QUEUE_US = everywhere(Triton, "nv_inference_queue_duration_us", Counter, &["model", "version"],
        "Microseconds that they waited for an instance (0 where the component counts by itself)");
    TRITON_INPUT_US = everywhere(
        Triton, "nv_inference_compute_input_duration_us", Counter, &["model", "version"],
        "Microseconds that they took before the model ran");
    TRITON_OUTPUT_US = everywhere(
        Triton, "nv_inference_compute_output_duration_us", Counter, &["model", "version"],
        "Microseconds that they took after the model ran");
    TRITON_HITS = everywhere(
        Triton, "nv_cache_num_hits_per_model", Counter, &["model", "version"],
        "Inference requests that the cache answered");
    TRITON_MISSES = everywhere(
        Triton, "nv_cache_num_misses_per_model", Counter, &["model", "version"],
        "Inference requests that the cache was asked for in vain");
    TRITON_COMPUTE_US = everywhere(Triton, "nv_inference_compute_infer_duration_us", Counter, &["model", "version"],
        "Microseconds that the model ran for them (all after loading, where the component does not say)");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_those_of_triton_say_so() {
        let names: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            assert_eq!(metric.name.starts_with("nv_"), metric.names == Triton);
            assert_eq!(metric.name.starts_with("request_"), metric.names == KServe);
        }
    }
}
