//! A job that is killed, again and again, ends as one that was never interrupted.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::{csv, fed, gzip, json_lines, parquet, records, rows_of};
use crate::support::{Place, Said};

const ROWS: usize = 1500;
/// Of each pair of forms of input and output.
const KILLS: u32 = 9;

/// The numbers of xorshift64* (Vigna, 2016), from a fixed seed.
struct Random(u64);

impl Random {
    fn below_one(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The command; on its standard input are the rows in lines of JSON.
fn command(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    if arguments[3] == "-" {
        command.stdin(File::open(place.path("in.jsonl")).unwrap());
    }
    command
}

fn start(place: &Place, arguments: &[&str]) -> Child {
    (command(place, arguments))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A table with rows that cannot be answered in it, in each form of input.
fn input(place: &Place) {
    let mut records = records(ROWS);
    for at in (0..ROWS).step_by(41) {
        records[at]["mean area"] = Json::from("unknown");
    }
    let table = csv(&records);
    place.write("in.csv", &table);
    place.write("in.jsonl", json_lines(&records));
    // In two members, of which the first ends in a row.
    let (begin, end) = table.as_bytes().split_at(table.len() / 2);
    place.write("in.csv.gz", [gzip(begin), gzip(end)].concat());
    for (part, from, to) in [(0, 0, 600), (1, 600, 601), (2, 601, 1000), (3, 1000, ROWS)] {
        let rows = rows_of(&table, from, to);
        match part {
            2 => place.write("parts/part-2.csv.gz", gzip(rows)),
            _ => place.write(&format!("parts/part-{part}.csv"), rows),
        }
        let rows = parquet(&records[from..to]);
        place.write(&format!("tables/part-{part}.parquet"), rows);
    }
    place.write("tables/_SUCCESS", "");
}

fn arguments<'a>(input: &'a str, output: &'a str) -> Vec<&'a str> {
    let keep = match input {
        "in.jsonl" => vec!["--keep", "mean radius"],
        "-" => vec!["--keep", "mean radius", "--input-format", "jsonl"],
        _ => vec!["--keep", "id"],
    };
    let common = [
        "batch",
        "tumour-risk-mlp",
        "--input",
        input,
        "--output",
        output,
        "--row-number",
        "row",
        "--batch",
        "16",
        "--row-group",
        "200",
        "--checkpoint-every",
        "0s",
        "--json",
    ];
    [&common[..], &keep].concat()
}

#[test]
fn killed_at_random_moments() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    input(&place);
    let mut random = Random(0x7717_f3e5_0b1a_55ed);
    let forms = [
        ("in.csv", "parquet"),
        ("in.jsonl", "csv"),
        ("in.csv", "jsonl"),
        ("-", "jsonl"),
        ("in.csv.gz", "parquet"),
        ("parts", "csv"),
        ("tables", "jsonl"),
    ];
    for (input, form) in forms {
        let (mut kills, mut resumed) = (0, 0);
        let whole = format!("whole.{form}");
        let begin = Instant::now();
        let said = Said::of(command(&place, &arguments(input, &whole)).output().unwrap());
        let usual = begin.elapsed();
        // Where a cell of Parquet is no number it is missing, which the model answers.
        let (code, bad_rows) = match input {
            "tables" => (0, 0),
            _ => (6, ROWS.div_ceil(41)),
        };
        assert_eq!(said.code, Some(code), "{}", said.err);
        let bad = format!("{whole}.bad.jsonl");
        let (wanted, wanted_bad) = (read(&place, &whole), read(&place, &bad));
        assert_eq!(wanted_bad.iter().filter(|b| **b == b'\n').count(), bad_rows);
        let output = format!("killed.{form}");
        let mut job = 0;
        while kills < KILLS {
            // Jobs of which nothing, a little or a lot is done at each kill.
            let most = usual.mul_f64([1.0, 0.5][job % 2]);
            resumed += one_job(
                &place,
                &arguments(input, &output),
                code,
                most,
                &mut random,
                &mut kills,
            );
            job += 1;
            let at = format!("{input} to {form}, job {job}");
            assert!(read(&place, &output) == wanted, "{at}");
            assert!(
                read(&place, &format!("{output}.bad.jsonl")) == wanted_bad,
                "{at}"
            );
            assert!(!place.path(&format!("{output}.batch")).exists());
            fs::remove_file(place.path(&output)).unwrap();
        }
        eprintln!("{input} to {form}: {kills} kills, {resumed} times gone on");
        assert!(resumed > 0, "{input} to {form}");
    }
}

/// Kills a job again and again, each time after at most `most`, until it ends by itself; no more than
/// ten times, so that it ends. Says how often it went on where it was.
fn one_job(
    place: &Place,
    arguments: &[&str],
    code: i32,
    most: Duration,
    random: &mut Random,
    kills: &mut u32,
) -> usize {
    let checkpoint = format!("{}.batch/checkpoint.json", arguments[5]);
    let mut resumed = 0;
    for _ in 0..10 {
        resumed += usize::from(place.path(&checkpoint).exists());
        let mut child = start(place, arguments);
        std::thread::sleep(most.mul_f64(random.below_one()));
        if child.try_wait().unwrap().is_none() {
            // SIGKILL
            child.kill().unwrap();
            *kills += 1;
        }
        let output = child.wait_with_output().unwrap();
        if output.status.code().is_some() {
            assert_eq!(
                output.status.code(),
                Some(code),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            return resumed;
        }
    }
    resumed += usize::from(place.path(&checkpoint).exists());
    let said = Said::of(command(place, arguments).output().unwrap());
    assert_eq!(said.code, Some(code), "{}", said.err);
    resumed
}

/// What is in a file; nothing where there is none, such as without bad rows.
fn read(place: &Place, name: &str) -> Vec<u8> {
    fs::read(place.path(name)).unwrap_or_default()
}

/// Begins a job, and kills it when its first checkpoint is there.
fn interrupted(place: &Place, arguments: &[&str]) {
    let checkpoint = place.path(&format!("{}.batch/checkpoint.json", arguments[5]));
    let mut child = start(place, arguments);
    let begin = Instant::now();
    while !checkpoint.exists() && child.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(checkpoint.exists());
}

#[test]
fn another_job_is_refused() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    place.pack("tumour-risk");
    // Longer, so that it is not over when it is killed.
    let records: Vec<_> = records(500).into_iter().cycle().take(20_000).collect();
    place.write("in.csv", csv(&records));
    let job = arguments("in.csv", "o.jsonl");
    interrupted(&place, &job);
    let refused = |arguments: &[&str], why: &str| {
        let arguments: Vec<&str> = arguments
            .iter()
            .filter(|a| **a != "--json")
            .copied()
            .collect();
        let error = place.bad(&arguments, "checkpoint_mismatch", 1);
        assert!(error.contains(why), "{error}");
    };
    let mut other = job.clone();
    other[1] = "tumour-risk";
    refused(&other, "model was \"sha256:");
    let mut other = job.clone();
    other[9] = "32";
    refused(&other, "batch was 16, is 32");
    refused(
        &[&job[..], &["--prefix", "a"]].concat(),
        "prefix was \"\", is \"a\"",
    );
    let table = fs::read_to_string(place.path("in.csv")).unwrap();
    place.write("in.csv", table.replacen("p7,", "p8,", 1));
    refused(&job, "input was {");
    place.write("in.csv", &table);
    // The time of the change is another one, and so it may be another file.
    refused(&job, "input was {");
    // Begun anew on request.
    place.write("in.csv", csv(&records[..50]));
    let said = place.json(
        &[
            &job[..job.len() - 3],
            &["--keep", "id", "--resume", "never"],
        ]
        .concat(),
    );
    assert_eq!(
        (said["rows"].as_u64(), &said["resumed_at"]),
        (Some(50), &Json::Null)
    );
    place.bad(
        &[
            "batch",
            "tumour-risk",
            "-i",
            "in.csv",
            "-o",
            "n.csv",
            "--resume",
            "always",
        ],
        "checkpoint_mismatch",
        1,
    );
}

#[test]
fn standard_input_is_gone_on_with_when_it_is_the_same() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    let table = csv(&records(3000));
    let mut job = arguments("in.csv", "o.jsonl");
    job[3] = "-";
    job.extend(["--input-format", "csv"]);
    let whole = [&job[..5], &["whole.jsonl"], &job[6..]].concat();
    assert_eq!(fed(&place, &whole, &table).code, Some(0));
    // A pipe that stays open, so that the job is not over when it is killed.
    let mut child = (place.command(&job))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(&table.as_bytes()[..table.len() / 2])
        .unwrap();
    let checkpoint = place.path("o.jsonl.batch/checkpoint.json");
    let begin = Instant::now();
    while !checkpoint.exists() && begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = fs::read(&checkpoint).unwrap();
    let done: Json = serde_json::from_slice(&kept).unwrap();
    let done = done["next"]["row"].as_u64().unwrap();
    assert!(done > 0);
    // Another row, another header, fewer rows, other rows: each is another input.
    let others = [
        table.replacen("p7,", "p8,", 1),
        table.replacen("id,", "id ,", 1),
        rows_of(&table, 0, 3),
        rows_of(&table, 1, 3000),
    ];
    for other in others {
        let said = fed(&place, &job, other);
        assert_eq!(said.code, Some(1), "{}", said.err);
        let error: Json = serde_json::from_str(&said.err).unwrap();
        // Columns that the model does not know are seen before.
        let code = error["code"].as_str().unwrap();
        assert!(
            ["checkpoint_mismatch", "invalid_input"].contains(&code),
            "{error}"
        );
        assert_eq!(fs::read(&checkpoint).unwrap(), kept, "{error}");
    }
    let said = fed(
        &place,
        &[&job[..], &["--resume", "always"]].concat(),
        &table,
    );
    assert_eq!(said.code, Some(0), "{}", said.err);
    let report: Json = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (report["rows"].as_u64(), report["resumed_at"].as_u64()),
        (Some(3000), Some(done))
    );
    assert!(read(&place, "o.jsonl") == read(&place, "whole.jsonl"));
    // What went to standard output is gone.
    let shown = [&job[..5], &["-"], &job[6..], &["--resume", "always"]].concat();
    let said = fed(&place, &shown, &table);
    assert!(said.err.contains("checkpoint_mismatch"), "{}", said.err);
}

/// A job that was killed when all was there, but not yet in its place.
#[test]
fn a_finished_output_is_not_taken_for_that_of_another_stream() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    let table = csv(&records(40));
    let job = ["batch", "tumour-risk-mlp", "-i", "-", "-o", "o.csv"];
    let job = [&job[..], &["--input-format", "csv", "--keep", "id"]].concat();
    // A folder where the output would be renamed to ends the job just there.
    place.write("o.csv.batch/lock", "");
    place.write("o.csv.batch/kept/here", "");
    let said = fed(&place, &job, &table);
    assert_eq!(said.code, Some(4), "{}", said.err);
    let checkpoint = fs::read_to_string(place.path("o.csv.batch/checkpoint.json")).unwrap();
    assert!(checkpoint.contains("\"finished\": true"), "{checkpoint}");
    fs::remove_dir_all(place.path("o.csv.batch/kept")).unwrap();
    for other in [csv(&records(41)), rows_of(&table, 0, 39)] {
        let said = fed(&place, &job, other);
        assert!(
            said.err.starts_with("error[checkpoint_mismatch]: "),
            "{}",
            said.err
        );
    }
    let said = fed(&place, &job, &table);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let written = fs::read_to_string(place.path("o.csv")).unwrap();
    assert_eq!(written.lines().count(), 41);
    assert!(!place.path("o.csv.batch").exists());
}

#[test]
fn one_process_for_an_output() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    let records: Vec<_> = records(500).into_iter().cycle().take(40_000).collect();
    place.write("in.csv", csv(&records));
    let job = arguments("in.csv", "o.jsonl");
    let mut child = start(&place, &job);
    let lock = place.path("o.jsonl.batch/checkpoint.json");
    let begin = Instant::now();
    while !lock.exists() && begin.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let said = place.twinfer(&job);
    assert!(
        child.try_wait().unwrap().is_none(),
        "the first one was over before"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(said.code, Some(4), "{}", said.err);
    assert!(
        said.err.contains("another process works on o.jsonl"),
        "{}",
        said.err
    );
}
