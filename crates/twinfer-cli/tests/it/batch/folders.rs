//! A folder of tables.

use std::fs;

use serde_json::{Value as Json, json};

use super::{
    csv, gzip, json_lines, lines, parquet, records, rows_of, softmax_is_run_row_by_row, some_bad,
};
use crate::support::Place;

/// A place with a model, and 300 rows in the files of folders of each format.
fn with_folders() -> Place {
    let place = Place::new();
    place.pack("tumour-risk");
    let records = records(300);
    let table = csv(&records);
    place.write("in.csv", &table);
    place.write("in.jsonl", json_lines(&records));
    // The order is that of their names, not that in which they are written.
    for (at, (from, to)) in [(100, 101), (101, 300), (0, 100)].into_iter().enumerate() {
        let name = ["b", "year=2026/b", "a"][at];
        let rows = &records[from..to];
        place.write(&format!("csv/part-{name}.csv"), rows_of(&table, from, to));
        place.write(&format!("mixed/part-{name}"), rows_of(&table, from, to));
        place.write(
            &format!("jsonl/part-{name}.jsonl.gz"),
            gzip(json_lines(rows)),
        );
        place.write(&format!("t.parquet/part-{name}.parquet"), parquet(rows));
    }
    place.write("mixed/part-b", gzip(rows_of(&table, 100, 101)));
    for folder in ["csv", "mixed", "jsonl", "t.parquet"] {
        // What Spark and Hadoop have beside: no rows are in it.
        for name in ["_SUCCESS", ".part-a.crc", "_delta_log/0.json"] {
            place.write(&format!("{folder}/{name}"), "no rows");
        }
    }
    for folder in ["csv", "jsonl", "mixed"] {
        place.write(&format!("{folder}/part-c.{folder}"), "");
    }
    place
}

fn answered(place: &Place, input: &str, more: &[&str]) -> Vec<Json> {
    let job = ["batch", "tumour-risk", "-i", input, "-o", "o.jsonl"];
    place.json(&[&job[..], &["--batch", "1", "--row-number", "row"], more].concat());
    lines(place, "o.jsonl")
}

#[test]
fn rows_are_those_of_its_files() {
    let place = with_folders();
    let wanted = answered(&place, "in.csv", &["--keep", "id"]);
    assert_eq!(wanted.len(), 300);
    for (input, more) in [
        ("csv", &[][..]),
        ("csv", &["--input-format", "csv"][..]),
        ("mixed", &["--input-format", "csv"][..]),
    ] {
        let found = answered(&place, input, &[more, &["--keep", "id"]].concat());
        assert_eq!(found, wanted, "{input}");
    }
    let wanted = answered(&place, "in.jsonl", &[]);
    for (input, more) in [
        ("jsonl", &[][..]),
        ("jsonl", &["--input-format", "jsonl"][..]),
        ("t.parquet", &[][..]),
        ("t.parquet", &["--input-format", "parquet"][..]),
    ] {
        assert_eq!(answered(&place, input, more), wanted, "{input}");
    }
}

#[test]
fn bad_rows_say_in_which_file_they_are() {
    let place = with_folders();
    let part = fs::read_to_string(place.path("csv/part-year=2026/b.csv")).unwrap();
    place.write(
        "csv/part-year=2026/b.csv",
        part.replacen("\np1", "\np1,1", 1),
    );
    let bad = some_bad(&place, &["tumour-risk", "-i", "csv", "-o", "o.jsonl"]);
    assert_eq!(bad.len(), 1);
    assert_eq!(
        (&bad[0]["row"], &bad[0]["file"], &bad[0]["line"]),
        (&json!(101), &json!("part-year=2026/b.csv"), &json!(2))
    );
}

#[test]
fn other_columns_are_refused_with_the_name_of_the_file() {
    let place = with_folders();
    let refused = |input: &str, more: &[&str], why: &[&str]| {
        let job = ["batch", "tumour-risk", "-i", input, "-o", "o.csv"];
        let error = place.bad(&[&job[..], more].concat(), "invalid_input", 1);
        for why in why {
            assert!(error.contains(why), "{error}");
        }
        assert!(!place.path("o.csv.batch/checkpoint.json").exists());
    };
    let table = fs::read_to_string(place.path("csv/part-b.csv")).unwrap();
    place.write("csv/part-d.csv", table.replacen("mean area", "area", 1));
    let names =
        "part-d.csv has other columns than csv/part-a.csv: column 5 `area`, not `mean area`";
    refused("csv", &[], &[names]);
    place.write("csv/part-d.csv", table.replacen("mean area,", "", 1));
    refused(
        "csv",
        &[],
        &["part-d.csv has other columns", "30 columns, not 31"],
    );
    let mut other = records(2);
    for record in &mut other {
        record.insert("id2".into(), json!(1));
    }
    place.write("t.parquet/part-d.parquet", parquet(&other));
    refused(
        "t.parquet",
        &[],
        &["part-d.parquet has other columns", "32 columns, not 31"],
    );
    place.write("t.parquet/part-d.parquet", "no table");
    refused(
        "t.parquet",
        &[],
        &["part-d.parquet is not a file of Parquet"],
    );
    // Files whose names do not say one format.
    refused(
        "mixed",
        &[],
        &["part-a in mixed: say what the files are: csv"],
    );
    place.write("csv/part-d.parquet", "");
    refused(
        "csv",
        &[],
        &["part-d.parquet", "not of one format", "parquet"],
    );
    fs::create_dir(place.path("empty")).unwrap();
    refused(
        "empty",
        &["--input-format", "csv"],
        &["there is no file in empty"],
    );
    // What is written does not become what is read.
    let job = ["batch", "tumour-risk", "-i", "jsonl", "-o", "jsonl/o.csv"];
    let error = place.bad(&job, "invalid_input", 1);
    assert!(error.contains("one of the files of the input"), "{error}");
}

#[test]
fn rows_of_small_files_are_tried_together() {
    let place = Place::new();
    place.write("parts/0.jsonl", "1.5\n");
    place.write("parts/1.jsonl", "2.5\n-1\n4\n");
    softmax_is_run_row_by_row(&place, "parts", 4);
}
