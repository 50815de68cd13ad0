//! `/admin/deployments`: deployments over HTTP, for who has the scope `admin`.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use twinfer::{Error, ErrorCode, Result, bail, err};
use twinfer_deploy::{By, DeploymentSpec, Record};

use super::Releases;
use crate::releases::{callers, describe, now, summary};

/// Who changes something where nobody has to say who he is.
const NOBODY: &str = "anonymous";

/// What may be said of a change.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wishes {
    /// The variant to be promoted.
    variant: Option<String>,
    /// Why.
    #[serde(default)]
    reason: String,
}

/// What the query of a new release says.
#[derive(Default)]
struct Query {
    /// Whether it may break callers of what is served now.
    breaking: bool,
    /// Why.
    reason: String,
}

impl Query {
    fn of(query: Option<&str>) -> Result<Self> {
        let mut found = Self::default();
        let pairs = query.unwrap_or_default().split('&');
        for pair in pairs.filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy();
            match (name, &*value) {
                ("breaking", "true") => found.breaking = true,
                ("breaking", "false") => {}
                ("reason", reason) => reason.clone_into(&mut found.reason),
                _ => bail!(
                    InvalidRequest,
                    "`{name}` of the query: write breaking=true, breaking=false or reason=…"
                ),
            }
        }
        Ok(found)
    }
}

/// The answer to a request for `/admin/…`.
pub async fn answer(
    releases: &Releases,
    request: Request<Bytes>,
    principal: Option<&str>,
) -> Response<Bytes> {
    let answered = route(releases, &request, principal.unwrap_or(NOBODY)).await;
    answered.unwrap_or_else(|error| failed(&error))
}

async fn route(
    releases: &Releases,
    request: &Request<Bytes>,
    author: &str,
) -> Result<Response<Bytes>> {
    let path = request.uri().path();
    let below = path.strip_prefix("/admin/").unwrap_or(path);
    let segments: Vec<&str> = below.split('/').collect();
    let method = request.method();
    match segments[..] {
        ["deployments"] => match *method {
            Method::GET | Method::HEAD => list(releases).await,
            _ => Ok(wrong_method("GET, HEAD")),
        },
        ["deployments", name] => match *method {
            Method::GET | Method::HEAD => {
                let record = releases.deployments.known(name).await?;
                shown(releases, name, &record)
            }
            Method::PUT => {
                let record = apply(releases, name, request, author).await?;
                shown(releases, name, &record)
            }
            Method::DELETE => {
                let expected = expected(request.headers())?;
                releases.deployments.delete(name, expected).await?;
                Ok(json_answer(&json!({"deleted": name})))
            }
            _ => Ok(wrong_method("GET, HEAD, PUT, DELETE")),
        },
        [
            "deployments",
            name,
            action @ ("promote" | "rollback" | "pause" | "resume"),
        ] => {
            if method != Method::POST {
                return Ok(wrong_method("POST"));
            }
            let record = turn(releases, name, action, request, author).await?;
            shown(releases, name, &record)
        }
        _ => bail!(
            NotFound,
            "there is nothing at this address: deployments are at /admin/deployments/NAME, with /promote, /rollback, /pause and /resume below"
        ),
    }
}

async fn list(releases: &Releases) -> Result<Response<Bytes>> {
    let mut all = Vec::new();
    for (name, record) in releases.deployments.all().await? {
        all.push(summary(&name, record)?);
    }
    Ok(json_answer(&json!({"deployments": all})))
}

async fn apply(
    releases: &Releases,
    name: &str,
    request: &Request<Bytes>,
    author: &str,
) -> Result<Record> {
    let spec = DeploymentSpec::from_json(request.body())?;
    if spec.name != name {
        bail!(
            InvalidDeployment,
            "this is the deployment of `{}`, sent to that of `{name}`",
            spec.name
        );
    }
    let at = now();
    let deployment = spec.resolve(0, at, |tag| releases.resolve(name, tag))?;
    let expected = expected(request.headers())?;
    let query = Query::of(request.uri().query())?;
    let by = By {
        author,
        at,
        reason: &query.reason,
    };
    let change = |record: Option<&Record>| {
        let before = record.map(Record::deployment).transpose()?;
        if !query.breaking {
            callers::check(&releases.store, &deployment, before.as_ref())?;
        }
        match record {
            Some(record) => record.apply(&deployment, by),
            None => Record::first(&deployment, by),
        }
    };
    let record = releases.deployments.change(name, expected, change).await?;
    releases.tell(&record);
    Ok(record)
}

async fn turn(
    releases: &Releases,
    name: &str,
    action: &str,
    request: &Request<Bytes>,
    author: &str,
) -> Result<Record> {
    let wishes = match request.body().is_empty() {
        true => Wishes::default(),
        false => serde_json::from_slice(request.body())
            .map_err(|e| err!(InvalidRequest, "the body of `{action}`: {e}"))?,
    };
    let expected = expected(request.headers())?;
    let by = By {
        author,
        at: now(),
        reason: &wishes.reason,
    };
    let change = |record: Option<&Record>| {
        let record = record.ok_or_else(|| crate::releases::unknown(name))?;
        record.turn(action, wishes.variant.as_deref(), by)
    };
    let record = releases.deployments.change(name, expected, change).await?;
    releases.tell(&record);
    Ok(record)
}

/// The revision that a change is meant for: `If-Match: "7"`, or `If-None-Match: *` where there must
/// be none yet.
fn expected(headers: &HeaderMap) -> Result<Option<u64>> {
    if headers.get(IF_NONE_MATCH).is_some_and(|value| value == "*") {
        return Ok(Some(0));
    }
    let Some(value) = headers.get(IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let digits = text.trim_start_matches('"').trim_end_matches('"');
    let revision = digits.parse().map_err(|_| {
        err!(
            InvalidRequest,
            "If-Match is {text:?}; write the revision of the deployment in quotes, as its ETag has it"
        )
    })?;
    Ok(Some(revision))
}

fn shown(releases: &Releases, name: &str, record: &Record) -> Result<Response<Bytes>> {
    let mut told = describe(record)?;
    told["here"] = releases.told_here(name);
    let mut answer = json_answer(&told);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", record.revision())) {
        answer.headers_mut().insert(ETAG, tag);
    }
    Ok(answer)
}

fn json_answer(value: &Json) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from(value.to_string()));
    let kind = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn failed(error: &Error) -> Response<Bytes> {
    let body = json!({"error": error.message(), "code": error.code().as_str()});
    let mut answer = json_answer(&body);
    *answer.status_mut() = StatusCode::from_u16(error.code().http_status())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer
}

fn wrong_method(allowed: &'static str) -> Response<Bytes> {
    let mut answer = failed(&Error::new(
        ErrorCode::MethodNotAllowed,
        format!("this is not possible here: use {allowed}"),
    ));
    let allowed = HeaderValue::from_static(allowed);
    answer.headers_mut().insert(ALLOW, allowed);
    answer
}
