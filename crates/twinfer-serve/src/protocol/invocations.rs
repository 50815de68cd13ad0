//! `/ping` and `/invocations`: the paths that MLflow's scoring server has, and that containers of
//! SageMaker have. What answers a body is found by its content type, in one table.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};
use twinfer::{Error, Result, bail};

use super::{Need, Request, mlflow, sagemaker};
use crate::openapi::{Document, Operation, Served, object, text};
use crate::run::Called;
use crate::target::Target;
use crate::{App, reply};

/// What answers bodies of one content type.
struct Taken {
    /// Type and subtype, in lower case.
    essence: &'static str,
    /// Parameters of the content type that mean something, beside `charset`.
    parameters: &'static [&'static str],
    answer: fn(&Called<'_>, &Invocation<'_>) -> Result<Response<Bytes>>,
}

/// The content types of `/invocations`.
const TAKEN: &[Taken] = &[
    Taken {
        essence: "application/json",
        parameters: &[],
        answer: sagemaker::json,
    },
    Taken {
        essence: "text/csv",
        parameters: &["header"],
        answer: sagemaker::csv,
    },
    lines("application/jsonlines"),
    lines("application/x-jsonlines"),
    lines("application/jsonl"),
    lines("application/x-ndjson"),
    content("application/octet-stream"),
    content("application/x-image"),
    content("image/jpeg"),
    content("image/png"),
    content("image/webp"),
    content("audio/wav"),
];

const fn lines(essence: &'static str) -> Taken {
    Taken {
        essence,
        parameters: &[],
        answer: sagemaker::lines,
    }
}

const fn content(essence: &'static str) -> Taken {
    Taken {
        essence,
        parameters: &[],
        answer: sagemaker::content,
    }
}

/// A call of the model.
pub(super) struct Invocation<'a> {
    pub(super) parts: &'a Parts,
    pub(super) body: &'a Bytes,
    pub(super) content: ContentType,
}

#[derive(Debug, PartialEq)]
enum Route {
    Ping(Target),
    Invocations(Target),
}

pub(super) fn find(segments: &[&str]) -> Option<Box<dyn super::Route>> {
    Some(Box::new(match *segments {
        ["ping"] => Route::Ping(Target::default_model()),
        ["invocations"] => Route::Invocations(Target::default_model()),
        _ => return None,
    }))
}

pub(super) fn describe(document: &mut Document<'_>) {
    use mlflow::openapi::{ERROR, TAG};
    document.tag(
        TAG,
        "The scoring server of MLflow, and the contract of containers of SageMaker. Both have the path `/invocations`; the default model answers.",
    );
    describe_ping(document);
    let invoke = Operation::new("invocations", TAG, "Predictions of the default model");
    let invoke = exchange(invoke, document.default_model());
    let invoke = sagemaker::header_parameters()
        .into_iter()
        .fold(invoke, Operation::parameter)
        .errors_in(ERROR, &[400, 404, 415, 422]);
    document.add("post", "/invocations", invoke);
}

/// `/ping`, which TorchServe has as well.
pub(super) fn describe_ping(document: &mut Document<'_>) {
    use mlflow::openapi::{ERROR, TAG, error};
    document.error_form(ERROR, error());
    document.add(
        "get",
        "/ping",
        Operation::new("ping", TAG, "Whether the default model is there")
            .json("It is.", healthy())
            .errors_in(ERROR, &[404]),
    );
}

/// What health is answered with.
pub(super) fn healthy() -> Value {
    object(&[("status", text("`Healthy`."))], &["status"])
}

/// Bodies of a call, and answers to it: in JSON as MLflow has them, else all outputs.
pub(super) fn exchange(operation: Operation, served: Option<&Served>) -> Operation {
    let text = json!({"type": "string"});
    let bodies: Vec<(&str, Value)> = (TAKEN.iter())
        .map(|taken| {
            let schema = match taken.essence {
                "application/json" => mlflow::openapi::request(served),
                essence if essence == "text/csv" || essence.contains("json") => text.clone(),
                _ => json!({"type": "string", "format": "binary"}),
            };
            (taken.essence, schema)
        })
        .collect();
    let answers: Vec<(&str, Value)> = (TAKEN.iter())
        .filter_map(|taken| match taken.essence {
            "application/json" => Some((taken.essence, mlflow::openapi::answer(served))),
            essence if essence == "text/csv" || essence.contains("json") => {
                Some((taken.essence, text.clone()))
            }
            _ => None,
        })
        .collect();
    operation.body(true, &bodies).answer(
        200,
        "The predictions; lines or a table where `Accept` asks for them.",
        &answers,
    )
}

/// `/invocations` for a model that the request names beside its path.
pub(super) fn of(target: Target) -> Box<dyn super::Route> {
    Box::new(Route::Invocations(target))
}

impl super::Route for Route {
    fn methods(&self) -> &'static str {
        match self {
            Self::Ping(_) => "GET, HEAD",
            Self::Invocations(_) => "POST",
        }
    }

    fn needs(&self) -> Need<'_> {
        match self {
            Self::Ping(_) => Need::Index,
            Self::Invocations(target) => Need::Model(target),
        }
    }

    fn answer(&self, app: &App, request: Request<'_>) -> Result<Response<Bytes>> {
        match self {
            Self::Ping(target) => ping(app, target),
            Self::Invocations(target) => {
                // A body that nobody takes is refused before a model is loaded for it.
                let content = ContentType::of(&request.parts.headers)?;
                let taken = content.taken()?;
                let (loaded, _) = app.call(target, &request)?;
                let invocation = Invocation {
                    parts: request.parts,
                    body: &request.body,
                    content,
                };
                let mut answer = (taken.answer)(&loaded, &invocation)?;
                sagemaker::pass_back(&request.parts.headers, answer.headers_mut());
                Ok(answer)
            }
        }
    }

    fn failed(&self, error: &Error) -> Response<Bytes> {
        mlflow::failed(error)
    }
}

/// Healthy is who has the model; it is loaded by the first call. The body is that of TorchServe, whose
/// clients read it; those of MLflow and SageMaker look at the status alone.
pub(super) fn ping(app: &App, target: &Target) -> Result<Response<Bytes>> {
    app.check()?;
    let index = app.index()?;
    let reference = app.primary(target, &index)?;
    app.admit(&index, &reference)?;
    Ok(reply::with_type(
        StatusCode::OK,
        "application/json",
        Bytes::from_static(b"{\"status\": \"Healthy\"}\n"),
    ))
}

/// A content type, taken apart (RFC 9110, section 8.3.1).
#[derive(Debug, PartialEq)]
pub(super) struct ContentType {
    /// Type and subtype, in lower case.
    pub(super) essence: String,
    /// Names in lower case, values as they are, without quotes.
    pub(super) parameters: Vec<(String, String)>,
}

impl ContentType {
    /// That of a request. None at all is JSON: some clients send none.
    ///
    /// # Errors
    /// `unsupported_media_type` for what is no text.
    fn of(headers: &HeaderMap) -> Result<Self> {
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return Ok(Self::parse("application/json"));
        };
        match value.to_str() {
            Ok(text) => Ok(Self::parse(text)),
            Err(_) => bail!(UnsupportedMediaType, "content type {value:?} is not taken"),
        }
    }

    fn parse(text: &str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let parameters = parts.filter(|part| !part.is_empty()).map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (
                name.trim().to_ascii_lowercase(),
                value.trim().trim_matches('"').to_owned(),
            )
        });
        Self {
            parameters: parameters.collect(),
            essence,
        }
    }

    /// What answers it.
    ///
    /// # Errors
    /// `unsupported_media_type`, for the type, another character set than UTF-8, or parameters that
    /// mean nothing here.
    fn taken(&self) -> Result<&'static Taken> {
        if let Some((_, charset)) = (self.parameters.iter())
            .find(|(name, value)| name == "charset" && !value.eq_ignore_ascii_case("utf-8"))
        {
            bail!(
                UnsupportedMediaType,
                "the character set {charset:?} is not taken: send UTF-8"
            );
        }
        let Some(taken) = TAKEN.iter().find(|taken| taken.essence == self.essence) else {
            let known: Vec<&str> = TAKEN.iter().map(|taken| taken.essence).collect();
            bail!(
                UnsupportedMediaType,
                "content type {:?} is not taken: send {}",
                self.essence,
                known.join(", ")
            );
        };
        if let Some((unknown, _)) = (self.parameters.iter())
            .find(|(name, _)| name != "charset" && !taken.parameters.contains(&name.as_str()))
        {
            bail!(
                UnsupportedMediaType,
                "the parameter {unknown:?} of the content type is not known: send {} alone",
                taken.essence
            );
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types() {
        for good in [
            "application/json",
            "Application/JSON",
            "application/json;charset=utf-8",
            "text/csv ; Charset=\"UTF-8\" ;",
        ] {
            assert!(ContentType::parse(good).taken().is_ok(), "{good}");
        }
        for bad in [
            "",
            "text/plain",
            "application/json; charset=latin-1",
            "application/json; format=pandas-split",
        ] {
            let error = ContentType::parse(bad).taken().err().unwrap();
            assert_eq!(
                error.code(),
                twinfer::ErrorCode::UnsupportedMediaType,
                "{bad}"
            );
        }
    }
}
