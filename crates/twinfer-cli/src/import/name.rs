//! Names and versions of packages from those of MLflow.

use twinfer::{Result, bail, err};
use twinfer_package::{MAX_NAME, check_name};

/// A free text as the name of a package: lower case, everything else than letters and
/// digits becomes one `-`.
///
/// # Errors
/// `invalid_reference` when nothing is left.
pub fn package_name(text: &str) -> Result<String> {
    let mut name = String::new();
    for c in text.chars() {
        let c = c.to_ascii_lowercase();
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    // All of it is ASCII by now.
    name.truncate(MAX_NAME);
    let name = name.trim_end_matches('-').to_owned();
    if name.is_empty() {
        bail!(
            InvalidReference,
            "no name of a package can be made of `{}`: give one with --name",
            text.chars().take(40).collect::<String>().escape_debug()
        );
    }
    check_name(&name).map_err(|e| err!(InvalidReference, "{e}; give a name with --name"))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_mlflow_become_names_of_packages() {
        for (text, name) in [
            ("Risk Model", "risk-model"),
            ("iris_v2.onnx", "iris-v2-onnx"),
            ("--A__b--", "a-b"),
            ("Modèle ü", "mod-le"),
        ] {
            assert_eq!(package_name(text).unwrap(), name);
        }
        assert_eq!(package_name(&"x-".repeat(200)).unwrap().len(), 127);
        assert!(package_name("模型").is_err());
    }
}
