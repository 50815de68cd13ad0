//! Runs that are shared, and runs that are saved.

use std::time::Duration;

use clap::Args;
use twinfer::{Result, err};
use twinfer_host::HostConfig;

/// Longest window: whoever waits longer than that gains nothing.
const MAX_WINDOW: f64 = 1000.0;

/// How requests share what they cost.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Shared runs")]
pub struct TogetherArgs {
    /// Milliseconds that the first of several requests for one model waits for others that run
    /// together with it; 0: each runs by itself. No answer changes by that: models whose rows
    /// influence each other are found out
    #[arg(long, value_name = "MS", default_value_t = 0.0, value_parser = window)]
    batch_window: f64,

    /// Most requests that run together
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(2..=1024))]
    max_batch: u16,

    /// MiB of predictions that each instance keeps, to give them again for the same inputs; 0: none
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    prediction_cache: u16,
}

impl TogetherArgs {
    /// Writes them into the configuration.
    ///
    /// # Errors
    /// `internal` where the system has no random numbers.
    pub fn apply(&self, config: &mut HostConfig) -> Result<()> {
        if self.prediction_cache > 0 {
            let bytes = u64::from(self.prediction_cache) << 20;
            config
                .env
                .push(("TWINFER_PREDICTION_CACHE".into(), bytes.to_string()));
        }
        if self.batch_window <= 0.0 {
            return Ok(());
        }
        let mut secret = [0; 16];
        getrandom::fill(&mut secret).map_err(|e| err!(Internal, "no random numbers: {e}"))?;
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        config.limits.batch_window = Some(Duration::from_secs_f64(self.batch_window / 1e3));
        config.limits.max_batch = self.max_batch.into();
        config.env.push(("TWINFER_BUNDLE".into(), secret.clone()));
        config.bundle_token = Some(secret);
        Ok(())
    }
}

fn window(text: &str) -> std::result::Result<f64, String> {
    let window: f64 = text.parse().map_err(|e| format!("{e}"))?;
    match (0.0..=MAX_WINDOW).contains(&window) {
        true => Ok(window),
        false => Err(format!("must be 0 to {MAX_WINDOW} milliseconds")),
    }
}
