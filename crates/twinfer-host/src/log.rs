//! Structured logs: one JSON object a line, or one line of `name=value` for people.
//!
//! Every line has `time` (RFC 3339, UTC), `level`, `event`, and the event's own
//! fields. Bodies and query strings are never logged: they are users' data.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::config::HostConfig;
use crate::observe::Observer;

/// How important a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What only a developer wants to know.
    Debug,
    /// What an operator wants to see.
    Info,
    /// Something was refused or replaced, and the host goes on.
    Warn,
    /// A request failed for a reason that is not the client's.
    Error,
}

impl LogLevel {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// A JSON object.
    #[default]
    Json,
    /// `TIME LEVEL EVENT name=value name=value`; values are JSON where they are not plain words.
    Text,
}

/// Where log lines go.
#[derive(Clone)]
pub enum LogSink {
    /// The standard error stream.
    Stderr,
    /// Nowhere.
    None,
    /// A function, called with each line (without its end).
    Function(Arc<dyn Fn(&str) + Send + Sync>),
}

impl fmt::Debug for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stderr => "Stderr",
            Self::None => "None",
            Self::Function(_) => "Function",
        })
    }
}

/// Writes log lines to a sink. Clones share the level and the format.
#[derive(Debug, Clone)]
pub struct Log {
    sink: LogSink,
    form: Arc<Form>,
    observer: Option<Observer>,
}

/// What of a log can change: [`LogLevel`] and [`LogFormat`] as numbers.
#[derive(Debug)]
struct Form {
    level: AtomicU8,
    format: AtomicU8,
}

impl Log {
    /// A log that drops what is less important than `level`.
    pub fn new(sink: LogSink, level: LogLevel) -> Self {
        Self {
            sink,
            form: Arc::new(Form {
                level: AtomicU8::new(level as u8),
                format: AtomicU8::new(LogFormat::Json as u8),
            }),
            observer: None,
        }
    }

    /// In this format.
    pub fn format(self, format: LogFormat) -> Self {
        self.form.format.store(format as u8, Ordering::Relaxed);
        self
    }

    /// From now on what is less important than `level` is dropped, and the rest is written so: for
    /// this log and its clones.
    pub fn change(&self, level: LogLevel, format: LogFormat) {
        self.form.level.store(level as u8, Ordering::Relaxed);
        self.form.format.store(format as u8, Ordering::Relaxed);
    }

    /// Counted by this observer: all events, also those below the level.
    pub fn observed(self, observer: Option<Observer>) -> Self {
        Self { observer, ..self }
    }

    /// That of a host.
    pub(crate) fn of(config: &HostConfig) -> Self {
        Self::new(config.log.clone(), config.log_level)
            .format(config.log_format)
            .observed(config.observer.clone())
    }

    pub(crate) fn observer(&self) -> Option<&Observer> {
        self.observer.as_ref()
    }

    /// Writes one event. `fields` must be a JSON object.
    pub fn event(&self, level: LogLevel, event: &str, fields: Value) {
        if level as u8 >= self.form.level.load(Ordering::Relaxed) {
            self.always(level, event, fields);
        } else if let Some(observer) = &self.observer {
            observer.event(level, event, &fields);
        }
    }

    /// The same, whatever the least level is: what must not get lost.
    pub fn always(&self, level: LogLevel, event: &str, fields: Value) {
        if let Some(observer) = &self.observer {
            observer.event(level, event, &fields);
        }
        if matches!(self.sink, LogSink::None) {
            return;
        }
        let time = rfc3339(SystemTime::now());
        let is_text = self.form.format.load(Ordering::Relaxed) == LogFormat::Text as u8;
        let line = match is_text {
            false => json(&time, level, event, fields),
            true => text(&time, level, event, &fields),
        };
        match &self.sink {
            // A log that cannot be written must not stop the service.
            LogSink::Stderr => drop(writeln!(std::io::stderr().lock(), "{line}")),
            LogSink::Function(function) => function(&line),
            LogSink::None => {}
        }
    }
}

fn json(time: &str, level: LogLevel, event: &str, fields: Value) -> String {
    let mut line = Map::new();
    line.insert("time".into(), time.into());
    line.insert("level".into(), level.as_str().into());
    line.insert("event".into(), event.into());
    if let Value::Object(fields) = fields {
        line.extend(fields);
    }
    Value::Object(line).to_string()
}

fn text(time: &str, level: LogLevel, event: &str, fields: &Value) -> String {
    let mut line = format!("{time} {:5} {event}", level.as_str().to_uppercase());
    for (name, value) in fields.as_object().into_iter().flatten() {
        // What is not there is not said.
        if value.is_null() {
            continue;
        }
        line += &match value {
            Value::String(word) if is_plain(word) => format!(" {name}={word}"),
            // JSON has no line ends in it, and quotes what has spaces.
            value => format!(" {name}={value}"),
        };
    }
    line
}

/// Whether a text can be told from what is around it without quotes.
fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'=\\{}[]".contains(&byte);
    !text.is_empty() && text.bytes().all(plain)
}

/// `2026-11-25T06:24:00.123Z`.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil(since.as_secs() / 86_400);
    let second = since.as_secs() % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

/// Year, month and day of a number of days since 1970-01-01, counted in
/// 400-year eras that begin on 1 March, so that the leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_764_052_800, "2025-11-25T06:40:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn text_is_one_line_whatever_is_in_it() {
        let fields = serde_json::json!({
            "path": "/v2", "status": 200, "failure": null, "model": "a b", "empty": "",
            "message": "two\nlines \"quoted\" é", "inner": {"code": "x"}, "sly": "a=b level=error",
        });
        assert_eq!(
            text("T", LogLevel::Warn, "request", &fields),
            "T WARN  request path=/v2 status=200 model=\"a b\" empty=\"\" \
             message=\"two\\nlines \\\"quoted\\\" é\" inner={\"code\":\"x\"} sly=\"a=b level=error\""
        );
    }

    #[test]
    fn lines_are_json_and_respect_the_level() {
        let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
        let sink = lines.clone();
        let log = Log::new(
            LogSink::Function(Arc::new(move |l| sink.lock().unwrap().push(l.to_owned()))),
            LogLevel::Info,
        );
        log.event(LogLevel::Debug, "hidden", serde_json::json!({}));
        log.event(
            LogLevel::Warn,
            "seen",
            serde_json::json!({"text": "two\nlines"}),
        );
        let lines = lines.lock().unwrap();
        assert_eq!(lines.len(), 1);
        assert!(!lines[0].contains('\n'));
        let value: Value = serde_json::from_str(&lines[0]).unwrap();
        assert_eq!(
            (value["event"].as_str(), value["text"].as_str()),
            (Some("seen"), Some("two\nlines"))
        );
    }
}
