//! What who follows releases is shown of requests, and what not.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use serde_json::json;
use twinfer_gateway::{ApiKey, Settings};
use twinfer_host::{Answered, Copied, Releases};

use crate::observe::{PREDICT, record, serving};
use crate::support::Fixture;

/// Notes what it is shown, of paths that begin with one.
struct Recorder {
    follows: &'static str,
    /// The status, the model that the answer is of, and a header that was put in before.
    seen: Mutex<Vec<(u16, Option<String>, bool)>>,
}

impl Recorder {
    fn new(follows: &'static str) -> Arc<Self> {
        Arc::new(Self {
            follows,
            seen: Mutex::default(),
        })
    }

    fn seen(&self) -> Vec<(u16, Option<String>, bool)> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

impl Releases for Recorder {
    fn before(&self, _: &Method, path: &str, headers: &mut HeaderMap) -> bool {
        let follows = path.starts_with(self.follows);
        if follows {
            headers.insert("x-before", HeaderValue::from_static("yes"));
        }
        follows
    }

    fn after(&self, answered: &Answered<'_>) -> Option<String> {
        let model = answered.headers.and_then(|all| all.get("x-twinfer-model"));
        let model = model.map(|model| model.to_str().unwrap().to_owned());
        let changed = answered.request.headers.contains_key("x-before");
        let status = answered.status.as_u16();
        self.seen.lock().unwrap().push((status, model, changed));
        None
    }

    fn copied(&self, _: Copied<'_>) {}

    fn admin<'a>(
        &'a self,
        _: Request<Bytes>,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Response<Bytes>> {
        Box::pin(async { Response::new(Bytes::new()) })
    }
}

#[test]
fn only_what_is_followed_is_shown() {
    let recorder = Recorder::new("/v2/echo");
    let host = Fixture::new(|config| config.releases = Some(recorder.clone()));
    assert_eq!(host.get("/v2/served").status, 200);
    assert_eq!(recorder.seen(), []);
    assert!(host.get("/v2/echo").text().contains("x-before"));
    assert_eq!(recorder.seen(), [(200, None, true)]);
}

/// The door takes the path for one of the default model, and the component for one of the model in
/// it: that answers, for somebody who may not ask it.
#[test]
fn an_answer_that_is_kept_back_is_shown_as_none() {
    let recorder = Recorder::new("/v2/models/");
    let (some, all) = (ApiKey::new(&[1; 32]), ApiKey::new(&[2; 32]));
    let settings = json!({"keys": [
        {"id": "some", "sha256": some.sha256(), "scopes": ["predict"], "models": ["elsewhere"]},
        {"id": "all", "sha256": all.sha256(), "scopes": ["predict"]},
    ]});
    let host = serving(|config| {
        config.releases = Some(recorder.clone());
        config.access.guarded = true;
        config.access.settings = Some(Settings::from_json(&settings.to_string()).unwrap());
        config.access.predict_paths = vec![PREDICT.into()];
        let default = ("TWINFER_DEFAULT_MODEL".into(), "elsewhere".into());
        config.env.push(default);
    });
    let ask = |key: &ApiKey| {
        let (body, secret) = (record(), key.secret());
        host.send(format!(
            "POST {PREDICT} HTTP/1.1\r\nhost: t\r\nconnection: close\r\nx-api-key: {secret}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
    };
    ask(&some).expect_error(403, "forbidden");
    assert_eq!(recorder.seen(), [(403, None, true)]);
    assert_eq!(ask(&all).status, 200);
    assert_eq!(
        recorder.seen(),
        [(200, Some("tumour-risk".to_owned()), true)]
    );
}
