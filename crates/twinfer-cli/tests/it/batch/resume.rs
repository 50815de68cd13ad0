//! A job that is killed, again and again, ends as one that was never interrupted.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::{csv, json_lines, records};
use crate::support::Place;

const ROWS: usize = 1500;
/// In all, over the forms of output.
const KILLS: u32 = 50;

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

fn start(place: &Place, arguments: &[&str]) -> Child {
    (place.command(arguments))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A table with rows that cannot be answered in it.
fn input(place: &Place) {
    let mut records = records(ROWS);
    for at in (0..ROWS).step_by(41) {
        records[at]["mean area"] = Json::from("unknown");
    }
    place.write("in.csv", csv(&records));
    place.write("in.jsonl", json_lines(&records));
}

fn arguments<'a>(input: &'a str, output: &'a str) -> Vec<&'a str> {
    let keep = match input {
        "in.csv" => vec!["--keep", "id"],
        _ => vec!["--keep", "mean radius"],
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
    let (mut kills, mut resumed) = (0, 0);
    let forms = [
        ("in.csv", "parquet", 18),
        ("in.jsonl", "csv", 34),
        ("in.csv", "jsonl", KILLS),
    ];
    for (input, form, until) in forms {
        let whole = format!("whole.{form}");
        let begin = Instant::now();
        let said = place.twinfer(&arguments(input, &whole));
        let usual = begin.elapsed();
        assert_eq!(said.code, Some(6), "{}", said.err);
        let bad = format!("{whole}.bad.jsonl");
        let (wanted, wanted_bad) = (read(&place, &whole), read(&place, &bad));
        assert_eq!(
            wanted_bad.iter().filter(|b| **b == b'\n').count(),
            ROWS.div_ceil(41)
        );
        let output = format!("killed.{form}");
        let mut job = 0;
        while kills < until {
            // Jobs of which nothing, a little or a lot is done at each kill.
            let most = usual.mul_f64([1.0, 0.5][job % 2]);
            resumed += one_job(
                &place,
                &arguments(input, &output),
                most,
                &mut random,
                &mut kills,
            );
            job += 1;
            assert!(read(&place, &output) == wanted, "{form}, job {job}");
            assert!(
                read(&place, &format!("{output}.bad.jsonl")) == wanted_bad,
                "{form}, job {job}"
            );
            assert!(!place.path(&format!("{output}.batch")).exists());
            fs::remove_file(place.path(&output)).unwrap();
        }
    }
    eprintln!("{kills} kills, {resumed} times gone on");
    assert!(resumed > 0);
}

/// Kills a job again and again, each time after at most `most`, until it ends by itself; no more than
/// ten times, so that it ends. Says how often it went on where it was.
fn one_job(
    place: &Place,
    arguments: &[&str],
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
                Some(6),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            return resumed;
        }
    }
    resumed += usize::from(place.path(&checkpoint).exists());
    let said = place.twinfer(arguments);
    assert_eq!(said.code, Some(6), "{}", said.err);
    resumed
}

fn read(place: &Place, name: &str) -> Vec<u8> {
    fs::read(place.path(name)).unwrap()
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
