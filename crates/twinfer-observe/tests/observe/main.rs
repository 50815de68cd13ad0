//! Metrics as Prometheus reads them, and spans as the definition of OTLP has them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod exposition;
mod grafana;
mod otlp;
mod promtool;
mod proto;
