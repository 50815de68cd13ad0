//! Clients that go away: what waits does not run, what runs ends.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use twinfer_host::Instances;

use crate::support::Fixture;

const FOR_EVER: &str = "/v2/sleep?3600000";

fn ask(fixture: &Fixture, path: &str) -> TcpStream {
    let mut stream = fixture.connect();
    let head = format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn begun(fixture: &Fixture, count: usize) {
    while fixture.count(&["guest_output", "begun"]) < count {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn who_waits_and_goes_never_runs() {
    let fixture = Fixture::new(|config| config.limits.max_instances = 1);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| fixture.get("/v2/sleep?3000").status);
        begun(&fixture, 1);
        let waiting: Vec<TcpStream> = (0..5).map(|_| ask(&fixture, FOR_EVER)).collect();
        // They are there: nothing else has a log line before it is answered.
        std::thread::sleep(Duration::from_millis(300));
        drop(waiting);
        for _ in 0..1000 {
            if fixture.count(&["\"status\":499", "aborted"]) == 5 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(fixture.count(&["\"status\":499", "aborted"]), 5);
        assert_eq!(first.join().unwrap(), 200);
    });
    fixture.get("/v2/served").expect_text("2");
    assert_eq!(fixture.count(&["guest_output", "begun"]), 1);
}

/// The instance ends long before its request would; only then is there room for another.
#[test]
fn who_is_served_by_an_instance_of_its_own_takes_it_along_at_once() {
    let fixture = Fixture::new(|config| {
        config.instances = Instances::Fresh;
        config.limits.max_instances = 1;
        config.limits.cancel_grace = Duration::from_secs(3600);
        config.limits.request_timeout = Duration::from_secs(3600);
    });
    for (round, path) in [FOR_EVER, "/v2/loop"].iter().enumerate() {
        let stream = ask(&fixture, path);
        begun(&fixture, round + 1);
        drop(stream);
        fixture.get("/v2/served").expect_text("1");
        assert_eq!(fixture.count(&["instance_ended", "client_gone"]), round + 1);
    }
}

#[test]
fn a_warm_instance_has_a_while_and_then_ends() {
    let fixture = Fixture::new(|config| {
        config.limits.max_instances = 1;
        config.limits.cancel_grace = Duration::from_millis(700);
        config.limits.request_timeout = Duration::from_secs(3600);
    });
    fixture.get("/v2/served").expect_text("1");
    // It ends in time: the instance is kept.
    let stream = ask(&fixture, "/v2/sleep?50");
    begun(&fixture, 1);
    drop(stream);
    fixture.get("/v2/served").expect_text("3");
    // It does not: the next one is another.
    for (round, path) in [FOR_EVER, "/v2/loop"].iter().enumerate() {
        let stream = ask(&fixture, path);
        begun(&fixture, round + 2);
        drop(stream);
        fixture.get("/v2/served").expect_text("1");
        assert_eq!(fixture.count(&["instance_ended", "client_gone"]), round + 1);
    }
}

#[test]
fn work_after_the_answer_is_nobody_elses_affair() {
    let fixture = Fixture::new(|config| config.limits.cancel_grace = Duration::ZERO);
    // The connection is closed with the answer.
    assert_eq!(fixture.get("/v2/background?1500").status, 200);
    fixture.wait_for_log(&["background work done"]);
    assert_eq!(fixture.count(&["client_gone"]), 0);
}
