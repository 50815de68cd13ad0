//! The application over registries in memory, with the sample models and the
//! test models of the cross-runtime suite.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod azure_ml;
mod bad_input;
mod cases;
mod cloud_events;
mod console;
mod deployments;
mod extensions;
mod forms;
mod infer;
mod metadata;
mod mlflow;
mod mlflow_schema;
mod offline;
mod onnx_file;
mod openapi;
mod predict;
mod registry;
mod remote;
mod runs;
mod sagemaker;
mod sounds_and_texts;
mod support;
mod tensorflow;
mod torch_serve;
mod trust;
mod types;
mod vertex_ai;
