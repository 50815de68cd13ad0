//! Who answers what.

use crate::support::{Answer, Fixture};

/// What the guest says of a path that it does not know: the request got there.
const GUEST: (u16, &str) = (404, "no such misdeed");

fn send(fixture: &Fixture, method: &str, path: &str, headers: &str) -> Answer {
    fixture.send(format!(
        "{method} {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n{headers}\r\n"
    ))
}

#[test]
fn what_nobody_else_has_is_the_components_with_every_method() {
    let fixture = Fixture::new(|_| {});
    for path in [
        "/",
        "/invocations",
        "/ping",
        "/v1/models/a:predict",
        "/predictions/a/1.0",
        "/openapi.json",
        "/models",
        "/registry",
        "/v2x",
        "/a%20b",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE"] {
            let answer = send(&fixture, method, path, "content-length: 0\r\n");
            let said = (answer.status, answer.text());
            assert_eq!((said.0, said.1.as_str()), GUEST, "{method} {path}");
            assert_eq!(answer.header("content-security-policy"), None, "{path}");
        }
        assert_eq!(send(&fixture, "HEAD", path, "").status, 404);
    }
    let echo = send(&fixture, "OPTIONS", "/v2/echo", "");
    assert!(echo.text().starts_with("OPTIONS http://t/v2/echo 0\n"));
}

#[test]
fn a_file_of_the_page_is_read_and_nothing_else() {
    let fixture = Fixture::new(|_| {});
    std::fs::write(fixture.page().join("ping"), "file").unwrap();
    std::fs::create_dir(fixture.page().join("empty")).unwrap();
    // Never looked for.
    std::fs::create_dir(fixture.page().join("v2")).unwrap();
    std::fs::write(fixture.page().join("v2/served"), "file").unwrap();
    fixture.get("/ping").expect_text("file");
    assert_eq!(
        send(&fixture, "HEAD", "/ping", "").header("content-length"),
        Some("4")
    );
    fixture.get("/v2/served").expect_text("1");
    for (method, path) in [
        ("POST", "/ping"),
        ("GET", "/ping/"),
        ("GET", "/empty"),
        ("GET", "/empty/"),
    ] {
        let answer = send(&fixture, method, path, "content-length: 0\r\n");
        assert_eq!(
            (answer.status, answer.text().as_str()),
            GUEST,
            "{method} {path}"
        );
    }
}

#[test]
fn the_components_page_has_its_own_policy() {
    let fixture = Fixture::new(|_| {});
    std::fs::write(fixture.page().join("file.html"), "file").unwrap();
    let file = fixture.get("/file.html");
    let policy = file.header("content-security-policy").unwrap();
    assert!(policy.contains("wasm-unsafe-eval"), "{policy}");
    assert_eq!(file.header("x-frame-options"), Some("DENY"));
    let own = fixture.get("/own-page");
    own.expect_text("<p>of the component");
    assert_eq!(
        own.header("content-security-policy"),
        Some("default-src 'none'")
    );
    assert_eq!(own.header("cross-origin-embedder-policy"), None);
    assert_eq!(own.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn clients_of_other_sites_may_send_what_the_protocols_have() {
    let fixture = Fixture::new(|config| config.cors = vec!["https://a.example".into()]);
    let headers = "origin: https://a.example\r\naccess-control-request-method: POST\r\n";
    let answer = send(&fixture, "OPTIONS", "/invocations", headers);
    assert_eq!(answer.status, 204);
    let allowed = answer.header("access-control-allow-headers").unwrap();
    let allowed: Vec<&str> = allowed.split(',').map(str::trim).collect();
    for name in [
        "authorization",
        "x-api-key",
        "content-type",
        "traceparent",
        "inference-header-content-length",
        "x-request-timeout",
        "ce-specversion",
        "x-twinfer-key",
        "x-twinfer-version",
    ] {
        assert!(allowed.contains(&name), "{name} in {allowed:?}");
    }
    let methods = answer.header("access-control-allow-methods").unwrap();
    assert!(
        methods.contains("PUT") && methods.contains("DELETE"),
        "{methods}"
    );
    let answer = fixture.get_with("/v2/served", "origin: https://a.example\r\n");
    let exposed = answer.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("retry-after") && exposed.contains("x-twinfer-digest"));
    // That is no preflight, and the component's affair.
    let answer = send(
        &fixture,
        "OPTIONS",
        "/invocations",
        "origin: https://a.example\r\n",
    );
    assert_eq!(answer.status, 404);
}

#[test]
fn what_belongs_to_the_connection_does_not_reach_the_component() {
    let fixture = Fixture::new(|_| {});
    let headers = "te: trailers\r\nkeep-alive: timeout=5\r\nproxy-authorization: Basic x\r\nupgrade: h2c\r\nx-kept: 1\r\n";
    let text = fixture.get_with("/v2/echo", headers).text();
    for name in [
        "\"te\"",
        "keep-alive",
        "proxy-authorization",
        "upgrade",
        "\"connection\"",
    ] {
        assert!(!text.contains(name), "{name} in {text}");
    }
    assert!(text.contains("x-kept"), "{text}");
}
