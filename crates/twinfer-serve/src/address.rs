//! Addresses of registries on static hosts, and where their redirects lead: for shells whose
//! HTTP client knows neither.

use std::net::IpAddr;

use http::Uri;
use twinfer::{Result, bail, err};

/// Where a registry is: `https://host/path/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// Reads the address of a registry.
    ///
    /// # Errors
    /// `invalid_parameter` for anything but `https`, or `http` to this machine.
    pub fn parse(text: &str) -> Result<Self> {
        let uri: Uri = text
            .parse()
            .map_err(|e| err!(InvalidParameter, "`{text}` is not an address: {e}"))?;
        if uri.query().is_some() || text.contains('#') {
            bail!(
                InvalidParameter,
                "`{text}`: the address of a registry is that of a folder, without `?` and `#`"
            );
        }
        if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            bail!(
                InvalidParameter,
                "the address of a registry has a password in it: static hosts are read without one"
            );
        }
        if !is_safe(&uri, false) {
            bail!(
                InvalidParameter,
                "`{text}` would be reached without TLS, where everybody on the way can read and change what is sent: use https"
            );
        }
        Ok(Self(format!("{}/", uri.to_string().trim_end_matches('/'))))
    }

    /// With a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address of a file of the registry.
    pub fn file(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

/// Where a redirect of `from` leads.
///
/// # Errors
/// `network` for one that gives up TLS, or that is no address.
pub fn redirected(from: &str, location: &str) -> Result<String> {
    let wrong = || err!(Network, "{from} leads to `{location}`, which is no address");
    let before: Uri = from.parse().map_err(|_| wrong())?;
    let scheme = before.scheme_str().unwrap_or("https");
    let authority = before.authority().map_or("", |a| a.as_str());
    let to = if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else {
        let folder = before
            .path()
            .rfind('/')
            .map_or("/", |at| &before.path()[..=at]);
        format!("{scheme}://{authority}{folder}{location}")
    };
    let to = to.split('#').next().unwrap_or_default().to_owned();
    let uri: Uri = to.parse().map_err(|_| wrong())?;
    if !is_safe(&uri, scheme == "https") {
        bail!(Network, "{from} leads to {to}, which has no TLS");
    }
    Ok(to)
}

/// Plain HTTP is no danger on this machine, unless something else was asked for.
fn is_safe(uri: &Uri, secure_before: bool) -> bool {
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => !secure_before && uri.host().is_some_and(is_loopback),
        _ => false,
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_a_folder_behind_tls_or_on_this_machine() {
        for (text, address) in [
            ("https://a.example/models", "https://a.example/models/"),
            ("https://a.example", "https://a.example/"),
            ("https://a.example:8443/x//", "https://a.example:8443/x/"),
            ("http://127.0.0.1:80/r/", "http://127.0.0.1:80/r/"),
            ("http://[::1]:8080", "http://[::1]:8080/"),
            ("http://localhost/r", "http://localhost/r/"),
        ] {
            assert_eq!(Address::parse(text).unwrap().as_str(), address);
        }
        for text in [
            "http://a.example/models",
            "ftp://a.example",
            "https://a.example/?x",
            "https://a.example/#x",
            "https://me:secret@a.example/",
            "/registry",
            "https://",
            "",
        ] {
            let error = Address::parse(text).unwrap_err();
            assert_eq!(error.code(), twinfer::ErrorCode::InvalidParameter, "{text}");
            assert!(!error.message().contains("secret"), "{error}");
        }
    }

    #[test]
    fn redirects_keep_tls() {
        let from = "https://a.example/r/index.json";
        for (location, to) in [
            ("https://b.example/x?y=1", "https://b.example/x?y=1"),
            ("//b.example/x", "https://b.example/x"),
            ("/x", "https://a.example/x"),
            ("x.json#part", "https://a.example/r/x.json"),
        ] {
            assert_eq!(redirected(from, location).unwrap(), to);
        }
        for location in [
            "http://a.example/x",
            "http://127.0.0.1/x",
            "file:///x",
            "https://",
        ] {
            assert!(redirected(from, location).is_err(), "{location}");
        }
        assert!(redirected("http://127.0.0.1/r/", "http://127.0.0.1:1/").is_ok());
        assert!(redirected("http://127.0.0.1/r/", "http://a.example/").is_err());
    }
}
