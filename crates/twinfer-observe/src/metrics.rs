//! Counting requests and answers.

use std::fmt;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::answered::Answered;
use crate::catalogue::{self as all, Kind, Metric};
use crate::labels::{Models, UNKNOWN};
use crate::names::Selection;
use crate::observation::{Asked, Observation, Outcome};

/// The content type of an exposition: the text format 0.0.4 of Prometheus.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics that cannot be made or written: a mistake in [`crate::catalogue`].
#[derive(Debug)]
pub struct MetricsError(String);

impl fmt::Display for MetricsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the metrics cannot be kept: {}", self.0)
    }
}

impl std::error::Error for MetricsError {}

impl From<prometheus::Error> for MetricsError {
    fn from(error: prometheus::Error) -> Self {
        Self(error.to_string())
    }
}

pub(crate) type Result<T> = std::result::Result<T, MetricsError>;

/// What is counted of requests and answers, and the text of it. It can be shared between threads.
pub struct Metrics {
    registry: Registry,
    models: Models,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    load_seconds: HistogramVec,
    predict_seconds: HistogramVec,
    refused: IntCounterVec,
    cache: IntCounterVec,
    kserve: KServe,
    triton: Triton,
}

/// The times that KServe has of a model.
struct KServe {
    preprocess: HistogramVec,
    predict: HistogramVec,
    postprocess: HistogramVec,
}

/// What Triton counts of a model and version.
struct Triton {
    success: IntCounterVec,
    failure: IntCounterVec,
    count: IntCounterVec,
    executions: IntCounterVec,
    pending: IntGaugeVec,
    request_us: IntCounterVec,
    queue_us: IntCounterVec,
    input_us: IntCounterVec,
    compute_us: IntCounterVec,
    output_us: IntCounterVec,
    hits: IntCounterVec,
    misses: IntCounterVec,
}

impl Metrics {
    /// With nothing counted yet.
    ///
    /// # Errors
    /// Two metrics of one name, or a name that Prometheus does not take: not for any input.
    pub fn new() -> Result<Self> {
        let registry = Registry::new();
        let into = &registry;
        gauge(into, &all::BUILD)?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        Ok(Self {
            models: Models::default(),
            requests: counter(into, &all::REQUESTS)?,
            request_seconds: histogram(into, &all::REQUEST_SECONDS)?,
            load_seconds: histogram(into, &all::LOAD_SECONDS)?,
            predict_seconds: histogram(into, &all::PREDICT_SECONDS)?,
            refused: counter(into, &all::REFUSED)?,
            cache: counter(into, &all::CACHE)?,
            kserve: KServe {
                preprocess: histogram(into, &all::KSERVE_PREPROCESS)?,
                predict: histogram(into, &all::KSERVE_PREDICT)?,
                postprocess: histogram(into, &all::KSERVE_POSTPROCESS)?,
            },
            triton: Triton {
                success: counter(into, &all::TRITON_SUCCESS)?,
                failure: counter(into, &all::TRITON_FAILURE)?,
                count: counter(into, &all::TRITON_COUNT)?,
                executions: counter(into, &all::TRITON_EXECUTIONS)?,
                pending: gauge(into, &all::TRITON_PENDING)?,
                request_us: counter(into, &all::TRITON_REQUEST_US)?,
                queue_us: counter(into, &all::TRITON_QUEUE_US)?,
                input_us: counter(into, &all::TRITON_INPUT_US)?,
                compute_us: counter(into, &all::TRITON_COMPUTE_US)?,
                output_us: counter(into, &all::TRITON_OUTPUT_US)?,
                hits: counter(into, &all::TRITON_HITS)?,
                misses: counter(into, &all::TRITON_MISSES)?,
            },
            registry,
        })
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn models(&self) -> &Models {
        &self.models
    }

    /// A request has come. [`Metrics::observe`] must follow, with what this gives.
    pub fn begin(&self, asked: &Asked<'_>) -> Pending {
        let model = asked
            .matched
            .inference
            .then(|| self.models.named(asked.matched.model.unwrap_or_default()));
        let gauge = model.map(|model| self.triton.pending.with_label_values(&[model, ""]));
        if let Some(gauge) = &gauge {
            gauge.inc();
        }
        Pending(gauge)
    }

    /// A request has ended.
    pub fn observe(&self, begun: Pending, seen: &Observation<'_>) {
        drop(begun);
        let (matched, status) = (seen.asked.matched, seen.outcome.status());
        let (model, version) = match seen.outcome {
            Outcome::Answer(_, Some(by)) => self.models.answered(&by.model, &by.version),
            _ if matched.of_a_model => match matched.model {
                Some(name) => (self.models.named(name), ""),
                None => (UNKNOWN, ""),
            },
            _ => ("", ""),
        };
        let code = status.to_string();
        let method = seen.asked.method_label();
        self.requests
            .with_label_values(&[matched.route, method, model, version, &code])
            .inc();
        self.request_seconds
            .with_label_values(&[matched.route, model, version])
            .observe(seen.total.as_secs_f64());
        if let Some(reason) = refusal(status) {
            self.refused.with_label_values(&[reason]).inc();
        }
        let good = (200..300).contains(&status);
        // An answer names its model where that ran, whatever the path was: routes may be an
        // operator's own.
        let ran = matches!(seen.outcome, Outcome::Answer(_, Some(_)));
        if matched.inference || ran {
            self.triton.observe(seen, [model, version], good);
        }
        if let Outcome::Answer(_, Some(by)) = seen.outcome {
            self.observe_parts(by, [model, version], good);
        }
    }

    /// Where the time of an answer went.
    fn observe_parts(&self, by: &Answered, labels: [&str; 2], good: bool) {
        let observe = |histogram: &HistogramVec, labels: &[&str], milliseconds: Option<f64>| {
            if let Some(milliseconds) = milliseconds {
                histogram
                    .with_label_values(labels)
                    .observe(milliseconds / 1e3);
            }
        };
        observe(&self.load_seconds, &labels, by.load_ms);
        let [model, version] = labels;
        if let Some(hit) = by.cache_hit {
            let result = if hit { "hit" } else { "miss" };
            self.cache
                .with_label_values(&[model, version, result])
                .inc();
        }
        if !good {
            return;
        }
        observe(&self.predict_seconds, &labels, by.predict_ms);
        if by.cache_hit != Some(true) {
            observe(&self.kserve.preprocess, &[model], by.preprocess_ms);
            observe(&self.kserve.predict, &[model], by.run_ms.or(by.predict_ms));
            observe(&self.kserve.postprocess, &[model], by.postprocess_ms);
        }
    }

    /// The exposition, in the text format of Prometheus ([`CONTENT_TYPE`]).
    ///
    /// # Errors
    /// A metric that has no text: not for any input.
    pub fn encode(&self, wanted: &Selection) -> Result<String> {
        let mut families = self.registry.gather();
        families.retain(|family| {
            let metric = all::ALL.iter().find(|metric| metric.name == family.name());
            metric.is_some_and(|metric| wanted.has(metric.names))
        });
        Ok(TextEncoder::new().encode_to_string(&families)?)
    }
}

impl Triton {
    fn observe(&self, seen: &Observation<'_>, labels: [&str; 2], good: bool) {
        let [model, version] = labels;
        if !good {
            let reason = match seen.outcome.status() {
                429 | 503 => "REJECTED",
                499 => "CANCELED",
                500.. => "BACKEND",
                _ => "OTHER",
            };
            self.failure
                .with_label_values(&[model, version, reason])
                .inc();
            return;
        }
        let add = |counter: &IntCounterVec, by: u64| {
            counter.with_label_values(&labels).inc_by(by);
        };
        add(&self.success, 1);
        add(&self.request_us, microseconds(seen.total));
        add(&self.queue_us, microseconds(seen.queue.unwrap_or_default()));
        let Outcome::Answer(_, Some(by)) = seen.outcome else {
            return;
        };
        match by.cache_hit {
            Some(true) => return add(&self.hits, 1),
            Some(false) => add(&self.misses, 1),
            None => {}
        }
        // Who does not say ran it once.
        add(&self.count, by.inferences.unwrap_or(1));
        add(&self.executions, by.executions.unwrap_or(1));
        let parts = [
            (&self.input_us, by.preprocess_ms),
            (&self.compute_us, by.run_ms.or(by.predict_ms)),
            (&self.output_us, by.postprocess_ms),
        ];
        for (counter, milliseconds) in parts {
            let time = Duration::try_from_secs_f64(milliseconds.unwrap_or_default() / 1e3);
            add(counter, microseconds(time.unwrap_or_default()));
        }
    }
}

/// A request that is counted as pending as long as this lives.
pub struct Pending(Option<prometheus::IntGauge>);

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(gauge) = &self.0 {
            gauge.dec();
        }
    }
}

/// Why a request was turned away, if it was.
fn refusal(status: u16) -> Option<&'static str> {
    Some(match status {
        401 => "unauthorized",
        403 => "forbidden",
        413 => "body_too_large",
        429 => "rate_limited",
        503 => "overloaded",
        _ => return None,
    })
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn keep<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

pub(crate) fn counter(registry: &Registry, metric: &Metric) -> Result<IntCounterVec> {
    let options = Opts::new(metric.name, metric.help);
    keep(registry, IntCounterVec::new(options, metric.labels)?)
}

pub(crate) fn gauge(registry: &Registry, metric: &Metric) -> Result<IntGaugeVec> {
    let options = Opts::new(metric.name, metric.help);
    keep(registry, IntGaugeVec::new(options, metric.labels)?)
}

pub(crate) fn float_gauge(registry: &Registry, metric: &Metric) -> Result<prometheus::GaugeVec> {
    let options = Opts::new(metric.name, metric.help);
    keep(registry, prometheus::GaugeVec::new(options, metric.labels)?)
}

pub(crate) fn histogram(registry: &Registry, metric: &Metric) -> Result<HistogramVec> {
    let mut options = HistogramOpts::new(metric.name, metric.help);
    if let Kind::Histogram(buckets) = metric.kind {
        options = options.buckets(buckets.to_vec());
    }
    keep(registry, HistogramVec::new(options, metric.labels)?)
}
