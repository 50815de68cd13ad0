//! What clients do wrong inside of a body, and what guests do wrong, while others go on.

use std::time::Duration;

use serde_json::json;

use crate::component;
use crate::support::{Answer, Fixture};

const TYPES: &str = "/v2/models/types/infer";
const RISK: &str = "/v2/models/tumour-risk/predict";

fn real() -> Fixture {
    let recipes = ["models/tumour-risk", "tests/models/types"];
    component::start(&recipes, |config| config.limits.max_instances = 1)
}

fn good() -> String {
    json!({"inputs": [
        {"name": "i", "shape": [3], "datatype": "INT64", "data": [1, -2, 3]},
        {"name": "b", "shape": [2], "datatype": "BOOL", "data": [true, false]},
        {"name": "d", "shape": [1], "datatype": "FP64", "data": [0.5]},
    ]})
    .to_string()
}

/// A good request of which one part was changed.
fn with(old: &str, new: &str) -> String {
    let good = good();
    assert!(good.contains(old), "{old} in {good}");
    good.replacen(old, new, 1)
}

fn post(host: &Fixture, path: &str, body: &str) -> Answer {
    host.post(path, "application/json", body.as_bytes())
}

/// The same instance answers a good request afterwards.
fn lives_on(host: &Fixture) {
    let answer = post(host, TYPES, &good());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(host.count(&["\"instance_started\""]), 1, "an instance died");
}

#[test]
fn malformed_json_and_what_json_has_no_numbers_for() {
    let host = real();
    lives_on(&host);
    let malformed = [
        String::new(),
        "{".into(),
        good()[..good().len() - 3].into(),
        format!("{}x", good()),
        good().replace('"', "'"),
        "\u{feff}".to_owned() + &good(),
        "\u{0}".into(),
        // Tokens of other languages.
        with("0.5", "NaN"),
        with("0.5", "Infinity"),
        with("0.5", "-Infinity"),
        with("0.5", "nan"),
        with("0.5", "0x1"),
        with("0.5", "1e"),
        with("0.5", ".5"),
        with("0.5", "+1"),
        with("0.5", "01"),
    ];
    for body in &malformed {
        let answer = post(&host, TYPES, body);
        assert_eq!(answer.status, 400, "{body:?}: {}", answer.text());
        answer.expect_error(400, "invalid_json");
    }
    host.post(TYPES, "application/json", b"\xff\xfe{}")
        .expect_error(400, "invalid_json");
    lives_on(&host);
}

#[test]
fn json_that_is_nested_deeply_is_refused_wherever_it_is() {
    let host = real();
    let (open, close) = ("[".repeat(200_000), "]".repeat(200_000));
    let nested = format!("{open}1{close}");
    let objects = "{\"a\":".repeat(100_000);
    for body in [
        nested.clone(),
        open.clone(),
        objects,
        with("[0.5]", &nested),
        with(
            "\"inputs\"",
            &format!("\"parameters\": {{\"x\": {nested}}}, \"inputs\""),
        ),
    ] {
        let answer = post(&host, TYPES, &body);
        assert_eq!(answer.status, 400, "{}", answer.text());
        let answer = post(&host, RISK, &body);
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    // What nobody asked for is skipped, however deep it is.
    let body = with("\"inputs\"", &format!("\"unknown\": {nested}, \"inputs\""));
    assert_eq!(post(&host, TYPES, &body).status, 200);
    lives_on(&host);
}

#[test]
fn numbers_that_are_too_large_are_refused_or_infinite_but_harm_nobody() {
    let host = real();
    let digits = "9".repeat(1_000_000);
    for number in [
        "1e999",
        "-1e999",
        "1e-999",
        "123456789012345678901234567890",
        digits.as_str(),
    ] {
        for body in [
            with("0.5", number),
            with("-2", number),
            with("\"shape\":[3]", &format!("\"shape\":[{number}]")),
            with("\"shape\":[3]", &format!("\"shape\":[{number},{number},3]")),
        ] {
            let answer = post(&host, TYPES, &body);
            assert!([200, 400].contains(&answer.status), "{}", answer.text());
        }
        let answer = post(&host, RISK, &format!("{{\"mean radius\": {number}}}"));
        assert!([200, 400].contains(&answer.status), "{}", answer.text());
    }
    // Whole numbers are exact, or refused.
    let answer = post(&host, TYPES, &with("-2", "9223372036854775808"));
    assert_eq!(answer.status, 400, "{}", answer.text());
    let answer = post(&host, TYPES, &with("-2", "-4611686018427387904"));
    // Twice that.
    assert!(
        answer.text().contains("-9223372036854775808"),
        "{}",
        answer.text()
    );
    // More elements than there is memory, with none of them there.
    for shape in [
        "[9223372036854775807]",
        "[4294967296,4294967296]",
        "[-1]",
        "[-3]",
        "[0]",
        "[3.5]",
    ] {
        let answer = post(&host, TYPES, &with("[3]", shape));
        assert_eq!(answer.status, 400, "{shape}: {}", answer.text());
    }
    lives_on(&host);
}

#[test]
fn binary_sizes_that_lie_are_refused() {
    let host = real();
    let send = |header: &str, size: &str, bytes: &[u8]| {
        let json = format!(
            "{{\"inputs\":[{{\"name\":\"i\",\"shape\":[3],\"datatype\":\"INT64\",\"parameters\":{{\"binary_data_size\":{size}}}}},\
             {{\"name\":\"b\",\"shape\":[2],\"datatype\":\"BOOL\",\"data\":[true,false]}},\
             {{\"name\":\"d\",\"shape\":[1],\"datatype\":\"FP64\",\"data\":[0.5]}}]}}"
        );
        let header = header.replace("RIGHT", &json.len().to_string());
        let body = [json.as_bytes(), bytes].concat();
        let head = format!(
            "POST {TYPES} HTTP/1.1\r\nhost: t\r\nconnection: close\r\ncontent-type: application/octet-stream\r\n\
             inference-header-content-length: {header}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        host.send([head.as_bytes(), &body].concat())
    };
    assert_eq!(send("RIGHT", "24", &[0; 24]).status, 200);
    for (header, size, bytes) in [
        ("RIGHT", "23", 24),
        ("RIGHT", "25", 24),
        ("RIGHT", "24", 23),
        ("RIGHT", "24", 25),
        ("RIGHT", "24", 0),
        ("RIGHT", "0", 24),
        ("RIGHT", "-24", 24),
        ("RIGHT", "18446744073709551615", 24),
        ("RIGHT", "18446744073709551640", 24),
        ("RIGHT", "2.4e1x", 24),
        ("RIGHT", "\"24\"", 24),
        ("10", "24", 24),
        ("1000000", "24", 24),
        ("-1", "24", 24),
        ("18446744073709551615", "24", 24),
        ("x", "24", 24),
    ] {
        let answer = send(header, size, &vec![0; bytes]);
        assert_eq!(
            answer.status,
            400,
            "{header} {size} {bytes}: {}",
            answer.text()
        );
        assert!(answer.json()["code"].is_string(), "{}", answer.text());
    }
    lives_on(&host);
}

#[test]
fn a_guest_out_of_memory_costs_nobody_else_anything() {
    others_go_on("/v2/memory?1000", 507, "out_of_memory");
}

#[test]
fn a_guest_that_traps_costs_nobody_else_anything() {
    others_go_on("/v2/panic", 500, "internal");
}

#[test]
fn a_guest_that_loops_costs_nobody_else_anything() {
    others_go_on("/v2/loop", 504, "timeout");
}

/// While one client does that again and again, another one has its own instance all along.
fn others_go_on(path: &str, status: u16, code: &str) {
    let host = Fixture::new(|config| {
        config.limits.max_memory = 64 << 20;
        config.limits.request_timeout = Duration::from_secs(3);
    });
    std::thread::scope(|scope| {
        let bad = scope.spawn(|| {
            for _ in 0..3 {
                host.get(path).expect_error(status, code);
            }
        });
        let mut answered = 0;
        while !bad.is_finished() || answered < 20 {
            assert_eq!(host.get("/v2/sleep?1").status, 200);
            answered += 1;
        }
        bad.join().unwrap();
    });
    assert_eq!(host.count(&["instance_replaced", code]), 3);
    assert_eq!(host.count(&["\"status\":200"]), host.count(&["/v2/sleep"]));
}
