//! The real MLflow: models that it saves, its file store, its server. Needs
//! `TWINFER_TEST_PYTHON`, a Python with tests/python/requirements.txt.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::support::Place;

/// The Python for tests; without it the test says so, and fails where all have to run.
fn python(test: &str) -> Option<String> {
    let python = std::env::var("TWINFER_TEST_PYTHON")
        .ok()
        .filter(|p| !p.is_empty());
    if python.is_none() {
        assert!(
            std::env::var_os("TWINFER_TEST_ALL").is_none(),
            "TWINFER_TEST_PYTHON is not set"
        );
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED {test}: TWINFER_TEST_PYTHON is not set"
        );
    }
    python
}

fn script(python: &str, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/python/mlflow_models.py");
    let said = Command::new(python)
        .arg(script)
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        said.status.success(),
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );
    String::from_utf8(said.stdout).unwrap()
}

fn text(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn models_saved_by_mlflow_pack_with_the_answers_of_scikit_learn() {
    let Some(python) = python("models_saved_by_mlflow") else {
        return;
    };
    let place = Place::new();
    let folder = place.path("made");
    let said = script(&python, &[folder.to_str().unwrap()]);
    let answers: Json = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let pack = |model: &str| {
        let options = ["--convert", "--python", &python];
        place.json(&[&["pack", model], options.as_slice()].concat())
    };
    for model in [
        "sk-pickle",
        "sk-cloudpickle",
        "sk-skops",
        "sk-gaps",
        "sk-columns",
        "sk-text",
        "sk-regressor",
        "onnx-columns",
    ] {
        let packed = pack(&format!("made/{model}"));
        assert_eq!(packed["self_test"]["passed"], 3, "{model}: {packed}");
    }
    assert_eq!(pack("made/onnx-tensor")["self_test"]["passed"], 1);
    let example: Json =
        serde_json::from_str(&text(place.path("made/sk-pickle/input_example.json"))).unwrap();
    let keys = example["columns"].as_array().unwrap().iter();
    let record: Json = keys
        .zip(example["data"][1].as_array().unwrap())
        .map(|(key, value)| (key.as_str().unwrap().to_owned(), value.clone()))
        .collect();
    for model in ["sk-pickle", "sk-cloudpickle", "sk-skops", "onnx-columns"] {
        let answer = place.json(&["predict", model, "--input", &format!("record={record}")]);
        assert_eq!(answer["outputs"]["label"], answers["labels"][1], "{model}");
        let ill = answer["outputs"]["probabilities"]["ill"].as_f64().unwrap();
        assert!(
            (ill - answers["probabilities"][1][0].as_f64().unwrap()).abs() < 1e-6,
            "{model}: {ill}"
        );
    }
    // What the imputer fills may be missing; what a model needs may not.
    place.good(&[
        "predict",
        "sk-gaps",
        "--input",
        r#"record={"age": 1, "dose": null}"#,
    ]);
    place.bad(
        &[
            "predict",
            "sk-pickle",
            "--input",
            r#"record={"age": 1, "dose": 1}"#,
        ],
        "invalid_record",
        1,
    );

    // The file store of the same MLflow.
    let uri = format!("file:{}/mlruns", folder.display());
    let options = ["--tracking-uri", &uri, "--python", &python, "--convert"];
    for (model, version) in [
        ("models:/Risk Model/1", "1.0.0"),
        ("models:/Risk Model@first", "1.0.0"),
        ("models:/Risk Model@champion", "2.0.0"),
        ("models:/Risk Model", "2.0.0"),
    ] {
        let packed = place.json(&[&["pack", model], options.as_slice()].concat());
        assert_eq!(packed["name"], "risk-model");
        assert_eq!(packed["version"], version, "{model}");
        assert_eq!(packed["self_test"]["passed"], 2, "{model}");
    }
}

#[test]
fn a_library_that_is_missing_is_named() {
    let Some(python) = python("a_library_that_is_missing_is_named") else {
        return;
    };
    let place = Place::new();
    place.write(
        "m/MLmodel",
        "flavors:\n  sklearn:\n    pickled_model: model.pkl\n",
    );
    place.write("m/model.pkl", "no pickle");
    let convert = ["pack", "m", "--convert", "--python", &python];
    let error = place.bad(&convert, "conversion_failed", 1);
    assert!(error.contains("UnpicklingError"), "{error}");
    // Without site-packages there is nothing.
    let mut command = place.command(&convert);
    place.write("empty/numpy.py", "raise ImportError('no numpy here')");
    let said = command
        .env("PYTHONPATH", place.path("empty"))
        .output()
        .unwrap();
    let error = String::from_utf8(said.stderr).unwrap();
    assert!(
        error.contains("conversion_failed") && error.contains("no numpy here"),
        "{error}"
    );
}

/// A server that ends with the test.
struct Server(Child, String);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn server(python: &str, place: &Place) -> Server {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    std::fs::create_dir_all(place.path("server")).unwrap();
    // uvicorn itself: `mlflow server` starts it as a child, which would outlive the test.
    let child = Command::new(python)
        .args([
            "-m",
            "uvicorn",
            "--host",
            "127.0.0.1",
            "--port",
            &port.to_string(),
        ])
        .arg("mlflow.server.fastapi_app:app")
        .current_dir(place.path("server"))
        .env("_MLFLOW_SERVER_FILE_STORE", "sqlite:///mlflow.db")
        .env("_MLFLOW_SERVER_REGISTRY_STORE", "sqlite:///mlflow.db")
        .env("_MLFLOW_SERVER_ARTIFACT_ROOT", "mlflow-artifacts:/")
        .env(
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION",
            place.path("server/artifacts"),
        )
        .env("_MLFLOW_SERVER_SERVE_ARTIFACTS", "true")
        .env("MLFLOW_DISABLE_TELEMETRY", "true")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Server(child, format!("http://127.0.0.1:{port}"));
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            began.elapsed() < Duration::from_secs(180),
            "the MLflow server does not start"
        );
        assert!(
            server.0.try_wait().unwrap().is_none(),
            "the MLflow server ended"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
    server
}

#[test]
fn a_registry_on_a_real_mlflow_server() {
    let Some(python) = python("a_registry_on_a_real_mlflow_server") else {
        return;
    };
    let place = Place::new();
    let server = server(&python, &place);
    script(&python, &["--register", &server.1]);
    let options = [
        "--tracking-uri",
        &server.1,
        "--python",
        &python,
        "--convert",
    ];
    for (model, version) in [
        ("models:/Risk Model/1", "1.0.0"),
        ("models:/Risk Model@champion", "2.0.0"),
        ("models:/Risk Model", "2.0.0"),
    ] {
        let packed = place.json(&[&["pack", model], options.as_slice()].concat());
        assert_eq!(packed["name"], "risk-model");
        assert_eq!(packed["version"], version, "{model}");
        assert_eq!(packed["self_test"]["passed"], 2, "{model}");
    }
    for (model, code) in [
        ("models:/Risk Model@nobody", "unknown_version"),
        ("models:/Risk Model/9", "unknown_version"),
        ("models:/Nobody/1", "unknown_model"),
        ("models:/Nobody@x", "unknown_model"),
        ("models:/Nobody", "unknown_model"),
        (
            "models:/m-0123456789abcdef0123456789abcdef",
            "unknown_model",
        ),
    ] {
        place.bad(&[&["pack", model], options.as_slice()].concat(), code, 1);
    }
}
