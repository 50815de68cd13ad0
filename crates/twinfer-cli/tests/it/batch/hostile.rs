//! Inputs that are not what they should be.

use std::fs;

use serde_json::json;

use super::{batch, csv, json_lines, lines, records, some_bad};
use crate::support::Place;

/// A place with a model, and a good file of Parquet with so many rows.
fn with_parquet(rows: usize) -> (Place, Vec<u8>) {
    let place = Place::new();
    place.pack("tumour-risk");
    place.write("in.csv", csv(&records(rows)));
    place.good(&[
        "batch",
        "tumour-risk",
        "-i",
        "in.csv",
        "-o",
        "made.parquet",
        "--keep-all",
    ]);
    let made = fs::read(place.path("made.parquet")).unwrap();
    (place, made)
}

#[test]
fn files_that_cannot_be_read_at_all() {
    let (place, made) = with_parquet(300);
    let refused = |name: &str, content: &[u8], error: &str| {
        place.write(name, content);
        let said = place.bad(
            &["batch", "tumour-risk", "-i", name, "-o", "o.jsonl"],
            error,
            1,
        );
        assert!(!said.contains("panicked"), "{said}");
        assert!(!place.path("o.jsonl").exists());
        let _ = fs::remove_dir_all(place.path("o.jsonl.batch"));
    };
    for length in [
        0,
        3,
        4,
        11,
        12,
        made.len() / 2,
        made.len() - 9,
        made.len() - 1,
    ] {
        refused("cut.parquet", &made[..length], "invalid_input");
    }
    refused(
        "text.parquet",
        b"PAR1 is how it begins, and how it ends: PAR1",
        "invalid_input",
    );
    let mut lies = made.clone();
    let end = lies.len();
    lies[end - 8..end - 4].copy_from_slice(&u32::MAX.to_le_bytes());
    refused("lies.parquet", &lies, "invalid_input");
    refused("empty.csv", b"", "invalid_input");
    refused("other.csv", b"a,b\n1,2\n", "missing_input");
    refused(
        "twice.csv",
        b"mean radius,mean radius\n1,2\n",
        "invalid_request",
    );
    refused("header.csv", b"mean radius,\xff\n1,2\n", "invalid_input");
    place.bad(
        &["batch", "tumour-risk", "-i", "no.csv", "-o", "o.jsonl"],
        "invalid_input",
        1,
    );
    place.bad(
        &["batch", "tumour-risk", "-i", "in.csv", "-o", "o.xlsx"],
        "invalid_input",
        1,
    );
    place.bad(
        &["batch", "tumour-risk", "-i", ".", "-o", "o.csv"],
        "invalid_input",
        1,
    );
    place.bad(
        &[
            "batch",
            "tumour-risk",
            "-i",
            "in.csv",
            "-o",
            "o.csv",
            "--keep",
            "name",
        ],
        "invalid_input",
        1,
    );
    place.bad(
        &[
            "batch",
            "tumour-risk",
            "-i",
            "in.csv",
            "-o",
            "o.csv",
            "--keep",
            "id",
            "--row-number",
            "id",
        ],
        "invalid_input",
        1,
    );
    place.bad(
        &[
            "batch",
            "tumour-risk",
            "-i",
            "in.csv",
            "-o",
            "o.csv",
            "--param",
            "mode=x",
        ],
        "unknown_parameter",
        1,
    );
}

#[test]
fn bytes_that_are_changed_anywhere_give_errors() {
    let (place, made) = with_parquet(60);
    for round in 0..24 {
        let mut changed = made.clone();
        // In the pages, and near the end where the footer is.
        let at = match round % 2 {
            0 => made.len() * (round + 1) / 26,
            _ => made.len() - 12 - round * 97,
        };
        changed[at] ^= 0x5a;
        changed[at + 1] = 0xff;
        place.write("changed.parquet", &changed);
        let arguments = [
            "tumour-risk",
            "-i",
            "changed.parquet",
            "-o",
            "c.jsonl",
            "--resume",
            "never",
        ];
        let said = batch(&place, &arguments);
        // What is not noticed is another number.
        assert!(
            matches!(said.code, Some(0 | 1 | 6)),
            "at {at}: {:?} {}",
            said.code,
            said.err
        );
        assert!(!said.err.contains("panicked"), "at {at}: {}", said.err);
    }
}

#[test]
fn rows_that_are_no_rows() {
    let place = Place::new();
    place.pack("tumour-risk");
    let table = csv(&records(8));
    let mut text: Vec<Vec<u8>> = table.lines().map(|line| line.as_bytes().to_vec()).collect();
    text[2].extend_from_slice(b",1");
    text[4] = b"p3,1,2".to_vec();
    text[6][1] = 0xff;
    text.insert(5, Vec::new());
    place.write("in.csv", text.join(&b'\n'));
    let bad = some_bad(&place, &["tumour-risk", "-i", "in.csv", "-o", "o.jsonl"]);
    let found: Vec<_> = bad
        .iter()
        .map(|b| (&b["row"], &b["line"], &b["code"]))
        .collect();
    let record = json!("invalid_record");
    let places = [
        (json!(1), json!(3)),
        (json!(3), json!(5)),
        (json!(5), json!(8)),
    ];
    let wanted: Vec<_> = places
        .iter()
        .map(|(row, line)| (row, line, &record))
        .collect();
    assert_eq!(found, wanted, "{bad:?}");
    assert_eq!(lines(&place, "o.jsonl").len(), 5);
    // Lines that are too long are bad rows; nothing of them is kept.
    let mut rows = json_lines(&records(2)).into_bytes();
    rows.extend_from_slice(b"{\"long\": \"");
    rows.resize(rows.len() + (65 << 20), b'x');
    rows.extend_from_slice(b"\"}\n");
    rows.extend_from_slice(b"[\xff]\n");
    rows.extend_from_slice(&vec![b'['; 100_000]);
    rows.extend_from_slice(b"\n7\nnull\n{}\n");
    rows.extend_from_slice(json_lines(&records(1)).as_bytes());
    place.write("in.jsonl", rows);
    let bad = some_bad(&place, &["tumour-risk", "-i", "in.jsonl", "-o", "o.jsonl"]);
    let found: Vec<_> = bad
        .iter()
        .map(|b| (b["row"].as_u64().unwrap(), b["code"].as_str().unwrap()))
        .collect();
    assert_eq!(
        found[..5],
        [
            (2, "body_too_large"),
            (3, "invalid_json"),
            (4, "invalid_json"),
            (5, "invalid_record"),
            (6, "invalid_record"),
        ]
    );
    let good = lines(&place, "o.jsonl").len();
    assert_eq!(good + bad.len(), 9);
    // A quote that is never closed: where the next row begins cannot be told.
    let mut open = csv(&records(1)).into_bytes();
    open.extend_from_slice(b"\"");
    open.resize(open.len() + (65 << 20), b'x');
    place.write("open.csv", open);
    place.bad(
        &["batch", "tumour-risk", "-i", "open.csv", "-o", "open.jsonl"],
        "body_too_large",
        1,
    );
}
