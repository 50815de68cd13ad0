//! Runs that are shared, and runs that are saved.

use std::time::Duration;

use clap::Args;
use twinfer_host::HostConfig;

use super::secrets::Secrets;

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
    /// Writes them into the configuration. The component knows the secret of bundles in any case:
    /// so the window can be switched on later.
    pub fn apply(&self, secrets: &Secrets, config: &mut HostConfig) {
        if self.prediction_cache > 0 {
            let bytes = u64::from(self.prediction_cache) << 20;
            config
                .env
                .push(("TWINFER_PREDICTION_CACHE".into(), bytes.to_string()));
        }
        let window = Duration::from_secs_f64(self.batch_window / 1e3);
        config.limits.batch_window = (!window.is_zero()).then_some(window);
        config.limits.max_batch = self.max_batch.into();
        let secret = secrets.bundle.clone();
        config.env.push(("TWINFER_BUNDLE".into(), secret.clone()));
        config.bundle_token = Some(secret);
    }
}

fn window(text: &str) -> Result<f64, String> {
    let window: f64 = text.parse().map_err(|e| format!("{e}"))?;
    match (0.0..=MAX_WINDOW).contains(&window) {
        true => Ok(window),
        false => Err(format!("must be 0 to {MAX_WINDOW} milliseconds")),
    }
}
