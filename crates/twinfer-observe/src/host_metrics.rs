//! Counting what only a host knows: instances, the queue, the registry that it follows, itself.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use prometheus::{GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec};

use crate::catalogue as all;
use crate::metrics::{Metrics, Result, counter, float_gauge, gauge, histogram};
use crate::release_metrics::ReleaseMetrics;

/// What a host counts beside [`Metrics`], in the same exposition.
pub struct HostMetrics {
    in_flight: IntGaugeVec,
    queue_length: IntGaugeVec,
    queue_seconds: HistogramVec,
    instances: IntGaugeVec,
    instances_limit: IntGaugeVec,
    memory: IntGaugeVec,
    started: IntCounterVec,
    ended: IntCounterVec,
    replaced: IntCounterVec,
    model_instances: IntGaugeVec,
    full_needed: IntCounterVec,
    loads: IntCounterVec,
    load_seconds: GaugeVec,
    cache_errors: IntCounterVec,
    index_success: GaugeVec,
    index_updates: IntCounterVec,
    index_refusals: IntCounterVec,
    index_refused: IntGaugeVec,
    registry_reachable: IntGaugeVec,
    state_connected: IntGaugeVec,
    state_pending: IntGaugeVec,
    spans_exported: IntCounterVec,
    spans_dropped: IntCounterVec,
    log_events: IntCounterVec,
    releases: ReleaseMetrics,
    reload_successful: IntGaugeVec,
    reload_success_time: GaugeVec,
    resident: IntGaugeVec,
    open_files: IntGaugeVec,
    max_files: IntGaugeVec,
}

impl HostMetrics {
    /// Adds them to those of requests. `started`: seconds since 1970.
    ///
    /// # Errors
    /// As [`Metrics::new`]; also when they were added before.
    pub fn new(metrics: &Metrics, started: f64) -> Result<Self> {
        let into = metrics.registry();
        float_gauge(into, &all::START_TIME)?
            .with_label_values(NONE)
            .set(started);
        let made = Self {
            in_flight: gauge(into, &all::IN_FLIGHT)?,
            queue_length: gauge(into, &all::QUEUE_LENGTH)?,
            queue_seconds: histogram(into, &all::QUEUE_SECONDS)?,
            instances: gauge(into, &all::INSTANCES)?,
            instances_limit: gauge(into, &all::INSTANCES_LIMIT)?,
            memory: gauge(into, &all::INSTANCE_MEMORY)?,
            started: counter(into, &all::INSTANCES_STARTED)?,
            ended: counter(into, &all::INSTANCES_ENDED)?,
            replaced: counter(into, &all::INSTANCES_REPLACED)?,
            model_instances: gauge(into, &all::MODEL_INSTANCES)?,
            full_needed: counter(into, &all::FULL_NEEDED)?,
            loads: counter(into, &all::COMPONENT_LOADS)?,
            load_seconds: float_gauge(into, &all::COMPONENT_LOAD_SECONDS)?,
            cache_errors: counter(into, &all::COMPONENT_CACHE_ERRORS)?,
            index_success: float_gauge(into, &all::INDEX_SUCCESS)?,
            index_updates: counter(into, &all::INDEX_UPDATES)?,
            index_refusals: counter(into, &all::INDEX_REFUSALS)?,
            index_refused: gauge(into, &all::INDEX_REFUSED)?,
            registry_reachable: gauge(into, &all::REGISTRY_REACHABLE)?,
            state_connected: gauge(into, &all::STATE_CONNECTED)?,
            state_pending: gauge(into, &all::STATE_PENDING)?,
            spans_exported: counter(into, &all::SPANS_EXPORTED)?,
            spans_dropped: counter(into, &all::SPANS_DROPPED)?,
            log_events: counter(into, &all::LOG_EVENTS)?,
            releases: ReleaseMetrics::new(into)?,
            reload_successful: gauge(into, &all::RELOAD_SUCCESSFUL)?,
            reload_success_time: float_gauge(into, &all::RELOAD_SUCCESS_TIME)?,
            resident: gauge(into, &all::RESIDENT)?,
            open_files: gauge(into, &all::OPEN_FILES)?,
            max_files: gauge(into, &all::MAX_FILES)?,
        };
        made.begin_at_zero();
        Ok(made)
    }

    /// What is always there, so that a rate of it begins at zero and not with nothing.
    fn begin_at_zero(&self) {
        for gauge in [&self.in_flight, &self.queue_length, &self.memory] {
            gauge.with_label_values(NONE).set(0);
        }
        for state in ["busy", "idle"] {
            self.instances.with_label_values(&[state]).set(0);
        }
        let _ = self.queue_seconds.with_label_values(NONE);
        for counter in [&self.started, &self.full_needed, &self.spans_exported] {
            counter.with_label_values(NONE).inc_by(0);
        }
        for reason in ["queue_full", "export_failed", "rejected"] {
            self.spans_dropped.with_label_values(&[reason]).inc_by(0);
        }
    }

    /// Counts a request as one that is being answered, as long as what it gives lives.
    pub fn in_flight(&self) -> Raised {
        Raised::new(&self.in_flight, NONE)
    }

    /// Counts a request as one that waits for an instance, as long as what it gives lives.
    pub fn waiting(&self) -> Raised {
        Raised::new(&self.queue_length, NONE)
    }

    /// A request has waited for an instance.
    pub fn waited(&self, time: Duration) {
        self.queue_seconds
            .with_label_values(NONE)
            .observe(time.as_secs_f64());
    }

    /// Most instances that serve at once.
    pub fn limit_instances(&self, limit: usize) {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.instances_limit.with_label_values(NONE).set(limit);
    }

    /// Counts an instance as idle, as long as what it gives lives.
    pub fn idle_instance(&self) -> Raised {
        Raised::new(&self.instances, &["idle"])
    }

    /// Counts an instance as busy and no longer as idle, as long as what it gives lives.
    pub fn busy_instance(&self) -> (Raised, Lowered) {
        let idle = self.instances.with_label_values(&["idle"]);
        (Raised::new(&self.instances, &["busy"]), Lowered::new(idle))
    }

    /// The memory of an instance, which counts as long as this lives.
    pub fn instance_memory(&self) -> Memory {
        let all = self.memory.with_label_values(NONE);
        Memory {
            all,
            own: AtomicI64::default(),
        }
    }

    /// Counts an instance as one that has this model loaded, as long as what it gives lives.
    pub fn loaded(&self, metrics: &Metrics, model: &str, version: &str) -> Raised {
        let (model, version) = metrics.models().answered(model, version);
        Raised::new(&self.model_instances, &[model, version])
    }

    /// An instance was started.
    pub fn instance_started(&self) {
        self.started.with_label_values(NONE).inc();
    }

    /// An instance ended in order; `reason` is one of a few.
    pub fn instance_ended(&self, reason: &str) {
        self.ended.with_label_values(&[reason]).inc();
    }

    /// An instance was thrown away; `reason` is an error code.
    pub fn instance_replaced(&self, reason: &str) {
        self.replaced.with_label_values(&[reason]).inc();
    }

    /// A slim component handed a request on.
    pub fn full_needed(&self) {
        self.full_needed.with_label_values(NONE).inc();
    }

    /// A component is ready: from the `cache` or the `compiler`.
    pub fn component_loaded(&self, from: &str, seconds: f64) {
        self.loads.with_label_values(&[from]).inc();
        self.load_seconds.with_label_values(&[from]).set(seconds);
    }

    /// The cache of compiled components failed: `ignored` or `not_written`.
    pub fn component_cache_error(&self, reason: &str) {
        self.cache_errors.with_label_values(&[reason]).inc();
    }

    /// The registry was read, at this time (seconds since 1970); so many names are refused now.
    pub fn index_read(&self, at: f64, refused: i64) {
        self.index_success.with_label_values(NONE).set(at);
        self.index_refused.with_label_values(NONE).set(refused);
        self.registry_reachable(true);
    }

    /// Settings were read at this time (in seconds since 1970), and taken or not.
    pub fn reloaded(&self, taken: bool, at: f64) {
        self.reload_successful
            .with_label_values(NONE)
            .set(taken.into());
        if taken {
            self.reload_success_time.with_label_values(NONE).set(at);
        }
    }

    /// A version or alias is served from now on, or no more.
    pub fn index_updated(&self) {
        self.index_updates.with_label_values(NONE).inc();
    }

    /// A change was refused; `reason` is an error code.
    pub fn index_refused(&self, reason: &str) {
        self.index_refusals.with_label_values(&[reason]).inc();
    }

    /// Whether the registry could be read.
    pub fn registry_reachable(&self, reachable: bool) {
        self.registry_reachable
            .with_label_values(NONE)
            .set(reachable.into());
    }

    /// Whether the place of shared state, such as `redis`, answers, and how much waits for its
    /// return.
    pub fn state(&self, place: &str, connected: bool, pending: usize) {
        let pending = i64::try_from(pending).unwrap_or(i64::MAX);
        self.state_connected
            .with_label_values(&[place])
            .set(connected.into());
        self.state_pending.with_label_values(&[place]).set(pending);
    }

    /// Those of releases.
    pub fn releases(&self) -> &ReleaseMetrics {
        &self.releases
    }

    /// A collector took so many spans.
    pub fn spans_exported(&self, spans: u64) {
        self.spans_exported.with_label_values(NONE).inc_by(spans);
    }

    /// So many spans were lost: `queue_full`, `export_failed` or `rejected`.
    pub fn spans_dropped(&self, reason: &str, spans: u64) {
        self.spans_dropped
            .with_label_values(&[reason])
            .inc_by(spans);
    }

    /// An event of the log.
    pub fn log_event(&self, level: &str, event: &str) {
        self.log_events.with_label_values(&[level, event]).inc();
    }

    /// What is known of the process: bytes of resident memory, open files, most of them.
    pub fn process(&self, resident: Option<u64>, open: Option<u64>, most: Option<u64>) {
        let all = [
            (&self.resident, resident),
            (&self.open_files, open),
            (&self.max_files, most),
        ];
        for (gauge, value) in all {
            if let Some(value) = value.and_then(|value| i64::try_from(value).ok()) {
                gauge.with_label_values(NONE).set(value);
            }
        }
    }
}

/// The labels of a metric that has none.
const NONE: &[&str] = &[];

/// One more in a gauge, as long as this lives.
pub struct Raised(prometheus::IntGauge);

impl Raised {
    fn new(gauges: &IntGaugeVec, labels: &[&str]) -> Self {
        let gauge = gauges.with_label_values(labels);
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// One less in a gauge, as long as this lives.
pub struct Lowered(prometheus::IntGauge);

impl Lowered {
    fn new(gauge: prometheus::IntGauge) -> Self {
        gauge.dec();
        Self(gauge)
    }
}

impl Drop for Lowered {
    fn drop(&mut self) {
        self.0.inc();
    }
}

/// The memory of one instance in the sum of all.
pub struct Memory {
    all: prometheus::IntGauge,
    own: AtomicI64,
}

impl Memory {
    /// It has so many bytes now.
    pub fn set(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.all
            .add(bytes - self.own.swap(bytes, Ordering::Relaxed));
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.all.sub(self.own.load(Ordering::Relaxed));
    }
}
