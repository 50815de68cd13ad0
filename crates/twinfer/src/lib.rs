#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

mod compatibility;
mod config;
mod element;
mod error;
mod from_json;
mod json;
// Native code has wider vectors, and tract's kernels for them: there only the tests use these.
#[cfg(any(test, target_family = "wasm"))]
mod kernels;
#[cfg(target_family = "wasm")]
mod math;
mod mlflow;
mod model;
mod ops;
mod pipeline;
mod program;
mod session;
mod signature;
mod tensor;

pub use compatibility::{Change, compatibility};
pub use config::{EngineRequirement, FORMAT_VERSION, Label, Limits, ModelConfig, serde_error};
pub use element::Element;
pub use error::{Error, ErrorCode, Result};
pub use from_json::value_from_json;
pub use json::{number_from_words, number_to_json, value_to_json};
pub use mlflow::{
    Mlflow, MlflowColumn, MlflowFlavor, MlflowParam, MlflowSchema, MlflowTensor, MlflowType,
};
pub use model::{Mode, Model, NamedValues, Prediction, Prepared};
pub use ops::MissingOperator;
pub use pipeline::{
    Activation, Audio, AudioFeatures, AudioInput, AudioNormalize, BoxFormat, BoxesOutput,
    BytesInput, Channels, ClassesOutput, Column, DecisionOutput, Filter, Input, InputStep, Layout,
    LogReference, LogScale, Logarithm, LowConfidence, MelLayout, MelNorm, MelScale, MelSpectrogram,
    Missing, MonoMix, Normalize, OutputStep, PadMode, ParameterSpec, Parameters, Picture,
    PictureInput, PictureStep, Pipeline, PlainOutput, RecordInput, Resize, ShortBytes, Size,
    TextInput, TextLayout, Waveform, WindowFunction,
};
pub use session::{
    Assessment, Cost, Description, MAX_MODEL_BYTES, MAX_WEIGHTS_BYTES, NoWeights, Parsed, Session,
    Weights,
};
pub use signature::{Dim, OutputSpec, Signature, TensorSpec, ValueKind};
pub use tensor::{DType, MapKeys, Maps, Tensor, Tensors, Value, element_count};
