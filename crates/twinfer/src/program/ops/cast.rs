//! Types of elements changed.

use super::super::cast::{Rules, convert};
use super::super::inputs::{Kernel, tensor_kernel};
use super::super::node::Node;
use super::super::small::Round;
use crate::session::onnx_dtype;
use crate::{Result, bail, err};

/// The engine has the common ones; these have all types of ONNX.
pub(super) const OPS: super::Table = &[("Cast", cast), ("CastLike", cast_like)];

/// `Cast` (Operators.md, ai.onnx 25).
fn cast(node: &Node<'_>) -> Result<Option<Kernel>> {
    let code = node.required("to", node.int_opt("to"))?;
    let dtype = i32::try_from(code).ok().and_then(onnx_dtype);
    let dtype = dtype.ok_or_else(|| err!(UnsupportedDtype, "a cast to the type {code}"))?;
    let rules = rules(node)?;
    tensor_kernel(move |inputs| convert(inputs.tensor(0)?, dtype, rules)).map(Some)
}

/// `CastLike` (Operators.md, ai.onnx 25).
fn cast_like(node: &Node<'_>) -> Result<Option<Kernel>> {
    let rules = rules(node)?;
    tensor_kernel(move |inputs| {
        let dtype = inputs.tensor(1)?.dtype();
        convert(inputs.tensor(0)?, dtype, rules)
    })
    .map(Some)
}

fn rules(node: &Node<'_>) -> Result<Rules> {
    Ok(Rules {
        saturate: node.flag("saturate", true),
        round: match node.text("round_mode", "up")? {
            "up" => Round::Up,
            "down" => Round::Down,
            "nearest" => Round::Nearest,
            other => bail!(InvalidModel, "`round_mode` is `{other}`"),
        },
    })
}
