//! An input that is much larger than the memory that a job takes.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{csv, records};
use crate::support::Place;

/// Bytes of the text.
const INPUT: usize = 768 << 20;
/// Of a row, most of them in a column that the model does not take.
const ROW: usize = 1 << 20;
/// What the process may have at its peak: program, model, stacks, and chunks of 4 MB for each thread, three at
/// a time and some of them in several forms.
const BOUND: usize = 200 << 20;

fn job(place: &Place, input: &str) -> Command {
    let job = ["batch", "tumour-risk-mlp", "-i", input, "-o", "o.csv"];
    let more = ["--input-format", "csv", "--threads", "2"];
    let mut command = place.command(&[&job[..], &more].concat());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The first line, and one that comes again and again.
fn table() -> (String, String) {
    let table = csv(&records(1));
    let (names, row) = table.trim_end().split_once('\n').unwrap();
    let line = format!("{row},{}\n", "x".repeat(ROW));
    (format!("{names},note\n"), line)
}

fn check(place: &Place, mut child: Child, peak: usize) {
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

#[test]
fn memory_is_bounded() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    let (names, line) = table();
    let mut child = job(&place, "-").stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(names.as_bytes()).unwrap();
    let mut peak = 0;
    for _ in 0..INPUT / ROW {
        input.write_all(line.as_bytes()).unwrap();
        peak = peak.max(high_water(&child));
    }
    drop(input);
    check(&place, child, peak);
}

#[test]
fn memory_is_bounded_where_a_small_file_has_much_in_it() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    let (names, line) = table();
    let mut file = GzEncoder::new(Vec::new(), Compression::fast());
    file.write_all(names.as_bytes()).unwrap();
    for _ in 0..INPUT / ROW {
        file.write_all(line.as_bytes()).unwrap();
    }
    let file = file.finish().unwrap();
    assert!(file.len() < INPUT / 50, "{}", file.len());
    place.write("in.csv.gz", file);
    let mut child = job(&place, "in.csv.gz").spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak.max(high_water(&child));
        std::thread::sleep(Duration::from_millis(5));
    }
    check(&place, child, peak);
}

/// The largest resident size so far, in bytes.
fn high_water(child: &Child) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes.map_or(0, |number| number.trim().parse::<usize>().unwrap() << 10)
}
