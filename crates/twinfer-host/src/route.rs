//! What happens to one request: where it goes, what is added to its answer.

mod line;
mod release;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, CONTENT_LENGTH, HOST, ORIGIN};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout_at;
use twinfer_gateway::Decision;

use self::line::RequestLine;
use crate::access::{self, Guard};
use crate::config::{HostConfig, Limits};
use crate::deadline::Deadline;
use crate::headers;
use crate::health;
use crate::live::{Live, Places};
use crate::log::Log;
use crate::observe;
use crate::pool::Pool;
use crate::reply::{Body, Failure, ReplyCode, full};
use crate::static_site::{self, Found};
use crate::tls::Peer;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID: usize = 128;
/// What memory of request bodies is counted in: little enough that ten thousand clients which
/// send their bodies byte by byte do not take what there is.
const UNIT: usize = 4 << 10;
/// A refused body is still read for a while, so that the client, busy sending,
/// gets to see the refusal.
const LINGER: Duration = Duration::from_secs(5);

/// All that requests share.
pub(crate) struct Router {
    live: Live,
    pool: Arc<Pool>,
    log: Log,
    guard: Option<Arc<Guard>>,
    buffers: Places,
    started: u128,
    next_request: AtomicU64,
}

/// Who answers a request.
#[derive(Debug, Clone, PartialEq)]
enum Target {
    Component,
    Registry,
    /// Whoever follows releases.
    Admin,
    Health,
    Metrics,
    /// Whether the component answers.
    Ready,
    /// A file of the page folder that is there.
    Page(Found),
}

impl Target {
    /// As the path alone tells; `None`: a file of the page, or the component.
    fn of(path: &str) -> Option<Self> {
        match path {
            "/healthz" | "/livez" => Some(Self::Health),
            "/metrics" => Some(Self::Metrics),
            "/readyz" => Some(Self::Ready),
            "/v2" => Some(Self::Component),
            // The way of most requests: no file is looked for.
            _ if path.starts_with("/v2/") => Some(Self::Component),
            _ if path.starts_with("/registry/") => Some(Self::Registry),
            _ if path.starts_with("/admin/") => Some(Self::Admin),
            _ => None,
        }
    }
}

impl Router {
    pub(crate) fn new(live: Live, pool: Arc<Pool>, log: Log, guard: Option<Arc<Guard>>) -> Self {
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        Self {
            buffers: Places::new(units(&live.get().limits)),
            live,
            pool,
            log,
            guard,
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
        // One request goes by the settings that it found.
        let config = self.live.get();
        let observer = config.observer.as_ref();
        let mut watch = observer.map(|observer| observer.watch(&mut request));
        let line = RequestLine::new(&self.log, &id, &request, started);
        // Who asks whether he may ask has no credentials yet.
        let is_preflight = is_preflight(&config, &request);
        let decision = match &self.guard {
            Some(guard) if !is_preflight => {
                let peer = request.extensions().get::<Peer>();
                let headers = request.headers();
                Some(guard.admit(&method, &path, headers, peer).await)
            }
            _ => None,
        };
        let principal = decision
            .as_ref()
            .and_then(|decision| decision.principal.as_ref());
        if let (Some(watch), Some(principal)) = (&mut watch, principal) {
            watch.set_principal(principal.to_string());
        }
        let mut is_page = false;
        let result = match decision.as_ref().and_then(access::refusal) {
            _ if is_preflight => Ok(headers::preflight()),
            Some(failure) => {
                discard(request.into_body());
                Err(failure)
            }
            None => {
                // Who is refused does not learn whether there is such a file.
                let target = target(&config, &method, &path).await;
                is_page = matches!(target, Target::Page(_));
                let asked = Asked {
                    id: &id,
                    started,
                    config: &config,
                    decision: decision.as_ref(),
                };
                self.dispatch(target, request, &asked).await
            }
        };
        let (mut response, failure) = match result {
            Ok(response) => (response, None),
            Err(failure) => {
                let logged = json!({"code": failure.code().as_str(), "error": failure.message(), "cause": failure.cause()});
                (failure.into_response(), Some(logged))
            }
        };
        if let (Some(guard), Some(decision)) = (&self.guard, &decision) {
            guard.after(decision, (&method, &path), &id, &mut response);
        }
        headers::add(&config, is_page, origin.as_ref(), response.headers_mut());
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        let seen = watch.map(|watch| watch.end(&mut response, &id));
        let bytes = response.body().size_hint().exact();
        line.answered(response.status().as_u16(), bytes, failure, seen);
        response
    }

    async fn dispatch(
        &self,
        target: Target,
        request: Request<Incoming>,
        asked: &Asked<'_>,
    ) -> Result<Response<Body>, Failure> {
        let config = asked.config;
        check(&request)?;
        let (method, path) = (request.method(), request.uri().path());
        match target {
            Target::Component => self.ask_component(request, asked).await,
            Target::Admin => self.administrate(request, asked).await,
            Target::Health => Ok(Response::new(full("ok\n"))),
            Target::Metrics => observe::expose(config, method, request.uri().query()),
            Target::Ready => Ok(health::ready(&self.pool, &self.live).await),
            Target::Registry => {
                let below = path.strip_prefix("/registry/").unwrap_or_default();
                let (registry, index) = (&config.registry, config.index.as_deref());
                static_site::registry(registry, index, below, method, request.headers()).await
            }
            Target::Page(found) => static_site::page(found, method, request.headers()).await,
        }
    }

    async fn ask_component(
        &self,
        request: Request<Incoming>,
        asked: &Asked<'_>,
    ) -> Result<Response<Body>, Failure> {
        let deadline = Deadline::of(request.headers(), asked.started)?;
        // Refused before its body is read where that is known now. It has its place in the queue
        // only when it is whole: clients that are slow to send it do not keep others out.
        self.pool.check_room()?;
        let (mut parts, body) = request.into_parts();
        let (body, _buffers) = self
            .read_body(&parts.headers, body, deadline, &asked.config.limits)
            .await?;
        let admission = self.pool.admit()?;
        parts.uri = absolute(&parts.uri, &parts.headers);
        let releases = asked.config.releases.as_ref().filter(|releases| {
            releases.before(&parts.method, parts.uri.path(), &mut parts.headers)
        });
        if self.guard.is_some() {
            access::forget_credentials(&mut parts.headers);
        }
        headers::only_end_to_end(&mut parts.headers);
        headers::only_from_outside(&mut parts.headers);
        asked.vouch(&mut parts.headers);
        if let Ok(id) = HeaderValue::from_str(asked.id) {
            parts.headers.insert(REQUEST_ID, id);
        }
        parts
            .headers
            .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        let kept = releases.map(|releases| (releases, parts.clone(), body.clone()));
        let answer = self
            .pool
            .handle(admission, Request::from_parts(parts, body), deadline)
            .await;
        // First of all: an answer that is kept back is none, for releases either.
        let answer = answer.and_then(|answer| {
            access::check_answer(asked.decision, answer.headers()).map(|()| answer)
        });
        if let Some((releases, head, body)) = kept {
            self.follow_up(releases, head, body, &answer, asked.started);
        }
        let (mut parts, body) = answer?.into_parts();
        // The body is complete, so the server states its true length itself.
        parts.headers.remove(CONTENT_LENGTH);
        Ok(Response::from_parts(parts, full(body)))
    }

    /// The whole body, within the limits of size, time and shared memory.
    async fn read_body(
        &self,
        headers: &HeaderMap,
        mut body: Incoming,
        deadline: Deadline,
        limits: &Limits,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Failure> {
        let limit = limits.max_body;
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
        let until = deadline.or_at(Instant::now() + limits.read_timeout);
        let (mut bytes, mut paid): (_, Option<OwnedSemaphorePermit>) = (BytesMut::new(), None);
        loop {
            let Ok(frame) = timeout_at(until.into(), body.frame()).await else {
                if deadline.passed(Instant::now()) {
                    return Err(Deadline::failure("its body arrived"));
                }
                return Err(Failure::new(
                    ReplyCode::Timeout,
                    "the request body did not arrive in time",
                ));
            };
            let Some(frame) = frame else {
                return Ok((bytes.freeze(), paid));
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
            let needed = bytes.len().div_ceil(UNIT);
            let more = needed - paid.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            let buffers = self.buffers.of(units(&self.live.get().limits)).clone();
            let permit = buffers.try_acquire_many_owned(more);
            let permit =
                permit.map_err(|_| self.pool.overloaded("too many large requests at once"))?;
            match &mut paid {
                Some(paid) => paid.merge(permit),
                None => paid = Some(permit),
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
}

/// A request that was let in.
struct Asked<'a> {
    id: &'a str,
    started: Instant,
    config: &'a HostConfig,
    decision: Option<&'a Decision>,
}

impl Asked<'_> {
    /// Tells the component that whoever asks for what an administrator may do is one.
    fn vouch(&self, headers: &mut HeaderMap) {
        let is_admin = self.decision.is_some_and(|decision| {
            decision.is_audited() && decision.verdict.is_ok() && decision.principal.is_some()
        });
        let token = self.config.admin_token.as_deref().filter(|_| is_admin);
        if let Some(Ok(token)) = token.map(HeaderValue::from_str) {
            headers.insert(headers::ADMIN, token);
        }
    }
}

/// Memory for bodies, in [`UNIT`]s. One that is as large as may be always finds room.
fn units(limits: &Limits) -> usize {
    let buffered = limits.max_buffered.max(limits.max_body);
    buffered.div_ceil(UNIT).min(u32::MAX as usize)
}

async fn target(config: &HostConfig, method: &Method, path: &str) -> Target {
    if let Some(target) = Target::of(path) {
        return target;
    }
    let reading = matches!(*method, Method::GET | Method::HEAD);
    let found = match &config.page {
        Some(folder) if reading => static_site::find(folder, path).await,
        _ => None,
    };
    found.map_or(Target::Component, Target::Page)
}

fn is_preflight(config: &HostConfig, request: &Request<Incoming>) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
        && !config.cors.is_empty()
}

/// What no request may be, whoever would answer it.
fn check(request: &Request<Incoming>) -> Result<(), Failure> {
    let invalid = |why: &str| Err(Failure::new(ReplyCode::InvalidRequest, why));
    // RFC 9112, 3.2: without that a proxy and this host could mean two different hosts.
    let hosts = request.headers().get_all(HOST).iter().count();
    let needed = request.version() == Version::HTTP_11;
    if hosts > 1 || (needed && hosts == 0) {
        return invalid("a request has exactly one Host header");
    }
    // Tunnels, and a request sent back with the credentials that a browser added to it.
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Failure::new(
            ReplyCode::MethodNotAllowed,
            format!("{} is not possible here", request.method()),
        ));
    }
    if !request.uri().path().starts_with('/') {
        return invalid("the path of a request begins with a slash");
    }
    Ok(())
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
        let until = Instant::now() + LINGER;
        while let Ok(Some(Ok(_))) = timeout_at(until.into(), body.frame()).await {}
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        for (path, expected) in [
            ("/v2", Some(Target::Component)),
            ("/v2/", Some(Target::Component)),
            ("/v2/models/a", Some(Target::Component)),
            ("/v2x", None),
            ("/registry/index.json", Some(Target::Registry)),
            ("/registry", None),
            ("/admin/deployments", Some(Target::Admin)),
            ("/admin", None),
            ("/healthz", Some(Target::Health)),
            ("/livez", Some(Target::Health)),
            ("/readyz", Some(Target::Ready)),
            ("/metrics", Some(Target::Metrics)),
            ("/metrics/x", None),
            ("/", None),
        ] {
            assert_eq!(Target::of(path), expected, "{path}");
        }
    }
}
