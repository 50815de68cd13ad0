//! The serving application of Twinfer: HTTP types in, HTTP types out, no host
//! in it.
//!
//! A shell (a WASI component, a native server, a test) reads a request, calls
//! [`App::handle`], and writes the answer. Models come from a
//! [`twinfer_package::Store`]; they are loaded when first asked for, and kept.
//!
//! | route | what |
//! |---|---|
//! | `GET /v2` | name, version and extensions of the server |
//! | `GET /v2/health/live`, `/v2/health/ready` | probes |
//! | `GET /v2/models` | every model with its versions |
//! | `GET /v2/models/{m}[/versions/{v}]` | the signature |
//! | `GET /v2/models/{m}[/versions/{v}]/config` | the same in Triton's form |
//! | `GET /v2/models[/{m}[/versions/{v}]]/stats` | what this instance was asked |
//! | `GET /v2/models/{m}[/versions/{v}]/ready` | loads the model, so that the first request is fast |
//! | `POST /v2/models/{m}[/versions/{v}]/infer` | tensors in, tensors out: Open Inference Protocol v2 with the binary tensor extension |
//! | `POST /v2/models/{m}[/versions/{v}]/predict` | a picture, a sound, a text, bytes or a record in, the pipeline's answer out; in JSON, JSON lines, CSV, Arrow, CBOR, MessagePack, or as a form |
//! | `GET /execution-parameters`, `POST /models/{m}/invoke` | SageMaker, beside `/ping` and `/invocations` |
//! | `/v1/endpoints/{e}/deployedModels/{d}[:predict]`, and the routes of [`Options`] | Vertex AI |
//! | `POST /score`, `GET /swagger.json` | Azure Machine Learning |
//! | `/predictions/{m}[/{v}]`, `GET /models[/{m}[/{v}]]`, `GET /api-description` | TorchServe |
//! | `POST /events[/{m}[/{v}]]` | events of CloudEvents in, events out |
//! | `POST /v2/repository/index`, `/v2/repository/models/{m}/load`, `…/unload` | what there is, and loading it ahead of time; off unless [`Options::repository`] is set |
//! | `GET /openapi.json` | OpenAPI 3.1 of all of this, with the schemas of the models |
//! | `GET /`, `/console` | a page for people |
//!
//! A version is a version (`1.0.0`), an alias (`stable`) or a digest
//! (`sha256:…`); without one the highest version answers. The index of the
//! registry is read for each request, so a new version or a moved alias counts
//! at once.
//!
//! With a trust policy ([`Trust`]) a package that it refuses is neither loaded nor described:
//! its routes answer with the code of the refusal, and it is not ready. The list of models
//! stays the list of what the registry has.
//!
//! A shell that fetches packages itself asks [`App::wants`] first, and hands models in with
//! [`App::hold`]: then no request waits for a network inside [`App::handle`].
//!
//! Every error is `{"error": "…", "code": "…"}` with the codes and statuses of
//! [`twinfer::ErrorCode`].
//!
//! ```no_run
//! use std::sync::Arc;
//! use twinfer_package::FolderStore;
//! use twinfer_serve::{App, Options};
//!
//! let app = App::new(Arc::new(FolderStore::new("registry")), Options::default());
//! let request = http::Request::get("/v2/models").body(bytes::Bytes::new()).unwrap();
//! let response = app.handle(request);
//! assert_eq!(response.status(), 200);
//! ```
#![deny(missing_docs)]

mod address;
mod app;
mod catalog;
mod console;
mod deployments;
mod formats;
mod fused;
mod infer;
mod loose;
mod media;
mod metadata;
mod model_config;
mod models;
pub mod offline;
mod openapi;
mod predict;
mod protocol;
mod query;
mod remote;
mod reply;
mod repository;
mod rows;
mod run;
mod statistics;
mod supply;
mod table;
mod target;
mod timing;
mod trust;

pub use address::{Address, redirected};
pub use app::{Answers, App, Options};
pub use fused::Fused;
pub use remote::{Remote, RemoteOptions};
pub use reply::{body_too_large, broken_body, refused};
pub use repository::AdminToken;
pub use supply::Wants;
pub use trust::{Guard, Trust};
