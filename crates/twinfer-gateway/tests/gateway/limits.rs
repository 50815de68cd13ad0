//! How often.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use twinfer_gateway::Gateway;
use twinfer_state::{
    Changes, Document, MemoryState, Rate, Result, State, StateError, Status, Sum, Taken,
};

use crate::support::{Ask, NOW, code, described, gateway, key};

fn limited() -> Gateway {
    gateway(&format!(
        r#"
        open = ["predict"]
        rates.address = {{ per_second = 1, burst = 3 }}
        rates.principal = {{ per_second = 10, burst = 2 }}

        [[keys]]
        id = "a"
        sha256 = "{}"
        scopes = ["predict"]

        [[keys]]
        id = "b"
        sha256 = "{}"
        scopes = ["predict"]
        rate = {{ per_second = 0.5, burst = 1 }}
        "#,
        key(1).sha256(),
        key(2).sha256()
    ))
}

const PATH: &str = "/v2/models/m/predict";

#[test]
fn an_address_has_its_burst_and_its_rate() {
    let (gateway, state) = (limited(), MemoryState::new());
    let ask = |address: &str, now| Ask::post(PATH).from(address).at(now).of(&gateway, &state);
    for _ in 0..3 {
        assert_eq!(code(&ask("192.0.2.1", NOW)), "ok");
    }
    let refused = ask("192.0.2.1", NOW);
    assert_eq!(code(&refused), "rate_limited");
    let headers = described(&refused);
    assert_eq!(headers["retry-after"], "1");
    assert_eq!(headers["ratelimit-policy"], r#""address";q=3;w=3"#);
    assert_eq!(headers["ratelimit"], r#""address";r=0;t=3"#);
    // Others have theirs, and time fills it.
    assert_eq!(code(&ask("192.0.2.2", NOW)), "ok");
    assert_eq!(code(&ask("192.0.2.1", NOW + 1000)), "ok");
    assert_eq!(code(&ask("192.0.2.1", NOW + 1000)), "rate_limited");
}

#[test]
fn one_network_of_ipv6_is_one_address() {
    let (gateway, state) = (limited(), MemoryState::new());
    let ask = |address: &str| code(&Ask::post(PATH).from(address).of(&gateway, &state));
    for address in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff"] {
        assert_eq!(ask(address), "ok");
    }
    assert_eq!(ask("2001:db8::4"), "rate_limited");
    assert_eq!(ask("2001:db8:0:1::4"), "ok");
    // Written in IPv6, it is the same one.
    for address in ["192.0.2.9", "::ffff:192.0.2.9", "192.0.2.9"] {
        assert_eq!(ask(address), "ok");
    }
    assert_eq!(ask("::ffff:192.0.2.9"), "rate_limited");
}

#[test]
fn a_key_has_a_limit_wherever_it_comes_from() {
    let (gateway, state) = (limited(), MemoryState::new());
    let ask = |number, address: &str| {
        let ask = Ask::post(PATH).bearer(key(number).secret()).from(address);
        ask.of(&gateway, &state)
    };
    assert_eq!(code(&ask(1, "192.0.2.1")), "ok");
    let second = ask(1, "192.0.2.2");
    assert_eq!(code(&second), "ok");
    assert_eq!(
        described(&second)["ratelimit"],
        r#""address";r=2;t=1, "principal";r=0;t=1"#
    );
    assert_eq!(code(&ask(1, "192.0.2.3")), "rate_limited");
    // One of its own counts in the place of the common one.
    assert_eq!(code(&ask(2, "192.0.2.4")), "ok");
    let refused = ask(2, "192.0.2.5");
    assert_eq!(code(&refused), "rate_limited");
    assert_eq!(described(&refused)["retry-after"], "2");
}

#[test]
fn guessing_is_limited_and_health_is_not() {
    let (gateway, state) = (limited(), MemoryState::new());
    let guess = |number| {
        let ask = Ask::post(PATH)
            .bearer(key(number).secret())
            .from("192.0.2.1");
        code(&ask.of(&gateway, &state))
    };
    let guesses: Vec<_> = (10..14).map(guess).collect();
    assert_eq!(
        guesses,
        [
            "unauthorized",
            "unauthorized",
            "unauthorized",
            "rate_limited"
        ]
    );
    let health = Ask::get("/healthz").from("192.0.2.1");
    assert_eq!(code(&health.of(&gateway, &state)), "ok");
}

#[test]
fn the_address_is_what_the_proxy_before_us_says() {
    let proxied = gateway(
        "open = [\"predict\"]\naddress_header = \"X-Forwarded-For\"\nrates.address = { per_second = 1, burst = 1 }",
    );
    let address = |headers: &[&str]| {
        let mut ask = Ask::post(PATH).from("10.0.0.1");
        for value in headers {
            ask = ask.header("x-forwarded-for", value);
        }
        let decision = ask.of(&proxied, &MemoryState::new());
        decision.address.unwrap().to_string()
    };
    // Only the last was written by the proxy; the client can write the others.
    assert_eq!(address(&["1.1.1.1, 192.0.2.7"]), "192.0.2.7");
    assert_eq!(address(&["1.1.1.1", "192.0.2.7:4711"]), "192.0.2.7");
    assert_eq!(address(&["[2001:db8::1]:80"]), "2001:db8::1");
    assert_eq!(address(&["unknown"]), "10.0.0.1");
    assert_eq!(address(&[]), "10.0.0.1");
    // Without the setting nobody is believed.
    let ask = Ask::post(PATH)
        .from("10.0.0.1")
        .header("x-forwarded-for", "192.0.2.7");
    let decision = ask.of(&limited(), &MemoryState::new());
    assert_eq!(decision.address.unwrap().to_string(), "10.0.0.1");
}

/// A state that cannot be reached.
struct Gone;

fn gone<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T>> {
    ready(Err(StateError::new("gone"))).boxed()
}

impl State for Gone {
    fn get<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Document>>> {
        gone()
    }
    fn put<'a>(&'a self, _: &'a str, _: &'a [u8], _: u64) -> BoxFuture<'a, Result<Option<u64>>> {
        gone()
    }
    fn delete<'a>(&'a self, _: &'a str, _: u64) -> BoxFuture<'a, Result<bool>> {
        gone()
    }
    fn keys<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<String>>> {
        gone()
    }
    fn add<'a>(&'a self, _: &'a str, _: i64, _: Duration) -> BoxFuture<'a, Result<i64>> {
        gone()
    }
    fn take<'a>(&'a self, _: &'a str, _: Rate, _: u64) -> BoxFuture<'a, Result<Taken>> {
        gone()
    }
    fn changed<'a>(&'a self, _: &'a str, _: Option<u64>) -> BoxFuture<'a, Result<Changes>> {
        gone()
    }
    fn merge<'a>(&'a self, _: &'a str, _: &'a [Sum]) -> BoxFuture<'a, Result<()>> {
        gone()
    }
    fn status(&self) -> Status {
        Status::lost("gone", std::time::SystemTime::UNIX_EPOCH, 0)
    }
}

#[test]
fn without_the_state_this_process_limits_alone_and_says_so() {
    let gateway = limited();
    let ask = |state: &dyn State| code(&Ask::post(PATH).from("192.0.2.1").of(&gateway, state));
    assert!(!gateway.is_degraded());
    assert_eq!(
        [ask(&Gone), ask(&Gone), ask(&Gone), ask(&Gone)],
        ["ok", "ok", "ok", "rate_limited"]
    );
    assert!(gateway.is_degraded());
    assert_eq!(ask(&MemoryState::new()), "ok");
    assert!(!gateway.is_degraded());
}
