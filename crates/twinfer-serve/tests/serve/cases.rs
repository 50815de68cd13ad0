//! Golden cases of `tumour-risk`, which the protocols are asked for.

use serde_json::Value;

use crate::support::{Answer, Fixture, recipe};

pub const RISK: &str = "tumour-risk";

/// Records and the labels that they have.
pub fn records() -> Vec<(Value, String)> {
    let text = std::fs::read_to_string(recipe(RISK).join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let case = |case: &Value| {
        let label = case["expect"]["outputs"]["label"].as_str().unwrap();
        (case["input"]["record"].clone(), label.to_owned())
    };
    golden["cases"].as_array().unwrap()[..3]
        .iter()
        .map(case)
        .collect()
}

/// The columns of a record, in their order.
pub fn names(record: &Value) -> Vec<String> {
    record.as_object().unwrap().keys().cloned().collect()
}

/// The cells of a record.
pub fn cells(record: &Value) -> Vec<Value> {
    record.as_object().unwrap().values().cloned().collect()
}

/// A record as a line of CSV.
pub fn line(record: &Value) -> String {
    let cells = cells(record).into_iter().map(|cell| cell.to_string());
    cells.collect::<Vec<_>>().join(",")
}

/// A server with this one model, which all protocols without names mean.
pub fn only_risk() -> Fixture {
    Fixture::new(&[RISK])
}

impl Fixture {
    pub fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<bytes::Bytes>,
    ) -> Answer {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap())
    }
}

impl Answer {
    /// An error in a form that has more than ours, with our code in it.
    #[track_caller]
    pub fn expect_error_in(&self, status: u16, code: &str) -> String {
        let json = self.json();
        assert_eq!(
            (self.status, &json["code"]),
            (status, &Value::from(code)),
            "{json}"
        );
        json["message"].as_str().expect("a message").to_owned()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
