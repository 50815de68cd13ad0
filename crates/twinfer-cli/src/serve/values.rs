//! Values of settings, as text.

use std::net::{SocketAddr, ToSocketAddrs};

use twinfer_host::Instances;

use super::Instance;

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let mut addresses = text
        .to_socket_addrs()
        .map_err(|e| format!("{e}; write host:port, such as 127.0.0.1:8080"))?;
    addresses
        .next()
        .ok_or_else(|| "this host has no address".into())
}

pub(super) fn route(text: &str) -> Result<String, String> {
    match text.starts_with('/') && !text.contains(['?', '#', ' ']) {
        true => Ok(text.to_owned()),
        false => Err("must be a path, such as /predict".into()),
    }
}

pub(super) fn instances(text: &str) -> Result<Instance, String> {
    match text {
        "fresh" => Ok(Instance::Are(Instances::Fresh)),
        "warm" => Ok(Instance::Are(Instances::Warm)),
        number => number
            .parse()
            .map(Instance::Most)
            .map_err(|_| "must be a number, `fresh` or `warm`".into()),
    }
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|e| format!("{e}"))?;
    // A year is for ever; beyond it, adding to a point in time may overflow.
    if seconds > 0.0 && seconds <= 31_536_000.0 {
        return Ok(seconds);
    }
    Err("must be more than 0 and at most a year".into())
}

/// Seconds, where 0 has a meaning of its own.
pub(super) fn poll(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(0.0) => Ok(0.0),
        _ => seconds(text),
    }
}
