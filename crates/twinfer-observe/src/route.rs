//! The route of a path, as a template: `http.route` of OpenTelemetry, and a label with few values.

/// A path, recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched<'a> {
    /// The template, such as `/v2/models/{model}/infer`.
    pub route: &'static str,
    /// Whether a model is run.
    pub inference: bool,
    /// The name in the path, as it stands there.
    pub model: Option<&'a str>,
    /// Whether the answer may name a model, though the path does not.
    pub of_a_model: bool,
}

/// Everything else: files of the page, and what there is not.
const REST: &str = "/{path}";
/// Files of the registry.
const REGISTRY: &str = "/registry/{path}";

/// The templates of all protocols. Those that run a model are marked.
const ROUTES: &[(&str, bool)] = &[
    ("/healthz", false),
    ("/livez", false),
    ("/readyz", false),
    ("/metrics", false),
    ("/openapi.json", false),
    // Open Inference Protocol v2.
    ("/v2", false),
    ("/v2/health/live", false),
    ("/v2/health/ready", false),
    ("/v2/models", false),
    ("/v2/models/stats", false),
    ("/v2/models/{model}", false),
    ("/v2/models/{model}/config", false),
    ("/v2/models/{model}/stats", false),
    ("/v2/models/{model}/ready", false),
    ("/v2/models/{model}/infer", true),
    ("/v2/models/{model}/predict", true),
    ("/v2/models/{model}/versions/{version}", false),
    ("/v2/models/{model}/versions/{version}/ready", false),
    ("/v2/models/{model}/versions/{version}/infer", true),
    ("/v2/models/{model}/versions/{version}/predict", true),
    ("/v2/repository/index", false),
    ("/v2/repository/models/{model}/load", false),
    ("/v2/repository/models/{model}/unload", false),
    // TensorFlow Serving.
    ("/v1/models/{model}", false),
    ("/v1/models/{model}/metadata", false),
    ("/v1/models/{model}:predict", true),
    ("/v1/models/{model}:classify", true),
    ("/v1/models/{model}:regress", true),
    ("/v1/models/{model}/versions/{version}", false),
    ("/v1/models/{model}/versions/{version}/metadata", false),
    ("/v1/models/{model}/versions/{version}:predict", true),
    ("/v1/models/{model}/versions/{version}:classify", true),
    ("/v1/models/{model}/versions/{version}:regress", true),
    ("/v1/models/{model}/labels/{version}", false),
    ("/v1/models/{model}/labels/{version}/metadata", false),
    ("/v1/models/{model}/labels/{version}:predict", true),
    ("/v1/models/{model}/labels/{version}:classify", true),
    ("/v1/models/{model}/labels/{version}:regress", true),
    // Vertex AI.
    (
        "/v1/endpoints/{endpoint}/deployedModels/{deployed}:predict",
        true,
    ),
    ("/v1/endpoints/{endpoint}/deployedModels/{deployed}", false),
    // MLflow and SageMaker.
    ("/ping", false),
    ("/health", false),
    ("/version", false),
    ("/invocations", true),
    ("/execution-parameters", false),
    ("/models/{model}/invoke", true),
    // Azure ML.
    ("/score", true),
    // TorchServe.
    ("/models", false),
    ("/models/{model}", false),
    ("/models/{model}/{version}", false),
    ("/predictions/{model}", true),
    ("/predictions/{model}/{version}", true),
    // CloudEvents.
    ("/events", true),
    ("/events/{model}", true),
    ("/events/{model}/{version}", true),
    // The page.
    ("/console/models/{model}", false),
];

impl<'a> Matched<'a> {
    /// The route of a path (without a query).
    pub fn of(path: &'a str) -> Self {
        let trimmed = match path.strip_suffix('/') {
            Some("") | None => path,
            Some(trimmed) => trimmed,
        };
        for (route, inference) in ROUTES {
            if let Some(model) = fits(route, trimmed) {
                return Self {
                    route,
                    inference: *inference,
                    model,
                    of_a_model: *inference || model.is_some(),
                };
            }
        }
        Self {
            route: if path.starts_with("/registry/") {
                REGISTRY
            } else {
                REST
            },
            inference: false,
            model: None,
            of_a_model: false,
        }
    }
}

/// Whether a path fits a template, and what stands for `{model}`.
fn fits<'a>(template: &str, path: &'a str) -> Option<Option<&'a str>> {
    let (mut wanted, mut there) = (template.split('/'), path.split('/'));
    let mut model = None;
    loop {
        match (wanted.next(), there.next()) {
            (None, None) => return Some(model),
            (Some(wanted), Some(there)) => {
                let Some(rest) = wanted.strip_prefix('{') else {
                    if wanted != there {
                        return None;
                    }
                    continue;
                };
                let (name, verb) = rest.split_once('}')?;
                let value = there.strip_suffix(verb)?;
                // `NAME:verb` is no name: it has a verb, or is nothing of ours.
                if value.is_empty()
                    || (verb.is_empty() && path.starts_with("/v1/") && value.contains(':'))
                {
                    return None;
                }
                if name == "model" {
                    model = Some(value);
                }
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, route, inference, model) in [
            ("/v2", "/v2", false, None),
            ("/v2/", "/v2", false, None),
            (
                "/v2/models/a/infer",
                "/v2/models/{model}/infer",
                true,
                Some("a"),
            ),
            (
                "/v2/models/a/versions/sha256:00/predict",
                "/v2/models/{model}/versions/{version}/predict",
                true,
                Some("a"),
            ),
            (
                "/v1/models/a:predict",
                "/v1/models/{model}:predict",
                true,
                Some("a"),
            ),
            ("/v1/models/a", "/v1/models/{model}", false, Some("a")),
            ("/v1/models/a:explode", REST, false, None),
            (
                "/v1/models/a/versions/3:predict",
                "/v1/models/{model}/versions/{version}:predict",
                true,
                Some("a"),
            ),
            ("/invocations", "/invocations", true, None),
            (
                "/predictions/a/1.0",
                "/predictions/{model}/{version}",
                true,
                Some("a"),
            ),
            (
                "/models/a/invoke",
                "/models/{model}/invoke",
                true,
                Some("a"),
            ),
            ("/events", "/events", true, None),
            (
                "/events/a/stable",
                "/events/{model}/{version}",
                true,
                Some("a"),
            ),
            (
                "/v1/endpoints/1/deployedModels/2:predict",
                "/v1/endpoints/{endpoint}/deployedModels/{deployed}:predict",
                true,
                None,
            ),
            ("/v2/models/stats", "/v2/models/stats", false, None),
            ("/livez", "/livez", false, None),
            ("/metrics", "/metrics", false, None),
            ("/registry/blobs/sha256/00", REGISTRY, false, None),
            ("/registry", REST, false, None),
            ("/", REST, false, None),
            ("", REST, false, None),
            ("//", REST, false, None),
            ("/v2/models//infer", REST, false, None),
            ("/v2/models/a/explode", REST, false, None),
            ("/wp-admin.php", REST, false, None),
        ] {
            let found = Matched::of(path);
            assert_eq!(
                (found.route, found.inference, found.model),
                (route, inference, model),
                "{path}"
            );
        }
    }
}
