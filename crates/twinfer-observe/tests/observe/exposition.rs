//! What is counted, as text.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use twinfer_observe::catalogue::{ALL, Kind, Place};
use twinfer_observe::{
    Answered, Asked, DeploymentSeen, HostMetrics, InForceSeen, Metrics, Names, Observation,
    Outcome, Selection, VariantSeen,
};

/// The answer of a model.
pub fn answered(model: &str, version: &str) -> Answered {
    Answered {
        model: model.into(),
        version: version.into(),
        digest: None,
        load_ms: Some(0.5),
        predict_ms: Some(12.0),
        preprocess_ms: Some(1.5),
        run_ms: Some(10.0),
        postprocess_ms: Some(0.5),
        cache_hit: None,
        inferences: None,
        executions: None,
    }
}

pub fn see(metrics: &Metrics, method: &Method, path: &str, outcome: Outcome<'_>) {
    let asked = Asked::new(method, path);
    let begun = metrics.begin(&asked);
    metrics.observe(
        begun,
        &Observation {
            asked,
            outcome,
            queue: Some(Duration::from_micros(1500)),
            total: Duration::from_millis(20),
        },
    );
}

/// Metrics of a host in which everything happened once.
pub fn full() -> (Metrics, HostMetrics) {
    let metrics = Metrics::new().unwrap();
    let host = HostMetrics::new(&metrics, 1.5e9).unwrap();
    let by = answered("m", "1.0.0");
    see(
        &metrics,
        &Method::POST,
        "/v2/models/m/infer",
        Outcome::Answer(200, Some(&by)),
    );
    see(
        &metrics,
        &Method::POST,
        "/v2/models/m/infer",
        Outcome::Answer(503, None),
    );
    see(
        &metrics,
        &Method::POST,
        "/v2/models/m/infer",
        Outcome::Canceled,
    );
    ask_the_cache(&metrics);
    host.waited(Duration::from_millis(2));
    host.limit_instances(2);
    host.instance_started();
    host.instance_ended("idle");
    host.instance_replaced("timeout");
    host.full_needed();
    host.component_loaded("cache", 0.1);
    host.component_cache_error("ignored");
    host.index_read(1.6e9, 0);
    host.reloaded(true, 1.6e9);
    host.index_updated();
    host.index_refused("self_test_failed");
    host.state("redis", true, 0);
    host.spans_exported(1);
    host.spans_dropped("queue_full", 1);
    host.log_event("info", "listening");
    host.process(Some(1), Some(2), Some(3));
    host.releases().show(&[deployment(3, &[("1.0.0", 1.0)])]);
    (metrics, host)
}

/// One of `m`, with a shadow.
fn deployment(revision: u64, variants: &[(&str, f64)]) -> DeploymentSeen {
    let variants = variants.iter().map(|(version, share)| VariantSeen {
        name: (*version).into(),
        version: (*version).into(),
        share: *share,
    });
    DeploymentSeen {
        model: "m".into(),
        ready: true,
        in_force: Some(InForceSeen {
            revision,
            strategy: "canary",
            phase: "progressing",
            variants: variants.collect(),
            shadow: Some("2.0.0".into()),
        }),
    }
}

pub fn lines(metrics: &Metrics) -> Vec<String> {
    let text = metrics.encode(&Selection::all()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn has(metrics: &Metrics, line: &str) {
    let lines = lines(metrics);
    assert!(
        lines.iter().any(|found| found == line),
        "{line} in\n{}",
        lines.join("\n")
    );
}

#[test]
fn a_prediction_is_counted_under_all_names() {
    let metrics = Metrics::new().unwrap();
    let by = answered("m", "1.0.0");
    for _ in 0..3 {
        see(
            &metrics,
            &Method::POST,
            "/v2/models/m/infer",
            Outcome::Answer(200, Some(&by)),
        );
    }
    for line in [
        r#"twinfer_requests_total{code="200",method="POST",model="m",route="/v2/models/{model}/infer",version="1.0.0"} 3"#,
        r#"twinfer_request_duration_seconds_count{model="m",route="/v2/models/{model}/infer",version="1.0.0"} 3"#,
        r#"twinfer_request_duration_seconds_bucket{model="m",route="/v2/models/{model}/infer",version="1.0.0",le="0.025"} 3"#,
        r#"twinfer_request_duration_seconds_bucket{model="m",route="/v2/models/{model}/infer",version="1.0.0",le="0.01"} 0"#,
        r#"twinfer_load_duration_seconds_count{model="m",version="1.0.0"} 3"#,
        r#"twinfer_predict_duration_seconds_count{model="m",version="1.0.0"} 3"#,
        r#"request_predict_seconds_count{model_name="m"} 3"#,
        r#"nv_inference_request_success{model="m",version="1.0.0"} 3"#,
        r#"nv_inference_count{model="m",version="1.0.0"} 3"#,
        r#"nv_inference_exec_count{model="m",version="1.0.0"} 3"#,
        r#"nv_inference_request_duration_us{model="m",version="1.0.0"} 60000"#,
        r#"nv_inference_queue_duration_us{model="m",version="1.0.0"} 4500"#,
        r#"nv_inference_compute_infer_duration_us{model="m",version="1.0.0"} 30000"#,
        r#"nv_inference_compute_input_duration_us{model="m",version="1.0.0"} 4500"#,
        r#"nv_inference_compute_output_duration_us{model="m",version="1.0.0"} 1500"#,
        r#"request_preprocess_seconds_count{model_name="m"} 3"#,
        r#"request_predict_seconds_sum{model_name="m"} 0.03"#,
        r#"request_postprocess_seconds_count{model_name="m"} 3"#,
    ] {
        has(&metrics, line);
    }
}

#[test]
fn requests_that_ran_together_are_one_execution_of_all_their_rows() {
    let metrics = Metrics::new().unwrap();
    for (inferences, executions) in [(2, 1), (1, 0), (4, 0)] {
        let by = Answered {
            inferences: Some(inferences),
            executions: Some(executions),
            ..answered("m", "1.0.0")
        };
        let outcome = Outcome::Answer(200, Some(&by));
        see(&metrics, &Method::POST, "/v2/models/m/infer", outcome);
    }
    has(
        &metrics,
        r#"nv_inference_count{model="m",version="1.0.0"} 7"#,
    );
    has(
        &metrics,
        r#"nv_inference_exec_count{model="m",version="1.0.0"} 1"#,
    );
}

#[test]
fn what_the_cache_answers_is_no_inference() {
    let metrics = Metrics::new().unwrap();
    for cache_hit in [Some(false), Some(true), Some(true)] {
        let by = Answered {
            cache_hit,
            run_ms: None,
            ..answered("m", "1.0.0")
        };
        let outcome = Outcome::Answer(200, Some(&by));
        see(&metrics, &Method::POST, "/v2/models/m/infer", outcome);
    }
    for line in [
        r#"nv_inference_request_success{model="m",version="1.0.0"} 3"#,
        r#"nv_inference_count{model="m",version="1.0.0"} 1"#,
        r#"nv_cache_num_hits_per_model{model="m",version="1.0.0"} 2"#,
        r#"nv_cache_num_misses_per_model{model="m",version="1.0.0"} 1"#,
        r#"twinfer_prediction_cache_total{model="m",result="hit",version="1.0.0"} 2"#,
        // Without parts, all after loading is the time of the model.
        r#"nv_inference_compute_infer_duration_us{model="m",version="1.0.0"} 12000"#,
        r#"request_predict_seconds_count{model_name="m"} 1"#,
    ] {
        has(&metrics, line);
    }
}

/// The cache is asked, once in vain.
fn ask_the_cache(metrics: &Metrics) {
    for cache_hit in [Some(false), Some(true)] {
        let by = Answered {
            cache_hit,
            ..answered("m", "1.0.0")
        };
        let outcome = Outcome::Answer(200, Some(&by));
        see(metrics, &Method::POST, "/v2/models/m/infer", outcome);
    }
}

#[test]
fn failures_are_counted_by_their_reason() {
    let metrics = Metrics::new().unwrap();
    let by = answered("m", "1.0.0");
    let path = "/v2/models/m/predict";
    see(
        &metrics,
        &Method::POST,
        path,
        Outcome::Answer(400, Some(&by)),
    );
    for status in [429, 503, 504] {
        see(&metrics, &Method::POST, path, Outcome::Answer(status, None));
    }
    see(&metrics, &Method::POST, path, Outcome::Canceled);
    see(&metrics, &Method::GET, "/v2", Outcome::Answer(401, None));
    for line in [
        r#"nv_inference_request_failure{model="m",reason="OTHER",version="1.0.0"} 1"#,
        r#"nv_inference_request_failure{model="m",reason="REJECTED",version=""} 2"#,
        r#"nv_inference_request_failure{model="m",reason="BACKEND",version=""} 1"#,
        r#"nv_inference_request_failure{model="m",reason="CANCELED",version=""} 1"#,
        r#"twinfer_requests_refused_total{reason="rate_limited"} 1"#,
        r#"twinfer_requests_refused_total{reason="overloaded"} 1"#,
        r#"twinfer_requests_refused_total{reason="unauthorized"} 1"#,
        r#"twinfer_requests_total{code="499",method="POST",model="m",route="/v2/models/{model}/predict",version=""} 1"#,
        r#"twinfer_requests_total{code="401",method="GET",model="",route="/v2",version=""} 1"#,
    ] {
        has(&metrics, line);
    }
    // A failure is no time of a prediction.
    assert!(
        !lines(&metrics)
            .iter()
            .any(|line| line.starts_with("request_predict_seconds"))
    );
    assert!(
        !lines(&metrics)
            .iter()
            .any(|line| line.starts_with("nv_inference_request_success"))
    );
}

#[test]
fn what_clients_make_up_makes_no_series() {
    let metrics = Metrics::new().unwrap();
    let made_up = Method::from_bytes(b"MADEUP").unwrap();
    let outcome = || Outcome::Answer(404, None);
    let one = |name: &str| {
        see(
            &metrics,
            &Method::POST,
            &format!("/v2/models/{name}/infer"),
            outcome(),
        );
        see(
            &metrics,
            &Method::POST,
            &format!("/v1/models/{name}:predict"),
            outcome(),
        );
        see(
            &metrics,
            &Method::GET,
            &format!("/v2/models/m/versions/{name}"),
            outcome(),
        );
        see(&metrics, &Method::GET, &format!("/{name}"), outcome());
        see(
            &metrics,
            &Method::GET,
            &format!("/registry/{name}"),
            outcome(),
        );
        see(&metrics, &made_up, &format!("/{name}"), outcome());
    };
    one("first");
    let before = lines(&metrics).len();
    for number in 0..200 {
        one(&format!("name-{number}"));
    }
    assert_eq!(lines(&metrics).len(), before);
    has(
        &metrics,
        r#"twinfer_requests_total{code="404",method="POST",model="_unknown",route="/v2/models/{model}/infer",version=""} 201"#,
    );
}

#[test]
fn what_lives_is_counted_as_long_as_it_lives() {
    let metrics = Metrics::new().unwrap();
    let host = HostMetrics::new(&metrics, 0.0).unwrap();
    let pending = {
        let by = answered("m", "1.0.0");
        let path = "/v2/models/m/infer";
        see(
            &metrics,
            &Method::POST,
            path,
            Outcome::Answer(200, Some(&by)),
        );
        metrics.begin(&Asked::new(&Method::POST, path))
    };
    let (idle, memory) = (host.idle_instance(), host.instance_memory());
    memory.set(100);
    memory.set(70);
    let more = host.instance_memory();
    more.set(1);
    let busy = host.busy_instance();
    let loaded = host.loaded(&metrics, "m", "1.0.0");
    let flying = host.in_flight();
    let waiting = host.waiting();
    for line in [
        r#"twinfer_instances{state="busy"} 1"#,
        r#"twinfer_instances{state="idle"} 0"#,
        "twinfer_instance_memory_bytes 71",
        r#"twinfer_model_instances{model="m",version="1.0.0"} 1"#,
        "twinfer_requests_in_flight 1",
        "twinfer_queue_length 1",
        r#"nv_inference_pending_request_count{model="m",version=""} 1"#,
    ] {
        has(&metrics, line);
    }
    drop(busy);
    has(&metrics, r#"twinfer_instances{state="idle"} 1"#);
    drop((idle, memory, more, loaded, flying, waiting, pending));
    for line in [
        r#"twinfer_instances{state="busy"} 0"#,
        r#"twinfer_instances{state="idle"} 0"#,
        "twinfer_instance_memory_bytes 0",
        r#"twinfer_model_instances{model="m",version="1.0.0"} 0"#,
        "twinfer_requests_in_flight 0",
        "twinfer_queue_length 0",
        r#"nv_inference_pending_request_count{model="m",version=""} 0"#,
    ] {
        has(&metrics, line);
    }
}

#[test]
fn deployments_come_and_go() {
    let metrics = Metrics::new().unwrap();
    let host = HostMetrics::new(&metrics, 0.0).unwrap();
    let releases = host.releases();
    releases.show(&[deployment(3, &[("1.0.0", 0.75), ("2.0.0", 0.25)])]);
    releases.evaluated("m", "rollback");
    releases.changed("m", "rollback", "controller");
    releases.shadowed("m", "2.0.0", "different");
    for line in [
        r#"twinfer_deployment_info{model="m",phase="progressing",strategy="canary"} 1"#,
        r#"twinfer_deployment_revision{model="m"} 3"#,
        r#"twinfer_deployment_traffic_ratio{model="m",variant="1.0.0",version="1.0.0"} 0.75"#,
        r#"twinfer_deployment_traffic_ratio{model="m",variant="2.0.0",version="2.0.0"} 0.25"#,
        r#"twinfer_deployment_ready{model="m"} 1"#,
        r#"twinfer_deployment_evaluations_total{model="m",outcome="rollback"} 1"#,
        r#"twinfer_deployment_evaluations_total{model="m",outcome="hold"} 0"#,
        r#"twinfer_deployment_changes_total{action="rollback",by="controller",model="m"} 1"#,
        r#"twinfer_shadow_requests_total{model="m",outcome="different",version="2.0.0"} 1"#,
        r#"twinfer_shadow_requests_total{model="m",outcome="failed",version="2.0.0"} 0"#,
    ] {
        has(&metrics, line);
    }
    // Another one takes its place, and another model waits for its first.
    let waiting = DeploymentSeen {
        model: "n".into(),
        ready: false,
        in_force: None,
    };
    releases.show(&[deployment(4, &[("2.0.0", 1.0)]), waiting]);
    let of = |name: &str| {
        let lines = lines(&metrics).into_iter();
        let lines = lines.filter(|line| line.starts_with(name));
        lines.collect::<Vec<_>>()
    };
    assert_eq!(
        of("twinfer_deployment_traffic_ratio"),
        [r#"twinfer_deployment_traffic_ratio{model="m",variant="2.0.0",version="2.0.0"} 1"#]
    );
    assert_eq!(
        of("twinfer_deployment_ready"),
        [
            r#"twinfer_deployment_ready{model="m"} 1"#,
            r#"twinfer_deployment_ready{model="n"} 0"#
        ]
    );
    // And none is left.
    releases.show(&[]);
    assert_eq!(of("twinfer_deployment_ready"), Vec::<String>::new());
    assert_eq!(of("twinfer_deployment_info"), Vec::<String>::new());
    has(
        &metrics,
        r#"twinfer_deployment_evaluations_total{model="m",outcome="rollback"} 1"#,
    );
}

#[test]
fn every_metric_of_the_catalogue_is_there_and_no_other() {
    let (metrics, _host) = full();
    let text = lines(&metrics);
    let types: BTreeSet<_> = text
        .iter()
        .filter_map(|l| l.strip_prefix("# TYPE "))
        .collect();
    let mut missing: Vec<String> = Vec::new();
    for metric in ALL {
        let line = format!("{} {}", metric.name, metric.kind.as_str());
        // It needs a loaded model, which `what_lives_…` has.
        if metric.name != "twinfer_model_instances" && !types.contains(line.as_str()) {
            missing.push(line);
        }
    }
    assert_eq!(missing, Vec::<String>::new());
    assert_eq!(types.len(), ALL.len() - 1);
}

#[test]
fn a_selection_has_the_names_that_were_asked_for() {
    let (metrics, _host) = full();
    let names = |query: &str| -> BTreeSet<&str> {
        let text = metrics
            .encode(&Selection::of_query(Some(query)).unwrap())
            .unwrap();
        let of = |line: &str| {
            let name = line.strip_prefix("# TYPE ")?.split(' ').next()?;
            ALL.iter().find(|metric| metric.name == name)
        };
        text.lines()
            .filter_map(of)
            .map(|metric| metric.names.as_str())
            .collect()
    };
    assert_eq!(names(""), ["kserve", "twinfer"].into());
    for one in Names::ALL {
        assert_eq!(
            names(&format!("names={}", one.as_str())),
            [one.as_str()].into()
        );
    }
}

#[test]
fn a_component_by_itself_has_what_it_can_know() {
    let metrics = Metrics::new().unwrap();
    let by = answered("m", "1.0.0");
    see(
        &metrics,
        &Method::POST,
        "/v2/models/m/infer",
        Outcome::Answer(200, Some(&by)),
    );
    see(
        &metrics,
        &Method::POST,
        "/v2/models/m/infer",
        Outcome::Answer(503, None),
    );
    ask_the_cache(&metrics);
    let text = lines(&metrics);
    let there = |name: &str| {
        text.iter()
            .any(|line| line.starts_with(&format!("# TYPE {name} ")))
    };
    for metric in ALL {
        assert_eq!(
            there(metric.name),
            metric.place == Place::Everywhere,
            "{}",
            metric.name
        );
    }
}

/// `docs/observability.md` has a table of all metrics, made from the catalogue. `TWINFER_BLESS` writes it.
#[test]
fn generated_table_of_the_documentation_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/observability.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (begin, end) = (
        "<!-- metrics: made from the catalogue -->\n",
        "<!-- end of metrics -->",
    );
    let (head, rest) = text.split_once(begin).unwrap();
    let (_, tail) = rest.split_once(end).unwrap();
    let mut table =
        String::from("| metric | kind | labels | whose name | what |\n|---|---|---|---|---|\n");
    for metric in ALL {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let kind = match metric.kind {
            Kind::Histogram(_) => "histogram",
            other => other.as_str(),
        };
        let whose = match metric.place {
            Place::Everywhere => metric.names.as_str().to_owned(),
            Place::Host => format!("{}, host", metric.names.as_str()),
        };
        table += &format!(
            "| `{}` | {kind} | {} | {whose} | {} |\n",
            metric.name,
            labels.join(", "),
            metric.help
        );
    }
    let made = format!("{head}{begin}{table}{end}{tail}");
    if std::env::var_os("TWINFER_BLESS").is_some() {
        std::fs::write(path, made).unwrap();
        return;
    }
    assert!(
        made == text,
        "docs/observability.md is not up to date: run `cargo xtask generate`"
    );
}
