//! A loaded, optimised model.

use crate::{Result, Signature, Tensors, Value};

/// Model files larger than this are refused: protobuf cannot hold more, and no page or
/// function has the memory.
pub const MAX_MODEL_BYTES: usize = 2 << 30;

/// A loaded, optimised ONNX model, ready to run. It can be shared between threads.
#[derive(Debug)]
pub struct Session {
    signature: Signature,
}

impl Session {
    /// Loads and optimises an ONNX file.
    ///
    /// # Errors
    /// `invalid_model`, `unsupported_operator`, `unsupported_dtype`, `model_too_large`.
    pub fn load(_onnx: &[u8]) -> Result<Self> {
        crate::bail!(Internal, "not written yet")
    }

    /// Named, typed, shaped inputs and outputs.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Named tensors in, named values out, in the order of the signature.
    ///
    /// # Errors
    /// Those of [`Signature::check`]; `invalid_input` when the engine refuses the values.
    pub fn run(&self, _inputs: Tensors) -> Result<Vec<(String, Value)>> {
        crate::bail!(Internal, "not written yet")
    }
}
