//! What a guest does wrong costs its own request, and nothing else.

use std::time::Duration;

use crate::support::Fixture;

/// Long enough for what does answer, on a busy machine too.
fn quick() -> Fixture {
    Fixture::new(|config| config.limits.request_timeout = Duration::from_secs(4))
}

#[test]
fn a_looping_guest_times_out_and_others_go_on() {
    let fixture = quick();
    fixture.get("/v2/served").expect_text("1");
    std::thread::scope(|scope| {
        let stuck = scope.spawn(|| fixture.get("/v2/loop"));
        fixture.wait_until_begun();
        for _ in 0..3 {
            assert_eq!(fixture.get("/v2/served").status, 200);
        }
        assert!(!stuck.is_finished(), "the others waited for the loop");
        stuck.join().unwrap().expect_error(504, "timeout");
    });
    fixture.wait_for_log(&["instance_replaced", "timeout"]);
    assert_eq!(fixture.get("/v2/served").status, 200);
}

#[test]
fn a_guest_that_never_answers_times_out() {
    let fixture = quick();
    fixture.get("/v2/sleep?60000").expect_error(504, "timeout");
    // Waiting for nothing at all is noticed at once.
    fixture.get("/v2/hang").expect_error(500, "internal");
    fixture.get("/v2/served").expect_text("1");
}

#[test]
fn too_much_memory_is_refused_and_named() {
    let fixture = Fixture::new(|config| config.limits.max_memory = 64 << 20);
    fixture.get("/v2/memory?20").expect_text("20");
    fixture
        .get("/v2/memory?100")
        .expect_error(507, "out_of_memory");
    fixture.get("/v2/memory?20").expect_text("20");
}

#[test]
fn a_panic_is_an_internal_error_without_details() {
    let fixture = quick();
    let answer = fixture.get("/v2/panic");
    answer.expect_error(500, "internal");
    assert!(!answer.text().contains("as asked"), "{}", answer.text());
    // Those are in the log.
    fixture.wait_for_log(&["guest_output", "as asked"]);
    fixture.get("/v2/served").expect_text("1");
}

#[test]
fn endless_recursion_is_an_internal_error() {
    let fixture = quick();
    fixture.get("/v2/recursion?1").expect_error(500, "internal");
    fixture.get("/v2/served").expect_text("1");
}

#[test]
fn an_answer_over_the_limit_is_not_passed_on() {
    let fixture = Fixture::new(|config| config.limits.max_response = 1000);
    assert_eq!(fixture.get("/v2/large?1000").body.len(), 1000);
    fixture.get("/v2/large?1001").expect_error(500, "internal");
    fixture
        .get("/v2/large?5000000")
        .expect_error(500, "internal");
    assert_eq!(fixture.get("/v2/large?10").body.len(), 10);
}

#[test]
fn there_is_no_network() {
    let answer = quick().get("/v2/network");
    assert!(answer.text().starts_with("refused"), "{}", answer.text());
    assert!(answer.text().contains("Denied"), "{}", answer.text());
}

#[test]
fn the_registry_is_read_only_and_all_there_is() {
    let fixture = quick();
    std::fs::write(fixture.registry().join("index.json"), "{}").unwrap();
    fixture.get("/v2/read").expect_text("{}");
    let written = fixture.get("/v2/write").text();
    assert!(written.starts_with("Err"), "{written}");
    assert!(!fixture.registry().join("written").exists());
    let escaped = fixture.get("/v2/escape").text();
    assert!(escaped.starts_with("Err"), "{escaped}");
}

#[test]
fn the_environment_is_ours_not_the_hosts() {
    let fixture = Fixture::new(|config| config.env = vec![("EXTRA".into(), "1".into())]);
    fixture.get("/v2/env").expect_text(
        "TWINFER_REGISTRY=/registry\nTWINFER_MAX_BODY=67108864\nTWINFER_ACCESS=host\nEXTRA=1\n",
    );
}

#[test]
fn output_becomes_log_lines() {
    let mut fixture = quick();
    fixture.get("/v2/print").expect_text("printed");
    fixture.shutdown().unwrap();
    for message in ["one", "two", "three", "no line end"] {
        fixture.wait_for_log(&["guest_output", &format!("\"message\":\"{message}\"")]);
    }
}

#[test]
fn work_after_the_answer_is_finished() {
    let fixture = quick();
    assert_eq!(fixture.get("/v2/background?3000").status, 200);
    let done = "background work done";
    assert!(!fixture.log().contains(done), "the answer waited for it");
    fixture.wait_for_log(&[done]);
}
