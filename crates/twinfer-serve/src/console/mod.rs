//! The page that the application brings: what it serves, and a way to try it.
//!
//! Its files are part of the program and load nothing from elsewhere; its policy allows no more than
//! these files and requests to this server.

mod model;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use twinfer_package::Digest;

use crate::reply;

pub(crate) use model::describe;

/// Pictures that the visitor chose are shown from memory (`blob:`). Nothing else comes from anywhere but
/// this server, and nothing inline runs.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
#[derive(Debug, PartialEq)]
pub(crate) struct File {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($name:literal $content_type:expr;)*) => {
        [$(File { name: $name, content_type: $content_type, content: include_str!($name) },)*]
    };
}

/// The page is the first one.
static FILES: [File; 9] = files! {
    "index.html" "text/html; charset=utf-8";
    "app.js" SCRIPT;
    "page.js" SCRIPT;
    "traffic.js" SCRIPT;
    "try.js" SCRIPT;
    "tensors.js" SCRIPT;
    "answer.js" SCRIPT;
    "style.css" "text/css; charset=utf-8";
    "icon.svg" "image/svg+xml";
};

/// The page itself.
pub(crate) fn page() -> &'static File {
    &FILES[0]
}

/// A file by its name.
pub(crate) fn file(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

impl File {
    /// The file, or 304 for who has it.
    pub(crate) fn answer(&self, headers: &HeaderMap) -> Response<Bytes> {
        let tag = format!("\"{}\"", Digest::of(self.content.as_bytes()));
        let known = headers
            .get(IF_NONE_MATCH)
            .is_some_and(|known| known.as_bytes() == tag.as_bytes());
        let (status, body) = match known {
            true => (StatusCode::NOT_MODIFIED, Bytes::new()),
            false => (StatusCode::OK, Bytes::from_static(self.content.as_bytes())),
        };
        let mut response = reply::with_type(status, self.content_type, body);
        let headers = response.headers_mut();
        let mut set = |name, value| drop(headers.insert(name, HeaderValue::from_static(value)));
        set(CONTENT_SECURITY_POLICY, POLICY);
        set(X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(X_FRAME_OPTIONS, "DENY");
        set(REFERRER_POLICY, "no-referrer");
        set(CACHE_CONTROL, "no-cache");
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(ETAG, tag);
        }
        response
    }
}
