//! The table of the trust policy, run natively, by the command, by the component on the host,
//! and as wasm in Node and in a page.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value as Json;
use twinfer_package::{FolderStore, PackOptions, Package, Parts, Seen, TrustPolicy, Verdict, pack};
use twinfer_tests::http::request;
use twinfer_tests::trust::{Decided, Table, TrustCase};

/// Some day in 2026.
const NOW: u64 = 1_795_600_000;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

struct Made {
    folder: tempfile::TempDir,
    table: Table,
}

/// The registries and the table, made once.
fn made() -> &'static Made {
    static MADE: OnceLock<Made> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("base");
        pack(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("models/types"),
            &FolderStore::new(&base),
            PackOptions::default(),
        )
        .unwrap();
        let table = Table::write(&base, "types:1.0.0", folder.path()).unwrap();
        assert!(table.cases.len() >= 50, "{} cases", table.cases.len());
        Made { folder, table }
    })
}

fn policy_file(case: &TrustCase) -> Option<PathBuf> {
    let name = case.policy.as_ref()?;
    Some(made().folder.path().join(format!("policies/{name}.json")))
}

/// Runs every case, and reports all that are not as they should be.
fn run(place: &str, mut decide: impl FnMut(&TrustCase) -> Decided, coarse: bool) {
    let mut failed = Vec::new();
    for case in &made().table.cases {
        let got = decide(case);
        let expected = if coarse {
            case.expect.coarse()
        } else {
            case.expect.clone()
        };
        if got != expected {
            failed.push(format!("{}: expected {expected:?}, got {got:?}", case.id));
        }
    }
    assert!(
        failed.is_empty(),
        "{place}, {} of {} failed:\n{}",
        failed.len(),
        made().table.cases.len(),
        failed.join("\n")
    );
}

#[test]
fn trust_natively() {
    let mut counters: BTreeMap<String, u64> = BTreeMap::new();
    let mut decide = |case: &TrustCase| -> twinfer::Result<Decided> {
        let store = FolderStore::new(made().folder.path().join(&case.registry));
        let reference = case.reference.parse()?;
        let Some(file) = policy_file(case) else {
            Package::open(&store, &reference)?.load()?;
            return Ok(Decided::Allowed(None));
        };
        let policy = TrustPolicy::from_json(&std::fs::read(file).unwrap())?;
        let name = reference.name().to_owned();
        let seen = Seen {
            now: NOW,
            last_counter: counters.get(&name).copied(),
        };
        let (package, decision) =
            Package::open_trusted(&store, &reference, Parts::Tested, &policy, seen)?;
        package.load()?;
        if let Some(counter) = decision.counter {
            counters.insert(name, counter);
        }
        Ok(match decision.verdict {
            Verdict::Allowed { keys } => Decided::Allowed(Some(keys)),
            Verdict::Warned { .. } => Decided::Warned,
        })
    };
    run(
        "native",
        |case| decide(case).unwrap_or_else(|e| Decided::Refused(e.code().as_str().into())),
        false,
    );
}

/// The command, which `cargo test` of the workspace builds beside the tests.
fn command() -> Command {
    let exe = std::env::current_exe().unwrap();
    let folder = exe.parent().and_then(Path::parent).unwrap();
    let mut command = Command::new(folder.join(format!("twinfer{}", std::env::consts::EXE_SUFFIX)));
    for variable in ["TWINFER_REGISTRY", "TWINFER_TRUST", "TWINFER_TRUST_STATE"] {
        command.env_remove(variable);
    }
    command
}

fn with_trust(command: &mut Command, case: &TrustCase, state: &str) {
    let folder = made().folder.path();
    command
        .arg("--registry")
        .arg(folder.join(&case.registry))
        .arg("--trust-state")
        .arg(folder.join(state));
    if let Some(policy) = policy_file(case) {
        command.arg("--trust").arg(policy);
    }
}

#[test]
fn trust_by_the_command() {
    let decide = |case: &TrustCase| {
        let mut command = command();
        command.args(["verify", "--no-self-test", "--json", &case.reference]);
        with_trust(&mut command, case, "state-command.json");
        let said = command.output().unwrap();
        if !said.status.success() {
            return Decided::Refused(code(&said));
        }
        let checked: Json = serde_json::from_slice(&said.stdout).unwrap();
        match (&checked[0]["warning"], checked[0]["keys"].as_array()) {
            (Json::String(_), _) => Decided::Warned,
            (_, None) => Decided::Allowed(None),
            (_, Some(keys)) => Decided::Allowed(Some(
                keys.iter().map(|k| k.as_str().unwrap().into()).collect(),
            )),
        }
    };
    run("command", decide, false);
}

fn code(said: &Output) -> String {
    let text = String::from_utf8_lossy(&said.stderr);
    let error = text
        .lines()
        .find_map(|line| serde_json::from_str::<Json>(line).ok());
    error
        .and_then(|error| Some(error["code"].as_str()?.to_owned()))
        .unwrap_or_else(|| format!("no code: {text}"))
}

/// A server, ended with the test.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the component on the host; what it said when it ends at once.
fn serve(component: &Path, case: &TrustCase) -> Result<Server, Output> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    let mut command = command();
    command.args(["serve", "--no-page", "--json", "--listen", &address]);
    command.arg("--component").arg(component);
    with_trust(&mut command, case, "state-component.json");
    let log = made().folder.path().join(format!(
        "serve-{port}.log",
        port = address.replace(':', "-")
    ));
    let log_file = std::fs::File::create(&log).unwrap();
    let mut child = command
        .stdout(Stdio::null())
        .stderr(log_file)
        .spawn()
        .unwrap();
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Err(Output {
                status,
                stdout: Vec::new(),
                stderr: std::fs::read(&log).unwrap(),
            });
        }
        if request(&address, "GET", "/healthz", &[], &[]).is_ok_and(|r| r.status == 200) {
            return Ok(Server { child, address });
        }
        assert!(
            start.elapsed() < Duration::from_secs(300),
            "the server does not start: {}",
            std::fs::read_to_string(&log).unwrap()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn trust_in_the_component_on_the_host() {
    let Some(component) = std::env::var_os("TWINFER_COMPONENT").map(PathBuf::from) else {
        return skipped("trust_in_the_component_on_the_host", "TWINFER_COMPONENT");
    };
    // One server for each registry and policy; one that does not start refuses everything.
    let mut servers: BTreeMap<(String, Option<String>), Result<Server, String>> = BTreeMap::new();
    let decide = |case: &TrustCase| {
        let key = (case.registry.clone(), case.policy.clone());
        let server = servers
            .entry(key)
            .or_insert_with(|| serve(&component, case).map_err(|said| code(&said)));
        let address = match server {
            Ok(server) => &server.address,
            Err(code) => return Decided::Refused(code.clone()),
        };
        let path = match case.reference.split_once(['@', ':']) {
            Some((name, version)) => format!("/v2/models/{name}/versions/{version}"),
            None => format!("/v2/models/{}", case.reference),
        };
        // The description of a refused model is refused like the model itself.
        let answers = ["/ready", ""].map(|route| {
            let answer = request(address, "GET", &format!("{path}{route}"), &[], &[]).unwrap();
            match answer.status {
                200 => Decided::Allowed(None),
                _ => {
                    let body: Json = serde_json::from_slice(&answer.body).unwrap_or_default();
                    Decided::Refused(body["code"].as_str().unwrap_or("no code").into())
                }
            }
        });
        assert_eq!(answers[0], answers[1], "{}", case.id);
        answers[0].clone()
    };
    run("component", decide, true);
}

/// The page and Node, by the script of the npm package.
fn in_javascript(place: &str, test: &str) {
    let script = root().join("web/test/run-trust.mjs");
    let built = root().join("web/dist/test/support/trust.js");
    if !built.is_file() {
        return skipped(test, "web/dist (cargo xtask build)");
    }
    if place == "page" && std::env::var_os("TWINFER_BROWSER").is_none() {
        return skipped(test, "TWINFER_BROWSER");
    }
    let out = made().folder.path().join(format!("{place}.json"));
    let said = Command::new("node")
        .arg(script)
        .args(["--place", place, "--folder"])
        .arg(made().folder.path())
        .arg("--out")
        .arg(&out)
        .output();
    let said = match said {
        Ok(said) => said,
        Err(_) => return skipped(test, "node"),
    };
    assert!(
        said.status.success(),
        "{}{}",
        String::from_utf8_lossy(&said.stdout),
        String::from_utf8_lossy(&said.stderr)
    );
    let results: BTreeMap<String, Decided> =
        serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    run(
        place,
        |case| {
            results
                .get(&case.id)
                .cloned()
                .unwrap_or_else(|| Decided::Refused("it was not run".into()))
        },
        false,
    );
}

#[test]
fn trust_in_node() {
    in_javascript("node", "trust_in_node");
}

#[test]
fn trust_in_a_page() {
    in_javascript("page", "trust_in_a_page");
}

/// Says it past the capture of the test runner.
fn skipped(test: &str, missing: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {missing} is missing");
    assert!(
        std::env::var_os("TWINFER_TEST_ALL").is_none(),
        "{test} was skipped: {missing} is missing"
    );
}
