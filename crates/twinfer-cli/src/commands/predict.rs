//! `twinfer predict`

use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use serde_json::{Value as Json, json};
use twinfer::{Parameters, Result};
use twinfer_package::{Parts, Reference, Store};

use crate::inputs;
use crate::options::pair;
use crate::output::Output;
use crate::trust::Trust;

/// Give a model an input and print its answer
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  twinfer predict face-detector:1.0.0 --input picture=photo.jpg
  twinfer predict file-type --input content=report.pdf --param prediction_mode=best_guess
  twinfer predict tumour-risk --input record=@patient.json
  twinfer predict tumour-risk --input record='{\"mean radius\": 17.99}' --json
  twinfer predict sound-type --input audio=sound.wav
  twinfer predict text-language --input text=\"Where is the station?\"
  curl -s https://example.org/photo.jpg | twinfer predict face-detector --input picture=-
  twinfer predict face-detector --input input=tensor.npy")]
pub struct PredictArgs {
    /// name, name:version, or name@sha256:…
    pub reference: Reference,

    /// What the model gets: a file; - for standard input; for a record JSON or @FILE; for a
    /// text the text or @FILE; for the tensors of the model itself one .npy file each
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair, required = true)]
    pub input: Vec<(String, String)>,

    /// A parameter that the model declares
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = pair)]
    pub param: Vec<(String, String)>,
}

pub fn run(args: &PredictArgs, store: &dyn Store, trust: &Trust, output: &Output) -> Result<()> {
    let start = Instant::now();
    let mut package = trust.open(store, &args.reference, Parts::Model)?;
    let model = package.take_model()?;
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
