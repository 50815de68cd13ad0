//! How far a job is, as those who look at it read it.

use serde_json::Value as Json;

use super::{csv, fed, gzip, parquet, records};
use crate::support::{Place, Said};

const ROWS: usize = 800;

/// Runs a job that tells after each chunk how far it is.
fn told(place: &Place, input: &str, more: &[&str]) -> Said {
    let job = ["batch", "tumour-risk", "-i", input, "-o", "o.jsonl"];
    let often = ["--batch", "16", "--progress-every", "0s"];
    let stdin = csv(&records(ROWS));
    let said = fed(place, &[&job[..], &often, more].concat(), stdin);
    assert_eq!(said.code, Some(0), "{}", said.err);
    said
}

fn with_inputs() -> Place {
    let place = Place::new();
    place.pack("tumour-risk");
    let records = records(ROWS);
    place.write("in.csv", csv(&records));
    place.write("in.csv.gz", gzip(csv(&records)));
    place.write("in.parquet", parquet(&records));
    place.write("parts/0.parquet", parquet(&records[..300]));
    place.write("parts/1.parquet", parquet(&records[300..]));
    place.write("texts/0.csv", csv(&records[..300]));
    place.write("texts/1.csv.gz", gzip(csv(&records[300..])));
    place
}

/// The numbers of each line of JSON.
fn numbers(said: &Said, name: &str) -> Vec<Option<f64>> {
    let line = |line: &str| {
        let line: Json = serde_json::from_str(line).unwrap();
        assert_eq!(line["event"], "progress", "{line}");
        let progress = line["progress"].as_object().unwrap();
        progress[name].as_f64()
    };
    said.err.lines().map(line).collect()
}

#[test]
fn lines_of_json() {
    let place = with_inputs();
    for input in ["in.csv", "in.csv.gz", "in.parquet", "parts", "texts", "-"] {
        let more: &[&str] = match input {
            "-" => &["--json", "--input-format", "csv"],
            _ => &["--json"],
        };
        let said = told(&place, input, more);
        let all = |name: &str| -> Vec<f64> {
            let numbers = numbers(&said, name).into_iter();
            numbers.map(|number| number.unwrap()).collect()
        };
        let rows = all("rows");
        assert!(rows.len() >= ROWS / 16, "{input}: {rows:?}");
        assert!(rows.is_sorted() && rows[0] > 0.0, "{input}: {rows:?}");
        assert_eq!(rows.last(), Some(&(ROWS as f64)), "{input}");
        assert!(
            all("rows_per_second").iter().all(|rate| *rate > 0.0),
            "{input}"
        );
        assert!(all("bad").iter().all(|bad| *bad == 0.0), "{input}");
        if input == "-" {
            // How long it is nobody knows.
            for name in ["fraction", "seconds_left"] {
                assert!(numbers(&said, name).iter().all(Option::is_none), "{name}");
            }
            continue;
        }
        let fractions = all("fraction");
        assert!(
            fractions.is_sorted() && fractions[0] > 0.0,
            "{input}: {fractions:?}"
        );
        // What ends gzip is read after the last row.
        assert!(*fractions.last().unwrap() > 0.99, "{input}: {fractions:?}");
        let left = all("seconds_left");
        assert!(left.iter().all(|left| *left >= 0.0), "{input}: {left:?}");
        // The report is alone on standard output.
        let report: Json = serde_json::from_str(&said.out).unwrap();
        assert_eq!(report["rows"], ROWS, "{report}");
    }
}

#[test]
fn lines_for_people() {
    let place = with_inputs();
    for (input, known) in [("in.csv", true), ("in.parquet", true), ("-", false)] {
        let more: &[&str] = match known {
            true => &[],
            false => &["--input-format", "csv"],
        };
        let said = told(&place, input, more);
        let mut rows = Vec::new();
        // `160 rows  20 %  350 rows/s  2s left`
        for line in said
            .err
            .lines()
            .filter(|line| !line.starts_with("left out"))
        {
            let parts: Vec<&str> = line.split("  ").collect();
            let number = |part: &str, unit: &str| -> f64 {
                let number = part.strip_suffix(unit);
                number.unwrap_or_else(|| panic!("{line}")).parse().unwrap()
            };
            rows.push(number(parts[0], " rows"));
            let rate = match known {
                true => {
                    assert!(number(parts[1], " %") <= 100.0, "{line}");
                    let left = parts[3].strip_suffix(" left").unwrap();
                    humantime::parse_duration(left).unwrap();
                    parts[2]
                }
                false => parts[1],
            };
            number(rate, " rows/s");
            assert_eq!(parts.len(), if known { 4 } else { 2 }, "{line}");
        }
        assert!(
            rows.is_sorted() && rows.len() >= ROWS / 16,
            "{input}: {rows:?}"
        );
        assert_eq!(rows.last(), Some(&(ROWS as f64)), "{input}");
    }
}
