//! Slim components, of the development build.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::{Value as Json, json};

use crate::support::{Place, Said, sample};

/// The command, without a wasm-opt that may be on this machine: it takes longer than the test.
fn quick(place: &Place, arguments: &[&str]) -> Json {
    let said = said(place, arguments);
    assert_eq!(said.code, Some(0), "{}", said.err);
    serde_json::from_str(&said.out).unwrap()
}

fn said(place: &Place, arguments: &[&str]) -> Said {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let full = std::env::var("TWINFER_COMPONENT")
        .unwrap_or_else(|_| format!("{root}/target/wasm32-wasip2/wasm-dev/twinfer_worker.wasm"));
    let all = [arguments, &["--component", &full, "--json"]].concat();
    let mut command: Command = place.command(&all);
    Said::of(command.env("TWINFER_WASM_OPT", "").output().unwrap())
}

/// `twinfer serve` of a component, without a full one beside it.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn new(place: &Place, component: &str) -> Self {
        let arguments = ["serve", "--component", component, "--listen", "127.0.0.1:0"];
        let mut child = place
            .command(&arguments)
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for stream in streams {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if let Ok(line) = serde_json::from_str::<Json>(&line)
                        && line["event"] == "listening"
                    {
                        let _ = sender.send(line);
                    }
                }
            });
        }
        let line = receiver
            .recv_timeout(std::time::Duration::from_secs(300))
            .unwrap();
        Self {
            address: line["address"].as_str().unwrap().to_owned(),
            child,
        }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Json) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_slim_component_answers_for_its_model_and_says_what_it_lacks_for_others() {
    let place = Place::new();
    let digest = place.pack("tumour-risk");
    place.pack("face-detector");
    let made = quick(
        &place,
        &[
            "slim",
            "tumour-risk",
            "--target",
            "component",
            "--attach",
            "-o",
            "slim.wasm",
        ],
    );
    // By name, version and digest: compared with the full one, without times.
    let golden: Json = serde_json::from_slice(
        &std::fs::read(format!("{}/golden.json", sample("tumour-risk"))).unwrap(),
    )
    .unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(made["same"], 3 * cases.len(), "{made}");
    let engine = &made["engine"];
    assert_eq!(
        (&engine["kind"], &engine["target"]),
        (&json!("slim"), &json!("component"))
    );
    assert!(engine["packages"][&digest].is_string(), "{engine}");
    let (kept, all) = (
        made["kept"].as_u64().unwrap(),
        made["functions"].as_u64().unwrap(),
    );
    assert!(kept > 0 && kept * 2 < all, "{kept} of {all}");
    assert!(engine["size"].as_u64().unwrap() * 2 < made["full_size"].as_u64().unwrap());
    let listed = place.json(&["inspect", "tumour-risk"]);
    assert_eq!(&listed["engines"][0], engine);
    // In a real server.
    let served = Served::new(&place, "slim.wasm");
    let case = json!({"inputs": cases[0]["input"]});
    let path = "/v2/models/tumour-risk/predict";
    let (status, answer) = served.ask("POST", path, &case.to_string());
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = served.ask("GET", "/v2/models/face-detector/ready", "");
    assert_eq!(
        (status, &answer["code"]),
        (500, &json!("engine_function_missing"))
    );
    let (status, answer) = served.ask("POST", path, &case.to_string());
    assert_eq!(status, 200, "{answer}");
    // And as `--check` says it beforehand.
    let check = ["--target", "component", "--check", "--made", "slim.wasm"];
    let good = quick(&place, &[&["slim", "tumour-risk"], &check[..]].concat());
    assert_eq!(good["check"][0]["same"], 3 * cases.len(), "{good}");
    let bad = said(&place, &[&["slim", "face-detector"], &check[..]].concat());
    assert_eq!(bad.code, Some(3), "{}", bad.err);
    let bad: Json = serde_json::from_str(&bad.out).unwrap();
    assert!(
        !bad["check"][0]["missing"].as_array().unwrap().is_empty(),
        "{bad}"
    );
}

#[test]
fn a_fused_component_can_be_slim_too() {
    let place = Place::new();
    place.pack("tumour-risk");
    let fuse = ["fuse", "tumour-risk", "--target", "component"];
    let whole = quick(&place, &[&fuse[..], &["-o", "whole.wasm"]].concat());
    let slim = quick(
        &place,
        &[&fuse[..], &["--slim", "-o", "slim.wasm"]].concat(),
    );
    assert_eq!(
        (&whole["slim"], &slim["slim"]),
        (&json!(false), &json!(true))
    );
    assert!(slim["size"].as_u64().unwrap() * 2 < whole["size"].as_u64().unwrap());
    let served = Served::new(&place, "slim.wasm");
    let (status, answer) = served.ask("GET", "/v2/models/tumour-risk/ready", "");
    assert_eq!(status, 200, "{answer}");
    let golden: Json = serde_json::from_slice(
        &std::fs::read(format!("{}/golden.json", sample("tumour-risk"))).unwrap(),
    )
    .unwrap();
    let case = json!({"inputs": golden["cases"][0]["input"]});
    let path = "/v2/models/tumour-risk/predict";
    let (status, answer) = served.ask("POST", path, &case.to_string());
    assert_eq!(status, 200, "{answer}");
}
