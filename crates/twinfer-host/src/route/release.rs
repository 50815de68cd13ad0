//! What a request has to do with releases.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::{Asked, Router};
use crate::deadline::Deadline;
use crate::releases::{self, Answered, Copied, Releases};
use crate::reply::{Body, Failure, full};

impl Router {
    /// A request for `/admin/…`: who follows releases answers it.
    pub(super) async fn administrate(
        &self,
        request: Request<Incoming>,
        asked: &Asked<'_>,
    ) -> Result<Response<Body>, Failure> {
        let Some(releases) = &asked.config.releases else {
            return self.ask_component(request, asked).await;
        };
        let deadline = Deadline::of(request.headers(), asked.started)?;
        let (parts, body) = request.into_parts();
        let limits = &asked.config.limits;
        let (body, _buffers) = self
            .read_body(&parts.headers, body, deadline, limits)
            .await?;
        let principal = asked
            .decision
            .and_then(|decision| decision.principal.as_ref());
        let principal = principal.map(ToString::to_string);
        let request = Request::from_parts(parts, body);
        Ok(releases
            .admin(request, principal.as_deref())
            .await
            .map(full))
    }

    /// Tells who follows releases, and has the copy answered that it may want: in a task that nobody
    /// waits for.
    pub(super) fn follow_up(
        &self,
        releases: &Arc<dyn Releases>,
        head: Parts,
        body: Bytes,
        answer: &Result<Response<Bytes>, Failure>,
        started: Instant,
    ) {
        let code = |failure: &Failure| StatusCode::from_u16(failure.code().http_status());
        let version = releases.after(&Answered {
            request: &head,
            status: match answer {
                Ok(answer) => answer.status(),
                Err(failure) => code(failure).unwrap_or_default(),
            },
            headers: answer.as_ref().ok().map(Response::headers),
            took: started.elapsed(),
        });
        let (Some(version), Ok(answer)) = (version, answer) else {
            return;
        };
        let Ok(version) = HeaderValue::from_str(&version) else {
            return;
        };
        let (pool, releases, answer) = (self.pool.clone(), releases.clone(), answer.clone());
        tokio::spawn(async move {
            let mut request = Request::from_parts(head.clone(), body);
            request.headers_mut().insert(releases::PIN, version);
            let copy = pool.ask_aside(request).await;
            let copy = match &copy {
                Some(Ok(copy)) => Ok(copy),
                Some(Err(failure)) => Err(failure.message()),
                None => Err(releases::COPY_SKIPPED),
            };
            releases.copied(Copied {
                request: &head,
                answer: &answer,
                copy,
            });
        });
    }
}
