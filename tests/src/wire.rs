//! Requests that are wrong before any model is asked, and the code that each must get.

use std::io;

use twinfer::ErrorCode;

use crate::http::{Response, request};

/// A request that only an HTTP server can get.
pub struct Check {
    /// Its name.
    pub id: &'static str,
    method: &'static str,
    path: &'static str,
    content_type: Option<&'static str>,
    body: &'static [u8],
    /// What must be answered; the status is the code's own.
    pub code: ErrorCode,
}

impl Check {
    /// Sends it.
    ///
    /// # Errors
    /// When nothing comes back.
    pub fn send(&self, address: &str) -> io::Result<Response> {
        let headers: Vec<(&str, &str)> = self
            .content_type
            .map(|value| ("content-type", value))
            .into_iter()
            .collect();
        request(address, self.method, self.path, &headers, self.body)
    }
}

const fn post(
    id: &'static str,
    path: &'static str,
    content_type: Option<&'static str>,
    body: &'static [u8],
    code: ErrorCode,
) -> Check {
    Check {
        id,
        method: "POST",
        path,
        content_type,
        body,
        code,
    }
}

const JSON: Option<&str> = Some("application/json");
const TYPES: &str = "/v2/models/types/versions/1.0.0/infer";
const RISK: &str = "/v2/models/tumour-risk/versions/1.0.0/predict";

/// All of them.
pub const CHECKS: &[Check] = &[
    Check {
        id: "wire/route",
        method: "GET",
        path: "/v2/nothing/here",
        content_type: None,
        body: b"",
        code: ErrorCode::NotFound,
    },
    Check {
        id: "wire/method",
        method: "DELETE",
        path: "/v2/models",
        content_type: None,
        body: b"",
        code: ErrorCode::MethodNotAllowed,
    },
    Check {
        id: "wire/model",
        method: "GET",
        path: "/v2/models/none",
        content_type: None,
        body: b"",
        code: ErrorCode::UnknownModel,
    },
    Check {
        id: "wire/version",
        method: "GET",
        path: "/v2/models/types/versions/9.9.9",
        content_type: None,
        body: b"",
        code: ErrorCode::UnknownVersion,
    },
    post(
        "wire/json",
        TYPES,
        JSON,
        b"{\"inputs\":[",
        ErrorCode::InvalidJson,
    ),
    post(
        "wire/not-json",
        TYPES,
        JSON,
        b"\xff\xfe",
        ErrorCode::InvalidJson,
    ),
    post("wire/empty", TYPES, JSON, b"", ErrorCode::InvalidJson),
    post(
        "wire/form",
        TYPES,
        JSON,
        b"[1,2]",
        ErrorCode::InvalidRequest,
    ),
    post(
        "wire/datatype",
        TYPES,
        JSON,
        br#"{"inputs":[{"name":"i","datatype":"FP31","shape":[3],"data":[1,2,3]}]}"#,
        ErrorCode::WrongDtype,
    ),
    post(
        "wire/element",
        TYPES,
        JSON,
        br#"{"inputs":[{"name":"i","datatype":"INT64","shape":[3],"data":[1,2,"x"]}]}"#,
        ErrorCode::InvalidInput,
    ),
    post("wire/record-json", RISK, JSON, b"{", ErrorCode::InvalidJson),
    post(
        "wire/record-as-picture",
        RISK,
        Some("image/png"),
        b"x",
        ErrorCode::UnsupportedMediaType,
    ),
    post(
        "wire/record-as-text",
        RISK,
        Some("text/plain"),
        b"x",
        ErrorCode::UnsupportedMediaType,
    ),
];
