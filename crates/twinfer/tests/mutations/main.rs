//! Mutated models: whatever a file and its inputs are, the answer is a result or an error. No panic
//! comes out, and the process neither ends nor hangs.
//!
//! `TWINFER_MUTATIONS=N` runs N of them, `TWINFER_MUTATIONS_FROM=K` begins at the K-th, and
//! `TWINFER_MUTATIONS_CORPUS=FOLDER` takes the models of a folder too.

#![cfg(unix)]
// Helpers of tests: a failure in them is a failed test.
#![allow(clippy::unwrap_used, clippy::panic)]

mod build;
mod corpus;
mod findings;
mod hostile;
mod mutate;

use std::io::{BufRead, BufReader, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use mutate::{FLOATS, INTEGERS, Random, Words, mutated};
use twinfer::{DType, Dim, MapKeys, Maps, Session, Tensor, TensorSpec, Value, ValueKind};

const CHILD: &str = "TWINFER_MUTATIONS_CHILD";
/// As many as take a minute.
const COUNT: u64 = 3_000;
/// In kilobytes, as `ulimit -v` counts: a model of a few kilobytes that takes more than this is
/// one that takes any amount.
const ADDRESS_SPACE: u64 = 4 << 20;
/// No mutated model has work for so long, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const ENOUGH: Duration = Duration::from_secs(1);
/// So many are reported at once.
const MAX_FINDINGS: usize = 10;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |n| n.parse().unwrap())
}

#[test]
fn nothing_breaks() {
    let from = number("TWINFER_MUTATIONS_FROM", 0);
    let end = from + number("TWINFER_MUTATIONS", COUNT);
    let mut next = from;
    let mut found = Vec::new();
    while next < end && found.len() < MAX_FINDINGS {
        match child("work", next, end) {
            Some((at, what)) => {
                eprintln!("{at}: {what}");
                found.push(format!("{at}: {what}"));
                next = at + 1;
            }
            None => break,
        }
    }
    assert!(
        found.is_empty(),
        "mutations that broke it:\n{}",
        found.join("\n")
    );
}

/// Every case of [`hostile`], in every way.
#[test]
fn hostile_operators_are_refused_at_once() {
    let cases = hostile::cases();
    let end = (cases.len() * hostile::WAYS.len()) as u64;
    let (mut next, mut found) = (0, Vec::new());
    while let Some((at, what)) = child("hostile_work", next, end) {
        let case = &cases[at as usize / hostile::WAYS.len()];
        found.push(format!("{at} {case}: {what}"));
        next = at + 1;
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// What the other processes do for that one.
#[test]
fn hostile_work() {
    let Ok(range) = std::env::var(CHILD) else {
        return;
    };
    let (from, end) = range.split_once(' ').unwrap();
    let cases = hostile::cases();
    let place = silent_panics();
    for number in from.parse::<usize>().unwrap()..end.parse().unwrap() {
        let way = number % hostile::WAYS.len();
        let case = &cases[number / hostile::WAYS.len()];
        say(&format!("{number} {case}, {}", hostile::WAYS[way]));
        let problem = catch_unwind(AssertUnwindSafe(|| hostile::attempt(case, way)));
        let problem = problem.unwrap_or_else(|_| Some("a panic came out".into()));
        if let Some(problem) = problem {
            let problem = problem.replace('\n', " ");
            let place = place.lock().unwrap().replace('\n', " ");
            say(&format!("panic {problem}; the last panic, if any: {place}"));
            std::process::exit(1);
        }
    }
    say("done");
}

/// Runs some in another process; which of them ended it, if any, and how.
fn child(work: &str, from: u64, end: u64) -> Option<(u64, String)> {
    let mut command = Command::new("sh");
    let limit = format!("ulimit -v {ADDRESS_SPACE}; exec \"$0\" \"$@\"");
    command
        .args(["-c", &limit])
        .arg(std::env::current_exe().unwrap());
    command.args(["--exact", work, "--nocapture", "--test-threads=1"]);
    command.env(CHILD, format!("{from} {end}"));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (send, lines) = channel();
    let out = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if let Some(line) = line.strip_prefix("@ ") {
                let _ = send.send(line.to_owned());
            }
        }
    });
    let err = BufReader::new(child.stderr.take().unwrap());
    let errors = std::thread::spawn(move || {
        let lines = err.lines().map_while(Result::ok);
        lines
            .filter(|line| !line.is_empty())
            .last()
            .unwrap_or_default()
    });
    let mut at = (from, "before the first".to_owned());
    let end = loop {
        match lines.recv_timeout(PATIENCE) {
            Ok(line) if line == "done" => break None,
            Ok(line) => match line.split_once(' ').unwrap() {
                ("panic", place) => break Some(format!("panic: {place}")),
                (n, said) => at = (n.parse().unwrap(), said.to_owned()),
            },
            Err(RecvTimeoutError::Timeout) => break Some("hangs".into()),
            Err(RecvTimeoutError::Disconnected) => break Some("ends the process".into()),
        }
    };
    let _ = child.kill();
    let _ = child.wait();
    reader.join().unwrap();
    let last = errors.join().unwrap();
    end.map(|how| (at.0, format!("{how} ({last}): {}", at.1)))
}

/// What the other processes do; as a test of its own it does nothing.
#[test]
fn work() {
    let Ok(range) = std::env::var(CHILD) else {
        return;
    };
    let (from, end) = range.split_once(' ').unwrap();
    let models = corpus::models();
    let words = Words::of(&models);
    let place = silent_panics();
    for number in from.parse().unwrap()..end.parse().unwrap() {
        let (bytes, said) = mutated(number, &models, &words);
        say(&format!("{number} {}", said.replace('\n', " ")));
        if let Some(file) = std::env::var_os("TWINFER_MUTATIONS_KEEP") {
            std::fs::write(file, &bytes).unwrap();
        }
        let tried = catch_unwind(AssertUnwindSafe(|| attempt(&bytes, number)));
        if tried.is_err() {
            say(&format!(
                "panic {}",
                place.lock().unwrap().replace('\n', " ")
            ));
            std::process::exit(1);
        }
    }
    say("done");
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "@ {line}");
    let _ = out.flush();
}

/// The engine's panics are many, and its caller's to catch: of the last one, where it was.
fn silent_panics() -> &'static Mutex<String> {
    static PLACE: Mutex<String> = Mutex::new(String::new());
    std::panic::set_hook(Box::new(|info| *PLACE.lock().unwrap() = info.to_string()));
    &PLACE
}

/// Loads a model, and runs it with inputs as they should be, and with others.
pub fn attempt(bytes: &[u8], seed: u64) {
    let _ = Session::describe(bytes);
    let Ok(session) = Session::load(bytes) else {
        return;
    };
    let mut random = Random(seed);
    for odd in [false, true, true] {
        let signature = session.signature();
        // Those that have a default once with it, and twice without.
        let optional = signature.optional.iter().filter(|_| odd);
        let inputs: Option<Vec<(String, Value)>> = (signature.inputs.iter().chain(optional))
            .map(|spec| Some((spec.name.clone(), input(spec, odd, &mut random)?)))
            .collect();
        if let Some(inputs) = inputs {
            let started = Instant::now();
            let _ = session.run_values(inputs);
            // Loops that only their limit ends: once is enough.
            if started.elapsed() > ENOUGH {
                return;
            }
        }
    }
}

fn input(spec: &TensorSpec, odd: bool, random: &mut Random) -> Option<Value> {
    let one = tensor(spec, odd, random)?;
    Some(match spec.kind {
        ValueKind::Sequence if odd && random.below(2) == 0 => Value::Sequence(Vec::new()),
        ValueKind::Sequence => {
            Value::Sequence(vec![Value::Tensor(one.clone()), Value::Tensor(one)])
        }
        ValueKind::Optional if odd => Value::Optional(None),
        ValueKind::Optional => Value::Optional(Some(Box::new(Value::Tensor(one)))),
        ValueKind::Maps => {
            let keys: Vec<i64> = (0..one.shape().last().map_or(0, |&n| n as i64)).collect();
            Value::Maps(Maps {
                keys: match spec.keys {
                    Some(DType::I64) => MapKeys::Ints(keys),
                    _ => MapKeys::Strings(keys.iter().map(i64::to_string).collect()),
                },
                values: one,
            })
        }
        _ => Value::Tensor(one),
    })
}

/// More elements than this test gives.
const MAX_ELEMENTS: usize = 1 << 16;

fn tensor(spec: &TensorSpec, odd: bool, random: &mut Random) -> Option<Tensor> {
    let free = || vec![Dim::Free; 2];
    let mut shape: Vec<usize> = (spec.shape.clone().unwrap_or_else(free).iter())
        .map(|dim| match dim {
            Dim::Fixed(n) => *n,
            _ if odd => random.pick(&[0, 1, 2, 3, 5, 17]),
            _ => 2,
        })
        .collect();
    if odd && random.below(4) == 0 {
        shape.push(random.below(3));
    }
    let count = shape
        .iter()
        .try_fold(1usize, |all, &n| all.checked_mul(n))?;
    if count > MAX_ELEMENTS {
        return None;
    }
    let float = |random: &mut Random| match odd {
        true => random.pick(&FLOATS),
        false => random.below(9) as f32 / 4.0 - 1.0,
    };
    let integer = |random: &mut Random| match odd {
        true => random.pick(&INTEGERS),
        false => random.below(3) as i64,
    };
    match spec.dtype {
        DType::F32 => Tensor::from_vec(&shape, (0..count).map(|_| float(random)).collect()),
        DType::I64 => Tensor::from_vec(&shape, (0..count).map(|_| integer(random)).collect()),
        DType::String => {
            let words = ["", "a", "the b", "\u{1f600} c", "1e9"];
            Tensor::from_strings(
                &shape,
                (0..count).map(|_| random.pick(&words).into()).collect(),
            )
        }
        dtype => {
            let bytes = (count * dtype.bits()?).div_ceil(8);
            let largest = if dtype == DType::Bool { 2 } else { 256 };
            let bytes = (0..bytes).map(|_| random.below(largest) as u8).collect();
            Tensor::from_bytes(dtype, &shape, bytes)
        }
    }
    .ok()
}
