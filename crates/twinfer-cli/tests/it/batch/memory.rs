//! An input that is much larger than the memory that a job takes.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write;
use std::process::Stdio;

use super::{csv, records};
use crate::support::Place;

/// Bytes of the input.
const INPUT: usize = 768 << 20;
/// Of a row, most of them in a column that the model does not take.
const ROW: usize = 1 << 20;
/// What the process may have at its peak: program, model, stacks, and chunks of 4 MB for each thread, three at
/// a time and some of them in several forms.
const BOUND: usize = 200 << 20;

#[test]
fn memory_is_bounded() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    let table = csv(&records(1));
    let (names, row) = table.trim_end().split_once('\n').unwrap();
    let line = format!("{row},{}\n", "x".repeat(ROW));
    let mut child = place
        .command(&[
            "batch",
            "tumour-risk-mlp",
            "-i",
            "-",
            "--input-format",
            "csv",
            "-o",
            "o.csv",
            "--threads",
            "2",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let status = format!("/proc/{}/status", child.id());
    input
        .write_all(format!("{names},note\n").as_bytes())
        .unwrap();
    let mut peak = 0;
    for _ in 0..INPUT / ROW {
        input.write_all(line.as_bytes()).unwrap();
        peak = peak.max(high_water(&status));
    }
    drop(input);
    assert!(child.wait().unwrap().success());
    let written = fs::read_to_string(place.path("o.csv")).unwrap();
    assert_eq!(written.lines().count(), 1 + INPUT / ROW);
    eprintln!(
        "{} MB in, {} MB of memory at the peak",
        INPUT >> 20,
        peak >> 20
    );
    assert!(peak > 0 && peak < BOUND, "{peak}");
}

/// The largest resident size so far, in bytes.
fn high_water(status: &str) -> usize {
    let status = fs::read_to_string(status).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes.map_or(0, |number| number.trim().parse::<usize>().unwrap() << 10)
}
