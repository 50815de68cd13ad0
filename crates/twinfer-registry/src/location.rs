//! Where a registry is, as a person writes it.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use reqwest::Url;
use twinfer::{Error, Result, bail, err};
use twinfer_package::{FolderStore, Store, WritableStore, check_name};

use crate::error::shorten;
use crate::{HttpStore, NetOptions, OciStore};

/// A folder, a static host (`https://host/path`) or an OCI registry (`oci://host/prefix`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// An OCI image layout in a folder.
    Folder(PathBuf),
    /// The same folder on a web host. The address ends with a slash.
    Static(Url),
    /// An OCI registry. The name of the model is appended to the prefix.
    Oci {
        /// `host` or `host:port`.
        host: String,
        /// Path components before the name of the model, without slashes at the ends; may be
        /// empty.
        prefix: String,
    },
}

impl Location {
    /// Reads a location. Anything without `://` is a folder.
    ///
    /// # Errors
    /// `invalid_parameter` for a scheme that is not known, or a malformed address.
    pub fn parse(text: &OsStr) -> Result<Self> {
        match text.to_str() {
            Some(text) => text.parse(),
            None => Ok(Self::Folder(text.into())),
        }
    }

    /// The folder, where it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(path) => Some(path),
            _ => None,
        }
    }

    /// The registry there, for reading.
    ///
    /// # Errors
    /// `invalid_parameter` for plain HTTP that was not allowed, or a CA file that is none;
    /// `storage` when that cannot be read.
    pub fn open(&self, options: &NetOptions) -> Result<Box<dyn Store>> {
        Ok(match self {
            Self::Folder(path) => Box::new(FolderStore::new(path)),
            Self::Static(url) => Box::new(HttpStore::new(url.clone(), options)?),
            Self::Oci { host, prefix } => Box::new(OciStore::new(host, prefix, options)?),
        })
    }

    /// The registry there, for writing.
    ///
    /// # Errors
    /// As [`Location::open`]; `invalid_parameter` for a static host.
    pub fn open_writable(&self, options: &NetOptions) -> Result<Box<dyn WritableStore>> {
        Ok(match self {
            Self::Folder(path) => Box::new(FolderStore::new(path)),
            Self::Oci { host, prefix } => Box::new(OciStore::new(host, prefix, options)?),
            Self::Static(url) => bail!(
                InvalidParameter,
                "{url} is a static host, which can only be read: write into a folder with `twinfer mirror` and upload that, or name a registry as oci://host/prefix"
            ),
        })
    }
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((scheme, rest)) = text.split_once("://") else {
            if text.is_empty() {
                bail!(InvalidParameter, "the location of the registry is empty");
            }
            return Ok(Self::Folder(text.into()));
        };
        match scheme {
            "oci" => oci(text, rest),
            "http" | "https" => static_host(text),
            _ => bail!(
                InvalidParameter,
                "`{}` is not a location that is known: write a folder, https://host/path for a static host, or oci://host/prefix for an OCI registry",
                shorten(text)
            ),
        }
    }
}

fn static_host(text: &str) -> Result<Location> {
    let mut url = address(text, text)?;
    if url.query().is_some() || url.fragment().is_some() {
        bail!(
            InvalidParameter,
            "`{}` must end with the path of the folder: no ? and no #",
            shorten(text)
        );
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(Location::Static(url))
}

fn oci(text: &str, rest: &str) -> Result<Location> {
    let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let url = address(text, &format!("http://{host}/"))?;
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if !prefix.is_empty() {
        for part in prefix.split('/') {
            check_name(part).map_err(|e| {
                err!(
                    InvalidParameter,
                    "`{}`, the part after the host: {e}",
                    shorten(text)
                )
            })?;
        }
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        bail!(
            InvalidParameter,
            "`{}` is not oci://host/prefix",
            shorten(text)
        );
    }
    // As the address has it, but for the port, which `Url` leaves out where it is that of http.
    Ok(Location::Oci {
        host: host.to_ascii_lowercase(),
        prefix: prefix.into(),
    })
}

/// Checks an address; passwords in it would end up in logs.
fn address(text: &str, url: &str) -> Result<Url> {
    let url = Url::parse(url).map_err(|e| {
        err!(
            InvalidParameter,
            "`{}` is not an address: {e}",
            shorten(text)
        )
    })?;
    if url.host_str().is_none_or(str::is_empty) {
        bail!(InvalidParameter, "`{}` has no host", shorten(text));
    }
    if !url.username().is_empty() || url.password().is_some() {
        bail!(
            InvalidParameter,
            "the location has a user name or password in it: keep them in Docker's config.json (`docker login`)"
        );
    }
    Ok(url)
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Static(url) => write!(f, "{url}"),
            Self::Oci { host, prefix } if prefix.is_empty() => write!(f, "oci://{host}"),
            Self::Oci { host, prefix } => write!(f, "oci://{host}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use twinfer::ErrorCode;

    #[test]
    fn the_three_forms_are_read_and_written() {
        for (text, shown) in [
            ("registry", "registry"),
            ("/srv/models", "/srv/models"),
            ("C:\\models", "C:\\models"),
            ("https://example.org", "https://example.org/"),
            ("https://example.org/a/b", "https://example.org/a/b/"),
            ("http://127.0.0.1:8080/x/", "http://127.0.0.1:8080/x/"),
            ("oci://registry.example", "oci://registry.example"),
            (
                "oci://127.0.0.1:5000/models/",
                "oci://127.0.0.1:5000/models",
            ),
            ("oci://[::1]:5000/a/b", "oci://[::1]:5000/a/b"),
            ("oci://Registry.Example:80/a", "oci://registry.example:80/a"),
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!(location.to_string(), shown, "{text}");
            assert_eq!(location.folder().is_some(), !text.contains("://"), "{text}");
        }
    }

    #[test]
    fn what_is_no_location_is_refused() {
        for text in [
            "",
            "ftp://example.org/",
            "docker://example.org/a",
            "https://",
            "https://user:secret@example.org/",
            "https://example.org/?a=b",
            "https://example.org/#a",
            "oci://",
            "oci:///models",
            "oci://user@example.org/models",
            "oci://example.org/Models",
            "oci://example.org/a//b",
            "oci://example.org/../etc",
            "oci://example.org?x/a",
            "oci://example.org:notaport/a",
        ] {
            let error = text.parse::<Location>().unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidParameter, "{text}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
