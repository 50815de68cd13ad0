//! Which file a path means. Nothing outside of the two folders can be named.

use std::path::{Path, PathBuf};

use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use percent_encoding::percent_decode_str;

use crate::files::{self, Freshness};
use crate::mime;
use crate::reply::{Body, Failure, ReplyCode, empty};

/// The page of a build folder.
const BELOW: &str = "demo/index.html";

/// A file of the registry folder, by the path below `/registry/`.
///
/// Only what an image layout has can be asked for, so no path of the client's
/// making ever reaches the file system.
/// Where there is another index, the layout is that of its folder, and only the blobs are the
/// registry's.
pub(crate) async fn registry(
    folder: &Path,
    index: Option<&Path>,
    below: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response<Body>, Failure> {
    only_reading(method)?;
    let layout = index.unwrap_or(folder);
    let (path, content_type, freshness) = match below.split('/').collect::<Vec<_>>()[..] {
        ["index.json"] => (
            layout.join("index.json"),
            "application/json",
            Freshness::ByContent,
        ),
        ["oci-layout"] => (
            layout.join("oci-layout"),
            "application/json",
            Freshness::ByContent,
        ),
        ["deployments", file] if is_deployment(file) => (
            layout.join("deployments").join(file),
            "application/json",
            Freshness::ByContent,
        ),
        ["blobs", "sha256", hex] if is_sha256(hex) => {
            let path = folder.join("blobs").join("sha256").join(hex);
            (
                path,
                "application/octet-stream",
                Freshness::Immutable(format!("sha256:{hex}")),
            )
        }
        _ => return Err(not_found()),
    };
    files::serve(method, headers, &path, content_type, freshness).await
}

/// The name of a model and `.json`: nothing that leads elsewhere.
fn is_deployment(file: &str) -> bool {
    let plain = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'z' | b'.' | b'_' | b'-');
    file.len() <= 160
        && file.ends_with(".json")
        && !file.starts_with('.')
        && file.bytes().all(plain)
}

fn is_sha256(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// What the page folder has at an address.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    /// This file.
    File(PathBuf),
    /// A folder with a page in it, whose address ends with a slash.
    Folder(String),
}

/// What the page folder has at the path of a URL, if anything: the rest is the component's.
pub(crate) async fn find(folder: &Path, url_path: &str) -> Option<Found> {
    let relative = safe_path(url_path)?;
    let mut path = folder.join(&relative);
    let metadata = tokio::fs::metadata(&path).await.ok()?;
    if metadata.is_dir() {
        let index = path.join("index.html");
        if !is_file(&index).await {
            // A build folder often has its page one level down.
            let below = relative.as_os_str().is_empty() && is_file(&path.join(BELOW)).await;
            return below.then(|| Found::Folder("/demo/".into()));
        }
        if !url_path.ends_with('/') {
            return Some(Found::Folder(format!("{url_path}/")));
        }
        path = index;
    } else if url_path.ends_with('/') {
        return None;
    }
    inside(folder, &path).await.map(Found::File)
}

/// Answers with what was found.
pub(crate) async fn page(
    found: Found,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response<Body>, Failure> {
    match found {
        Found::File(path) => {
            files::serve(method, headers, &path, mime::of(&path), Freshness::ByTime).await
        }
        Found::Folder(address) => Ok(redirect(&address)),
    }
}

async fn is_file(path: &Path) -> bool {
    tokio::fs::metadata(path).await.is_ok_and(|m| m.is_file())
}

fn only_reading(method: &Method) -> Result<(), Failure> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return Ok(());
    }
    Err(Failure::new(
        ReplyCode::MethodNotAllowed,
        format!("{method} is not possible here: use GET or HEAD"),
    ))
}

fn not_found() -> Failure {
    Failure::new(ReplyCode::NotFound, "there is nothing at this address")
}

/// The relative path of a URL path, or `None` if any part of it could mean
/// anything but a name below: `..`, hidden files, separators or zero bytes
/// (also when percent-encoded), drive letters.
fn safe_path(url_path: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    let rest = url_path.strip_prefix('/')?;
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_none() {
            break;
        }
        let name = percent_decode_str(segment).decode_utf8().ok()?;
        let unsafe_name =
            name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', ':', '\0']);
        if unsafe_name {
            return None;
        }
        path.push(&*name);
    }
    Some(path)
}

/// The real path of a file, if it is still inside after following links.
async fn inside(folder: &Path, path: &Path) -> Option<PathBuf> {
    let real = tokio::fs::canonicalize(path).await.ok()?;
    let root = tokio::fs::canonicalize(folder).await.ok()?;
    real.starts_with(&root).then_some(real)
}

fn redirect(to: &str) -> Response<Body> {
    let mut answer = empty(StatusCode::FOUND);
    if let Ok(to) = HeaderValue::from_str(to) {
        answer.headers_mut().insert(LOCATION, to);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (url, expected) in [
            ("/", Some("")),
            ("/index.html", Some("index.html")),
            ("/a/b.js", Some("a/b.js")),
            ("/a/", Some("a")),
            ("/a%20b", Some("a b")),
            ("/..", None),
            ("/../etc/passwd", None),
            ("/a/../../etc", None),
            ("/%2e%2e/etc", None),
            ("/a%2f..%2f..", None),
            ("/a%5c..", None),
            ("/a\\..", None),
            ("//etc/passwd", None),
            ("/.git/config", None),
            ("/c:/x", None),
            ("/a%00", None),
            ("/%", Some("%")),
            ("/%zz", Some("%zz")),
            ("/%%2e", Some("%.")),
            ("/%ff", None),
            ("relative", None),
        ] {
            assert_eq!(safe_path(url).as_deref(), expected.map(Path::new), "{url}");
        }
    }

    #[test]
    fn deployments() {
        assert!(is_deployment("face-detector.json"));
        for file in [
            "",
            ".json",
            "a",
            "..json",
            "A.json",
            "a%2e.json",
            "a\\b.json",
        ] {
            assert!(!is_deployment(file), "{file}");
        }
    }

    #[test]
    fn digests() {
        assert!(is_sha256(&"0a".repeat(32)));
        assert!(!is_sha256(&"0A".repeat(32)));
        assert!(!is_sha256(&"0a".repeat(31)));
        assert!(!is_sha256(".."));
    }
}
