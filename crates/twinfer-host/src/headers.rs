//! Headers that the host adds to answers, and takes away from requests.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CONNECTION, CONTENT_SECURITY_POLICY,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, REFERRER_POLICY, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::config::HostConfig;
use crate::reply::{Body, empty};

/// What a page may load and do: its own files, wasm, pictures that it made.
const PAGE_POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; \
     object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
/// What clients of the protocols send: credentials, the protocols' own headers, those of traces, of
/// deadlines, of conditional requests and of deployments, and CloudEvents in binary form. `*` would not be for
/// requests with credentials, and never is for `authorization`.
const FROM_CLIENTS: &str = "accept, authorization, x-api-key, content-type, inference-header-content-length, \
     x-request-id, x-request-timeout, traceparent, tracestate, baggage, if-none-match, if-modified-since, range, if-range, \
     x-twinfer-key, x-twinfer-version, if-match, \
     x-amzn-sagemaker-custom-attributes, x-amzn-sagemaker-inference-id, x-amzn-sagemaker-target-model, \
     x-amzn-sagemaker-target-variant, azureml-model-deployment, x-ms-client-request-id, \
     ce-id, ce-source, ce-specversion, ce-type, ce-subject, ce-time, ce-dataschema";
/// What scripts may read of an answer beyond its type and length.
const TO_CLIENTS: &str = "etag, content-length, content-range, retry-after, server-timing, inference-header-content-length, \
     x-request-id, x-twinfer-model, x-twinfer-version, x-twinfer-digest, x-twinfer-cache, traceparent, www-authenticate, \
     x-twinfer-variant, x-twinfer-deployment, \
     ratelimit, ratelimit-policy, ratelimit-limit, ratelimit-remaining, ratelimit-reset, \
     ce-id, ce-source, ce-specversion, ce-type, ce-subject, ce-time";

/// Adds to an answer what holds for all, and for a file of the page what holds for those. What the
/// component says about its own page stays.
pub(crate) fn add(
    config: &HostConfig,
    is_page: bool,
    origin: Option<&HeaderValue>,
    headers: &mut HeaderMap,
) {
    let mut set = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert_with(|| HeaderValue::from_static(value));
    };
    let shared = !config.cors.is_empty();
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(REFERRER_POLICY, "no-referrer");
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        if shared {
            "cross-origin"
        } else {
            "same-origin"
        },
    );
    if is_page {
        set(CONTENT_SECURITY_POLICY, PAGE_POLICY);
        set(X_FRAME_OPTIONS, "DENY");
        // With both, a page may share memory between threads.
        set(
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        );
        set(
            HeaderName::from_static("cross-origin-embedder-policy"),
            "require-corp",
        );
    }
    if shared {
        add_cors(&config.cors, origin, headers);
    }
}

fn add_cors(cors: &[String], origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("origin"));
    let Some(origin) = origin else { return };
    let allowed = if cors.iter().any(|known| known == "*") {
        HeaderValue::from_static("*")
    } else if cors
        .iter()
        .any(|known| known.as_bytes() == origin.as_bytes())
    {
        origin.clone()
    } else {
        return;
    };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(TO_CLIENTS),
    );
}

/// The answer to "may I?", which the origin header then grants or not.
pub(crate) fn preflight() -> Response<Body> {
    let mut answer = empty(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(
        ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(METHODS),
    );
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(FROM_CLIENTS),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    answer
}

/// The header in which the component hears that an administrator asks.
pub(crate) const ADMIN: HeaderName = HeaderName::from_static("x-twinfer-admin");

/// Takes away what only the host says to the component, whoever wrote it.
pub(crate) fn only_from_outside(headers: &mut HeaderMap) {
    headers.remove(ADMIN);
    headers.remove(twinfer_bundle::TOKEN);
}

/// Takes away what was meant for this connection alone (RFC 9110, 7.6.1), and so not for the
/// component. Not what `Connection` names besides: a client could take away what a proxy added.
pub(crate) fn only_end_to_end(headers: &mut HeaderMap) {
    let own = [
        CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in &own {
        headers.remove(name);
    }
}
