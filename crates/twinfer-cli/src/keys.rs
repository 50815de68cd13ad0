//! Files of keys.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use twinfer::{Result, bail, err};
use twinfer_package::{PrivateKey, PublicKey};

/// No key in PEM comes near.
const MAX_BYTES: u64 = 64 << 10;

/// Reads a private key.
///
/// # Errors
/// `storage`; `invalid_request` when it is none.
pub fn private(path: &Path) -> Result<PrivateKey> {
    PrivateKey::from_pem(&text(path)?).map_err(|e| e.context(path.display()))
}

/// Reads a public key.
///
/// # Errors
/// `storage`; `invalid_request` when it is none.
pub fn public(path: &Path) -> Result<PublicKey> {
    PublicKey::from_pem(&text(path)?).map_err(|e| e.context(path.display()))
}

/// Reads a small file.
///
/// # Errors
/// `storage`.
pub fn bytes(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let read = || {
        let length = fs::metadata(path)?.len();
        match length > limit {
            true => Err(std::io::Error::other(format!(
                "it has {length} bytes, more than {limit}"
            ))),
            false => fs::read(path),
        }
    };
    read().map_err(|e| err!(Storage, "cannot read {}: {e}", path.display()))
}

fn text(path: &Path) -> Result<String> {
    String::from_utf8(bytes(path, MAX_BYTES)?)
        .map_err(|_| err!(InvalidRequest, "{} is not a key in PEM", path.display()))
}

/// Writes a file that is not there yet; a private one for its owner only.
///
/// # Errors
/// `storage`, also when the file is there: a key that is overwritten is lost.
pub fn write_new(path: &Path, text: &str, private: bool) -> Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(if private { 0o600 } else { 0o644 });
    }
    #[cfg(not(unix))]
    let _ = private;
    let written = options.open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
    });
    match written {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => bail!(
            Storage,
            "{} is there already: a key that is overwritten is lost",
            path.display()
        ),
        written => written.map_err(|e| err!(Storage, "cannot write {}: {e}", path.display())),
    }
}
