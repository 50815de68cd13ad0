//! TensorFlow Serving's REST interface (tensorflow/serving, `g3doc/api_rest.md`), whose `:predict`
//! in rows is also version 1 of KServe's protocol.

mod answer;
mod classify;
mod describe;
mod openapi;
mod predict;

use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value as Json, json};
use twinfer::{Model, Result, bail, err};
use twinfer_package::tag_version;

pub(super) use openapi::describe;

use super::{Need, Request};
use crate::target::Target;
use crate::{App, loose, reply};

/// What is asked of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verb {
    Status,
    Metadata,
    Predict,
    Classify,
    Regress,
    Explain,
}

#[derive(Debug, PartialEq)]
enum Route {
    /// The names of the models: KServe has that, TensorFlow Serving does not.
    Models,
    Model {
        target: Target,
        /// Whether a version or label is named.
        is_one: bool,
        verb: Verb,
    },
    /// A version that is none, or a label that is a version.
    Misnamed(String),
}

pub(super) fn find(segments: &[&str]) -> Option<Box<dyn super::Route>> {
    Route::of(segments).map(|route| Box::new(route) as Box<dyn super::Route>)
}

impl Route {
    fn of(segments: &[&str]) -> Option<Self> {
        let ["v1", "models", rest @ ..] = segments else {
            return None;
        };
        // The verb is behind the last colon of the last segment; a digest has one, too.
        let (verb, last) = match rest {
            [] => return Some(Self::Models),
            [.., "metadata"] if rest.len() > 1 => (Verb::Metadata, None),
            [.., last] => match last.rsplit_once(':') {
                Some((last, "predict")) => (Verb::Predict, Some(last)),
                Some((last, "classify")) => (Verb::Classify, Some(last)),
                Some((last, "regress")) => (Verb::Regress, Some(last)),
                Some((last, "explain")) => (Verb::Explain, Some(last)),
                _ => (Verb::Status, Some(*last)),
            },
        };
        let mut path = rest[..rest.len() - 1].to_vec();
        path.extend(last);
        let target = match path[..] {
            [name] => Target::named(name, None),
            [name, "versions", number] if number.bytes().all(|b| b.is_ascii_digit()) => {
                Target::numbered(name, number)
            }
            [name, "versions", version] => {
                if tag_version(version).is_none() && !version.starts_with("sha256:") {
                    return Some(Self::Misnamed(format!(
                        "{version:?} is no version: write a number, a version or a digest; an alias is at /labels/{version}"
                    )));
                }
                Target::named(name, Some(version))
            }
            [_, "labels", label] if tag_version(label).is_some() => {
                return Some(Self::Misnamed(format!(
                    "{label:?} is a version: ask for it at /versions/{label}"
                )));
            }
            [name, "labels", label] => Target::named(name, Some(label)),
            _ => return None,
        };
        Some(Self::Model {
            target,
            is_one: path.len() > 1,
            verb,
        })
    }
}

impl super::Route for Route {
    fn methods(&self) -> &'static str {
        match self {
            Self::Model {
                verb: Verb::Predict | Verb::Classify | Verb::Regress | Verb::Explain,
                ..
            } => "POST",
            _ => "GET, HEAD",
        }
    }

    fn needs(&self) -> Need<'_> {
        match self {
            Self::Misnamed(_) => Need::Nothing,
            Self::Model {
                verb: Verb::Explain,
                ..
            } => Need::Nothing,
            Self::Models
            | Self::Model {
                verb: Verb::Status,
                is_one: false,
                ..
            } => Need::Index,
            Self::Model { target, .. } => Need::Model(target),
        }
    }

    fn answer(&self, app: &App, request: Request<'_>) -> Result<Response<Bytes>> {
        let (target, verb) = match self {
            Self::Misnamed(message) => bail!(InvalidRequest, "{message}"),
            Self::Models => {
                let mut names: Vec<String> = app
                    .index()?
                    .tags()
                    .into_iter()
                    .map(|tag| tag.name)
                    .collect();
                names.dedup();
                return Ok(reply::json(&json!({"models": names})));
            }
            Self::Model { target, verb, .. } => (target, verb),
        };
        match verb {
            Verb::Status => describe::status(app, target),
            Verb::Metadata => describe::metadata(app, target),
            Verb::Explain => bail!(
                NotFound,
                "explanations are not served yet: `:explain` of KServe's protocol is not implemented"
            ),
            Verb::Predict => {
                let (loaded, _) = app.call(target, &request)?;
                predict::predict(&loaded.model, object(&request.body)?)
            }
            Verb::Classify | Verb::Regress => {
                let (loaded, _) = app.call(target, &request)?;
                let is_class = *verb == Verb::Classify;
                classify::results(&loaded.model, object(&request.body)?, is_class)
            }
        }
    }
}

/// The request, whatever its content type says: TensorFlow Serving does not look at it.
fn object(body: &[u8]) -> Result<Map<String, Json>> {
    let json: Json = serde_json::from_slice(&loose::quote_words(body))
        .map_err(|e| err!(InvalidJson, "the request is not JSON: {e}"))?;
    match json {
        Json::Object(fields) => Ok(fields),
        _ => bail!(InvalidRequest, "the request must be an object"),
    }
}

/// A way to call a model.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Signature {
    /// The pipeline where there is one, else the inputs and outputs of the model file.
    Default,
    /// The inputs and outputs of the model file, past the pipeline.
    Tensors,
}

impl Signature {
    const DEFAULT: &'static str = "serving_default";
    const TENSORS: &'static str = "tensors";

    /// That of a request.
    fn of(model: &Model, fields: &mut Map<String, Json>) -> Result<Self> {
        match fields.remove("signature_name") {
            None => Ok(Self::Default),
            Some(Json::String(name)) if name.is_empty() || name == Self::DEFAULT => {
                Ok(Self::Default)
            }
            Some(Json::String(name))
                if name == Self::TENSORS && model.config().pipeline.is_some() =>
            {
                Ok(Self::Tensors)
            }
            Some(Json::String(name)) => bail!(
                InvalidParameter,
                "there is no signature {name:?}; /metadata lists those of the model"
            ),
            Some(_) => bail!(InvalidRequest, "`signature_name` must be a text"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let named = Target::named;
        let route = |target, is_one, verb| Route::Model {
            target,
            is_one,
            verb,
        };
        for (path, expected) in [
            ("v1/models", Route::Models),
            ("v1/models/m", route(named("m", None), false, Verb::Status)),
            (
                "v1/models/m/metadata",
                route(named("m", None), false, Verb::Metadata),
            ),
            (
                "v1/models/metadata",
                route(named("metadata", None), false, Verb::Status),
            ),
            (
                "v1/models/m:predict",
                route(named("m", None), false, Verb::Predict),
            ),
            (
                "v1/models/m/versions/3:classify",
                route(Target::numbered("m", "3"), true, Verb::Classify),
            ),
            (
                "v1/models/m/versions/3.1.0:regress",
                route(named("m", Some("3.1.0")), true, Verb::Regress),
            ),
            (
                "v1/models/m/versions/sha256:00:predict",
                route(named("m", Some("sha256:00")), true, Verb::Predict),
            ),
            (
                "v1/models/m/labels/stable/metadata",
                route(named("m", Some("stable")), true, Verb::Metadata),
            ),
            (
                "v1/models/m:explain",
                route(named("m", None), false, Verb::Explain),
            ),
        ] {
            let segments: Vec<&str> = path.split('/').collect();
            assert_eq!(Route::of(&segments).unwrap(), expected, "{path}");
        }
        for path in [
            "v1/models/m/versions/stable",
            "v1/models/m/labels/1.0.0:predict",
        ] {
            let segments: Vec<&str> = path.split('/').collect();
            let route = Route::of(&segments).unwrap();
            assert!(matches!(route, Route::Misnamed(_)), "{path}");
        }
        for path in [
            "v1",
            "v1/model/m",
            "v1/models/m/versions",
            "v1/models/m/x/1",
        ] {
            let segments: Vec<&str> = path.split('/').collect();
            assert!(Route::of(&segments).is_none(), "{path}");
        }
    }
}
