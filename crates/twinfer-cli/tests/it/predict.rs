//! predict: every kind of input, and what is wrong with them.

use std::io::Write;
use std::process::Stdio;

use serde_json::json;

use crate::support::{Place, floats, npy, sample};

/// A PNG with these sizes in its header, and nothing else that is right.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut header = b"IHDR".to_vec();
    header.extend_from_slice(&width.to_be_bytes());
    header.extend_from_slice(&height.to_be_bytes());
    header.extend_from_slice(&[8, 2, 0, 0, 0]);
    let mut file = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    let checksum = crc32(&header);
    file.extend_from_slice(&header);
    file.extend_from_slice(&checksum.to_be_bytes());
    file.extend_from_slice(b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82");
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

#[test]
fn pictures() {
    let place = Place::new();
    let digest = place.pack("face-detector");
    let picture = std::fs::read_dir(format!("{}/pictures", sample("face-detector"))).unwrap();
    let picture = picture
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|e| e == "jpg"))
        .unwrap();
    let input = format!("picture={}", picture.display());
    let answer = place.json(&["predict", "face-detector:1.0.0", "--input", &input]);
    assert_eq!(answer["digest"], digest);
    assert_eq!(answer["mode"], "strict");
    assert!(answer["outputs"]["boxes"].is_array(), "{answer}");
    assert!(answer["timing"]["predict_ms"].as_f64().unwrap() > 0.0);
    let text = place.good(&["predict", "face-detector", "--input", &input]);
    assert!(text.starts_with("boxes: "), "{text}");
    // The same bytes from standard input.
    let mut child = place
        .command(&["predict", "face-detector", "--json", "--input", "picture=-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&std::fs::read(&picture).unwrap())
        .unwrap();
    let piped: serde_json::Value =
        serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(piped["outputs"], answer["outputs"]);

    let predict = |name: &str, bytes: &[u8], code: &str| {
        place.write("picture", bytes);
        let error = place.bad(
            &["predict", "face-detector", "--input", "picture=picture"],
            code,
            1,
        );
        assert!(!error.contains("panicked"), "{name}: {error}");
    };
    predict("empty", b"", "invalid_picture");
    predict("text", b"no picture at all", "invalid_picture");
    predict("a page", b"<!DOCTYPE html>", "invalid_picture");
    predict(
        "cut",
        &std::fs::read(&picture).unwrap()[..200],
        "invalid_picture",
    );
    predict("no pixels", &png_header(0, 0), "invalid_picture");
    predict("too many", &png_header(30_000, 30_000), "picture_too_large");
    place.bad(
        &["predict", "face-detector", "--input", "picture=none.jpg"],
        "invalid_input",
        1,
    );
}

#[test]
fn bytes_and_parameters() {
    let place = Place::new();
    place.pack("file-type");
    place.write(
        "page",
        "<!DOCTYPE html><html><head><title>x</title></head><body><p>Hello</p></body></html>\n",
    );
    let predict = |more: &[&str]| {
        place.json(&[&["predict", "file-type", "--input", "content=page"], more].concat())
    };
    assert_eq!(predict(&[])["outputs"]["content_type"]["label"], "html");
    predict(&["--param", "prediction_mode=best_guess"]);
    let wrong = |parameter, code| {
        place.bad(
            &[
                "predict",
                "file-type",
                "--input",
                "content=page",
                "--param",
                parameter,
            ],
            code,
            1,
        )
    };
    wrong("prediction_mode=maybe", "invalid_parameter");
    wrong("mood=good", "unknown_parameter");
    // Input that the model need not be asked about.
    place.write("page", "");
    assert_eq!(predict(&[])["outputs"]["content_type"]["label"], "empty");
}

#[test]
fn sounds() {
    let place = Place::new();
    place.pack("sound-type");
    let sounds = format!("{}/sounds", sample("sound-type"));
    let input = format!("audio={sounds}/sweep-32-bit.wav");
    let answer = place.json(&["predict", "sound-type", "--input", &input]);
    assert_eq!(answer["outputs"]["kinds"][0]["label"], "sweep");
    let wav = std::fs::read(format!("{sounds}/sine-8-bit.wav")).unwrap();
    for (bytes, code) in [
        (&b""[..], "invalid_audio"),
        (b"no sound at all", "invalid_audio"),
        (&wav[..wav.len() - 1], "invalid_audio"),
    ] {
        place.write("sound", bytes);
        let input = ["predict", "sound-type", "--input", "audio=sound"];
        place.bad(&input, code, 1);
    }
    let shown = place.good(&["inspect", "sound-type"]);
    assert!(
        shown.contains("audio (audio: WAV, becomes 8000 Hz)"),
        "{shown}"
    );
}

#[test]
fn texts() {
    let place = Place::new();
    place.pack("text-language");
    let predict = |value: &str| {
        let input = format!("text={value}");
        place.json(&["predict", "text-language", "--input", &input])["outputs"].take()
    };
    let answer = predict("Wo ist der Bahnhof?");
    assert_eq!(answer["language"], "de");
    place.write("text", "\u{feff}Wo ist der Bahnhof?");
    assert_eq!(predict("@text"), answer);
    // A text that is also the name of a file is a text.
    assert_eq!(predict("text")["language"], predict("nothing")["language"]);
    let several = [
        "predict",
        "text-language",
        "--input",
        "text=a",
        "--input",
        "text=b",
    ];
    place.bad(&several, "invalid_input", 1);
    place.write("text", b"caf\xe9");
    let bad = ["predict", "text-language", "--input", "text=@text"];
    place.bad(&bad, "invalid_text", 1);
    let shown = place.good(&["inspect", "text-language"]);
    assert!(
        shown.contains("text (text: up to 100000 characters)"),
        "{shown}"
    );
}

#[test]
fn records() {
    let place = Place::new();
    place.pack("tumour-risk");
    let record = json!({"mean radius": 17.99, "mean texture": 10.38, "worst area": null});
    place.write("record.json", record.to_string());
    let predict = |value: &str| {
        place.json(&[
            "predict",
            "tumour-risk",
            "--input",
            &format!("record={value}"),
        ])["outputs"]
            .take()
    };
    let answer = predict("@record.json");
    assert_eq!(predict(&record.to_string()), answer);
    assert_eq!(predict("record.json"), answer);
    assert!(answer["probabilities"].is_object(), "{answer}");
    let wrong = |value: &str, code| {
        place.bad(
            &[
                "predict",
                "tumour-risk",
                "--input",
                &format!("record={value}"),
            ],
            code,
            1,
        )
    };
    wrong("{", "invalid_json");
    wrong("{\"mean radius\": NaN}", "invalid_json");
    wrong("{\"mean radius\": \"wide\"}", "invalid_record");
    wrong("{\"mean radius\": [1]}", "invalid_record");
    wrong("{\"mood\": 1}", "invalid_record");
    wrong("@none.json", "invalid_input");
    place.write("list.json", "[1]");
    wrong("@list.json", "invalid_json");
    let deep = format!(
        "{{\"mean radius\": {}1{}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    wrong(&deep, "invalid_json");
}

#[test]
fn tensors_go_around_the_steps_before_the_model() {
    let place = Place::new();
    place.pack("tumour-risk");
    place.write("x.npy", npy("<f4", "(1, 30)", &floats(30)));
    let answer = place.json(&["predict", "tumour-risk", "--input", "X=x.npy"]);
    assert!(answer["outputs"]["label"].is_string(), "{answer}");
    let error = place.bad(
        &["predict", "tumour-risk", "--input", "Y=x.npy"],
        "unknown_input",
        1,
    );
    assert!(
        error.contains("`record`") && error.contains("`X`"),
        "{error}"
    );
    place.bad(
        &[
            "predict",
            "tumour-risk",
            "--input",
            "record={}",
            "--input",
            "record={}",
        ],
        "invalid_input",
        1,
    );
}
