//! Which route a path is.

use twinfer::{Result, bail};
use twinfer_package::Reference;

use crate::query::percent_decode;

/// A route of the application.
#[derive(Debug, PartialEq)]
pub(crate) enum Route {
    Server,
    Live,
    Ready,
    Models,
    Model(Target),
    ModelReady(Target),
    Infer(Target),
    Predict(Target),
}

/// A model and, perhaps, a version of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) name: String,
    version: Option<String>,
}

impl Target {
    /// What is asked of the registry.
    pub(crate) fn reference(&self) -> Result<Reference> {
        match &self.version {
            None => self.name.parse(),
            Some(digest) if digest.starts_with("sha256:") => {
                format!("{}@{digest}", self.name).parse()
            }
            Some(tag) => Reference::new(&self.name, tag),
        }
    }
}

impl Route {
    pub(crate) fn parse(path: &str) -> Result<Self> {
        let trimmed = path.strip_prefix('/').unwrap_or(path);
        let trimmed = trimmed.strip_suffix('/').unwrap_or(trimmed);
        let segments: Option<Vec<String>> = trimmed.split('/').map(percent_decode).collect();
        let segments = segments.unwrap_or_default();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let target = |name: &str, version: Option<&str>| Target {
            name: name.into(),
            version: version.map(Into::into),
        };
        Ok(match segments[..] {
            ["v2"] => Self::Server,
            ["v2", "health", "live"] => Self::Live,
            ["v2", "health", "ready"] => Self::Ready,
            ["v2", "models"] => Self::Models,
            ["v2", "models", name] => Self::Model(target(name, None)),
            ["v2", "models", name, "versions", version] => Self::Model(target(name, Some(version))),
            ["v2", "models", name, verb] => Self::verb(verb, target(name, None), path)?,
            ["v2", "models", name, "versions", version, verb] => {
                Self::verb(verb, target(name, Some(version)), path)?
            }
            _ => return no_route(path),
        })
    }

    fn verb(verb: &str, target: Target, path: &str) -> Result<Self> {
        Ok(match verb {
            "ready" => Self::ModelReady(target),
            "infer" => Self::Infer(target),
            "predict" => Self::Predict(target),
            _ => return no_route(path),
        })
    }
}

fn no_route(path: &str) -> Result<Route> {
    let shown: String = path.chars().take(200).collect();
    bail!(
        NotFound,
        "there is no route {shown:?}; models are at /v2/models/NAME[/versions/VERSION], with /ready, /infer and /predict below"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfer::ErrorCode;

    fn target(name: &str, version: Option<&str>) -> Target {
        Target {
            name: name.into(),
            version: version.map(Into::into),
        }
    }

    #[test]
    fn paths() {
        for (path, expected) in [
            ("/v2", Route::Server),
            ("/v2/", Route::Server),
            ("/v2/health/live", Route::Live),
            ("/v2/health/ready", Route::Ready),
            ("/v2/models", Route::Models),
            ("/v2/models/m", Route::Model(target("m", None))),
            (
                "/v2/models/m/versions/1.0.0",
                Route::Model(target("m", Some("1.0.0"))),
            ),
            ("/v2/models/m/ready", Route::ModelReady(target("m", None))),
            (
                "/v2/models/m/versions/stable/ready",
                Route::ModelReady(target("m", Some("stable"))),
            ),
            ("/v2/models/m/infer", Route::Infer(target("m", None))),
            (
                "/v2/models/m/versions/1.0.0%2B1/infer",
                Route::Infer(target("m", Some("1.0.0+1"))),
            ),
            ("/v2/models/%6d/predict", Route::Predict(target("m", None))),
        ] {
            assert_eq!(Route::parse(path).unwrap(), expected, "{path}");
        }
        for path in [
            "",
            "/",
            "/v1",
            "/v2/models/m/nothing",
            "/v2/models/m/versions/1/x",
            "/v2//models",
            "/v2/models/%ff",
            "/v2/models/m/infer/x",
        ] {
            assert_eq!(
                Route::parse(path).unwrap_err().code(),
                ErrorCode::NotFound,
                "{path}"
            );
        }
    }

    #[test]
    fn a_digest_is_a_version() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let reference = target("m", Some(&digest)).reference().unwrap();
        assert_eq!(reference.to_string(), format!("m@{digest}"));
        assert_eq!(
            target("m", Some("sha256:1"))
                .reference()
                .unwrap_err()
                .code(),
            ErrorCode::InvalidDigest
        );
        assert_eq!(
            target("../x", None).reference().unwrap_err().code(),
            ErrorCode::InvalidReference
        );
    }
}
