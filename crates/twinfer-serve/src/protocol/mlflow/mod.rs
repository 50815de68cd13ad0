//! The scoring server of MLflow (mlflow, `mlflow/pyfunc/scoring_server/__init__.py`):
//! `/health`, `/version`, and what it takes and answers at `/invocations`.

mod answer;
pub(super) mod openapi;
mod params;
mod payload;
mod schema;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value as Json, json};
use twinfer::{Error, ErrorCode, Result};

pub(super) use answer::{predicted, predictions};
pub(super) use openapi::describe;
pub(super) use payload::{Given, Payload, read};

use super::invocations::ping;
use super::{Need, Request};
use crate::target::Target;
use crate::{App, reply};

/// What `/version` says. Clients read it as the version of MLflow that scores; it is the one whose
/// protocol this is, and with which it is tested (`tests/python/requirements.txt`).
const VERSION: &str = "3.17.2";

#[derive(Debug, PartialEq)]
enum Route {
    Health(Target),
    Version,
}

pub(super) fn find(segments: &[&str]) -> Option<Box<dyn super::Route>> {
    Some(Box::new(match *segments {
        ["health"] => Route::Health(Target::default_model()),
        ["version"] => Route::Version,
        _ => return None,
    }))
}

impl super::Route for Route {
    fn methods(&self) -> &'static str {
        "GET, HEAD"
    }

    fn needs(&self) -> Need<'_> {
        match self {
            Self::Health(_) => Need::Index,
            Self::Version => Need::Nothing,
        }
    }

    fn answer(&self, app: &App, _request: Request<'_>) -> Result<Response<Bytes>> {
        match self {
            Self::Health(target) => ping(app, target),
            // MLflow calls the bare text JSON, which it is not; its clients do not look.
            Self::Version => Ok(reply::with_type(
                StatusCode::OK,
                "text/plain",
                Bytes::from_static(VERSION.as_bytes()),
            )),
        }
    }

    fn failed(&self, error: &Error) -> Response<Bytes> {
        failed(error)
    }
}

/// An error in MLflow's form, with our code beside its.
pub(super) fn failed(error: &Error) -> Response<Bytes> {
    let body: Json = json!({
        "error_code": error_code(error.code()),
        "message": error.message(),
        "code": error.code().as_str(),
    });
    let status = StatusCode::from_u16(error.code().http_status())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply::with_type(status, "application/json", body.to_string().into())
}

/// MLflow's names (mlflow, `databricks.proto`), by the status that goes with each
/// (`mlflow/exceptions.py`, `ERROR_CODE_TO_HTTP_STATUS`). What breaks the schema has a name of its own.
fn error_code(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::MissingInput | ErrorCode::WrongShape | ErrorCode::InvalidParameter => {
            return "INVALID_PARAMETER_VALUE";
        }
        _ => {}
    }
    match code.http_status() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "RESOURCE_DOES_NOT_EXIST",
        409 => "RESOURCE_CONFLICT",
        503 => "TEMPORARILY_UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        status if status < 500 && status != 422 => "BAD_REQUEST",
        _ => "INTERNAL_ERROR",
    }
}
