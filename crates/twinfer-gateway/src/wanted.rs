//! What a request asks for, as its method and path tell.
//!
//! One function for all protocols, so that no protocol can be forgotten: what is not in the table
//! is unknown, and an unknown path takes [`Scope::Admin`].

use http::Method;
use percent_encoding::percent_decode_str;

use crate::scope::Scope;

/// What of the paths is not fixed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surface {
    /// Whether other paths are files of a page, for GET and HEAD.
    pub page_files: bool,
    /// The model that answers in protocols whose requests name none.
    pub default_model: Option<String>,
    /// More paths that ask for health, such as `AIP_HEALTH_ROUTE` of Vertex AI.
    pub health_paths: Vec<String>,
    /// More paths that ask the default model for a prediction, such as `AIP_PREDICT_ROUTE`.
    pub predict_paths: Vec<String>,
}

/// Which model a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelWanted {
    /// None.
    None,
    /// The model of this name.
    Named(String),
    /// The one that answers where none is named, and nobody told which that is.
    Unnamed,
    /// All that there are, as in lists.
    All,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The scope that it takes.
    pub scope: Scope,
    /// The model that it is about.
    pub model: ModelWanted,
    /// Whether the path is one that is known. Those that are not take [`Scope::Admin`].
    pub known: bool,
}

/// First segments of paths that are never files of a page: protocols, and what there may be one day.
const RESERVED: &[&str] = &[
    "admin",
    "api",
    "config",
    "console",
    "debug",
    "deployments",
    "events",
    "explanations",
    "feedback",
    "health",
    "healthz",
    "invocations",
    "livez",
    "metrics",
    "models",
    "monitoring",
    "ping",
    "predictions",
    "readyz",
    "registry",
    "repository",
    "score",
    "state",
    "v1",
    "v2",
    "version",
];

impl Wanted {
    /// What this method and path ask for. The path is percent-encoded, as it was sent.
    pub fn of(method: &Method, path: &str, surface: &Surface) -> Self {
        let Some(segments) = segments(path) else {
            return Self::unknown();
        };
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let reads = matches!(*method, Method::GET | Method::HEAD);
        if surface.health_paths.iter().any(|known| known == path) {
            return Self::plain(Scope::Health);
        }
        if surface.predict_paths.iter().any(|known| known == path) {
            return Self::unnamed(surface);
        }
        by_table(&segments, reads, surface).unwrap_or_else(|| {
            let page = reads
                && surface.page_files
                && segments
                    .first()
                    .is_some_and(|first| !RESERVED.contains(first));
            if page {
                Self::plain(Scope::Page)
            } else {
                Self::unknown()
            }
        })
    }

    fn plain(scope: Scope) -> Self {
        Self {
            scope,
            model: ModelWanted::None,
            known: true,
        }
    }

    fn predict(model: ModelWanted) -> Self {
        Self {
            model,
            ..Self::plain(Scope::Predict)
        }
    }

    /// What shows something of every model, and so is for nobody who may see some only.
    fn of_all(scope: Scope) -> Self {
        Self {
            model: ModelWanted::All,
            ..Self::plain(scope)
        }
    }

    /// What is read as `name:tag` or `name@digest` behind the door must not fit a pattern by its tag.
    fn named(name: &str) -> Self {
        let name = name.split([':', '@']).next().unwrap_or_default();
        Self::predict(ModelWanted::Named(name.to_owned()))
    }

    fn unnamed(surface: &Surface) -> Self {
        Self::predict(match &surface.default_model {
            Some(name) => ModelWanted::Named(name.clone()),
            None => ModelWanted::Unnamed,
        })
    }

    fn unknown() -> Self {
        Self {
            known: false,
            ..Self::plain(Scope::Admin)
        }
    }
}

/// The decoded segments; `None` when one of them could mean something else to whoever reads it
/// next: an encoded separator, a dot segment, an empty one, a control character, no UTF-8.
fn segments(path: &str) -> Option<Vec<String>> {
    let path = path.strip_prefix('/')?;
    if path.is_empty() {
        return Some(Vec::new());
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    path.split('/')
        .map(|segment| {
            let decoded = percent_decode_str(segment).decode_utf8().ok()?;
            let dubious = decoded.is_empty()
                || decoded == "."
                || decoded == ".."
                || decoded.contains(['/', '\\'])
                || decoded.chars().any(char::is_control);
            (!dubious).then(|| decoded.into_owned())
        })
        .collect()
}

fn by_table(segments: &[&str], reads: bool, surface: &Surface) -> Option<Wanted> {
    Some(match *segments {
        [] if reads => Wanted::plain(Scope::Page),
        // What there is to know of one model.
        ["console", "models", name] if reads => Wanted::named(name),
        ["console", ..] if reads => Wanted::plain(Scope::Page),
        // It has the signatures of all models.
        ["openapi.json"] => Wanted::of_all(Scope::Page),
        ["swagger.json" | "api-description" | "favicon.ico"] => Wanted::plain(Scope::Page),
        ["healthz" | "livez" | "readyz" | "health" | "ping" | "version"] => {
            Wanted::plain(Scope::Health)
        }
        ["metrics"] | ["monitoring", "prometheus", "metrics"] => Wanted::plain(Scope::Metrics),
        // A digest does not tell whose blob it is.
        ["registry", ..] => Wanted::of_all(Scope::Packages),
        ["admin", "deployments", name, ..] => Wanted {
            scope: Scope::Admin,
            ..Wanted::named(name)
        },
        ["deployments" | "admin", ..] => Wanted::of_all(Scope::Admin),
        ["execution-parameters"] => Wanted::predict(ModelWanted::None),
        // Vertex AI, where no variable says other routes.
        ["v1", "endpoints", _, "deployedModels", deployed] => match deployed.split_once(':') {
            None => Wanted::plain(Scope::Health),
            Some((_, "predict")) => Wanted::unnamed(surface),
            Some(_) => return None,
        },
        // MLflow and SageMaker; Azure ML.
        ["invocations"] | ["score"] => Wanted::unnamed(surface),
        // CloudEvents.
        ["events"] => Wanted::unnamed(surface),
        ["events", name] | ["events", name, _] => Wanted::named(name),
        ["predictions" | "explanations", name] | ["predictions" | "explanations", name, _] => {
            Wanted::named(name)
        }
        ["models", ref rest @ ..] => torchserve(rest, reads),
        ["v1", ref rest @ ..] => tensorflow(rest)?,
        ["v2", ref rest @ ..] => open_inference(rest)?,
        _ => return None,
    })
}

/// TorchServe's management, of which only reading is harmless; SageMaker's endpoints of many models.
fn torchserve(rest: &[&str], reads: bool) -> Wanted {
    match *rest {
        [name, "invoke"] => Wanted::named(name),
        [] if reads => Wanted::predict(ModelWanted::All),
        [name] | [name, _] if reads => Wanted::named(name),
        _ => Wanted::plain(Scope::Admin),
    }
}

/// TensorFlow Serving, which has verbs behind a colon.
fn tensorflow(rest: &[&str]) -> Option<Wanted> {
    let verb = |segment: &str| {
        let (_, verb) = segment.rsplit_once(':')?;
        matches!(verb, "predict" | "classify" | "regress" | "explain").then_some(())
    };
    Some(match *rest {
        ["models"] => Wanted::predict(ModelWanted::All),
        ["models", name] => match name.rsplit_once(':') {
            None => Wanted::named(name),
            Some(_) => {
                verb(name)?;
                Wanted::named(name)
            }
        },
        ["models", name, "metadata"] => Wanted::named(name),
        ["models", name, "versions" | "labels", version] => {
            if version.contains(':') && !version.starts_with("sha256:") {
                verb(version)?;
            }
            Wanted::named(name)
        }
        ["models", name, "versions" | "labels", _, "metadata"] => Wanted::named(name),
        _ => return None,
    })
}

/// The Open Inference Protocol with its extensions.
fn open_inference(rest: &[&str]) -> Option<Wanted> {
    let is_verb = |verb: &str| {
        matches!(
            verb,
            "ready" | "infer" | "predict" | "explain" | "config" | "stats"
        )
    };
    Some(match *rest {
        [] => Wanted::predict(ModelWanted::None),
        ["health", "live" | "ready"] => Wanted::plain(Scope::Health),
        // `stats` is Triton's for all models, and could be the name of one.
        ["models"] | ["models", "stats"] => Wanted::predict(ModelWanted::All),
        ["repository", "models", name, "load" | "unload"] => Wanted {
            scope: Scope::Admin,
            ..Wanted::named(name)
        },
        ["repository", "index"] => Wanted::of_all(Scope::Admin),
        ["models", name] | ["models", name, "versions", _] => Wanted::named(name),
        ["models", name, verb] | ["models", name, "versions", _, verb] if is_verb(verb) => {
            Wanted::named(name)
        }
        [
            "repository" | "deployments" | "logging" | "trace" | "systemsharedmemory"
            | "cudasharedmemory",
            ..,
        ] => Wanted::plain(Scope::Admin),
        _ => return None,
    })
}
