//! `twinfer batch`: the forms of input and output, and what rows get for answers.

mod compressed;
mod folders;
mod hostile;
mod memory;
mod progress;
mod python;
mod resume;

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use serde_json::{Map, Value as Json, json};

use crate::onnx_file::{self, Type};
use crate::support::{Place, Said, core_model, sample};

/// The records of the golden examples of `tumour-risk`, over and over, each a little different.
fn records(count: usize) -> Vec<Map<String, Json>> {
    let golden = fs::read_to_string(format!("{}/golden.json", sample("tumour-risk"))).unwrap();
    let golden: Json = serde_json::from_str(&golden).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    let records: Vec<&Map<String, Json>> = cases
        .iter()
        .filter_map(|case| case["input"]["record"].as_object())
        .filter(|record| record.len() == 30 && record.values().all(Json::is_number))
        .collect();
    let record = |at: usize| {
        let mut record = records[at % records.len()].clone();
        for (nth, value) in record.values_mut().enumerate() {
            let factor = 1.0 + ((at * 31 + nth * 17) % 101) as f64 / 1000.0;
            *value = json!(value.as_f64().unwrap() * factor);
        }
        record
    };
    (0..count).map(record).collect()
}

/// A table of these records, with an `id` in front.
fn csv(records: &[Map<String, Json>]) -> String {
    let names = records[0].keys().cloned().collect::<Vec<_>>().join(",");
    let mut text = format!("id,{names}\n");
    for (at, record) in records.iter().enumerate() {
        let cells = record.values().map(Json::to_string);
        let cells = cells.collect::<Vec<_>>().join(",");
        text.push_str(&format!("p{at},{cells}\n"));
    }
    text
}

fn json_lines(records: &[Map<String, Json>]) -> String {
    let line = |record: &Map<String, Json>| format!("{}\n", Json::Object(record.clone()));
    records.iter().map(line).collect()
}

/// The same as Apache Parquet in small row groups; what is no number is missing.
fn parquet(records: &[Map<String, Json>]) -> Vec<u8> {
    let ids = (0..records.len()).map(|at| format!("p{at}"));
    let mut fields = vec![Field::new("id", DataType::Utf8, true)];
    let mut columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from_iter_values(ids))];
    for name in records[0].keys() {
        fields.push(Field::new(name, DataType::Float64, true));
        let numbers = records.iter().map(|record| record[name].as_f64());
        columns.push(Arc::new(Float64Array::from_iter(numbers)));
    }
    let schema = Arc::new(Schema::new(fields));
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(100));
    let mut file = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut file, schema.clone(), Some(properties.build())).unwrap();
    (writer.write(&RecordBatch::try_new(schema, columns).unwrap())).unwrap();
    writer.close().unwrap();
    file
}

/// Compressed with gzip, in one member.
fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// The rows of a table from one to another as a table of its own.
fn rows_of(table: &str, from: usize, to: usize) -> String {
    let (names, rows) = table.split_once('\n').unwrap();
    let rows = rows.lines().skip(from).take(to - from);
    let rows: String = rows.map(|row| format!("{row}\n")).collect();
    format!("{names}\n{rows}")
}

fn lines(place: &Place, name: &str) -> Vec<Json> {
    let text = fs::read_to_string(place.path(name)).unwrap();
    (text.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Whether numbers are the same up to the rounding of a batch: see ARCHITECTURE, "Four places".
fn close(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-6 + 1e-5 * a.abs().max(b.abs())
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| close(a, &b[key]))
        }
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(a, b))
        }
        (a, b) => a == b,
    }
}

fn batch(place: &Place, arguments: &[&str]) -> Said {
    place.twinfer(&[&["batch"], arguments].concat())
}

/// Runs it and expects that some rows were bad.
fn some_bad(place: &Place, arguments: &[&str]) -> Vec<Json> {
    let said = batch(place, arguments);
    assert_eq!(said.code, Some(6), "{arguments:?}: {}", said.err);
    lines(place, "o.jsonl.bad.jsonl")
}

#[test]
fn answers_are_those_of_predict() {
    let place = Place::new();
    let records = records(40);
    place.write("in.jsonl", json_lines(&records));
    for model in ["tumour-risk", "tumour-risk-mlp"] {
        place.pack(model);
        let said = place.json(&["batch", model, "--input", "in.jsonl", "--output", "o.jsonl"]);
        assert_eq!(
            (&said["rows"], &said["bad"]),
            (&json!(40), &json!(0)),
            "{said}"
        );
        assert!(said["batch"].as_u64().unwrap() > 1, "{said}");
        let one_by_one = ["--output", "1.jsonl", "--batch", "1", "--threads", "1"];
        place.good(&[&["batch", model, "--input", "in.jsonl"], &one_by_one[..]].concat());
        for threads in ["1", "5"] {
            let arguments = ["batch", model, "--input", "in.jsonl", "--output", "t.jsonl"];
            place.good(&[&arguments[..], &["--threads", threads]].concat());
            let file = |name: &str| fs::read(place.path(name)).unwrap();
            assert_eq!(
                file("t.jsonl"),
                file("o.jsonl"),
                "{model}, {threads} threads"
            );
        }
        let (together, alone) = (lines(&place, "o.jsonl"), lines(&place, "1.jsonl"));
        assert_eq!((together.len(), alone.len()), (40, 40));
        for at in [0, 7, 39] {
            place.write("record.json", Json::Object(records[at].clone()).to_string());
            let predicted = place.json(&["predict", model, "--input", "record=@record.json"]);
            assert_eq!(alone[at], predicted["outputs"], "{model}, row {at}");
        }
        for (at, (together, alone)) in together.iter().zip(&alone).enumerate() {
            assert!(
                close(together, alone),
                "{model}, row {at}: {together} {alone}"
            );
        }
    }
}

#[test]
fn tables_in_and_out_with_what_is_kept() {
    let place = Place::new();
    place.pack("tumour-risk");
    let mut table = csv(&records(5));
    // A cell that is quoted, and one that is empty: what is missing, the model fills.
    table = table.replacen("p1,", "\"p,\"\"1\"\"\",", 1);
    place.write("in.csv", &table);
    let common = ["batch", "tumour-risk", "--input", "in.csv", "--keep", "id"];
    let more = [
        "--output",
        "o.csv",
        "--row-number",
        "row",
        "--prefix",
        "risk ",
    ];
    place.good(&[&common[..], &more].concat());
    let text = fs::read_to_string(place.path("o.csv")).unwrap();
    let text: Vec<&str> = text.lines().collect();
    assert_eq!(
        text[0],
        "row,id,risk label,risk probabilities.benign,risk probabilities.malignant"
    );
    assert_eq!(text.len(), 6);
    assert!(text[2].starts_with("1,\"p,\"\"1\"\"\","), "{}", text[2]);
    place.good(&[&common[..], &["--output", "o.jsonl"]].concat());
    let found = lines(&place, "o.jsonl");
    assert_eq!(found[1]["id"], "p,\"1\"");
    for (line, json) in text[1..].iter().zip(&found) {
        let cells: Vec<&str> = line.rsplitn(4, ',').collect();
        assert_eq!(cells[2], json["label"]);
        let malignant: f64 = cells[0].parse().unwrap();
        assert_eq!(Some(malignant), json["probabilities"]["malignant"].as_f64());
    }
    // Through a file of Parquet and back, with the types that it has.
    place.good(&[&common[..], &["--output", "o.parquet"]].concat());
    let table = place.path("o.parquet");
    assert!(fs::read(table).unwrap().starts_with(b"PAR1"));
    // Nothing is left beside the outputs.
    let mut names: Vec<_> = fs::read_dir(place.path("")).unwrap().collect();
    names.retain(|entry| {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        name.contains(".batch") || name.contains(".bad")
    });
    assert!(names.is_empty(), "{names:?}");
}

#[test]
fn one_bad_row_does_not_take_others_along() {
    let place = Place::new();
    place.pack("tumour-risk");
    let mut rows: Vec<Json> = records(9).into_iter().map(Json::Object).collect();
    rows[2]["mean radius"] = json!("large");
    rows[5] = json!({"no": 1});
    rows[7] = json!([1, 2]);
    let mut text: Vec<String> = rows.iter().map(Json::to_string).collect();
    text.insert(4, "{\"mean radius\": ".into());
    place.write("in.jsonl", text.join("\n"));
    let arguments = ["tumour-risk", "--input", "in.jsonl", "--output", "o.jsonl"];
    let numbered = ["--row-number", "row", "--batch", "4"];
    let bad = some_bad(&place, &[&arguments[..], &numbered].concat());
    let of = |key: &str| bad.iter().map(|bad| bad[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("row"), [2, 4, 6, 8]);
    assert_eq!(of("line"), [3, 5, 7, 9]);
    assert_eq!(
        of("code"),
        [
            "invalid_record",
            "invalid_json",
            "invalid_record",
            "invalid_record"
        ]
    );
    assert_eq!(bad[0]["input"], rows[2]);
    assert_eq!(bad[1]["input"], "{\"mean radius\": ");
    let good = lines(&place, "o.jsonl");
    let good: Vec<_> = good
        .iter()
        .map(|row| row["row"].as_u64().unwrap())
        .collect();
    assert_eq!(good, [0, 1, 3, 5, 7, 9]);
    // So many are allowed, or one less.
    let said = batch(&place, &[&arguments[..], &["--max-bad", "4"]].concat());
    assert_eq!(said.code, Some(0), "{}", said.err);
    fs::remove_file(place.path("o.jsonl")).unwrap();
    let said = batch(&place, &[&arguments[..], &["--max-bad", "3"]].concat());
    assert_eq!(said.code, Some(1));
    assert!(
        said.err.starts_with("error[invalid_record]: row 8 is bad"),
        "{}",
        said.err
    );
    assert!(!place.path("o.jsonl").exists());
}

#[test]
fn pictures_of_a_folder_and_of_a_column() {
    let place = Place::new();
    place.pack("face-detector");
    let pictures = format!("{}/pictures", sample("face-detector"));
    let mut names = Vec::new();
    for entry in fs::read_dir(&pictures).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "jpg") {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            place.write(&format!("photos/{name}"), fs::read(&path).unwrap());
            names.push(name);
        }
    }
    names.sort();
    place.write("photos/notes.txt", "no picture");
    let bad = some_bad(
        &place,
        &["face-detector", "--input", "photos", "--output", "o.jsonl"],
    );
    assert_eq!(
        (&bad[0]["file"], &bad[0]["code"]),
        (&json!("notes.txt"), &json!("invalid_picture"))
    );
    let found = lines(&place, "o.jsonl");
    let files: Vec<&str> = found
        .iter()
        .map(|row| row["file"].as_str().unwrap())
        .collect();
    assert_eq!(files, names);
    let input = format!("picture=photos/{}", names[0]);
    let predicted = place.json(&["predict", "face-detector", "--input", &input]);
    assert_eq!(found[0]["boxes"], predicted["outputs"]["boxes"]);
    // The same by their paths in a column, and to a table.
    let table: String = names
        .iter()
        .map(|name| format!("photos/{name}\n"))
        .collect();
    place.write("list.csv", format!("path\n{table}"));
    let column = ["--column", "path", "--content", "path", "--keep", "path"];
    place.good(
        &[
            &["batch", "face-detector", "-i", "list.csv", "-o", "p.jsonl"],
            &column[..],
        ]
        .concat(),
    );
    for (row, known) in lines(&place, "p.jsonl").iter().zip(&found) {
        assert_eq!(row["boxes"], known["boxes"]);
        assert_eq!(
            row["path"],
            format!("photos/{}", known["file"].as_str().unwrap())
        );
    }
    // In lines as `predict` takes them, with parameters beside.
    place.pack("file-type");
    place.write(
        "bytes.jsonl",
        "{\"inputs\": {\"content\": {\"base64\": \"PGh0bWw+PGJvZHk+SGVsbG88L2JvZHk+PC9odG1sPg==\"}}, \"parameters\": {\"prediction_mode\": \"best_guess\"}, \"id\": 7}\n{\"b64\": \"e30=\", \"id\": 8}\n",
    );
    let keep = ["-o", "b.csv", "--keep", "id"];
    place.good(&[&["batch", "file-type", "-i", "bytes.jsonl"], &keep[..]].concat());
    let text = fs::read_to_string(place.path("b.csv")).unwrap();
    let text: Vec<&str> = text.lines().collect();
    assert_eq!(
        text[0],
        "id,content_type.label,content_type.score,content_type.model_label,content_type.overwrite_reason"
    );
    assert!(
        text[1].starts_with("7,") && text[2].starts_with("8,"),
        "{text:?}"
    );
}

/// The command with this as its standard input.
fn fed(place: &Place, arguments: &[&str], input: impl AsRef<[u8]>) -> Said {
    let mut child = place
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // What is refused early is not read to its end.
    let _ = stdin.write_all(input.as_ref());
    drop(stdin);
    Said::of(child.wait_with_output().unwrap())
}

#[test]
fn model_files_and_standard_streams() {
    let place = Place::new();
    let model = core_model("mlp_binary");
    let arguments = [
        "batch",
        &model,
        "-i",
        "-",
        "--input-format",
        "csv",
        "--no-header",
        "-o",
        "-",
    ];
    let width = {
        let inspected = place.json(&["inspect", &model]);
        let shape = &inspected["signature"]["inputs"][0]["shape"];
        shape[1].as_u64().unwrap() as usize
    };
    let row = vec!["0.5"; width].join(";");
    let arguments = [&arguments[..], &["--delimiter", ";"]].concat();
    let said = fed(&place, &arguments, format!("{row}\n{row}\n1;2\n"));
    assert_eq!(said.code, Some(6), "{}", said.err);
    assert!(
        said.err.contains("1 of 3 rows could not be answered"),
        "{}",
        said.err
    );
    let answers: Vec<Json> = (said.out.lines())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0], answers[1]);
    assert!(
        answers[0]
            .as_object()
            .is_some_and(|answer| !answer.is_empty()),
        "{answers:?}"
    );
    let wrong = [
        "batch",
        &model,
        "-i",
        "-",
        "--input-format",
        "csv",
        "-o",
        "-",
        "--format",
        "parquet",
    ];
    let header: Vec<String> = (0..width).map(|at| format!("c{at}")).collect();
    let said = fed(&place, &wrong, format!("{}\n", header.join(",")));
    assert_eq!(said.code, Some(1), "{}", said.err);
}

/// A softmax over its rows, asked for this input of so many numbers; gives the job.
fn softmax_is_run_row_by_row<'a>(place: &Place, input: &'a str, rows: usize) -> [&'a str; 6] {
    let float = Type::Tensor(1);
    let softmax = onnx_file::file("", "Softmax", None, &float, &float);
    place.write("softmax.onnx", softmax);
    let job = [
        "batch",
        "softmax.onnx",
        "--input",
        input,
        "--output",
        "o.jsonl",
    ];
    let said = place.twinfer(&job);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("influence each other"), "{}", said.err);
    // Alone, the softmax of a number is 1.
    assert_eq!(lines(place, "o.jsonl"), vec![json!({"y": 1.0}); rows]);
    job
}

#[test]
fn rows_that_influence_each_other_run_one_by_one() {
    let place = Place::new();
    place.write("in.jsonl", "1.5\n2.5\n-1\n");
    let arguments = softmax_is_run_row_by_row(&place, "in.jsonl", 3);
    place.bad(
        &[&arguments[..], &["--batch", "2"]].concat(),
        "invalid_parameter",
        1,
    );
}

#[test]
fn a_fixed_batch_is_filled_up() {
    let place = Place::new();
    let fixed = Type::Fixed(1, 3);
    place.write("fixed.onnx", onnx_file::identity(&fixed));
    place.write("in.jsonl", "1.5\n2.5\n\"x\"\n-1\n4\n");
    let arguments = ["fixed.onnx", "--input", "in.jsonl", "--output", "o.jsonl"];
    let bad = some_bad(&place, &arguments);
    assert_eq!((bad.len(), &bad[0]["row"]), (1, &json!(2)));
    let wanted = [1.5, 2.5, -1.0, 4.0].map(|y| json!({ "y": y }));
    assert_eq!(lines(&place, "o.jsonl"), wanted);
    let arguments = [&["batch"], &arguments[..], &["--batch", "2"]].concat();
    place.bad(&arguments, "invalid_parameter", 1);
}
