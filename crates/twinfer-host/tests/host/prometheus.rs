//! A real Prometheus, of the Debian package, scrapes a running host.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use twinfer_host::{DeploymentSeen, InForceSeen, VariantSeen};

use crate::observe::{predict, serving, value};
use crate::support::{Fixture, exchange};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Debian's `prometheus`, as long as this lives.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// One that scrapes the host. `None` where it is not installed.
    fn start(test: &str, host: &Fixture) -> Option<Self> {
        let installed = std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|folder| folder.join("prometheus").is_file())
        });
        if !installed {
            let all = std::env::var_os("TWINFER_TEST_ALL").is_some_and(|all| all == "1");
            assert!(!all, "{test}: prometheus is not on the PATH");
            // Not captured, so that it is seen.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED {test}: prometheus is not on the PATH"
            );
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prometheus.yml");
        let config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n  - job_name: twinfer\n    params: {{names: ['twinfer,kserve,triton']}}\n    static_configs: [{{targets: ['{}']}}]\n",
            host.address
        );
        std::fs::write(&file, config).unwrap();
        // Free until a moment ago: nobody else takes it meanwhile.
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self {
            child,
            address,
            _folder: folder,
        };
        let begin = Instant::now();
        while !is_ready(address) {
            assert!(begin.elapsed() < PATIENCE, "it is not ready");
            sleep(Duration::from_millis(50));
        }
        Some(started)
    }

    /// The answer to a query of its HTTP API: the samples of an instant vector.
    fn query(&self, query: &str) -> Vec<Value> {
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let request = format!(
            "GET /api/v1/query?query={query} HTTP/1.1\r\nhost: p\r\nconnection: close\r\n\r\n"
        );
        let answer = exchange(self.address, request.as_bytes()).json();
        assert_eq!(answer["status"], "success", "{query}: {answer}");
        answer["data"]["result"].as_array().unwrap().clone()
    }

    /// Waits until the query gives this one number.
    fn wait_for(&self, query: &str, expected: &str) {
        let begin = Instant::now();
        loop {
            let found = self.query(query);
            if let [sample] = &found[..]
                && sample["value"][1] == expected
            {
                return;
            }
            assert!(
                begin.elapsed() < PATIENCE,
                "{query}: {found:?} is not {expected}"
            );
            sleep(Duration::from_millis(100));
        }
    }
}

/// It listens before it can answer queries.
fn is_ready(address: SocketAddr) -> bool {
    let request = b"GET /-/ready HTTP/1.1\r\nhost: p\r\nconnection: close\r\n\r\n";
    TcpStream::connect(address).is_ok() && exchange(address, request).status == 200
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The queries of the dashboard, with its variables filled in.
fn dashboard() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/grafana.json");
    let dashboard: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    targets
        .map(|target| {
            let query = target["expr"].as_str().unwrap();
            let filled = query
                .replace("$__rate_interval", "1m")
                .replace("$job", ".*");
            filled.replace("$model", ".*")
        })
        .collect()
}

/// One that is in force, with a shadow.
fn deployment() -> DeploymentSeen {
    let variant = |version: &str, share| VariantSeen {
        name: version.into(),
        version: version.into(),
        share,
    };
    DeploymentSeen {
        model: "tumour-risk".into(),
        ready: true,
        in_force: Some(InForceSeen {
            revision: 2,
            strategy: "canary",
            phase: "progressing",
            variants: vec![variant("1.0.0", 0.9), variant("2.0.0", 0.1)],
            shadow: Some("2.0.0".into()),
        }),
    }
}

#[test]
fn a_prometheus_knows_how_many_predictions_there_were() {
    let host = serving(|config| {
        let observer = config.observer.as_ref().unwrap();
        observer.watch_deployments(|| vec![deployment()]);
    });
    let test = "a_prometheus_knows_how_many_predictions_there_were";
    let Some(prometheus) = Prometheus::start(test, &host) else {
        return;
    };
    prometheus.wait_for(r#"up{job="twinfer"}"#, "1");
    for _ in 0..7 {
        predict(&host);
    }
    let own = host.get("/metrics?names=triton").text();
    let counted = own
        .lines()
        .find(|line| line.starts_with("nv_inference_request_success"))
        .unwrap();
    assert_eq!(value(&own, counted.rsplit_once(' ').unwrap().0), Some(7.0));
    for query in [
        r#"sum(nv_inference_request_success{model="tumour-risk"})"#,
        r#"sum(twinfer_requests_total{model="tumour-risk", code="200"})"#,
        r#"request_predict_seconds_count{model_name="tumour-risk"}"#,
    ] {
        prometheus.wait_for(query, "7");
    }
    let share = r#"sum(twinfer_deployment_traffic_ratio{model="tumour-risk"})"#;
    prometheus.wait_for(share, "1");
    // A second scrape, so that there are rates; then every query of the dashboard is one that it
    // takes, and most have an answer.
    prometheus.wait_for(
        "count_over_time(twinfer_instances_limit[1m]) >= bool 3",
        "1",
    );
    let queries = dashboard();
    let answered = queries
        .iter()
        .filter(|query| !prometheus.query(query).is_empty());
    let answered = answered.count();
    assert!(
        answered * 3 > queries.len() * 2,
        "{answered} of {}",
        queries.len()
    );
}
