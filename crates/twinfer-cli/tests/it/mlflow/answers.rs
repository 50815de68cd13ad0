//! Servers that answer other things than an MLflow server should.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::support::Place;

/// A server that gives every request this answer, and its address.
fn server(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let _ = stream.write_all(answer(&text).as_bytes());
        }
    });
    address
}

fn http(status: &str, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nlocation: /x\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn json(body: &str) -> String {
    http("200 OK", "application/json", body)
}

#[test]
fn wrong_answers_have_their_codes() {
    const ABSENT: &str = r#"{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no"}"#;
    let version = |place: &str| {
        format!(r#"{{"model_version": {{"version": "1"}}, "artifact_uri": "{place}"}}"#)
    };
    let cases: Vec<(&str, String, &str, i32, &str)> = vec![
        (
            "html",
            http("200 OK", "text/html", "<html>"),
            "network",
            4,
            "text/html",
        ),
        (
            "401",
            http("401 Unauthorized", "text/plain", "no"),
            "unauthorized",
            4,
            "MLFLOW_TRACKING_TOKEN",
        ),
        (
            "403",
            http("403 Forbidden", "text/plain", "no"),
            "unauthorized",
            4,
            "MLFLOW_TRACKING_TOKEN",
        ),
        (
            "404 text",
            http("404 Not Found", "text/plain", "no"),
            "network",
            4,
            "MLflow server?",
        ),
        (
            "absent",
            http("404 Not Found", "application/json", ABSENT),
            "unknown_model",
            1,
            "Risk",
        ),
        (
            "broken",
            http(
                "500 Oops",
                "application/json",
                r#"{"error_code": "INTERNAL_ERROR"}"#,
            ),
            "network",
            4,
            "500",
        ),
        (
            "redirect",
            http("302 Found", "text/html", ""),
            "network",
            4,
            "redirect",
        ),
        ("other json", json("[]"), "network", 4, "no version"),
        ("s3", json(&version("s3://bucket/x")), "network", 4, "`s3:`"),
        (
            "file",
            json(&version("file:///etc")),
            "network",
            4,
            "`file:`",
        ),
        (
            "dots",
            json(&version("mlflow-artifacts:/../../x")),
            "network",
            4,
            "names files at",
        ),
        (
            "host",
            json(&version("mlflow-artifacts://other.example/x")),
            "network",
            4,
            "another server",
        ),
        (
            "empty",
            json(&version("mlflow-artifacts:/1/x")),
            "unknown_version",
            1,
            "no files",
        ),
        (
            "huge",
            json(&" ".repeat((8 << 20) + 1)),
            "network",
            4,
            "more than",
        ),
    ];
    for (what, answer, code, exit, text) in cases {
        let address = server(move |_| answer.clone());
        let place = Place::new();
        let error = place.bad(
            &["pack", "models:/Risk/1", "--tracking-uri", &address],
            code,
            exit,
        );
        assert!(error.contains(text), "{what}: {error}");
        assert!(!place.path("registry").exists(), "{what}");
    }
}

#[test]
fn files_are_listed_inside_of_the_folder_only() {
    for name in ["..", "a/..", "C:evil", "a\\\\b"] {
        let list = format!(r#"{{"files": [{{"path": "{name}", "is_dir": false}}]}}"#);
        let address = server(move |request| {
            let version =
                r#"{"model_version": {"version": "1"}, "artifact_uri": "mlflow-artifacts:/1/x"}"#;
            json(if request.contains("mlflow-artifacts") {
                &list
            } else {
                version
            })
        });
        let place = Place::new();
        let error = place.bad(
            &["pack", "models:/Risk/1", "--tracking-uri", &address],
            "network",
            4,
        );
        assert!(
            error.contains("lists a file of the name"),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_server_without_tls_is_refused_unless_it_is_here_or_allowed() {
    let place = Place::new();
    let address = "http://mlflow.example.org";
    let error = place.bad(
        &["pack", "models:/R/1", "--tracking-uri", address],
        "network",
        4,
    );
    assert!(error.contains("--plain-http"), "{error}");
    // Nobody listens there.
    let address = "http://127.0.0.1:1";
    place.bad(
        &["pack", "models:/R/1", "--tracking-uri", address],
        "network",
        4,
    );
}

#[test]
fn credentials_go_where_mlflow_sends_them() {
    for (variables, header) in [
        (
            vec![("MLFLOW_TRACKING_TOKEN", "t0ken")],
            "authorization: bearer t0ken",
        ),
        (
            vec![
                ("MLFLOW_TRACKING_USERNAME", "u"),
                ("MLFLOW_TRACKING_PASSWORD", "p"),
            ],
            "authorization: basic dtpw",
        ),
    ] {
        let address = server(move |request| {
            let good = request.to_lowercase().contains(header);
            http(
                if good { "200 OK" } else { "401 Unauthorized" },
                "text/html",
                "<html>",
            )
        });
        let place = Place::new();
        let mut command = place.command(&["pack", "models:/R/1", "--tracking-uri", &address]);
        let said = command.envs(variables).output().unwrap();
        let error = String::from_utf8(said.stderr).unwrap();
        assert!(
            error.contains("error[network]") && !error.contains("t0ken"),
            "{error}"
        );
    }
}
