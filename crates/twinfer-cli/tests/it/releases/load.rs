//! Releases under load: nobody gets an error, and nobody an answer of a version that was not live.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::world::{World, ask, until_in_force};
use crate::follow::server::record;

/// A hundred releases, and as many rollbacks; or so many as `TWINFER_TEST_RELEASES` says.
fn turns() -> usize {
    let wanted = std::env::var("TWINFER_TEST_RELEASES");
    wanted
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100)
}

/// From when to when a version may have answered: from the moment in which its release was asked
/// for, to that in which the next one was seen to be in force.
struct Live {
    version: &'static str,
    from: Instant,
    to: Option<Instant>,
}

#[test]
fn a_hundred_releases_and_rollbacks_lose_no_request() {
    let (mut world, turns) = (World::new(&[]), turns());
    world.deploy(&["apply", "risk:1.0.0"]);
    world.until_in_force(1);
    let (port, done, begin) = (world.port(), AtomicBool::new(false), Instant::now());
    let live = Mutex::new(vec![Live {
        version: "1.0.0",
        from: begin,
        to: None,
    }]);
    let key = format!("authorization: Bearer {}\r\n", world.operator);
    let answers: Vec<(Instant, Instant, String)> = thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|client| {
                let (done, body) = (&done, record());
                scope.spawn(move || {
                    let mut seen = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        let headers = format!("x-twinfer-key: {client}-{}\r\n", seen.len());
                        let path = [
                            "/v2/models/risk/predict",
                            "/v2/models/risk/versions/stable/predict",
                        ];
                        let path = path[seen.len() % 2];
                        let from = Instant::now();
                        let answer = ask(port, "POST", path, &headers, &body);
                        let to = Instant::now();
                        assert_eq!(answer.status, 200, "{}", answer.body);
                        let version = answer.version().unwrap().to_owned();
                        assert_eq!(answer.header("x-twinfer-version"), Some(&*version));
                        seen.push((from, to, version));
                    }
                    seen
                })
            })
            .collect();
        for turn in 0..2 * turns {
            let from = Instant::now();
            let (version, answer) = match turn % 2 {
                0 => {
                    let spec = r#"{"name": "risk", "variants": [{"version": "2.0.0"}]}"#;
                    let path = "/admin/deployments/risk";
                    ("2.0.0", ask(port, "PUT", path, &key, spec))
                }
                _ => {
                    let path = "/admin/deployments/risk/rollback";
                    ("1.0.0", ask(port, "POST", path, &key, ""))
                }
            };
            assert_eq!(answer.status, 200, "{}", answer.body);
            live.lock().unwrap().push(Live {
                version,
                from,
                to: None,
            });
            let revision = answer.json["deployment"]["revision"].as_u64().unwrap();
            until_in_force(&world.server, port, "risk", revision);
            let mut live = live.lock().unwrap();
            let before = live.len() - 2;
            live[before].to = Some(Instant::now());
            assert!(clients.iter().all(|client| !client.is_finished()));
        }
        done.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    let live = live.into_inner().unwrap();
    let mut versions = [0, 0];
    for (from, to, version) in &answers {
        let was_live = live.iter().any(|period| {
            period.version == version
                && period.from <= *to
                && period.to.is_none_or(|ended| ended >= *from)
        });
        assert!(was_live, "{version} answered when it was not live");
        versions[usize::from(version == "2.0.0")] += 1;
    }
    assert!(versions.iter().all(|count| *count > 50), "{versions:?}");
    assert_eq!(live.len(), 2 * turns + 1);
    // Not one instance was lost over it.
    assert!(world.server.events("instance_replaced").is_empty());
    eprintln!(
        "{} releases and rollbacks, {} requests in {:?}",
        2 * turns,
        answers.len(),
        begin.elapsed()
    );
}
