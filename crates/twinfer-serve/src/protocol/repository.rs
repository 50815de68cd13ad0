//! Routes of the model repository extension: [`crate::repository`].

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Response};
use serde_json::json;
use twinfer::{Error, ErrorCode, Result};

use super::{Need, Request};
use crate::openapi::{Document, Operation, object, path_parameter, text};
use crate::target::Target;
use crate::{App, reply, repository};

#[derive(Debug, PartialEq)]
enum Route {
    Index,
    Load(Target),
    Unload(Target),
}

pub(super) fn find(segments: &[&str]) -> Option<Box<dyn super::Route>> {
    let route = match *segments {
        ["v2", "repository", "index"] => Route::Index,
        ["v2", "repository", "models", name, "load"] => Route::Load(Target::named(name, None)),
        ["v2", "repository", "models", name, "unload"] => Route::Unload(Target::named(name, None)),
        _ => return None,
    };
    Some(Box::new(route))
}

pub(super) fn describe(document: &mut Document<'_>) {
    const TAG: &str = "Model repository";
    document.tag(
        TAG,
        "Triton's extension: what there is, and loading it ahead of time. Off unless whoever runs the server turns it on.",
    );
    let entry = object(
        &[
            ("name", text("")),
            ("version", text("")),
            ("state", json!({"enum": ["READY", "UNAVAILABLE"]})),
            ("reason", text("")),
        ],
        &["name", "version", "state", "reason"],
    );
    let asked = object(&[("ready", json!({"type": "boolean"}))], &[]);
    let token = |id, summary| Operation::new(id, TAG, summary).errors(&[400, 401, 404]);
    document.add(
        "post",
        "/v2/repository/index",
        token(
            "repositoryIndex",
            "Every version, and whether it can be asked",
        )
        .body(false, &[("application/json", asked)])
        .json("The versions.", json!({"type": "array", "items": entry})),
    );
    let model = || path_parameter("model", "The name of a model.", "face-detector");
    let change = object(&[("parameters", json!({"type": "object"}))], &[]);
    for (verb, id, summary) in [
        (
            "load",
            "repositoryLoad",
            "Loads the version that answers by default",
        ),
        (
            "unload",
            "repositoryUnload",
            "Gives the memory of its loaded versions back, until it is asked again",
        ),
    ] {
        document.add(
            "post",
            &format!("/v2/repository/models/{{model}}/{verb}"),
            token(id, summary)
                .parameter(model())
                .body(false, &[("application/json", change.clone())])
                .json("Done.", object(&[("name", text(""))], &["name"])),
        );
    }
}

impl super::Route for Route {
    fn methods(&self) -> &'static str {
        "POST"
    }

    fn needs(&self) -> Need<'_> {
        match self {
            Self::Index | Self::Unload(_) => Need::Index,
            // Any prediction may have it fetched just so.
            Self::Load(target) => Need::Model(target),
        }
    }

    fn answer(&self, app: &App, request: Request<'_>) -> Result<Response<Bytes>> {
        repository::check(app.options().repository.as_ref(), &request.parts.headers)?;
        let body = &request.body;
        Ok(reply::json(&match self {
            Self::Index => repository::index(app, body)?,
            Self::Load(target) => repository::load(app, target, body)?,
            Self::Unload(target) => repository::unload(app, target, body)?,
        }))
    }

    fn failed(&self, error: &Error) -> Response<Bytes> {
        let mut response = reply::error(error);
        if error.code() == ErrorCode::Unauthorized {
            let headers = response.headers_mut();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
