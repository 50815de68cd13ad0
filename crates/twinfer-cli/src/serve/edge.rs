//! Limits on connections and on time, against clients that are slow, many or gone.

use std::time::Duration;

use clap::Args;
use twinfer_host::Limits;

use super::values::seconds;

/// What the host allows its clients.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits on clients")]
pub struct EdgeArgs {
    /// Seconds that a client may take to send the head of a request, and again for its body
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = seconds)]
    read_timeout: f64,

    /// Seconds in which a client must take 16 KiB of its answer, or what is left of it
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = seconds)]
    write_timeout: f64,

    /// Seconds for the TLS handshake
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    handshake_timeout: f64,

    /// Seconds that a request may wait for an instance
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = seconds)]
    queue_timeout: f64,

    /// Seconds that a request goes on after its client has gone, before its instance is dropped
    /// with the models in it; fresh instances are dropped at once
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = grace)]
    cancel_grace: f64,

    /// Most open connections
    #[arg(long, value_name = "N", default_value_t = 1024)]
    max_connections: usize,

    /// Most connections of one address [default: half of --max-connections]. Behind a proxy, which
    /// is one address, as many as --max-connections
    #[arg(long, value_name = "N")]
    max_connections_per_address: Option<usize>,
}

impl EdgeArgs {
    /// Writes them into the limits.
    pub fn apply(self, limits: &mut Limits) {
        limits.read_timeout = Duration::from_secs_f64(self.read_timeout);
        limits.write_timeout = Duration::from_secs_f64(self.write_timeout);
        limits.handshake_timeout = Duration::from_secs_f64(self.handshake_timeout);
        limits.queue_timeout = Duration::from_secs_f64(self.queue_timeout);
        limits.cancel_grace = Duration::from_secs_f64(self.cancel_grace);
        limits.max_connections = self.max_connections;
        limits.max_connections_per_address = self
            .max_connections_per_address
            .unwrap_or(self.max_connections.div_ceil(2));
    }
}

/// Seconds, or none at all.
fn grace(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(0.0) => Ok(0.0),
        _ => seconds(text),
    }
}
