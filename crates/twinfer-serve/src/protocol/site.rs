//! What is for people and tools: the OpenAPI document, and the page.

use bytes::Bytes;
use http::Response;
use serde_json::json;
use twinfer::Result;

use super::{Need, Request};
use crate::openapi::{self, Document, Operation};
use crate::target::Target;
use crate::{App, console, query, reply};

#[derive(Debug, PartialEq)]
enum Route {
    OpenApi,
    Console(&'static console::File),
    /// What the page has to know of the host.
    Settings,
    Model(Target),
}

pub(super) fn find(segments: &[&str]) -> Option<Box<dyn super::Route>> {
    let route = match *segments {
        ["openapi.json"] => Route::OpenApi,
        [""] | ["console"] => Route::Console(console::page()),
        ["console", "settings"] => Route::Settings,
        ["console", "models", name] => Route::Model(Target::named(name, None)),
        ["console", name] => Route::Console(console::file(name)?),
        _ => return None,
    };
    Some(Box::new(route))
}

pub(super) fn describe(document: &mut Document<'_>) {
    const TAG: &str = "Documentation";
    document.tag(TAG, "This document, and a page for people.");
    document.add(
        "get",
        "/openapi.json",
        Operation::new("openApi", TAG, "This document")
            .parameter(json!({
                "name": "model", "in": "query", "required": false,
                "description": "Only the operations of this model, and those of all.",
                "schema": {"type": "string"},
            }))
            .json(
                "OpenAPI 3.1.",
                json!({"type": "object", "required": ["openapi", "paths"]}),
            )
            .errors(&[400, 404]),
    );
    document.add(
        "get",
        "/console",
        Operation::new(
            "console",
            TAG,
            "A page that shows the models and lets a person try one",
        )
        .answer(
            200,
            "The page.",
            &[("text/html", json!({"type": "string"}))],
        ),
    );
}

impl super::Route for Route {
    fn methods(&self) -> &'static str {
        "GET, HEAD"
    }

    fn needs(&self) -> Need<'_> {
        match self {
            Self::OpenApi => Need::Index,
            Self::Console(_) | Self::Settings => Need::Nothing,
            Self::Model(target) => Need::Model(target),
        }
    }

    fn answer(&self, app: &App, request: Request<'_>) -> Result<Response<Bytes>> {
        match self {
            Self::Console(file) => Ok(file.answer(&request.parts.headers)),
            Self::Settings => Ok(reply::json(&json!({"metrics": app.options().metrics}))),
            Self::Model(target) => Ok(reply::json(&console::describe(app, target)?)),
            Self::OpenApi => {
                let parameters = query::parameters(request.parts.uri.query())?;
                let only = parameters.get("model").and_then(|name| name.as_str());
                Ok(reply::json(&openapi::document(app, only)?))
            }
        }
    }
}
