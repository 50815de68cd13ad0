//! `promtool check metrics`, of the Debian package `prometheus`.

use std::io::Write;
use std::process::{Command, Stdio};

use twinfer_observe::Selection;

use crate::exposition::full;

/// What promtool says, and its exit code; `None` where it is not here.
fn promtool(test: &str, exposition: &str) -> Option<(String, Option<i32>)> {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        let all = std::env::var_os("TWINFER_TEST_ALL").is_some_and(|all| all == "1");
        assert!(!all, "{test}: promtool is not on the PATH");
        // Not captured, so that it is seen.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED {test}: promtool is not on the PATH"
        );
        return None;
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(exposition.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some((String::from_utf8(said).unwrap(), output.status.code()))
}

#[test]
fn promtool_takes_what_is_exposed() {
    let (metrics, _host) = full();
    let text = metrics.encode(&Selection::default()).unwrap();
    let Some(said) = promtool("promtool_takes_what_is_exposed", &text) else {
        return;
    };
    assert_eq!(said, (String::new(), Some(0)));
}

/// Triton's names are what they are: promtool reads them, and complains about names alone.
#[test]
fn promtool_complains_about_names_of_triton_only() {
    let (metrics, _host) = full();
    let text = metrics.encode(&Selection::all()).unwrap();
    let Some((said, code)) = promtool("promtool_complains_about_names_of_triton_only", &text)
    else {
        return;
    };
    assert_eq!(code, Some(3), "{said}");
    for line in said.lines() {
        let about_a_name = ["suffix", "abbreviated units"]
            .iter()
            .any(|part| line.contains(part));
        assert!(line.starts_with("nv_") && about_a_name, "{line}");
    }
}
