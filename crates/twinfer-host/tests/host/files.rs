//! The registry folder and the page as static files.

use crate::support::Fixture;

const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn fixture() -> Fixture {
    let fixture = Fixture::new(|_| {});
    let blobs = fixture.registry().join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join(DIGEST), "test").unwrap();
    std::fs::write(fixture.registry().join("index.json"), r#"{"manifests":[]}"#).unwrap();
    std::fs::write(fixture.registry().join("oci-layout"), "{}").unwrap();
    std::fs::write(fixture.registry().join("secret"), "secret").unwrap();
    let page = fixture.page();
    std::fs::create_dir_all(page.join("sub")).unwrap();
    std::fs::write(page.join("index.html"), "<!doctype html>").unwrap();
    std::fs::write(page.join("engine.wasm"), b"\0asm").unwrap();
    std::fs::write(page.join("sub/app.js"), "export {}").unwrap();
    std::fs::write(page.join(".hidden"), "hidden").unwrap();
    fixture
}

#[test]
fn a_blob_is_immutable_under_its_digest() {
    let fixture = fixture();
    let answer = fixture.get(&format!("/registry/blobs/sha256/{DIGEST}"));
    answer.expect_text("test");
    assert_eq!(
        answer.header("cache-control"),
        Some("public, max-age=31536000, immutable")
    );
    assert_eq!(
        answer.header("etag"),
        Some(format!("\"sha256:{DIGEST}\"").as_str())
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(answer.header("content-length"), Some("4"));
}

#[test]
fn the_index_is_revalidated() {
    let fixture = fixture();
    let first = fixture.get("/registry/index.json");
    assert_eq!(first.header("content-type"), Some("application/json"));
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    let tag = first.header("etag").unwrap().to_owned();
    let again = fixture.get_with("/registry/index.json", &format!("if-none-match: {tag}\r\n"));
    assert_eq!((again.status, again.body.len()), (304, 0));
    assert_eq!(again.header("etag"), Some(tag.as_str()));
    // Same length, and perhaps the same time: only the content tells.
    std::fs::write(fixture.registry().join("index.json"), r#"{"manifestz":[]}"#).unwrap();
    let changed = fixture.get_with("/registry/index.json", &format!("if-none-match: {tag}\r\n"));
    assert_eq!(changed.status, 200);
}

#[test]
fn ranges_resume_a_download() {
    let fixture = fixture();
    let path = format!("/registry/blobs/sha256/{DIGEST}");
    let part = fixture.get_with(&path, "range: bytes=1-2\r\n");
    assert_eq!((part.status, part.text().as_str()), (206, "es"));
    assert_eq!(part.header("content-range"), Some("bytes 1-2/4"));
    let rest = fixture.get_with(
        &path,
        &format!("range: bytes=2-\r\nif-range: \"sha256:{DIGEST}\"\r\n"),
    );
    assert_eq!((rest.status, rest.text().as_str()), (206, "st"));
    let other = fixture.get_with(&path, "range: bytes=2-\r\nif-range: \"other\"\r\n");
    assert_eq!((other.status, other.text().as_str()), (200, "test"));
    let outside = fixture.get_with(&path, "range: bytes=9-\r\n");
    assert_eq!(
        (outside.status, outside.header("content-range")),
        (416, Some("bytes */4"))
    );
}

#[test]
fn a_large_file_is_streamed_whole() {
    let fixture = fixture();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    std::fs::write(fixture.page().join("large.bin"), &bytes).unwrap();
    assert!(fixture.get("/large.bin").body == bytes);
    assert!(
        fixture
            .get_with("/large.bin", "range: bytes=1000000-\r\n")
            .body
            == bytes[1_000_000..]
    );
}

#[test]
fn head_has_no_body() {
    let answer = fixture()
        .send("HEAD /registry/index.json HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n");
    assert_eq!(
        (
            answer.status,
            answer.body.len(),
            answer.header("content-length")
        ),
        (200, 0, Some("16"))
    );
}

#[test]
fn nothing_can_be_written() {
    let fixture = fixture();
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let send = |path: &str| {
            fixture.send(format!(
                "{method} {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            ))
        };
        send("/registry/index.json").expect_error(405, "method_not_allowed");
        // That may be a route of the component, and is none of this one.
        assert_eq!(send("/index.html").status, 404);
    }
}

#[test]
fn types_and_safety_headers_of_a_page() {
    let fixture = fixture();
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/engine.wasm", "application/wasm"),
        ("/sub/app.js", "text/javascript; charset=utf-8"),
    ] {
        let answer = fixture.get(path);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some(content_type)),
            "{path}"
        );
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'self'; script-src 'self' 'wasm-unsafe-eval'"),
            "{policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(
            answer.header("cross-origin-opener-policy"),
            Some("same-origin")
        );
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    // A folder is at its address with a slash, where it has a page.
    std::fs::write(fixture.page().join("sub/index.html"), "sub").unwrap();
    assert_eq!(
        (
            fixture.get("/sub").status,
            fixture.get("/sub").header("location")
        ),
        (302, Some("/sub/"))
    );
}

#[test]
fn only_what_is_meant_to_be_seen_can_be_named() {
    let fixture = fixture();
    std::fs::write(fixture.folder.path().join("outside.txt"), "outside").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(
        fixture.folder.path().join("outside.txt"),
        fixture.page().join("link.txt"),
    )
    .unwrap();
    for path in [
        "/registry/secret",
        "/registry/blobs/sha256/../../secret",
        "/registry/blobs/sha256/%2e%2e/%2e%2e/secret",
        "/registry/blobs/sha256/",
        "/registry/../outside.txt",
        "/../outside.txt",
        "/%2e%2e/outside.txt",
        "/..%2foutside.txt",
        "/sub/..%2f..%2foutside.txt",
        "/sub/%2e%2e/%2e%2e/outside.txt",
        "/link.txt",
        "/.hidden",
        "//outside.txt",
        "/%00",
        "/missing",
        "/sub/",
    ] {
        let answer = fixture.get(path);
        match path.starts_with("/registry/") {
            true => answer.expect_error(404, "not_found"),
            // What is no file of the page is left to the component.
            false => assert_eq!(
                (answer.status, answer.text().as_str()),
                (404, "no such misdeed"),
                "{path}"
            ),
        }
    }
}

#[test]
fn other_origins_only_when_allowed() {
    let fixture = Fixture::new(|config| config.cors = vec!["https://a.example".into()]);
    let ask = |origin: &str| {
        fixture.send(format!(
            "OPTIONS /v2/models HTTP/1.1\r\nhost: t\r\nconnection: close\r\norigin: {origin}\r\naccess-control-request-method: POST\r\n\r\n"
        ))
    };
    let granted = ask("https://a.example");
    assert_eq!(
        (
            granted.status,
            granted.header("access-control-allow-origin")
        ),
        (204, Some("https://a.example"))
    );
    assert!(
        granted
            .header("access-control-allow-headers")
            .unwrap()
            .contains("content-type")
    );
    assert_eq!(
        ask("https://b.example").header("access-control-allow-origin"),
        None
    );
    let answer = fixture.get_with("/v2/served", "origin: https://a.example\r\n");
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://a.example")
    );
    assert_eq!(answer.header("vary"), Some("origin"));
    assert_eq!(
        answer.header("cross-origin-resource-policy"),
        Some("cross-origin")
    );
}

#[test]
fn a_build_folder_leads_to_its_page() {
    let fixture = Fixture::new(|_| {});
    std::fs::create_dir_all(fixture.page().join("demo")).unwrap();
    std::fs::write(fixture.page().join("demo/index.html"), "demo").unwrap();
    assert_eq!(fixture.get("/").header("location"), Some("/demo/"));
    fixture.get("/demo/").expect_text("demo");
}
