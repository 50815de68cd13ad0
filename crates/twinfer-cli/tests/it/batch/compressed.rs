//! Text that is compressed with gzip.

use std::fs;

use serde_json::json;

use super::{batch, csv, fed, gzip, json_lines, records};
use crate::support::Place;

/// One by one, so that answers are the same to the bit however rows come.
const ALONE: [&str; 4] = ["--batch", "1", "--row-number", "row"];

fn arguments<'a>(input: &'a str, output: &'a str) -> Vec<&'a str> {
    let common = ["batch", "tumour-risk", "-i", input, "-o", output];
    [&common[..], &ALONE].concat()
}

fn read(place: &Place, name: &str) -> Vec<u8> {
    fs::read(place.path(name)).unwrap()
}

#[test]
fn rows_are_those_of_the_text_inside() {
    let place = Place::new();
    place.pack("tumour-risk");
    let records = records(700);
    let (table, rows) = (csv(&records), json_lines(&records));
    place.write("in.csv", &table);
    place.write("in.jsonl", &rows);
    place.json(&arguments("in.csv", "csv.jsonl"));
    place.json(&arguments("in.jsonl", "jsonl.jsonl"));
    // Members one after the other, as log rotation and `cat` make them; the first ends in a row.
    let (begin, end) = table.as_bytes().split_at(table.len() / 3);
    let members = [gzip(begin), gzip(""), gzip(end)].concat();
    let marked = format!("\u{feff}{table}");
    let inputs = [
        ("a.csv.gz", members.clone(), "csv.jsonl"),
        ("b.tsv.gz", gzip(table.replace(',', "\t")), "csv.jsonl"),
        ("c.jsonl.gz", gzip(&rows), "jsonl.jsonl"),
        ("d.NDJSON.GZ", gzip(&rows), "jsonl.jsonl"),
        // By what is in it, whatever its name.
        ("e.csv", gzip(marked), "csv.jsonl"),
    ];
    for (name, content, wanted) in inputs {
        place.write(name, content);
        place.json(&arguments(name, "o.jsonl"));
        assert!(read(&place, "o.jsonl") == read(&place, wanted), "{name}");
    }
    // A pipe, also one that has a name, as shells give it for `<(zcat …)`.
    for input in ["-", "/dev/stdin"]
        .into_iter()
        .take(if cfg!(unix) { 2 } else { 1 })
    {
        for content in [&members[..], table.as_bytes()] {
            let job = [&arguments(input, "o.jsonl")[..], &["--input-format", "csv"]].concat();
            let said = fed(&place, &job, content);
            assert_eq!(said.code, Some(0), "{}", said.err);
            assert!(
                read(&place, "o.jsonl") == read(&place, "csv.jsonl"),
                "{input}"
            );
        }
    }
}

#[test]
fn what_is_cut_off_is_gone_on_with_when_it_is_whole() {
    let place = Place::new();
    place.pack("tumour-risk");
    let table = csv(&records(3000));
    let whole = gzip(&table);
    place.write("whole.csv.gz", &whole);
    place.json(&arguments("whole.csv.gz", "whole.csv"));
    for input in ["in.csv.gz", "-"] {
        let job = [&arguments(input, "o.csv")[..], &["--input-format", "csv"]].concat();
        let cut = &whole[..whole.len() / 2];
        let run = |bytes: &[u8], more: &[&str]| {
            place.write("in.csv.gz", bytes);
            fed(&place, &[&job[..], more].concat(), bytes)
        };
        let said = run(cut, &[]);
        assert_eq!(said.code, Some(1), "{}", said.err);
        assert!(
            said.err.starts_with("error[invalid_input]: ") && said.err.contains("is cut off"),
            "{}",
            said.err
        );
        assert!(!place.path("o.csv").exists());
        // Another file is refused, and nothing of what was done is lost.
        let other = gzip(table.replacen("p7,", "p8,", 1));
        let said = run(&other, &[]);
        assert!(
            said.err.starts_with("error[checkpoint_mismatch]: ")
                && said.err.contains("another input"),
            "{}",
            said.err
        );
        let said = run(&whole, &["--json"]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(report["rows"], 3000);
        assert!(report["resumed_at"].as_u64().unwrap() > 1000, "{report}");
        assert!(
            read(&place, "o.csv") == read(&place, "whole.csv"),
            "{input}"
        );
        fs::remove_file(place.path("o.csv")).unwrap();
    }
}

#[test]
fn damaged_files_give_errors() {
    let place = Place::new();
    place.pack("tumour-risk");
    let table = csv(&records(200));
    let whole = gzip(&table);
    let refused = |content: &[u8], why: &str| {
        place.write("in.csv.gz", content);
        let job = ["batch", "tumour-risk", "-i", "in.csv.gz", "-o", "o.csv"];
        let never = [&job[..], &["--resume", "never"]].concat();
        let error = place.bad(&never, "invalid_input", 1);
        assert!(
            error.contains("in.csv.gz") && error.contains(why),
            "{error}"
        );
    };
    refused(table.as_bytes(), "is not gzip");
    refused(b"", "is cut off");
    for length in [1, 9, 10, 15, whole.len() - 1] {
        refused(&whole[..length], "is cut off");
    }
    refused(&[&whole[..], b"what is no member"].concat(), "is not gzip");
    let mut checksum = whole.clone();
    let at = checksum.len() - 6;
    checksum[at] ^= 1;
    refused(&checksum, "is not gzip");
    for round in 1..20 {
        let mut changed = whole.clone();
        let at = changed.len() * round / 20;
        changed[at] ^= 0x5a;
        place.write("in.csv.gz", &changed);
        let job = ["tumour-risk", "-i", "in.csv.gz", "-o", "o.csv"];
        let said = batch(&place, &[&job[..], &["--resume", "never"]].concat());
        assert_eq!(said.code, Some(1), "at {at}: {}", said.err);
        assert!(!said.err.contains("panicked"), "at {at}: {}", said.err);
    }
    place.write("in.parquet.gz", gzip("PAR1"));
    let job = ["batch", "tumour-risk", "-i", "in.parquet.gz", "-o", "o.csv"];
    let error = place.bad(&job, "invalid_input", 1);
    assert!(error.contains("unpack it"), "{error}");
    // A table without rows has none, compressed or not.
    place.write("in.jsonl.gz", gzip(""));
    let report = place.json(&["batch", "tumour-risk", "-i", "in.jsonl.gz", "-o", "n.jsonl"]);
    assert_eq!(report["rows"], json!(0));
}
