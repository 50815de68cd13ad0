//! `POST …/infer`: the Open Inference Protocol v2, with its binary tensor
//! extension.

mod binary;
mod data;
mod request;
mod response;
mod text;

use bytes::Bytes;
use http::Response;
use twinfer::{Result, Value, bail};

use crate::models::Loaded;
use crate::protocol::Request;
use crate::timing::Call;

pub(crate) use data::tensor_from_json;
pub(crate) use request::object;
pub(crate) use text::value_of;

/// Length of the JSON before binary tensors.
pub(crate) const HEADER_LENGTH: &str = "inference-header-content-length";

/// An output that is wanted, and how.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    name: String,
    binary: bool,
}

pub(crate) fn infer(loaded: &Loaded, request: Request<'_>, call: Call) -> Result<Response<Bytes>> {
    let model = &loaded.model;
    let run = request.run;
    let request = request::decode(model.signature(), request.parts, &request.body)?;
    let wanted = match request.outputs {
        Some(outputs) => outputs,
        None => {
            let all = model.signature().outputs.iter();
            all.map(|output| Wanted {
                name: output.name.clone(),
                binary: request.binary,
            })
            .collect()
        }
    };
    check_wanted(model, &wanted)?;
    let values = run.run(model, request.inputs)?;
    response::encode(model, request.id, select(values, &wanted)?, call)
}

/// Before the model runs: a typing mistake should not cost a prediction.
fn check_wanted(model: &twinfer::Model, wanted: &[Wanted]) -> Result<()> {
    let outputs = &model.signature().outputs;
    for (at, output) in wanted.iter().enumerate() {
        if outputs.iter().all(|known| known.name != output.name) {
            let names: Vec<_> = outputs.iter().map(|o| format!("`{}`", o.name)).collect();
            bail!(
                UnknownOutput,
                "there is no output `{}`; the model gives {}",
                output.name,
                names.join(", ")
            );
        }
        if wanted[..at]
            .iter()
            .any(|earlier| earlier.name == output.name)
        {
            bail!(
                InvalidRequest,
                "output `{}` is asked for twice",
                output.name
            );
        }
    }
    Ok(())
}

fn select(mut values: Vec<(String, Value)>, wanted: &[Wanted]) -> Result<Vec<(Wanted, Value)>> {
    let take = |wanted: &Wanted| match values.iter().position(|(name, _)| *name == wanted.name) {
        Some(at) => Ok((wanted.clone(), values.swap_remove(at).1)),
        None => bail!(
            Internal,
            "the model did not give its output `{}`",
            wanted.name
        ),
    };
    wanted.iter().map(take).collect()
}
