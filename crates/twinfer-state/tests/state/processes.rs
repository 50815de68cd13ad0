//! Several processes on one SQLite file, one of them killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use twinfer_state::{ANY, SqliteState, State};

const FILE: &str = "TWINFER_STATE_TEST_FILE";
const PROCESSES: i64 = 4;
const ROUNDS: i64 = 100;
const HOUR: Duration = Duration::from_secs(3600);

fn child(file: &Path, job: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            &format!("processes::{job}"),
            "--ignored",
            "--nocapture",
        ])
        .env(FILE, file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

// `counting` and `writing` are ignored because they are no tests by themselves: each is what a
// process does that one of the tests here starts (`child`, with `--ignored`), on that test's file.
// So they do run, in every run of the tests, and what they do is judged by who starts them.

fn state() -> SqliteState {
    SqliteState::open(std::env::var_os(FILE).unwrap()).unwrap()
}

#[tokio::test]
#[ignore = "the process that `processes_share_a_file` starts"]
async fn counting() {
    // All of them make the tables at once.
    let state = state();
    for _ in 0..ROUNDS {
        state.add("all", 1, HOUR).await.unwrap();
        loop {
            let found = state.get("sum").await.unwrap();
            let (sum, version) = found.map_or((0, 0), |d| {
                let text = String::from_utf8(d.value).unwrap();
                (text.parse::<i64>().unwrap(), d.version)
            });
            let next = (sum + 1).to_string();
            let put = state.put("sum", next.as_bytes(), version).await;
            if put.unwrap().is_some() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn processes_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.sqlite");
    let children: Vec<_> = (0..PROCESSES).map(|_| child(&file, "counting")).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let state = SqliteState::open(&file).unwrap();
    let all = PROCESSES * ROUNDS;
    assert_eq!(state.add("all", 0, HOUR).await.unwrap(), all);
    let sum = state.get("sum").await.unwrap().unwrap();
    assert_eq!(sum.value, all.to_string().into_bytes());
    assert!(sum.version >= all as u64);
}

#[tokio::test]
#[ignore = "the process that `what_was_acknowledged_survives_a_kill` kills"]
async fn writing() {
    let state = state();
    let acknowledged = std::env::var_os(FILE).unwrap();
    let acknowledged = Path::new(&acknowledged).with_extension("acknowledged");
    for number in 1_i64.. {
        let text = number.to_string();
        state.put("last", text.as_bytes(), ANY).await.unwrap();
        state.add("count", 1, HOUR).await.unwrap();
        let partial = acknowledged.with_extension("partial");
        std::fs::write(&partial, text).unwrap();
        std::fs::rename(partial, &acknowledged).unwrap();
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.sqlite");
    let acknowledged = || -> i64 {
        let text = std::fs::read_to_string(file.with_extension("acknowledged"));
        text.map_or(0, |text| text.parse().unwrap())
    };
    for _ in 0..3 {
        let before = acknowledged();
        // The counts begin anew with each process.
        let _ = std::fs::remove_file(file.with_extension("acknowledged"));
        let mut writer = child(&file, "writing");
        while acknowledged() < 20 {
            assert!(writer.try_wait().unwrap().is_none(), "after {before}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        let state = SqliteState::open(&file).unwrap();
        let last = state.get("last").await.unwrap().unwrap().value;
        let last: i64 = String::from_utf8(last).unwrap().parse().unwrap();
        let written = acknowledged();
        assert!(
            (written..=written + 1).contains(&last),
            "{last} of {written}"
        );
        let count = state.add("count", 0, HOUR).await.unwrap();
        assert!(
            (written..=written + 1).contains(&count),
            "{count} of {written}"
        );
        state.add("count", -count, HOUR).await.unwrap();
    }
}
