//! Finding a browser of the Chromium family, and installing one where we may.

use std::path::PathBuf;

use crate::failure::{Failure, Result};
use crate::run::{Run, find_program};
use crate::steps::step;

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

/// Like [`find`], and installs Debian's `chromium` where that needs nobody's consent.
pub fn find_or_install() -> Result<PathBuf> {
    if let Some(found) = find()? {
        return Ok(found);
    }
    if !root_on_debian() {
        return Err(Failure::new(format!(
            "no browser of the Chromium family was found, and the page's tests need one. Install Chromium or Chrome \
             (Debian, Ubuntu: `sudo apt-get install chromium`; Fedora: `sudo dnf install chromium`; macOS: `brew install --cask chromium`), \
             or set {VARIABLE} to the path of one"
        )));
    }
    step("apt-get install chromium", |output| {
        let apt = |arguments: &[&str]| {
            Run::new("apt-get")
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive")
                .to(output)
                .run()
        };
        apt(&["-q", "update"])?;
        apt(&["-q", "install", "-y", "--no-install-recommends", "chromium"])
    })?;
    find()?.ok_or_else(|| Failure::new("chromium was installed, but is not on the PATH"))
}

fn root_on_debian() -> bool {
    let root = Run::new("id")
        .args(["-u"])
        .read()
        .is_ok_and(|id| id.trim() == "0");
    let debian = std::fs::read_to_string("/etc/os-release")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once('='))
        .any(|(key, value)| {
            (key == "ID" || key == "ID_LIKE")
                && value.trim_matches('"').split(' ').any(|id| id == "debian")
        });
    root && debian && find_program(&["apt-get"]).is_some()
}
