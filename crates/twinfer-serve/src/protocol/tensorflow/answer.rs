//! Answers, with numbers in them as TensorFlow Serving writes them.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::Value as Json;
use twinfer::{DType, Model, OutputStep, Pipeline};

use crate::loose::{self, Numbers};
use crate::reply;

/// An answer with one field, numbers in it as TensorFlow Serving writes them.
pub(super) fn written(
    field: &str,
    value: &[(Option<&str>, &Json, Numbers)],
    shape: Shape,
) -> Response<Bytes> {
    let mut body = format!("{{\"{field}\": ").into_bytes();
    shape.write(value, &mut body);
    body.push(b'}');
    reply::with_type(StatusCode::OK, "application/json", body.into())
}

/// How outputs stand beside each other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// The only one, without its name.
    Single,
    /// An object of them.
    Object,
    /// A list of objects: each output is a list of the same length.
    Rows(usize),
}

impl Shape {
    fn write(self, outputs: &[(Option<&str>, &Json, Numbers)], body: &mut Vec<u8>) {
        let object = |body: &mut Vec<u8>, row: Option<usize>| {
            body.push(b'{');
            for (at, (name, value, numbers)) in outputs.iter().enumerate() {
                if at > 0 {
                    body.push(b',');
                }
                let name = Json::from(name.unwrap_or_default());
                body.extend_from_slice(name.to_string().as_bytes());
                body.push(b':');
                let value = row.map_or(*value, |row| &value[row]);
                loose::write(value, *numbers, body);
            }
            body.push(b'}');
        };
        match self {
            Self::Single => {
                for (_, value, numbers) in outputs {
                    loose::write(value, *numbers, body);
                }
            }
            Self::Object => object(body, None),
            Self::Rows(rows) => {
                body.push(b'[');
                for row in 0..rows {
                    if row > 0 {
                        body.push(b',');
                    }
                    object(body, Some(row));
                }
                body.push(b']');
            }
        }
    }
}

/// How the numbers of an output are written: single precision as short as it comes back by, and
/// words bare, but not where texts are.
pub(super) fn numbers(model: &Model, pipeline: Option<&Pipeline>, output: &str) -> Numbers {
    let tensor = match pipeline {
        None => output,
        Some(pipeline) => match pipeline.outputs.iter().find(|step| step.name() == output) {
            Some(
                OutputStep::Tensor(plain)
                | OutputStep::Label(plain)
                | OutputStep::Probabilities(plain),
            ) => &plain.tensor,
            // Scores beside labels, and boxes: in single precision as the model gives them.
            _ => return Numbers::Plain,
        },
    };
    let outputs = &model.signature().outputs;
    match outputs
        .iter()
        .find(|spec| spec.name == tensor)
        .map(|spec| spec.dtype)
    {
        Some(DType::F32 | DType::F16 | DType::BF16) => Numbers::Single,
        Some(DType::F64) => Numbers::Bare,
        _ => Numbers::Plain,
    }
}
