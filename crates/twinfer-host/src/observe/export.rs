//! Sending spans to a collector: in batches, beside the requests, which never wait for it.

use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use twinfer_observe::{Sampler, Span, TraceSettings, otlp};

use super::Observer;
use crate::error::HostError;
use crate::log::{Log, LogLevel};

/// Attempts for a batch, and the pause after the first, which doubles: meanwhile the queue fills,
/// and then spans are dropped.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause that a collector may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// How long the end of a host waits for the last batches.
const END: Duration = Duration::from_secs(5);
/// Bytes of a collector's answer that are read: it says what it did not take.
const MAX_ANSWER: usize = 64 << 10;

/// Where the spans of requests are left.
#[derive(Clone)]
pub(super) struct Spans(mpsc::Sender<Span>);

impl Spans {
    /// Leaves these to be sent, all or none. Gives how many there was no room for.
    pub(super) fn offer(&self, spans: Vec<Span>) -> usize {
        let count = spans.len();
        match self.0.try_reserve_many(count) {
            Ok(places) => {
                places.zip(spans).for_each(|(place, span)| place.send(span));
                0
            }
            Err(_) => count,
        }
    }
}

/// What will send them.
pub(super) struct Exporter {
    settings: TraceSettings,
    client: reqwest::Client,
    sender: Spans,
    spans: mpsc::Receiver<Span>,
}

/// What sends them.
pub(crate) struct Exporting {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Exporter {
    pub(super) fn new(settings: TraceSettings) -> Result<Self, HostError> {
        let (sender, spans) = mpsc::channel(settings.queue);
        Ok(Self {
            client: crate::outbound::client()?,
            settings,
            sender: Spans(sender),
            spans,
        })
    }

    pub(super) fn spans(&self) -> Spans {
        self.sender.clone()
    }

    pub(super) fn sampler(&self) -> Sampler {
        self.settings.sampler
    }

    pub(super) fn begin(self, observer: Observer, log: Log) -> Exporting {
        for warning in &self.settings.warnings {
            let fields = json!({"message": warning});
            log.event(LogLevel::Warn, "traces_settings", fields);
        }
        let (stop, stopped) = watch::channel(false);
        let task = Task {
            settings: self.settings,
            client: self.client,
            spans: self.spans,
            observer,
            log,
            stopped,
            failing: false,
        };
        Exporting {
            stop,
            task: tokio::spawn(task.run()),
        }
    }
}

impl Exporting {
    /// Sends what is left, for a while.
    pub(crate) async fn end(self) {
        let _ = self.stop.send(true);
        // What cannot be sent by then is lost with the process.
        let _ = timeout(END, self.task).await;
    }
}

struct Task {
    settings: TraceSettings,
    client: reqwest::Client,
    spans: mpsc::Receiver<Span>,
    observer: Observer,
    log: Log,
    stopped: watch::Receiver<bool>,
    /// Whether the last batch failed: that is said once.
    failing: bool,
}

/// Why a batch was not taken.
struct NotTaken {
    why: String,
    /// After which time it may be tried again, if at all.
    again: Option<Duration>,
}

impl Task {
    async fn run(mut self) {
        loop {
            let batch = self.gather().await;
            if batch.is_empty() {
                return;
            }
            self.send(&batch).await;
        }
    }

    /// The next batch: full, or as much as came in the delay after its first span. Empty at the end.
    async fn gather(&mut self) -> Vec<Span> {
        let mut batch = Vec::new();
        let mut deadline = None;
        while batch.len() < self.settings.batch {
            let stopping = *self.stopped.borrow();
            let next = if stopping {
                self.spans.try_recv().ok()
            } else {
                let until = deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
                tokio::select! {
                    next = timeout_at(until, self.spans.recv()) => match next {
                        Ok(next) => next,
                        Err(_) if batch.is_empty() => continue,
                        Err(_) => None,
                    },
                    _ = self.stopped.wait_for(|stop| *stop) => continue,
                }
            };
            let Some(span) = next else { break };
            batch.push(span);
            deadline.get_or_insert_with(|| Instant::now() + self.settings.delay);
        }
        batch
    }

    async fn send(&mut self, batch: &[Span]) {
        let count = batch.len();
        let body = match otlp::encode(&self.settings.resource, batch) {
            Ok(body) => body,
            Err(error) => return self.failed(count, &error.to_string()),
        };
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS {
            let NotTaken { why, again } = match self.post(body.clone()).await {
                Ok(rejected) => return self.taken(count, &rejected),
                Err(not_taken) => not_taken,
            };
            let last = attempt == ATTEMPTS || *self.stopped.borrow();
            let Some(asked) = again.filter(|_| !last) else {
                return self.failed(count, &why);
            };
            let wait = asked.max(pause).min(MAX_PAUSE);
            tokio::select! {
                () = sleep(wait) => {}
                // One more attempt, now.
                _ = self.stopped.wait_for(|stop| *stop) => {}
            }
            pause *= 2;
        }
    }

    /// One attempt. What may be tried again is what the OTLP specification says (OTLP/HTTP,
    /// failures).
    async fn post(&self, body: Vec<u8>) -> Result<otlp::Rejected, NotTaken> {
        let request = self
            .client
            .post(&self.settings.endpoint)
            .timeout(self.settings.timeout)
            .headers(self.settings.headers.clone())
            .header(CONTENT_TYPE, otlp::CONTENT_TYPE)
            .body(body);
        let mut answer = request.send().await.map_err(|error| NotTaken {
            // Without the address, which may have a key in it.
            why: crate::outbound::chain(&error.without_url()),
            again: Some(Duration::ZERO),
        })?;
        let status = answer.status();
        if !status.is_success() {
            let again = matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            );
            let asked = answer.headers().get(RETRY_AFTER);
            let asked = asked.and_then(|after| after.to_str().ok()?.parse().ok());
            return Err(NotTaken {
                why: format!("the collector answered with the status {status}"),
                again: again.then(|| Duration::from_secs(asked.unwrap_or_default())),
            });
        }
        let mut read = Vec::new();
        while let Ok(Some(chunk)) = answer.chunk().await {
            read.extend_from_slice(&chunk);
            if read.len() > MAX_ANSWER {
                break;
            }
        }
        Ok(otlp::rejected(&read))
    }

    fn taken(&mut self, count: usize, rejected: &otlp::Rejected) {
        let lost = usize::try_from(rejected.spans).map_or(count, |lost| lost.min(count));
        self.observer.exported(count - lost);
        self.observer.dropped("rejected", lost);
        if lost > 0 {
            let fields = json!({"spans": lost, "message": rejected.message});
            self.log.event(LogLevel::Warn, "traces_rejected", fields);
        }
        if std::mem::replace(&mut self.failing, false) {
            self.log
                .event(LogLevel::Info, "traces_exported_again", json!({}));
        }
    }

    fn failed(&mut self, count: usize, why: &str) {
        self.observer.dropped("export_failed", count);
        if !std::mem::replace(&mut self.failing, true) {
            let fields = json!({"spans": count, "message": why});
            self.log
                .event(LogLevel::Warn, "traces_not_exported", fields);
        }
    }
}
