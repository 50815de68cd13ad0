//! The seam for releases: who is given which version, what came of it, and who may change that.
//!
//! The host knows no deployments. Whoever does sees each request of the component before and after,
//! may have it answered once more by another version when its answer is out, and answers `/admin/`.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};

/// The header by which a request pins the version that answers it.
pub(crate) const PIN: &str = "x-twinfer-version";

/// Why there is no answer to a copy when the one before it is not done.
pub const COPY_SKIPPED: &str = "the copy before it was not answered yet";

/// Who follows releases.
pub trait Releases: Send + Sync {
    /// A request is about to be answered by the component. What is put into its headers is seen by
    /// that. Says whether its answer is to be shown too: only then anything is kept of it.
    fn before(&self, method: &Method, path: &str, headers: &mut HeaderMap) -> bool;

    /// It was answered, or failed: also where the answer was kept back from who asked. With a
    /// version, a copy of it is answered by that one too, after the answer is out, as far as there is
    /// room for copies.
    fn after(&self, answered: &Answered<'_>) -> Option<String>;

    /// A copy was answered too, or why it was not.
    fn copied(&self, copy: Copied<'_>);

    /// A request for `/admin/…`, by somebody who may.
    fn admin<'a>(
        &'a self,
        request: Request<Bytes>,
        principal: Option<&'a str>,
    ) -> BoxFuture<'a, Response<Bytes>>;
}

/// A request that the component answered, or failed to.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Answered<'a> {
    /// The head of the request, as the component saw it.
    pub request: &'a Parts,
    /// The status of the answer.
    pub status: StatusCode,
    /// The headers of the answer; `None` where the host had to answer in its place.
    pub headers: Option<&'a HeaderMap>,
    /// How long the answer took, with the time in the queue.
    pub took: Duration,
}

/// An answer beside that of a copy of its request.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Copied<'a> {
    /// The head of the request.
    pub request: &'a Parts,
    /// What the caller got.
    pub answer: &'a Response<Bytes>,
    /// What the other version says; the reason when there is no answer.
    pub copy: Result<&'a Response<Bytes>, &'a str>,
}

impl fmt::Debug for dyn Releases + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Releases")
    }
}
