//! Finding a browser of the Chromium family, and installing one where we may.

use std::path::PathBuf;

use crate::debian;
use crate::failure::{Failure, Result};
use crate::run::find_program;

/// Names under which they are installed.
const NAMES: [&str; 8] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "microsoft-edge",
    "brave-browser",
];

/// Places outside the PATH.
const PLACES: [&str; 3] = [
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
];

/// The variable that names one.
pub const VARIABLE: &str = "TWINFER_BROWSER";

/// The browser that `TWINFER_BROWSER` names, or the first that is found.
pub fn find() -> Result<Option<PathBuf>> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        let path = PathBuf::from(&named);
        if !path.is_file() {
            return Err(Failure::new(format!(
                "{VARIABLE}={}: there is no such file",
                path.display()
            )));
        }
        return Ok(Some(path));
    }
    Ok(find_program(&NAMES)
        .or_else(|| PLACES.iter().map(PathBuf::from).find(|path| path.is_file())))
}

/// The Debian package to install when there is no browser.
///
/// # Errors
/// When there is none and installing one needs somebody's consent: what to do.
pub fn needed() -> Result<Option<&'static str>> {
    if find()?.is_some() {
        return Ok(None);
    }
    if !debian::may_install() {
        return Err(Failure::new(format!(
            "no browser of the Chromium family was found, and the page's tests need one. Install Chromium or Chrome \
             (Debian, Ubuntu: `sudo apt-get install chromium`; Fedora: `sudo dnf install chromium`; macOS: `brew install --cask chromium`), \
             or set {VARIABLE} to the path of one"
        )));
    }
    Ok(Some("chromium"))
}

/// The browser that must be there by now.
pub fn required() -> Result<PathBuf> {
    find()?.ok_or_else(|| Failure::new("chromium was installed, but is not on the PATH"))
}
