//! Containers of Vertex AI: health and predictions at the routes that its environment names, or at
//! those that it uses when nobody named any.
//!
//! Source: the page "Custom container requirements for prediction" of its documentation.

use bytes::Bytes;
use http::Response;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use twinfer::{Parameters, Result};

use super::{Need, Request};
use crate::app::Options;
use crate::infer::object;
use crate::openapi::{self, Document, Operation, list, path_parameter, row, row_answer, text};
use crate::target::Target;
use crate::{App, loose, reply, rows};

#[derive(Debug, PartialEq)]
enum Route {
    Health(Target),
    Predict {
        target: Target,
        /// What the path calls the model.
        deployed: Option<String>,
    },
}

/// The routes that `AIP_HEALTH_ROUTE` and `AIP_PREDICT_ROUTE` name.
pub(super) fn of_options(path: &str, options: &Options) -> Option<Box<dyn super::Route>> {
    let target = Target::default_model();
    if options.predict_route.as_deref() == Some(path) {
        return Some(Box::new(Route::Predict {
            target,
            deployed: None,
        }));
    }
    if options.health_route.as_deref() == Some(path) {
        return Some(Box::new(Route::Health(target)));
    }
    None
}

pub(super) fn find(segments: &[&str]) -> Option<Box<dyn super::Route>> {
    let ["v1", "endpoints", _, "deployedModels", deployed] = *segments else {
        return None;
    };
    let target = Target::default_model();
    Some(Box::new(match deployed.split_once(':') {
        None => Route::Health(target),
        Some((deployed, "predict")) => Route::Predict {
            target,
            deployed: Some(deployed.to_owned()),
        },
        Some(_) => return None,
    }))
}

pub(super) fn describe(document: &mut Document<'_>) {
    const TAG: &str = "Vertex AI";
    document.tag(
        TAG,
        "What an endpoint calls, at the paths that the environment of the container names, and at those that it uses without.",
    );
    let served = document.default_model();
    let parameters = served.map_or_else(
        || json!({"type": "object"}),
        |served| openapi::parameters(served.config.pipeline.as_ref()),
    );
    let request = openapi::closed(
        &[
            ("instances", list(row(served))),
            (
                "parameters",
                json!({"anyOf": [parameters, {"type": "null"}]}),
            ),
        ],
        &["instances"],
    );
    let answers = json!({"type": "array", "items": row_answer(served)});
    let answer = openapi::object(
        &[
            ("predictions", answers),
            ("deployedModelId", text("That of the path.")),
            ("model", text("")),
            ("modelVersionId", text("")),
        ],
        &["predictions"],
    );
    let request = document.schema("VertexRequest", request);
    let answer = document.schema("VertexPredictions", answer);
    let health = openapi::object(&[("status", json!({"const": "healthy"}))], &["status"]);
    let id = |name: &str, example: &str| {
        let mut parameter = path_parameter(name, "An id of Vertex AI.", example);
        parameter["schema"]["pattern"] = "^[0-9A-Za-z_-]+$".into();
        parameter
    };
    let ids = |operation: Operation| {
        let operation = operation.parameter(id("endpoint", "12"));
        operation.parameter(id("deployed", "34"))
    };
    let healthy = |id: &str| {
        Operation::new(id, TAG, "Whether the default model is loaded")
            .json("It is.", health.clone())
            .errors(&[403, 404])
    };
    let predict = |id: &str| {
        Operation::new(id, TAG, "Predictions of the default model")
            .body(true, &[("application/json", request.clone())])
            .json("The predictions.", answer.clone())
            .errors(&[400, 403, 404, 413, 415, 422])
    };
    const DEPLOYED: &str = "/v1/endpoints/{endpoint}/deployedModels/{deployed}";
    document.add("get", DEPLOYED, ids(healthy("vertexHealth")));
    document.add(
        "post",
        &format!("{DEPLOYED}:predict"),
        ids(predict("vertexPredict")),
    );
    let options = document.options();
    if let Some(path) = options.and_then(|options| options.health_route.as_deref()) {
        document.add("get", path, healthy("vertexHealthRoute"));
    }
    if let Some(path) = options.and_then(|options| options.predict_route.as_deref()) {
        document.add("post", path, predict("vertexPredictRoute"));
    }
}

#[derive(Deserialize)]
struct Call {
    instances: Vec<Json>,
    #[serde(default)]
    parameters: Option<Parameters>,
}

impl super::Route for Route {
    fn methods(&self) -> &'static str {
        match self {
            Self::Health(_) => "GET, HEAD",
            Self::Predict { .. } => "POST",
        }
    }

    fn needs(&self) -> Need<'_> {
        match self {
            Self::Health(target) | Self::Predict { target, .. } => Need::Model(target),
        }
    }

    fn answer(&self, app: &App, request: Request<'_>) -> Result<Response<Bytes>> {
        match self {
            Self::Health(target) => {
                app.load(target)?;
                Ok(reply::json(&json!({"status": "healthy"})))
            }
            Self::Predict { target, deployed } => {
                let body = loose::quote_words(&request.body);
                let call: Call = object("the request", &body)?;
                let (loaded, _) = app.call(target, &request)?;
                let model = &loaded.model;
                let parameters = call.parameters.unwrap_or_default();
                let predictions = rows::predict(model, call.instances, &parameters)?;
                let mut answer = json!({"predictions": predictions});
                if let Some(deployed) = deployed {
                    let config = model.config();
                    answer["deployedModelId"] = json!(deployed);
                    answer["model"] = json!(config.name);
                    answer["modelVersionId"] = json!(config.version);
                }
                Ok(reply::json(&answer))
            }
        }
    }
}
