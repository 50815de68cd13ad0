//! The door of the component, as its shell uses it: variables in, answers out.

use std::cell::RefCell;
use std::rc::Rc;

use futures_util::FutureExt;
use http::{HeaderMap, Response, header};
use serde_json::{Value, json};
use twinfer_gateway::{Door, Surroundings, forget_credentials};

use crate::support::{NOW, key};

/// Surroundings without a host. They remember lines of the log and addresses.
#[derive(Default, Clone)]
struct Fake {
    variables: Vec<(String, String)>,
    keys: Vec<u8>,
    log: Rc<RefCell<Vec<String>>>,
}

impl Surroundings for Fake {
    fn variable(&self, name: &str) -> Option<String> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }

    fn read(&self, file: &str) -> std::io::Result<Vec<u8>> {
        match file {
            "/mounted/keys.json" => Ok(self.keys.clone()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    fn log(&self, line: &str) {
        self.log.borrow_mut().push(line.into());
    }

    fn now(&self) -> u64 {
        NOW
    }

    async fn fetch(&self, address: &str) -> Result<Vec<u8>, String> {
        self.log(&format!("fetched {address}"));
        Ok(self.keys.clone())
    }
}

fn fake(variables: &[(&str, &str)]) -> Fake {
    let variables = variables.iter();
    Fake {
        variables: variables
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect(),
        ..Fake::default()
    }
}

fn door(variables: &[(&str, &str)]) -> Door<Fake> {
    Door::new(fake(variables))
}

/// The status and code with which a request is answered; 200 where it is let through.
fn ask(door: &Door<Fake>, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = http::Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    let admitted = door.admit(&mut parts).now_or_never().unwrap();
    let response: Response<String> = match admitted {
        Ok(admitted) => {
            let mut headers = HeaderMap::new();
            admitted.describe(&mut headers);
            return (200, headers.get("ratelimit").is_some().to_string());
        }
        Err(response) => *response,
    };
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let body: Value = serde_json::from_str(response.body()).unwrap();
    let code = body["code"].as_str().unwrap();
    (response.status().as_u16(), code.into())
}

#[test]
fn without_settings_predictions_and_health_are_open() {
    let door = door(&[]);
    assert_eq!(ask(&door, "/v2/health/live", &[]).0, 200);
    assert_eq!(ask(&door, "/v2/models/m/predict", &[]).0, 200);
    assert_eq!(ask(&door, "/metrics", &[]), (401, "unauthorized".into()));
    assert_eq!(
        ask(&door, "/v2/repository/index", &[]),
        (401, "unauthorized".into())
    );
    assert_eq!(ask(&door, "/v2/nothing", &[]), (404, "not_found".into()));
}

#[test]
fn more_can_be_opened() {
    let door = door(&[
        ("TWINFER_OPEN", "metrics, page"),
        ("AIP_HEALTH_ROUTE", "/alive"),
    ]);
    assert_eq!(ask(&door, "/metrics", &[]).0, 200);
    assert_eq!(ask(&door, "/alive", &[]).0, 200);
    assert_eq!(ask(&door, "/registry/index.json", &[]).0, 401);
}

#[test]
fn keys_count_as_on_our_host() {
    let key = key(1);
    let settings = json!({
        "keys": [{"id": "a", "sha256": key.sha256(), "scopes": ["predict"], "models": ["m*"]}],
        "rates": {"principal": {"per_second": 1, "burst": 3}},
    });
    let door = door(&[
        ("TWINFER_ACCESS", &settings.to_string()),
        ("TWINFER_DEFAULT_MODEL", "m:stable"),
    ]);
    let with = [("x-api-key", key.secret())];
    assert_eq!(ask(&door, "/v2/models/m/predict", &with).0, 200);
    assert_eq!(
        ask(&door, "/v2/models/other/predict", &with),
        (403, "forbidden".into())
    );
    // Answers that are let through say what is left.
    assert_eq!(ask(&door, "/invocations", &with), (200, "true".into()));
    assert_eq!(
        ask(&door, "/v2/models/m/predict", &with),
        (429, "rate_limited".into())
    );
    assert_eq!(
        ask(&door, "/v2/models/m/predict", &[]),
        (401, "unauthorized".into())
    );
}

#[test]
fn keys_of_an_issuer_are_fetched_or_mounted() {
    let data: Value = serde_json::from_str(include_str!("data/tokens.json")).unwrap();
    let bearer = |token: &Value| format!("Bearer {}", token.as_str().unwrap());
    let (good, bad) = (
        bearer(&data["good"]["ES384"]),
        bearer(&data["bad"]["unknown kid"]),
    );
    for (jwks, fetched) in [("https://i.example/keys", 1), ("/mounted/keys.json", 0)] {
        let settings = json!({
            "jwt": {"jwks": jwks, "issuer": data["issuer"], "audience": data["audience"]},
        });
        let mut fake = fake(&[("TWINFER_ACCESS", &settings.to_string())]);
        fake.keys = data["jwks"].to_string().into_bytes();
        let log = fake.log.clone();
        let door = Door::new(fake);
        let path = "/v2/models/m/predict";
        assert_eq!(
            ask(&door, path, &[("authorization", &good)]).0,
            200,
            "{jwks}"
        );
        assert_eq!(ask(&door, path, &[("authorization", &bad)]).0, 401);
        // Once a minute at most, whatever is asked.
        assert_eq!(log.borrow().len(), fetched, "{:?}", log.borrow());
    }
}

#[test]
fn administrators_are_audited() {
    let settings =
        json!({"keys": [{"id": "operator", "sha256": key(1).sha256(), "scopes": ["admin"]}]});
    let fake = fake(&[("TWINFER_ACCESS", &settings.to_string())]);
    let log = fake.log.clone();
    let door = Door::new(fake);
    let path = "/v2/repository/models/m/unload";
    assert_eq!(
        ask(
            &door,
            path,
            &[("x-api-key", key(1).secret()), ("x-request-id", "7")]
        )
        .0,
        200
    );
    assert_eq!(ask(&door, path, &[]).0, 401);
    let lines = log.borrow();
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["principal"], "key:operator");
    assert_eq!(
        (&lines[0]["outcome"], &lines[0]["request"]),
        (&json!("allowed"), &json!("7"))
    );
    assert_eq!(
        (&lines[1]["outcome"], &lines[1]["target"]),
        (&json!("refused"), &json!(path))
    );
}

#[test]
fn malformed_settings_close_the_door() {
    for variables in [
        [("TWINFER_ACCESS", "{")],
        [("TWINFER_ACCESS", r#"{"open": ["admin"]}"#)],
        [(
            "TWINFER_ACCESS",
            r#"{"jwt": {"jwks": "/no/such/file", "issuer": "i", "audience": "a"}}"#,
        )],
        [("TWINFER_OPEN", "everything")],
    ] {
        let fake = fake(&variables);
        let log = fake.log.clone();
        let door = Door::new(fake);
        assert_eq!(log.borrow().len(), 1);
        assert_eq!(ask(&door, "/v2/health/ready", &[]).0, 200, "{variables:?}");
        let closed = (500, "internal".into());
        assert_eq!(
            ask(&door, "/v2/models/m/predict", &[]),
            closed,
            "{variables:?}"
        );
    }
}

#[test]
fn a_host_can_say_that_it_has_decided() {
    let door = door(&[("TWINFER_ACCESS", "host")]);
    assert_eq!(ask(&door, "/v2/repository/index", &[]).0, 200);
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, "Bearer k".parse().unwrap());
    headers.insert("x-api-key", "k".parse().unwrap());
    forget_credentials(&mut headers);
    assert!(headers.is_empty());
}
