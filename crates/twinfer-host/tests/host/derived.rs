//! Slim and fused components: fresh instances, and what answers when one does not do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use twinfer_host::Instances;

use crate::support::{Fixture, misbehaving_guest};

const OWN: &str = env!("CARGO_PKG_VERSION");

fn digest(file: &Path) -> String {
    let digest = Sha256::digest(std::fs::read(file).unwrap());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The misbehaving guest, with the section that a derived component has.
fn labelled(folder: &Path, kind: &str, version: &str, engine: &str) -> PathBuf {
    let plain = std::fs::read(misbehaving_guest()).unwrap();
    let json =
        format!(r#"{{"kind":"{kind}","engine":"{engine}","version":"{version}","packages":{{}}}}"#);
    let content = [&b"\x07twinfer"[..], json.as_bytes()].concat();
    let (low, high) = (content.len() & 0x7f, content.len() >> 7);
    let mut bytes = plain[..8].to_vec();
    bytes.extend([0, 0x80 | low as u8, high as u8]);
    bytes.extend_from_slice(&content);
    bytes.extend_from_slice(&plain[8..]);
    let word = b"this is the full one";
    let at = bytes.windows(word.len()).position(|there| there == word);
    let at = at.unwrap() + word.len() - 8;
    bytes[at..at + 4].copy_from_slice(b"slim");
    let file = folder.join("derived.wasm");
    std::fs::write(&file, bytes).unwrap();
    file
}

/// The log lines of an event.
fn events(host: &Fixture, event: &str) -> Vec<serde_json::Value> {
    let lines = host.log();
    let lines = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    lines
        .filter(|line: &serde_json::Value| line["event"] == event)
        .collect()
}

#[test]
fn nothing_of_one_request_is_there_for_the_next_where_instances_are_fresh() {
    let fresh = Fixture::new(|config| config.instances = Instances::Fresh);
    for _ in 0..5 {
        fresh.get("/v2/served").expect_text("1");
    }
    assert_eq!(fresh.get("/v2/panic").status, 500);
    fresh.get("/v2/served").expect_text("1");
    let warm = Fixture::new(|config| {
        config.instances = Instances::Warm;
        config.limits.max_instances = 1;
    });
    warm.get("/v2/served").expect_text("1");
    warm.get("/v2/served").expect_text("2");
}

#[test]
fn a_host_of_fresh_instances_gives_memory_back_when_it_rests_and_goes_on() {
    let cache = tempfile::tempdir().unwrap();
    let host = Fixture::new(|config| {
        config.instances = Instances::Fresh;
        config.limits.rest_after = Duration::from_millis(100);
        config.cache = Some(cache.path().into());
    });
    for times in 1..=2 {
        host.get("/v2/served").expect_text("1");
        for _ in 0..2400 {
            if events(&host, "memory_given_back").len() == times {
                break;
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        let given_back = events(&host, "memory_given_back");
        assert_eq!(given_back.len(), times, "{}", host.log());
        let last = &given_back[times - 1];
        assert_eq!(
            (&last["instances"], &last["component"]),
            (&1.into(), &true.into())
        );
    }
    // Once after each time of work.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(events(&host, "memory_given_back").len(), 2);
    host.get("/v2/served").expect_text("1");
}

#[test]
fn a_fused_component_is_fresh_unless_told_otherwise_and_a_slim_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let start = |kind: &str, instances| {
        let component = labelled(folder.path(), kind, OWN, "sha256:00");
        Fixture::with(component, |config| {
            config.instances = instances;
            config.limits.max_instances = 1;
        })
    };
    for (kind, instances, second) in [
        ("fused", Instances::Auto, "1"),
        ("fused", Instances::Warm, "2"),
        ("slim", Instances::Auto, "2"),
        ("slim", Instances::Fresh, "1"),
    ] {
        let host = start(kind, instances);
        host.get("/v2/served").expect_text("1");
        host.get("/v2/served").expect_text(second);
    }
}

#[test]
fn the_full_component_answers_what_a_slim_one_lacks_and_that_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let full = misbehaving_guest();
    let slim = labelled(folder.path(), "slim", OWN, &digest(&full));
    let host = Fixture::with(slim, |config| config.full_component = Some(full));
    host.get("/v2/served").expect_text("1");
    host.get("/v2/missing").expect_text("this is the full one");
    host.get("/v2/missing").expect_text("this is the full one");
    host.get("/v2/who").expect_text("this is the slim one");
    let needed = events(&host, "full_component_needed");
    assert_eq!(needed.len(), 2, "{needed:?}");
    assert_eq!(needed[1]["needed"], 2);
    assert_eq!(needed[1]["path"], "/v2/missing");
}

#[test]
fn without_a_full_component_the_code_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let slim = labelled(folder.path(), "slim", OWN, "sha256:00");
    let host = Fixture::with(slim, |_| {});
    host.get("/v2/missing")
        .expect_error(500, "engine_function_missing");
    // Any other trap is what it was.
    host.get("/v2/panic").expect_error(500, "internal");
}

#[test]
fn the_full_component_takes_the_place_of_one_that_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let full = misbehaving_guest();
    let right = digest(&full);
    for (version, engine, why) in [
        ("0.0.1", right.as_str(), "0.0.1"),
        (OWN, "sha256:00", "engine"),
    ] {
        let derived = labelled(folder.path(), "fused", version, engine);
        let host = Fixture::with(derived, |config| config.full_component = Some(full.clone()));
        host.get("/v2/who").expect_text("this is the full one");
        let said = events(&host, "component_does_not_fit");
        assert!(said[0]["why"].as_str().unwrap().contains(why), "{said:?}");
    }
    // One that does not run here, whatever it says.
    let derived = labelled(folder.path(), "fused", OWN, &right);
    let bytes = std::fs::read(&derived).unwrap();
    std::fs::write(&derived, &bytes[..bytes.len() - 1]).unwrap();
    let host = Fixture::with(derived, |config| config.full_component = Some(full));
    host.get("/v2/who").expect_text("this is the full one");
}
