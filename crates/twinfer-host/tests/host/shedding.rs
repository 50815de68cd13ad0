//! More than the host can do: who is refused, and what they are told.

use std::io::{Read, Write};
use std::time::Duration;

use crate::support::Fixture;

/// Requests that take two seconds fill a queue; who is refused is told how long that takes.
#[test]
fn retry_after_is_what_the_queue_takes() {
    let fixture = Fixture::new(|config| {
        config.limits.max_instances = 1;
        config.limits.max_queue = 3;
    });
    // What is known of the time that a request takes.
    fixture.get("/v2/sleep?2000").expect_text("slept");
    std::thread::scope(|scope| {
        let accepted: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| fixture.get("/v2/sleep?2000").status))
            .collect();
        // The one that runs; the others have come by the time that it is half done.
        while fixture.count(&["guest_output", "begun"]) < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(500));
        let refused = fixture.get("/v2/served");
        refused.expect_error(503, "overloaded");
        let seconds: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        // Four of them, of two seconds and what a busy machine adds.
        assert!((8..=60).contains(&seconds), "{seconds}");
        for accepted in accepted {
            assert_eq!(accepted.join().unwrap(), 200);
        }
    });
}

#[test]
fn an_address_has_so_many_connections() {
    let fixture = Fixture::new(|config| config.limits.max_connections_per_address = 3);
    let open: Vec<_> = (0..3).map(|_| fixture.connect()).collect();
    // One more is closed, without an answer.
    let mut one_more = fixture.connect();
    assert!(matches!(one_more.read(&mut [0; 10]), Ok(0) | Err(_)));
    fixture.wait_for_log(&["connections_refused", "127.0.0.1"]);
    drop(open);
    for _ in 0..1000 {
        let mut stream = fixture.connect();
        let request = b"GET /healthz HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n";
        let sent = stream.write_all(request);
        let mut answer = String::new();
        if sent.is_ok() && stream.read_to_string(&mut answer).is_ok() && answer.ends_with("ok\n") {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the address is still kept out");
}

#[test]
fn bodies_share_so_much_memory() {
    let fixture = Fixture::new(|config| {
        config.limits.max_body = 1 << 20;
        config.limits.max_buffered = 2 << 20;
    });
    let announced = (1 << 20) + 1;
    let head = format!(
        "POST /v2/unread HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n",
        announced - 1
    );
    let begin = || {
        [(); 2].map(|()| {
            let mut stream = fixture.connect();
            let begin = [head.as_bytes(), &vec![0; announced - 2]].concat();
            stream.write_all(&begin).unwrap();
            stream
        })
    };
    // What is on its way is not counted yet. When a third body comes before it, one of the two is
    // the one too many: then it is begun again.
    let (mut open, answer) = (0..20)
        .find_map(|_| {
            let open = begin();
            std::thread::sleep(Duration::from_millis(500));
            let answer = fixture.post("/v2/unread", "a/b", &[0; 100_000]);
            (answer.status != 200).then_some((open, answer))
        })
        .expect("bodies do not share memory");
    answer.expect_error(503, "overloaded");
    assert!(
        answer.text().contains("large requests"),
        "{}",
        answer.text()
    );
    assert!(answer.header("retry-after").is_some());
    // Those that have their share go on, and give it back.
    for stream in &mut open {
        stream.write_all(b"0").unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
    }
    let answer = fixture.post("/v2/unread", "a/b", &[0; 100_000]);
    assert_eq!(answer.status, 200);
}

#[test]
fn slow_bodies_take_no_place_in_the_queue() {
    let fixture = Fixture::new(|config| {
        config.limits.max_instances = 1;
        config.limits.max_queue = 1;
    });
    let open: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = fixture.connect();
            let begin = b"POST /v2/echo HTTP/1.1\r\nhost: t\r\ncontent-length: 9\r\n\r\nx";
            stream.write_all(begin).unwrap();
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(200));
    for expected in 1..=5 {
        fixture.get("/v2/served").expect_text(&expected.to_string());
    }
    drop(open);
}
