//! The Open Inference Protocol v2, and `predict` beside its `infer`.

mod openapi;

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};
use twinfer::{Error, Result};
use twinfer_package::Tagged;

pub(super) use openapi::describe;

use super::{Need, Request};
use crate::target::Target;
use crate::{App, infer, metadata, model_config, predict, reply};

#[derive(Debug, PartialEq)]
enum Route {
    Server,
    Live,
    Ready,
    Models,
    /// Statistics of all models.
    Statistics,
    Model(Target),
    Config(Target),
    ModelStatistics(Target),
    ModelReady(Target),
    Infer(Target),
    Predict(Target),
}

pub(super) fn find(segments: &[&str]) -> Option<Box<dyn super::Route>> {
    Route::of(segments).map(|route| Box::new(route) as Box<dyn super::Route>)
}

impl Route {
    fn of(segments: &[&str]) -> Option<Self> {
        Some(match *segments {
            ["v2"] => Self::Server,
            ["v2", "health", "live"] => Self::Live,
            ["v2", "health", "ready"] => Self::Ready,
            ["v2", "models"] => Self::Models,
            // As in Triton. A model of this name is reached with its version.
            ["v2", "models", "stats"] => Self::Statistics,
            ["v2", "models", name] => Self::Model(Target::named(name, None)),
            ["v2", "models", name, "versions", version] => {
                Self::Model(Target::named(name, Some(version)))
            }
            ["v2", "models", name, verb] => Self::verb(verb, Target::named(name, None))?,
            ["v2", "models", name, "versions", version, verb] => {
                Self::verb(verb, Target::named(name, Some(version)))?
            }
            _ => return None,
        })
    }

    fn verb(verb: &str, target: Target) -> Option<Self> {
        match verb {
            "config" => Some(Self::Config(target)),
            "stats" => Some(Self::ModelStatistics(target)),
            "ready" => Some(Self::ModelReady(target)),
            "infer" => Some(Self::Infer(target)),
            "predict" => Some(Self::Predict(target)),
            _ => None,
        }
    }
}

impl super::Route for Route {
    fn methods(&self) -> &'static str {
        match self {
            Self::Infer(_) | Self::Predict(_) => "POST",
            _ => "GET, HEAD",
        }
    }

    fn needs(&self) -> Need<'_> {
        match self {
            Self::Server | Self::Live => Need::Nothing,
            Self::Ready | Self::Models | Self::Statistics | Self::ModelStatistics(_) => Need::Index,
            Self::Model(target)
            | Self::Config(target)
            | Self::ModelReady(target)
            | Self::Infer(target)
            | Self::Predict(target) => Need::Model(target),
        }
    }

    fn answer(&self, app: &App, request: Request<'_>) -> Result<Response<Bytes>> {
        match self {
            Self::Server => Ok(reply::json(&metadata::server(
                app.options().repository.is_some(),
            ))),
            Self::Live => Ok(reply::json(&json!({"live": true}))),
            Self::Ready => {
                app.check()?;
                // Clients of KServe read `ready`, the text of the protocol says `live`.
                Ok(reply::json(&json!({"live": true, "ready": true})))
            }
            Self::Models => Ok(reply::json(&metadata::models(&*app.index()?))),
            Self::Model(target) => {
                let described = app.describe(target)?;
                Ok(reply::json(&metadata::model(&described)))
            }
            Self::Config(target) => Ok(reply::json(&model_config::of(&app.describe(target)?))),
            Self::Statistics => statistics(app, None),
            Self::ModelStatistics(target) => statistics(app, Some(target)),
            Self::ModelReady(target) => {
                app.load(target)?;
                Ok(reply::json(&json!({"name": target.name(), "ready": true})))
            }
            Self::Infer(target) => {
                let (loaded, call) = app.call(target, &request)?;
                infer::infer(&loaded, request, call)
            }
            Self::Predict(target) => {
                let (loaded, call) = app.call(target, &request)?;
                predict::predict(&loaded, request, call)
            }
        }
    }

    fn failed(&self, error: &Error) -> Response<Bytes> {
        let more = match self {
            Self::Ready => json!({"live": true, "ready": false}),
            Self::ModelReady(target) => json!({"name": target.name(), "ready": false}),
            _ => Value::Null,
        };
        reply::error_with(error, more)
    }
}

/// Of every version that the registry has, or of those that are asked for.
fn statistics(app: &App, target: Option<&Target>) -> Result<Response<Bytes>> {
    let index = app.index()?;
    let wanted = match target {
        None => None,
        Some(target) => {
            let reference = app.reference(target, &index)?;
            let digest = index.resolve(&reference)?.digest;
            let is_whole = reference.tag().is_none() && reference.digest().is_none();
            Some((reference.name().to_owned(), (!is_whole).then_some(digest)))
        }
    };
    let is_wanted = |tagged: &Tagged| match &wanted {
        None => true,
        Some((name, digest)) => {
            tagged.name == *name && digest.is_none_or(|digest| tagged.digest == digest)
        }
    };
    let versions: Vec<(String, String)> = (index.tags().into_iter())
        .filter(|tagged| tagged.version().is_some() && is_wanted(tagged))
        .map(|tagged| (tagged.name, tagged.tag))
        .collect();
    Ok(reply::json(&app.statistics.describe(&versions)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let named = Target::named;
        for (path, expected) in [
            ("v2", Route::Server),
            ("v2/health/live", Route::Live),
            ("v2/health/ready", Route::Ready),
            ("v2/models", Route::Models),
            ("v2/models/m", Route::Model(named("m", None))),
            ("v2/models/stats", Route::Statistics),
            ("v2/models/m/config", Route::Config(named("m", None))),
            (
                "v2/models/stats/versions/1/stats",
                Route::ModelStatistics(named("stats", Some("1"))),
            ),
            (
                "v2/models/m/versions/1.0.0",
                Route::Model(named("m", Some("1.0.0"))),
            ),
            ("v2/models/m/ready", Route::ModelReady(named("m", None))),
            (
                "v2/models/m/versions/stable/ready",
                Route::ModelReady(named("m", Some("stable"))),
            ),
            ("v2/models/m/infer", Route::Infer(named("m", None))),
            ("v2/models/m/predict", Route::Predict(named("m", None))),
        ] {
            let segments: Vec<&str> = path.split('/').collect();
            assert_eq!(Route::of(&segments).unwrap(), expected, "{path}");
        }
        for path in [
            "",
            "v1",
            "v2/models/m/nothing",
            "v2/models/m/versions/1/x",
            "v2//models",
            "v2/models/m/infer/x",
        ] {
            let segments: Vec<&str> = path.split('/').collect();
            assert!(Route::of(&segments).is_none(), "{path}");
        }
    }
}
