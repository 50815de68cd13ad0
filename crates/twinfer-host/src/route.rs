//! What happens to one request: where it goes, what is added to its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant as Deadline, timeout_at};

use crate::config::HostConfig;
use crate::log::{Log, LogLevel};
use crate::observe;
use crate::pool::Pool;
use crate::reply::{Body, Failure, ReplyCode, empty, full};
use crate::static_site;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID: usize = 128;
/// What a page may load and do: its own files, wasm, pictures that it made.
const PAGE_POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; \
     object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// Request bodies held in memory at once, in units of [`UNIT`]: 512 MiB.
const BUFFER_UNITS: usize = 8192;
const UNIT: usize = 64 << 10;
/// A refused body is still read for a while, so that the client, busy sending,
/// gets to see the refusal.
const LINGER: Duration = Duration::from_secs(5);

/// All that requests share.
pub(crate) struct Router {
    config: HostConfig,
    pool: Arc<Pool>,
    log: Log,
    buffers: Arc<Semaphore>,
    started: u128,
    next_request: AtomicU64,
}

/// Who answers a path.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Target {
    Component,
    Registry,
    Health,
    Metrics,
    Page,
}

impl Target {
    fn of(path: &str) -> Self {
        match path {
            "/healthz" => Self::Health,
            "/metrics" => Self::Metrics,
            "/v2" => Self::Component,
            _ if path.starts_with("/v2/") => Self::Component,
            _ if path.starts_with("/registry/") => Self::Registry,
            _ => Self::Page,
        }
    }
}

impl Router {
    pub(crate) fn new(config: HostConfig, pool: Arc<Pool>, log: Log) -> Self {
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        let buffers = Arc::new(Semaphore::new(
            BUFFER_UNITS.max(config.limits.max_body.div_ceil(UNIT)),
        ));
        Self {
            config,
            pool,
            log,
            buffers,
            started,
            next_request: AtomicU64::new(1),
        }
    }

    /// Answers a request. Never fails: a failure is an answer.
    pub(crate) async fn respond(self: Arc<Self>, mut request: Request<Incoming>) -> Response<Body> {
        let started = Instant::now();
        let id = self.request_id(request.headers());
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let origin = request.headers().get(ORIGIN).cloned();
        let observer = self.config.observer.as_ref();
        let watch = observer.map(|observer| observer.watch(&mut request));
        let target = Target::of(&path);
        let result = if self.is_preflight(&request) {
            Ok(preflight())
        } else {
            self.dispatch(target, request, &id).await
        };
        let (mut response, failure) = match result {
            Ok(response) => (response, None),
            Err(failure) => {
                let logged = json!({"code": failure.code().as_str(), "error": failure.message(), "cause": failure.cause()});
                (failure.into_response(), Some(logged))
            }
        };
        self.add_headers(target, origin.as_ref(), &id, response.headers_mut());
        let seen = watch.map(|watch| watch.end(&mut response, &id));
        let level = if response.status().is_server_error() {
            LogLevel::Error
        } else {
            LogLevel::Info
        };
        let mut fields = json!({
            "request": id, "method": method.as_str(), "path": path, "status": response.status().as_u16(),
            "ms": started.elapsed().as_secs_f64() * 1e3, "bytes": response.body().size_hint().exact(), "failure": failure,
        });
        if let (Some(fields), Some(seen)) = (fields.as_object_mut(), seen) {
            fields.extend(seen);
        }
        self.log.event(level, "request", fields);
        response
    }

    async fn dispatch(
        &self,
        target: Target,
        request: Request<Incoming>,
        id: &str,
    ) -> Result<Response<Body>, Failure> {
        let (method, path) = (request.method(), request.uri().path());
        match (target, &self.config.page) {
            (Target::Component, _) => self.ask_component(request, id).await,
            (Target::Health, _) => Ok(Response::new(full("ok\n"))),
            (Target::Metrics, _) => observe::expose(&self.config, method, request.uri().query()),
            (Target::Registry, _) => {
                let below = path.strip_prefix("/registry/").unwrap_or_default();
                let (registry, index) = (&self.config.registry, self.config.index.as_deref());
                static_site::registry(registry, index, below, method, request.headers()).await
            }
            (Target::Page, Some(folder)) => {
                static_site::page(folder, path, method, request.headers()).await
            }
            (Target::Page, None) => Err(Failure::new(
                ReplyCode::NotFound,
                "there is nothing at this address; models are below /v2/models, packages below /registry/",
            )),
        }
    }

    async fn ask_component(
        &self,
        request: Request<Incoming>,
        id: &str,
    ) -> Result<Response<Body>, Failure> {
        let admission = self.pool.admit()?;
        let (mut parts, body) = request.into_parts();
        let (body, _buffers) = self.read_body(&parts.headers, body).await?;
        parts.uri = absolute(&parts.uri, &parts.headers);
        if let Ok(id) = HeaderValue::from_str(id) {
            parts.headers.insert(REQUEST_ID, id);
        }
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        let answer = self
            .pool
            .handle(admission, Request::from_parts(parts, body))
            .await?;
        let (mut parts, body) = answer.into_parts();
        // The body is complete, so the server states its true length itself.
        parts.headers.remove(CONTENT_LENGTH);
        Ok(Response::from_parts(parts, full(body)))
    }

    /// The whole body, within the limits of size, time and shared memory.
    async fn read_body(
        &self,
        headers: &HeaderMap,
        mut body: Incoming,
    ) -> Result<(Bytes, Vec<OwnedSemaphorePermit>), Failure> {
        let limit = self.config.limits.max_body;
        let too_large = || {
            Failure::new(
                ReplyCode::BodyTooLarge,
                format!("the request body is larger than {limit} bytes"),
            )
        };
        let announced = headers
            .get(CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse::<u64>().ok());
        if announced.is_some_and(|length| length > limit as u64) {
            discard(body);
            return Err(too_large());
        }
        let deadline = Deadline::now() + self.config.limits.read_timeout;
        let (mut bytes, mut permits, mut paid) = (BytesMut::new(), Vec::new(), 0);
        loop {
            let Ok(frame) = timeout_at(deadline, body.frame()).await else {
                return Err(Failure::new(
                    ReplyCode::Timeout,
                    "the request body did not arrive in time",
                ));
            };
            let Some(frame) = frame else {
                return Ok((bytes.freeze(), permits));
            };
            let frame = frame.map_err(|e| {
                Failure::new(
                    ReplyCode::InvalidRequest,
                    format!("the request body broke off: {e}"),
                )
            })?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > limit {
                discard(body);
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
            while paid * UNIT < bytes.len() {
                let permit = self.buffers.clone().try_acquire_owned();
                permits.push(permit.map_err(|_| {
                    Failure::new(ReplyCode::Overloaded, "too many large requests at once")
                })?);
                paid += 1;
            }
        }
    }

    /// The client's own id if it is a harmless one, else a fresh one.
    fn request_id(&self, headers: &HeaderMap) -> String {
        let harmless = |id: &&str| {
            !id.is_empty()
                && id.len() <= MAX_REQUEST_ID
                && id
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
        };
        let sent = headers
            .get(REQUEST_ID)
            .and_then(|id| id.to_str().ok())
            .filter(harmless);
        sent.map(str::to_owned).unwrap_or_else(|| {
            format!(
                "{:x}-{:x}",
                self.started,
                self.next_request.fetch_add(1, Ordering::Relaxed)
            )
        })
    }

    fn is_preflight(&self, request: &Request<Incoming>) -> bool {
        request.method() == Method::OPTIONS
            && request
                .headers()
                .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && !self.config.cors.is_empty()
    }

    fn add_headers(
        &self,
        target: Target,
        origin: Option<&HeaderValue>,
        id: &str,
        headers: &mut HeaderMap,
    ) {
        let mut set = |name: HeaderName, value: &'static str| {
            drop(headers.insert(name, HeaderValue::from_static(value)))
        };
        set(X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(REFERRER_POLICY, "no-referrer");
        let shared = !self.config.cors.is_empty();
        set(
            HeaderName::from_static("cross-origin-resource-policy"),
            if shared {
                "cross-origin"
            } else {
                "same-origin"
            },
        );
        if target == Target::Page {
            set(CONTENT_SECURITY_POLICY, PAGE_POLICY);
            set(X_FRAME_OPTIONS, "DENY");
            // With both, a page may share memory between threads.
            set(
                HeaderName::from_static("cross-origin-opener-policy"),
                "same-origin",
            );
            set(
                HeaderName::from_static("cross-origin-embedder-policy"),
                "require-corp",
            );
        }
        if shared {
            self.add_cors(origin, headers);
        }
        if let Ok(id) = HeaderValue::from_str(id) {
            headers.insert(REQUEST_ID, id);
        }
    }

    fn add_cors(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        headers.append(VARY, HeaderValue::from_static("origin"));
        let Some(origin) = origin else { return };
        let allowed = if self.config.cors.iter().any(|o| o == "*") {
            HeaderValue::from_static("*")
        } else if self
            .config
            .cors
            .iter()
            .any(|o| o.as_bytes() == origin.as_bytes())
        {
            origin.clone()
        } else {
            return;
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        let exposed =
            "etag, content-length, content-range, inference-header-content-length, x-request-id";
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(exposed),
        );
    }
}

/// The answer to "may I?", which the origin header then grants or not.
fn preflight() -> Response<Body> {
    let mut answer = empty(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, POST"),
    );
    let allowed = "content-type, inference-header-content-length, x-request-id, traceparent, tracestate, if-none-match, range, if-range";
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(allowed),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    answer
}

/// HTTP/1 sends only the path; `wasi:http` wants to know the authority too.
fn absolute(uri: &Uri, headers: &HeaderMap) -> Uri {
    let mut parts = uri.clone().into_parts();
    let host = headers
        .get(HOST)
        .and_then(|host| Authority::try_from(host.as_bytes()).ok());
    parts.authority = parts
        .authority
        .or(host)
        .or_else(|| Some(Authority::from_static("localhost")));
    parts.scheme = parts.scheme.or(Some(Scheme::HTTP));
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

fn discard(mut body: Incoming) {
    tokio::spawn(async move {
        let deadline = Deadline::now() + LINGER;
        while let Ok(Some(Ok(_))) = timeout_at(deadline, body.frame()).await {}
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for (path, expected) in [
            ("/v2", Target::Component),
            ("/v2/", Target::Component),
            ("/v2/models/a", Target::Component),
            ("/v2x", Target::Page),
            ("/registry/index.json", Target::Registry),
            ("/registry", Target::Page),
            ("/healthz", Target::Health),
            ("/metrics", Target::Metrics),
            ("/metrics/x", Target::Page),
            ("/", Target::Page),
        ] {
            assert_eq!(Target::of(path), expected, "{path}");
        }
    }
}
