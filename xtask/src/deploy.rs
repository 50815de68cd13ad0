//! The suite of the places where it is deployed: the files of `deploy/`, held against the schemas of
//! those places, and the container image, started as each of them starts it.

use std::path::Path;

use crate::clients::{environment, ran, scripts};
use crate::counts::{Counts, Runner};
use crate::debian;
use crate::demo::pack_models;
use crate::failure::{Context, Failure, Result};
use crate::image::Image;
use crate::paths;
use crate::python;
use crate::run::Run;
use crate::steps::step;
use crate::test::watched;

/// What scripts share, and is none of them.
const HELPERS: [&str; 3] = ["container.py", "places.py", "pods.py"];

/// Runs every script of `tests/deploy`.
pub fn suite() -> Result<Counts> {
    let python = step("Python packages of tests/deploy", python::for_deploy)?;
    let folder = paths::target().join("deploy");
    let registry = folder.join("registry");
    std::fs::create_dir_all(&folder).context(|| paths::show(&folder))?;
    pack_models(&paths::command(), &["models"], &registry)?;
    let image = folder.join("image");
    let has_image = images(&image)?;
    let mut counts = Counts::default();
    for script in scripts("tests/deploy", &HELPERS)? {
        println!("==> {}", paths::show(&script));
        let mut run = Run::new(environment(&script, &python)?)
            .args([&script])
            .args([Path::new("--folder"), &folder])
            .args([Path::new("--registry"), &registry])
            .args([Path::new("--twinfer"), &paths::command()])
            .args([Path::new("--component"), &paths::component("wasm-dev")])
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        if has_image {
            run = run.args([Path::new("--image"), &image]);
        }
        counts += ran(watched(run, Runner::Plain)?);
    }
    Ok(counts)
}

/// Makes the image of what is built, twice: the same files must give the same digest. And once more
/// as an archive for Docker. Says whether this machine can make images, and start them.
fn images(image: &Path) -> Result<bool> {
    let missing = debian::missing(&debian::test_programs());
    if !cfg!(target_os = "linux") || !debian::is_root() || !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|program| program.name).collect();
        println!(
            "==> SKIPPED: tests of the container image; they need Linux, to be root, and {}",
            if names.is_empty() {
                String::from("nothing else")
            } else {
                names.join(", ")
            }
        );
        return Ok(false);
    }
    let digest = made(image, "oci")?;
    let again = made(&image.with_file_name("image-again"), "oci")?;
    if digest != again {
        return Err(Failure::new(format!(
            "the same files gave two images: {digest} and {again}"
        )));
    }
    made(&image.with_file_name("twinfer.tar"), "docker")?;
    Ok(true)
}

/// Makes the image of the development build in this form; gives its digest.
fn made(out: &Path, form: &str) -> Result<String> {
    let image = Image::new(
        Some("dev".into()),
        Some("test".into()),
        Some(form),
        Some(out.display().to_string()),
    )?;
    step(&format!("make the image ({form})"), |output| {
        image.make(output)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_scripts_and_the_helpers_are_none() {
        let scripts = scripts("tests/deploy", &HELPERS).unwrap();
        assert!(
            scripts
                .iter()
                .any(|path| path.ends_with("kubernetes_manifests.py"))
        );
        assert!(!scripts.iter().any(|path| path.ends_with("places.py")));
    }
}
