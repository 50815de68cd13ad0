//! Events of the log that are counted.

use serde_json::Value as Json;
use twinfer_observe::HostMetrics;

use super::wall;
use crate::log::LogLevel;

/// Counts an event: each one by its name, and those that have a metric of their own in that.
pub(super) fn count(metrics: &HostMetrics, level: LogLevel, event: &str, fields: &Json) {
    let text = |name: &str| fields.get(name).and_then(Json::as_str).unwrap_or_default();
    metrics.log_event(level.as_str(), event);
    match event {
        "instance_started" => metrics.instance_started(),
        "instance_ended" => metrics.instance_ended(text("why")),
        "instance_replaced" => metrics.instance_replaced(text("code")),
        "full_component_needed" => metrics.full_needed(),
        "component_loaded" => {
            let ms = fields.get("ms").and_then(Json::as_f64);
            metrics.component_loaded(text("from"), ms.unwrap_or_default() / 1e3);
        }
        "cache_entry_ignored" => metrics.component_cache_error("ignored"),
        "cache_not_written" => metrics.component_cache_error("not_written"),
        "updated" | "removed" => metrics.index_updated(),
        "update_refused" => metrics.index_refused(text("code")),
        "registry_read" => {
            let refused = fields.get("refused").and_then(Json::as_i64);
            metrics.index_read(wall::seconds(), refused.unwrap_or_default());
        }
        "deployment" => {
            // A person has a kind before the name: `key:…`.
            let by = match text("by") {
                "controller" => "controller",
                _ => "person",
            };
            metrics.releases().changed(text("name"), text("action"), by);
        }
        "deployment_evaluated" => metrics.releases().evaluated(text("name"), text("outcome")),
        "shadow_equal" | "shadow_different" | "shadow_failed" | "shadow_skipped" => {
            let outcome = event.trim_start_matches("shadow_");
            metrics
                .releases()
                .shadowed(text("name"), text("version"), outcome);
        }
        "source_unreachable" => metrics.registry_reachable(false),
        "source_reachable" => metrics.registry_reachable(true),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{ObserveOptions, Observer};
    use serde_json::json;
    use twinfer_observe::Selection;

    #[test]
    fn events_are_counted_in_their_metrics() {
        let observer = Observer::new(ObserveOptions::default()).unwrap();
        for (level, event, fields) in [
            (LogLevel::Info, "instance_started", json!({"instance": 1})),
            (LogLevel::Info, "instance_ended", json!({"why": "idle"})),
            (
                LogLevel::Warn,
                "instance_replaced",
                json!({"code": "timeout"}),
            ),
            (LogLevel::Warn, "full_component_needed", json!({})),
            (
                LogLevel::Info,
                "component_loaded",
                json!({"from": "cache", "ms": 250}),
            ),
            (LogLevel::Warn, "cache_entry_ignored", json!({})),
            (LogLevel::Warn, "cache_not_written", json!({})),
            (LogLevel::Info, "updated", json!({})),
            (LogLevel::Info, "removed", json!({})),
            (
                LogLevel::Error,
                "update_refused",
                json!({"code": "self_test_failed"}),
            ),
            (LogLevel::Debug, "registry_read", json!({"refused": 3})),
            (
                LogLevel::Info,
                "deployment",
                json!({"name": "m", "action": "promote", "by": "controller"}),
            ),
            (
                LogLevel::Info,
                "deployment",
                json!({"name": "m", "action": "apply", "by": "key:ada"}),
            ),
            (
                LogLevel::Debug,
                "deployment_evaluated",
                json!({"name": "m", "outcome": "hold"}),
            ),
            (
                LogLevel::Debug,
                "shadow_different",
                json!({"name": "m", "version": "2.0.0"}),
            ),
            (LogLevel::Warn, "source_unreachable", json!({})),
            (LogLevel::Info, "something_new", json!([])),
        ] {
            observer.event(level, event, &fields);
        }
        let text = observer.0.metrics.encode(&Selection::default()).unwrap();
        for line in [
            "twinfer_instances_started_total 1",
            "twinfer_instances_ended_total{reason=\"idle\"} 1",
            "twinfer_instances_replaced_total{reason=\"timeout\"} 1",
            "twinfer_full_component_needed_total 1",
            "twinfer_component_loads_total{from=\"cache\"} 1",
            "twinfer_component_load_seconds{from=\"cache\"} 0.25",
            "twinfer_component_cache_errors_total{reason=\"ignored\"} 1",
            "twinfer_component_cache_errors_total{reason=\"not_written\"} 1",
            "twinfer_index_updates_total 2",
            "twinfer_index_refusals_total{reason=\"self_test_failed\"} 1",
            "twinfer_index_refused 3",
            "twinfer_deployment_changes_total{action=\"promote\",by=\"controller\",model=\"m\"} 1",
            "twinfer_deployment_changes_total{action=\"apply\",by=\"person\",model=\"m\"} 1",
            "twinfer_deployment_evaluations_total{model=\"m\",outcome=\"hold\"} 1",
            "twinfer_shadow_requests_total{model=\"m\",outcome=\"different\",version=\"2.0.0\"} 1",
            "twinfer_registry_reachable 0",
            "twinfer_log_events_total{event=\"something_new\",level=\"info\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
