//! Settings that change while the host runs: from the next request on, and no request fails.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use twinfer_host::{HostConfig, LogFormat, LogLevel, ObserveOptions, Observer, Reloaded};

use crate::component::start;
use crate::support::{Answer, Fixture};

/// What the host of a fixture is told from now on: what it was told, and this.
fn reload(host: &Fixture, change: impl FnOnce(&mut HostConfig)) -> Reloaded {
    try_reload(host, change).unwrap()
}

fn try_reload(
    host: &Fixture,
    change: impl FnOnce(&mut HostConfig),
) -> Result<Reloaded, twinfer_host::HostError> {
    let mut config = HostConfig {
        page: Some(host.page()),
        log_level: LogLevel::Debug,
        ..HostConfig::new("another.wasm", "/no/such/registry")
    };
    config.limits.max_instances = 2;
    change(&mut config);
    host.host.as_ref().unwrap().handle().reload(config)
}

fn same() -> Reloaded {
    Reloaded {
        instances: false,
        most_instances: None,
    }
}

fn post(host: &Fixture, length: usize) -> Answer {
    host.post("/v2/echo", "text/plain", &vec![b'x'; length])
}

#[test]
fn limits_of_requests_count_from_the_next_one_on() {
    let host = Fixture::new(|_| {});
    host.get("/v2/served").expect_text("1");
    assert_eq!(post(&host, 2000).status, 200);
    // Instances are told how long a body may be, so others take over.
    let reloaded = reload(&host, |config| config.limits.max_body = 1000);
    assert!(reloaded.instances);
    post(&host, 2000).expect_error(413, "body_too_large");
    assert_eq!(post(&host, 900).status, 200);
    reload(&host, |config| {
        config.limits.max_body = 1000;
        config.limits.request_timeout = Duration::from_millis(50);
    });
    host.get("/v2/sleep?60000").expect_error(504, "timeout");
    // A setting that cannot work changes nothing.
    let error = try_reload(&host, |config| config.cors = vec!["nowhere".into()]);
    assert!(error.unwrap_err().to_string().contains("nowhere"));
    post(&host, 2000).expect_error(413, "body_too_large");
}

#[test]
fn origins_and_the_page_are_taken_again() {
    let host = Fixture::new(|_| {});
    std::fs::write(host.page().join("index.html"), "<p>page</p>").unwrap();
    let origin = "origin: https://a.example\r\n";
    let allowed = || {
        let answer = host.get_with("/", origin);
        let allowed = answer.header("access-control-allow-origin");
        (answer.status, allowed.map(str::to_owned))
    };
    assert_eq!(allowed(), (200, None));
    let cors = |config: &mut HostConfig| config.cors = vec!["https://a.example".into()];
    assert_eq!(reload(&host, cors), same());
    assert_eq!(allowed(), (200, Some("https://a.example".into())));
    reload(&host, |config| config.page = None);
    assert_eq!(allowed(), (404, None));
}

#[test]
fn what_a_host_has_from_its_start_stays() {
    let host = Fixture::new(|_| {});
    let (address, component) = (host.address, host.get("/v2/who").text());
    // The component, the registry and the address of `reload` are others.
    reload(&host, |config| config.handle_signals = true);
    assert_eq!(host.get("/v2/who").text(), component);
    assert_eq!(host.host.as_ref().unwrap().local_addr(), address);
    assert_eq!(reload(&host, |_| {}), same());
}

#[test]
fn more_and_fewer_instances() {
    let host = Fixture::new(|config| {
        config.limits.max_instances = 1;
        config.observer = Some(Observer::new(ObserveOptions::default()).unwrap());
    });
    let at_once = |most: usize, requests: usize| {
        std::thread::scope(|scope| {
            for _ in 0..requests {
                scope.spawn(|| assert_eq!(host.get("/v2/sleep?1500").status, 200));
            }
        });
        let metrics = host.get("/metrics").text();
        let limit = format!("twinfer_instances_limit {most}");
        assert!(metrics.contains(&limit), "{limit} in\n{metrics}");
    };
    at_once(1, 2);
    let started = || host.count(&["\"instance_started\""]);
    assert_eq!(started(), 1);
    assert_eq!(
        reload(&host, |config| config.limits.max_instances = 3),
        same()
    );
    at_once(3, 3);
    assert_eq!(started(), 3);
    reload(&host, |config| config.limits.max_instances = 1);
    at_once(1, 2);
    // Those that are too many end.
    assert_eq!(started(), 3);
    // There is room for so many only, which is taken at the start.
    let reloaded = reload(&host, |config| config.limits.max_instances = 1000);
    let most = reloaded.most_instances.unwrap();
    assert!((8..1000).contains(&most), "{most}");
    at_once(most, 1);
}

#[test]
fn the_queue_is_as_long_as_is_said_last() {
    let host = Fixture::new(|config| {
        config.limits.max_instances = 1;
        config.limits.max_queue = 0;
    });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| host.get("/v2/sleep?3000").status);
        host.wait_until_begun();
        host.get("/v2/served").expect_error(503, "overloaded");
        reload(&host, |config| {
            config.limits.max_instances = 1;
            config.limits.max_queue = 1;
        });
        assert_eq!(host.get("/v2/served").status, 200);
        assert_eq!(first.join().unwrap(), 200);
    });
}

#[test]
fn the_log_changes_its_level_and_form() {
    let host = Fixture::new(|config| config.log_level = LogLevel::Error);
    host.get("/v2/served");
    assert!(!host.log().contains("\"request\""));
    reload(&host, |config| {
        config.log_level = LogLevel::Info;
        config.log_format = LogFormat::Text;
    });
    host.get("/v2/served");
    host.wait_for_log(&["INFO  request", "path=/v2/served"]);
}

struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Instances see the new environment, those that serve go on, and nobody waits for a model.
#[test]
fn instances_are_replaced_under_load_and_no_request_fails() {
    let host = start(&["tests/models/types"], |config| {
        config.limits.max_queue = 10_000;
    });
    let ready = |host: &Fixture| host.get("/v2/models/types/ready").status;
    // One has to be there to be replaced.
    assert_eq!(ready(&host), 200);
    let ended = AtomicBool::new(false);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let load = || {
            let mut seen = Vec::new();
            while !ended.load(Ordering::SeqCst) {
                seen.push(ready(&host));
            }
            seen
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        // Also where a check below fails: else the clients would go on for ever.
        let end = EndOnDrop(&ended);
        for round in 1..=5 {
            let replaced = || host.count(&["\"instance_ended\"", "\"settings\""]);
            let before = replaced();
            let reloaded = reload(&host, |config| {
                config.limits.max_queue = 10_000;
                config.limits.max_instances = 1 + round % 2;
                config.env.push(("ROUND".into(), round.to_string()));
            });
            assert!(reloaded.instances);
            for _ in 0..6000 {
                if replaced() > before {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            assert!(replaced() > before, "round {round}: {}", host.log());
        }
        drop(end);
        let seen = clients.into_iter().map(|client| client.join().unwrap());
        seen.flatten().collect()
    });
    assert!(statuses.len() > 20, "{}", statuses.len());
    let failed: Vec<_> = statuses.iter().filter(|status| **status != 200).collect();
    assert!(failed.is_empty(), "{failed:?} of {}", statuses.len());
    // The model was loaded before the new one took over.
    host.wait_for_log(&["\"instance_renewed\"", "\"types\""]);
}

/// Each instance that serves after that was made with the new variables.
#[test]
fn the_environment_of_instances_is_the_new_one() {
    let host = Fixture::new(|config| config.limits.max_instances = 1);
    assert!(!host.get("/v2/env").text().contains("COLOUR"));
    let reloaded = reload(&host, |config| {
        config.limits.max_instances = 1;
        config.env.push(("COLOUR".into(), "green".into()));
    });
    assert!(reloaded.instances);
    host.wait_for_log(&["\"instance_ended\"", "\"settings\""]);
    assert!(host.get("/v2/env").text().contains("COLOUR=green"));
}

#[test]
fn the_network_of_guests_is_the_one_said_last() {
    let host = Fixture::new(|_| {});
    let asked = || host.get("/v2/network").text();
    assert!(asked().contains("Denied"), "{}", asked());
    let allow = |config: &mut HostConfig| config.outbound = vec!["http://127.0.0.1:9".into()];
    // The instance stays; nobody listens there, so it is another error.
    assert_eq!(reload(&host, allow), same());
    assert!(!asked().contains("Denied"), "{}", asked());
    reload(&host, |_| {});
    assert!(asked().contains("Denied"), "{}", asked());
}

#[test]
fn whether_settings_could_be_taken_is_in_health_and_metrics() {
    let host = Fixture::new(|config| {
        config.observer = Some(Observer::new(ObserveOptions::default()).unwrap());
    });
    let handle = host.host.as_ref().unwrap().handle();
    let told = || {
        let metrics = host.get("/metrics").text();
        let line = |line: &&str| line.starts_with("twinfer_config_last_reload_successful ");
        let value = metrics.lines().find(line).unwrap().to_owned();
        (host.get("/readyz").json()["settings"].clone(), value)
    };
    let good = (
        "in effect".into(),
        "twinfer_config_last_reload_successful 1".to_owned(),
    );
    assert_eq!(told(), good);
    handle.set_reloaded(false);
    let bad = "twinfer_config_last_reload_successful 0".to_owned();
    assert_eq!(told(), ("not reloaded".into(), bad));
    handle.set_reloaded(true);
    assert_eq!(told(), good);
}
