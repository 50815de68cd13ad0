//! What a host is told about access.

use std::fmt;
use std::path::{Path, PathBuf};

use twinfer_gateway::{Rules, Scopes, Settings, Surface};

use crate::config::HostConfig;

/// Who may ask what. The default: on a loopback address everything is open but what changes the
/// server; on others nothing is but health and predictions.
#[derive(Clone)]
pub struct AccessConfig {
    /// API keys, tokens, certificates, limits. With settings, nothing is open but what they say,
    /// on a loopback address too.
    pub settings: Option<Settings>,
    /// What is open without credentials beside that.
    pub open: Scopes,
    /// The folder that the file of keys (`jwt.jwks`) is relative to.
    pub folder: Option<PathBuf>,
    /// More paths that ask for health.
    pub health_paths: Vec<String>,
    /// More paths that ask the default model for a prediction.
    pub predict_paths: Vec<String>,
    /// Off, everybody may do everything: for programs that have a guard of their own, and for
    /// components that are not Twinfer's.
    pub guarded: bool,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self {
            settings: None,
            open: Scopes::NONE,
            folder: None,
            health_paths: Vec::new(),
            predict_paths: Vec::new(),
            guarded: true,
        }
    }
}

impl fmt::Debug for AccessConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without hashes, and a state has no form.
        f.debug_struct("AccessConfig")
            .field("settings", &self.settings.is_some())
            .field("open", &self.open.to_string())
            .field("guarded", &self.guarded)
            .finish_non_exhaustive()
    }
}

impl AccessConfig {
    /// A path in the settings.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        match &self.folder {
            Some(folder) => folder.join(file),
            None => Path::new(file).to_owned(),
        }
    }

    pub(super) fn rules(&self, config: &HostConfig, settings: Option<Settings>) -> Rules {
        Rules {
            settings,
            open: self.open,
            loopback: config.listen.ip().to_canonical().is_loopback(),
            surface: Surface {
                page_files: config.page.is_some(),
                default_model: default_model(&config.env),
                health_paths: with(&self.health_paths, &config.env, "AIP_HEALTH_ROUTE"),
                predict_paths: with(&self.predict_paths, &config.env, "AIP_PREDICT_ROUTE"),
            },
        }
    }
}

/// These paths, and the one that the component is told by a variable.
fn with(paths: &[String], environment: &[(String, String)], name: &str) -> Vec<String> {
    let told = variable(environment, name).filter(|path| path.starts_with('/'));
    let all = paths.iter().map(String::as_str).chain(told);
    all.map(str::to_owned).collect()
}

/// Of two with one name the last counts.
fn variable<'a>(environment: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut last = environment.iter().rev();
    let (_, value) = last.find(|(known, _)| known == name)?;
    Some(value)
}

/// The name of the model that the component is told to take where a request names none.
fn default_model(environment: &[(String, String)]) -> Option<String> {
    let name = variable(environment, "TWINFER_DEFAULT_MODEL")?
        .split([':', '@'])
        .next()?;
    (!name.is_empty()).then(|| name.to_owned())
}
