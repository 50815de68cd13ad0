//! `twinfer predict`

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use twinfer::{Parameters, Result};
use twinfer_package::{Parts, Store};

use crate::args::PredictArgs;
use crate::inputs;
use crate::output::Output;
use crate::trust::Trust;

pub fn run(args: &PredictArgs, store: &dyn Store, trust: &Trust, output: &Output) -> Result<()> {
    let start = Instant::now();
    let package = trust.open(store, &args.reference, Parts::Model)?;
    let model = package.load()?;
    let loaded = start.elapsed();
    let input = inputs::for_pipeline(model.config(), model.signature(), &args.input)?;
    let parameters: Parameters = args
        .param
        .iter()
        .map(|(name, value)| (name.clone(), value.clone().into()))
        .collect();
    let start = Instant::now();
    let prediction = model.predict(input, &parameters)?;
    let predicted = start.elapsed();
    let value = json!({
        "model_name": package.name(),
        "model_version": package.version(),
        "digest": prediction.digest,
        "mode": prediction.mode,
        "outputs": prediction.outputs,
        "timing": {"load_ms": milliseconds(loaded), "predict_ms": milliseconds(predicted)},
    });
    output.print(&value, || {
        let lines = prediction
            .outputs
            .iter()
            .map(|(name, value)| show(name, value));
        lines.collect::<Vec<_>>().join("\n")
    })
}

/// A part of the answer; of a list, one element a line.
fn show(name: &str, value: &Json) -> String {
    match value {
        Json::Array(list) if list.iter().any(|element| !element.is_number()) => {
            let elements = list.iter().map(|element| format!("\n  {element}"));
            format!(
                "{name}: {} in the list{}",
                list.len(),
                elements.collect::<String>()
            )
        }
        other => format!("{name}: {other}"),
    }
}

fn milliseconds(time: Duration) -> f64 {
    // Whole microseconds: more digits are noise.
    time.as_micros() as f64 / 1000.0
}
