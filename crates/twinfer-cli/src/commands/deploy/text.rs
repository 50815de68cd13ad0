//! Deployments as text.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value as Json;

use crate::output::table;

/// Events that are shown.
const EVENTS: usize = 5;

/// One of them.
pub fn one(told: &Json) -> String {
    let deployment = &told["deployment"];
    let word = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    let steps = deployment["strategy"]["steps"].as_array().map(Vec::len);
    let step = steps
        .filter(|_| matches!(&*word(&told["phase"]), "progressing" | "paused"))
        .map(|steps| {
            let at = deployment["status"]["step"].as_u64().unwrap_or(0) + 1;
            format!(", step {at} of {steps}")
        });
    let mut lines = vec![format!(
        "{}:{}  revision {}, {} {}{}",
        word(&told["name"]),
        word(&deployment["alias"]),
        told["revision"],
        word(&deployment["strategy"]["kind"]),
        word(&told["phase"]),
        step.unwrap_or_default()
    )];
    lines.extend(variants(&deployment["variants"]).lines().map(indented));
    if let Some(shadow) = deployment["shadow"]["variant"].as_str() {
        let sample = deployment["shadow"]["sample"].as_u64().unwrap_or(0);
        lines.push(format!(
            "  shadow: {shadow}, {} of the requests",
            percent(sample)
        ));
    }
    let waiting = &told["here"]["waiting"];
    if let Some(why) = waiting["message"].as_str() {
        let what = match waiting["revision"] == told["here"]["revision"] {
            true => "broken on this server",
            false => "not in force on this server",
        };
        lines.push(format!("  {what} ({}): {why}", word(&waiting["code"])));
    }
    let events = told["events"].as_array().cloned().unwrap_or_default();
    let first = events.len().saturating_sub(EVENTS);
    for event in events.iter().skip(first) {
        let at = UNIX_EPOCH + Duration::from_millis(event["at"].as_u64().unwrap_or(0));
        let mut line = format!(
            "  {}  {} by {}",
            humantime::format_rfc3339_seconds(at),
            word(&event["action"]),
            word(&event["by"])
        );
        if let Some(reason) = event["reason"].as_str().filter(|reason| !reason.is_empty()) {
            line += &format!(": {reason}");
        }
        lines.push(line);
    }
    lines.join("\n")
}

/// All of them.
pub fn list(told: &Json) -> String {
    let all = told["deployments"].as_array().cloned().unwrap_or_default();
    if all.is_empty() {
        return "there are no deployments".into();
    }
    let row = |one: &Json| {
        let word = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
        let shares = one["variants"].as_array().into_iter().flatten().map(|v| {
            let weight = v["weight"].as_u64().unwrap_or(0);
            format!(
                "{} {}",
                v["version"].as_str().unwrap_or_default(),
                percent(weight)
            )
        });
        let shares = match one["error"].as_str() {
            Some(error) => error.to_owned(),
            None => shares.collect::<Vec<_>>().join(", "),
        };
        vec![
            word("name"),
            one["revision"].to_string(),
            word("strategy"),
            word("phase"),
            shares,
        ]
    };
    table(&all.iter().map(row).collect::<Vec<_>>())
}

fn variants(variants: &Json) -> String {
    let row = |variant: &Json| {
        let word = |name: &str| variant[name].as_str().unwrap_or_default().to_owned();
        // Most have no name but their version.
        let version = match (word("name"), word("version")) {
            (name, version) if name == version => version,
            (name, version) => format!("{version} ({name})"),
        };
        vec![
            version,
            percent(variant["weight"].as_u64().unwrap_or(0)),
            word("role"),
            word("digest"),
        ]
    };
    let rows: Vec<Vec<String>> = variants.as_array().into_iter().flatten().map(row).collect();
    table(&rows)
}

fn indented(line: &str) -> String {
    format!("  {line}")
}

/// Basis points for people.
fn percent(points: u64) -> String {
    match points % 100 {
        0 => format!("{} %", points / 100),
        rest => format!("{}.{rest:02} %", points / 100),
    }
}
