//! Sounds and texts as inputs of a pipeline, in every form and protocol.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::support::{Answer, Fixture, recipe};

const SOUND: &str = "/v2/models/sound-type/predict";
const TEXT: &str = "/v2/models/text-language/predict";
const ENGLISH: &str = "Where is the station, and what is the time?";
const GERMAN: &str = "Ich weiß nicht, wo der Bahnhof ist.";

static MODELS: LazyLock<Fixture> = LazyLock::new(|| Fixture::new(&["sound-type", "text-language"]));

fn sound(name: &str) -> Vec<u8> {
    std::fs::read(recipe("sound-type").join("sounds").join(name)).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn form(fields: &[(&str, Option<&str>, &[u8])]) -> (&'static str, Vec<u8>) {
    let mut body = Vec::new();
    for (name, file, content) in fields {
        let file = file.map_or(String::new(), |file| format!("; filename=\"{file}\""));
        body.extend(
            format!("--cut\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n")
                .bytes(),
        );
        body.extend(*content);
        body.extend(b"\r\n");
    }
    body.extend(b"--cut--\r\n");
    ("multipart/form-data; boundary=cut", body)
}

fn lines(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    let lines = answer.text();
    lines
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

#[test]
fn a_sound_in_every_form_gives_the_same() {
    let wav = sound("noise-24-bit-stereo.wav");
    let outputs = MODELS.post(SOUND, "audio/wav", wav.clone()).ok()["outputs"].clone();
    assert_eq!(outputs["kinds"][0]["label"], "noise");
    assert_eq!(outputs["kinds"].as_array().unwrap().len(), 3);
    for content_type in ["audio/x-wav", "audio/vnd.wave", "application/octet-stream"] {
        assert_eq!(
            MODELS.post(SOUND, content_type, wav.clone()).ok()["outputs"],
            outputs
        );
    }
    let none = http::Request::post(SOUND).body(wav.clone().into()).unwrap();
    assert_eq!(MODELS.send(none).ok()["outputs"], outputs);
    let encoded = json!({"base64": base64(&wav), "media_type": "audio/wav"});
    let envelope = json!({"inputs": {"audio": encoded}});
    assert_eq!(MODELS.post_json(SOUND, &envelope).ok()["outputs"], outputs);
    let (kind, body) = form(&[("file", Some("a.wav"), &wav)]);
    assert_eq!(MODELS.post(SOUND, kind, body).ok()["outputs"], outputs);
    let row = json!({"b64": base64(&wav)});
    let body = format!("{row}\n{{\"b64\": \"AAAA\"}}\n");
    let found = lines(&MODELS.post(SOUND, "application/x-ndjson", body));
    assert_eq!(found[0]["outputs"], outputs);
    assert_eq!(found[1]["code"], "invalid_audio");
    let tensorflow = MODELS
        .post_json(
            "/v1/models/sound-type:predict",
            &json!({"instances": [row]}),
        )
        .ok();
    // An answer of one part is that part.
    assert_eq!(tensorflow["predictions"][0], outputs["kinds"]);
}

#[test]
fn a_text_in_every_form_gives_the_same() {
    let outputs = MODELS.post(TEXT, "text/plain", GERMAN).ok()["outputs"].clone();
    assert_eq!(outputs["language"], "de");
    for content_type in [
        "text/plain; charset=UTF-8",
        "text/plain;charset=us-ascii",
        "application/octet-stream",
    ] {
        assert_eq!(
            MODELS.post(TEXT, content_type, GERMAN).ok()["outputs"],
            outputs
        );
    }
    let none = http::Request::post(TEXT).body(GERMAN.into()).unwrap();
    assert_eq!(MODELS.send(none).ok()["outputs"], outputs);
    for body in [
        json!({"text": GERMAN}),
        json!({"inputs": {"text": GERMAN}}),
        json!({"inputs": {"text": [GERMAN]}, "parameters": {}}),
    ] {
        assert_eq!(
            MODELS.post_json(TEXT, &body).ok()["outputs"],
            outputs,
            "{body}"
        );
    }
    let (kind, body) = form(&[("text", None, GERMAN.as_bytes())]);
    assert_eq!(MODELS.post(TEXT, kind, body).ok()["outputs"], outputs);
    for table in [format!("text\n\"{GERMAN}\"\n"), format!("\"{GERMAN}\"\n")] {
        let header = if table.starts_with("text") {
            "present"
        } else {
            "absent"
        };
        let answer = MODELS.call(
            "POST",
            TEXT,
            &[
                ("content-type", &format!("text/csv; header={header}")),
                ("accept", "application/json"),
            ],
            table,
        );
        assert_eq!(answer.ok()["predictions"][0]["outputs"], outputs);
    }
    let rows = json!({"instances": [GERMAN, {"text": GERMAN}, {"b64": base64(GERMAN.as_bytes())}]});
    let answers = MODELS
        .post_json("/v1/models/text-language:predict", &rows)
        .ok();
    for answer in answers["predictions"].as_array().unwrap() {
        // Numbers as TensorFlow writes them are shorter.
        assert_eq!(answer["language"], outputs["language"]);
        assert_eq!(answer["probabilities"].as_object().unwrap().len(), 5);
    }
}

#[test]
fn texts_come_together_as_lines_files_and_rows() {
    let body = format!(
        "{}\n{}\n7\n",
        json!(ENGLISH),
        json!({"inputs": {"text": GERMAN}})
    );
    let found = lines(&MODELS.post(TEXT, "application/x-ndjson", body));
    assert_eq!(found[0]["outputs"]["language"], "en");
    assert_eq!(found[1]["outputs"]["language"], "de");
    assert_eq!(found[2]["code"], "invalid_input");
    let (kind, body) = form(&[
        ("a", Some("a.txt"), ENGLISH.as_bytes()),
        ("b", Some("b.txt"), b"\xff"),
    ]);
    let found = MODELS.post(TEXT, kind, body).ok();
    assert_eq!(found["predictions"][0]["outputs"]["language"], "en");
    assert_eq!(found["predictions"][1]["code"], "invalid_text");
    let table = json!({"dataframe_split": {"columns": ["text"], "data": [[ENGLISH], [GERMAN]]}});
    let records = json!({"dataframe_records": [{"text": ENGLISH}, {"text": GERMAN}]});
    let inputs = json!({"inputs": [ENGLISH, GERMAN]});
    let named = json!({"inputs": {"text": [ENGLISH, GERMAN]}});
    let model = Fixture::new(&["text-language"]);
    for body in [table, records, inputs, named] {
        let answer = model.post_json("/invocations", &body).ok();
        // As MLflow answers for a classifier: its labels.
        assert_eq!(answer["predictions"], json!(["en", "de"]), "{body}");
    }
}

#[test]
fn what_is_no_sound_and_no_text_is_refused() {
    let wav = sound("sine-8-bit.wav");
    for (path, content_type, body, status, code) in [
        (
            SOUND,
            "audio/wav",
            b"ID3 no wave".to_vec(),
            400,
            "invalid_audio",
        ),
        (
            SOUND,
            "audio/wav",
            wav[..100].to_vec(),
            400,
            "invalid_audio",
        ),
        (
            SOUND,
            "image/png",
            wav.clone(),
            415,
            "unsupported_media_type",
        ),
        (
            SOUND,
            "text/plain",
            b"a text".to_vec(),
            415,
            "unsupported_media_type",
        ),
        (
            SOUND,
            "text/csv",
            b"a\n1\n".to_vec(),
            415,
            "unsupported_media_type",
        ),
        (
            SOUND,
            "application/json",
            b"{\"inputs\": {\"audio\": \"text\"}}".to_vec(),
            400,
            "invalid_request",
        ),
        (TEXT, "text/plain", b"caf\xe9".to_vec(), 400, "invalid_text"),
        (
            TEXT,
            "text/plain; charset=latin-1",
            b"caf\xe9".to_vec(),
            415,
            "unsupported_media_type",
        ),
        (
            TEXT,
            "text/plain",
            vec![b'a'; 100_001],
            413,
            "body_too_large",
        ),
        (
            TEXT,
            "audio/wav",
            wav.clone(),
            415,
            "unsupported_media_type",
        ),
        (
            TEXT,
            "application/json",
            b"{\"text\": 7}".to_vec(),
            400,
            "invalid_request",
        ),
        (
            TEXT,
            "application/json",
            b"{\"text\": []}".to_vec(),
            400,
            "invalid_text",
        ),
        (
            TEXT,
            "application/json",
            b"{\"texts\": \"a\"}".to_vec(),
            400,
            "invalid_request",
        ),
        (
            TEXT,
            "application/json",
            b"{\"inputs\": {\"words\": \"a\"}}".to_vec(),
            400,
            "unknown_input",
        ),
    ] {
        MODELS
            .post(path, content_type, body)
            .expect_error(status, code);
    }
}

#[test]
fn the_description_says_what_is_taken() {
    let document = MODELS.get("/openapi.json").ok();
    let content = |path: &str| document["paths"][path]["post"]["requestBody"]["content"].clone();
    let sound = content(SOUND);
    assert!(sound["audio/wav"].is_object(), "{sound}");
    assert!(sound["application/json"].is_object(), "{sound}");
    let text = content(TEXT);
    assert!(text["text/plain"].is_object(), "{text}");
    assert!(text["application/json"].is_object(), "{text}");
}
