//! An event, in the forms that it has over HTTP.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value as Json};
use twinfer::{Result, bail, err};

use crate::media::{MediaType, unquote};
use crate::query::percent_decode;

/// Attributes that every event has, none of them empty.
const REQUIRED: [&str; 4] = ["specversion", "id", "source", "type"];
/// HTTP binding, section 3.1.3.2: a header keeps what is printable, but for these.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// An event.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Event {
    /// All but `datacontenttype`, as texts.
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) data_type: Option<String>,
    pub(super) data: Bytes,
}

/// A header value from the text of an attribute.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// An event in binary mode.
///
/// # Errors
/// `invalid_request` for attributes that are missing or malformed.
pub(super) fn from_headers(headers: &HeaderMap, data: Bytes) -> Result<Event> {
    let mut attributes = BTreeMap::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else {
            continue;
        };
        // Older clients quote values.
        let text = std::str::from_utf8(value.as_bytes()).ok().map(unquote);
        let Some(text) = text.and_then(|text| percent_decode(&text)) else {
            bail!(
                InvalidRequest,
                "the header `ce-{name}` is not percent-encoded UTF-8"
            );
        };
        attributes.insert(name.to_owned(), text);
    }
    let data_type = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    check(Event {
        attributes,
        data_type: data_type.map(str::to_owned),
        data,
    })
}

/// An event in structured mode.
///
/// # Errors
/// `invalid_json`, `invalid_request`.
pub(super) fn read(body: &[u8]) -> Result<Event> {
    match json(body)? {
        Json::Object(fields) => from_fields(fields),
        _ => bail!(InvalidRequest, "an event must be an object"),
    }
}

/// A batch: what is wrong with one event is its own.
///
/// # Errors
/// `invalid_json`, `invalid_request` for what is no list.
pub(super) fn read_batch(body: &[u8]) -> Result<Vec<Result<Event>>> {
    let Json::Array(events) = json(body)? else {
        bail!(InvalidRequest, "a batch must be a list of events");
    };
    let one = |(at, event)| match event {
        Json::Object(fields) => {
            from_fields(fields).map_err(|e: twinfer::Error| e.context(format!("event {at}")))
        }
        _ => bail!(InvalidRequest, "event {at}: an event must be an object"),
    };
    Ok(events.into_iter().enumerate().map(one).collect())
}

fn json(body: &[u8]) -> Result<Json> {
    serde_json::from_slice(body).map_err(|e| err!(InvalidJson, "the request is not JSON: {e}"))
}

fn from_fields(mut fields: Map<String, Json>) -> Result<Event> {
    let data_type = match fields.remove("datacontenttype") {
        None | Some(Json::Null) => None,
        Some(Json::String(text)) => Some(text),
        Some(_) => bail!(InvalidRequest, "`datacontenttype` must be a text"),
    };
    let is_bytes = fields.contains_key("data_base64");
    let data = match (fields.remove("data"), fields.remove("data_base64")) {
        (Some(_), Some(_)) => bail!(
            InvalidRequest,
            "an event has `data` or `data_base64`, not both"
        ),
        (None, Some(Json::String(text))) => STANDARD
            .decode(text)
            .map_err(|e| err!(InvalidRequest, "`data_base64` is not base64: {e}"))?,
        (None, Some(_)) => bail!(InvalidRequest, "`data_base64` must be a text"),
        // A text is itself where the data is not JSON.
        (Some(Json::String(text)), None) if !is_json(data_type.as_deref()) => text.into_bytes(),
        (Some(data), None) => data.to_string().into_bytes(),
        (None, None) => Vec::new(),
    };
    let mut attributes = BTreeMap::new();
    for (name, value) in fields {
        let text = match value {
            Json::Null => continue,
            Json::String(text) => text,
            Json::Bool(_) | Json::Number(_) => value.to_string(),
            _ => bail!(
                InvalidRequest,
                "the attribute `{name}` must be a text, a number or a truth value"
            ),
        };
        attributes.insert(name, text);
    }
    // Bytes without a type are what the model takes; JSON without one is JSON.
    let data_type = data_type.or_else(|| (!is_bytes).then(|| "application/json".to_owned()));
    check(Event {
        attributes,
        data_type,
        data: data.into(),
    })
}

/// JSON format, section 3.1.1: without a type the data is JSON.
fn is_json(data_type: Option<&str>) -> bool {
    let Some(data_type) = data_type else {
        return true;
    };
    let media_type = MediaType::parse(data_type);
    media_type
        .is_some_and(|given| given.essence.ends_with("/json") || given.essence.ends_with("+json"))
}

fn check(event: Event) -> Result<Event> {
    for name in REQUIRED {
        if event.attributes.get(name).is_none_or(String::is_empty) {
            bail!(
                InvalidRequest,
                "the event has no `{name}`: events of CloudEvents 1.0 have {}, in their JSON or as headers with `ce-` before",
                REQUIRED.join(", ")
            );
        }
    }
    let version = event.attributes.get("specversion").map_or("", |v| v);
    if version != "1.0" {
        bail!(
            InvalidRequest,
            "the event is of version {version:?} of CloudEvents; this is 1.0"
        );
    }
    let is_name = |name: &str| {
        let is_part = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        !name.is_empty() && name.bytes().all(is_part)
    };
    if let Some(name) = event.attributes.keys().find(|name| !is_name(name)) {
        bail!(
            InvalidRequest,
            "the attribute {name:?} has another name than letters a-z and digits"
        );
    }
    Ok(event)
}

impl Event {
    /// In structured mode.
    ///
    /// # Errors
    /// `internal` for data that is no JSON, which no event of ours has.
    pub(super) fn to_json(&self) -> Result<Json> {
        let attributes = self.attributes.iter();
        let mut fields: Map<String, Json> = attributes
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect();
        if let Some(data_type) = &self.data_type {
            fields.insert("datacontenttype".into(), data_type.as_str().into());
        }
        let data = serde_json::from_slice(&self.data)
            .map_err(|e| err!(Internal, "the data of the answer is not JSON: {e}"))?;
        fields.insert("data".into(), data);
        Ok(Json::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use twinfer::ErrorCode;

    fn event(more: Json) -> Json {
        let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
        event
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        event
    }

    #[test]
    fn data_in_all_forms() {
        for (more, data_type, data) in [
            (
                json!({"data": {"a": 1}}),
                "application/json",
                &b"{\"a\":1}"[..],
            ),
            (json!({"data": "x"}), "application/json", b"\"x\""),
            (
                json!({"data": "a,b", "datacontenttype": "text/csv"}),
                "text/csv",
                b"a,b",
            ),
            (
                json!({"data_base64": "AQI=", "datacontenttype": "image/png"}),
                "image/png",
                b"\x01\x02",
            ),
            (
                json!({"n": 5, "t": true, "gone": null}),
                "application/json",
                b"",
            ),
        ] {
            let read = read(event(more).to_string().as_bytes()).unwrap();
            assert_eq!(read.data_type.as_deref(), Some(data_type));
            assert_eq!(&read.data[..], data);
            assert!(!read.attributes.contains_key("gone"));
        }
    }

    #[test]
    fn what_is_no_event() {
        for bad in [
            json!([]),
            json!({}),
            json!({"specversion": "1.0", "id": "1", "source": "/s"}),
            event(json!({"specversion": "0.3"})),
            event(json!({"id": ""})),
            event(json!({"Upper": "x"})),
            event(json!({"nested": {}})),
            event(json!({"data": 1, "data_base64": ""})),
            event(json!({"data_base64": "%"})),
            event(json!({"data_base64": 1})),
            event(json!({"datacontenttype": 1})),
        ] {
            let error = read(bad.to_string().as_bytes()).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidRequest, "{bad}: {error}");
        }
        assert_eq!(read(b"{").unwrap_err().code(), ErrorCode::InvalidJson);
        assert!(read_batch(b"{}").is_err());
        let batch = read_batch(format!("[{}, 1]", event(json!({}))).as_bytes()).unwrap();
        assert!(batch[0].is_ok() && batch[1].is_err());
    }

    #[test]
    fn headers_are_percent_encoded() {
        assert_eq!(encode("a \"é\"%"), "a%20%22%C3%A9%22%25");
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", "a%20%C3%A9"),
            ("ce-source", "/s"),
            ("ce-type", "t"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let read = from_headers(&headers, Bytes::new()).unwrap();
        assert_eq!(read.attributes["id"], "a é");
        headers.insert("ce-id", "%ff".parse().unwrap());
        assert!(from_headers(&headers, Bytes::new()).is_err());
        headers.remove("ce-id");
        assert!(from_headers(&headers, Bytes::new()).is_err());
    }
}
