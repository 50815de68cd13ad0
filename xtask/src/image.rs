//! The container image of the host: the command, the component and what they need, and nothing
//! else. Made by `buildah`, without a daemon; the same files give the same digest.

use std::path::{Path, PathBuf};

use crate::build;
use crate::failure::{Context, Failure, Result};
use crate::libraries;
use crate::paths;
use crate::run::{Run, find_program};
use crate::steps::{Output, step};

/// The user that the image runs as: a number, so that Kubernetes sees that it is not root.
const USER: &str = "65532:65532";
/// Folders of the image that this user may write to, each a place for a volume. Everything else
/// may be read-only.
const WRITABLE: [&str; 2] = ["/var/cache/twinfer", "/var/lib/twinfer"];
/// Where the component is in the image.
const COMPONENT: &str = "/usr/lib/twinfer/twinfer_worker.wasm";
/// The authorities that the command trusts, as Debian has them and in the image.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// What the command is told in the image. `XDG_…` are for its folders in [`WRITABLE`].
const ENVIRONMENT: [(&str, &str); 5] = [
    ("TWINFER_LISTEN", "0.0.0.0:8080"),
    ("TWINFER_REGISTRY", "/registry"),
    ("TWINFER_COMPONENT", COMPONENT),
    ("XDG_CACHE_HOME", "/var/cache"),
    ("XDG_STATE_HOME", "/var/lib"),
];

/// Small files of the image.
const FILES: [(&str, &str); 3] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/:/sbin/nologin\ntwinfer:x:65532:65532:twinfer:/var/lib/twinfer:/sbin/nologin\n",
    ),
    ("etc/group", "root:x:0:\ntwinfer:x:65532:\n"),
    // Without it glibc looks for names of hosts in DNS only.
    ("etc/nsswitch.conf", "hosts: files dns\n"),
];

/// In which form the image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An OCI image layout, a folder.
    Oci,
    /// An archive for `docker load` and `podman load`, with a HEALTHCHECK, which OCI images lack.
    Docker,
}

/// What to make.
#[derive(Debug)]
pub struct Image {
    /// `release`, or `dev`: what demo and tests have built.
    pub profile: String,
    /// The tag.
    pub tag: String,
    /// The form.
    pub form: Form,
    /// The layout's folder, or the archive.
    pub out: PathBuf,
}

impl Image {
    /// From the options of the command line.
    ///
    /// # Errors
    /// A form or profile that does not exist.
    pub fn new(
        profile: Option<String>,
        tag: Option<String>,
        form: Option<&str>,
        out: Option<String>,
    ) -> Result<Self> {
        let profile = profile.unwrap_or_else(|| "release".into());
        if !["release", "dev"].contains(&profile.as_str()) {
            return Err(Failure::usage(format!(
                "there is no profile `{profile}` for images; there are release and dev"
            )));
        }
        let (form, name) = match form.unwrap_or("oci") {
            "oci" => (Form::Oci, "image/oci"),
            "docker" => (Form::Docker, "image/twinfer.tar"),
            other => {
                return Err(Failure::usage(format!(
                    "there is no form `{other}` of images; there are oci and docker"
                )));
            }
        };
        Ok(Self {
            profile,
            tag: tag.unwrap_or_else(|| env!("CARGO_PKG_VERSION").into()),
            form,
            out: out.map_or_else(|| paths::target().join(name), PathBuf::from),
        })
    }

    /// Builds what goes into the image, makes it, and prints its digest.
    ///
    /// # Errors
    /// No `buildah`, or a step that fails.
    pub fn build(&self) -> Result<()> {
        if find_program(&["buildah"]).is_none() {
            return Err(Failure::new(
                "an image is made by buildah, which is not here; install it (Debian: buildah)",
            ));
        }
        let release = self.profile == "release";
        step(&format!("build the command ({})", self.profile), |output| {
            if release {
                build::release_command(output)
            } else {
                build::command(output)
            }
        })?;
        let cargo_profile = if release { "release" } else { "wasm-dev" };
        step(
            &format!("build the component ({cargo_profile})"),
            |output| build::component(cargo_profile, output),
        )?;
        let digest = step("make the image", |output| self.make(output))?;
        println!("{} {digest}", self.place());
        Ok(())
    }

    /// Makes the image of what is built; gives its digest.
    ///
    /// # Errors
    /// A file that is missing, or a step of buildah that fails.
    pub fn make(&self, output: &Output) -> Result<String> {
        let work = paths::target().join("image/work");
        let _ = std::fs::remove_dir_all(&work);
        let root = work.join("root");
        self.fill(&root, output)?;
        let buildah = Buildah::new(self.form);
        let container = buildah.read(&["from", "scratch"])?;
        let made = self.layer(&buildah, &container, &work, &root);
        let removed = buildah.run(&["rm", &container]);
        let digest = made?;
        removed.map(|()| digest)
    }

    /// The files of the image, below this folder.
    fn fill(&self, root: &Path, output: &Output) -> Result<()> {
        let release = self.profile == "release";
        let (command, component) = if release {
            (paths::release_command(), paths::component("release"))
        } else {
            (paths::command(), paths::component("wasm-dev"))
        };
        let program = root.join("usr/bin/twinfer");
        copy(&command, &program)?;
        if !release && find_program(&["strip"]).is_some() {
            Run::new("strip").args([&program]).to(output).run()?;
        }
        copy(&component, &root.join(&COMPONENT[1..]))?;
        for (from, to) in libraries::needed(&command)? {
            copy(&from, &root.join(to))?;
        }
        copy(&Path::new("/").join(AUTHORITIES), &root.join(AUTHORITIES)).map_err(|failure| {
            Failure::new(format!("{failure}; install Debian's ca-certificates"))
        })?;
        for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
            let to = root.join("usr/share/doc/twinfer").join(license);
            copy(&paths::root().join(license), &to)?;
        }
        for (name, text) in FILES {
            write(&root.join(name), text.as_bytes())?;
        }
        // Places to mount at, and the folders above those that the image's user owns.
        for folder in ["registry", "tmp", "var/cache", "var/lib"] {
            folder_with_mode(&root.join(folder), 0o755)?;
        }
        folder_with_mode(&root.join("tmp"), 0o1777)
    }

    /// One layer with these files, and the image's settings.
    fn layer(
        &self,
        buildah: &Buildah,
        container: &str,
        work: &Path,
        root: &Path,
    ) -> Result<String> {
        let root = root.display().to_string();
        buildah.run(&["copy", "-q", "--chown", "0:0", container, &root, "/"])?;
        let empty = work.join("empty");
        folder_with_mode(&empty, 0o755)?;
        let empty = empty.display().to_string();
        for folder in WRITABLE {
            buildah.run(&["copy", "-q", "--chown", USER, container, &empty, folder])?;
        }
        let mut config: Vec<String> = vec!["config".into()];
        config.extend(self.settings()?);
        config.push(container.into());
        buildah.run(&config)?;
        let name = format!("localhost/twinfer:{}", self.tag);
        let time = timestamp()?;
        buildah.run(&[
            "commit",
            "-q",
            "--format",
            buildah.format,
            // Of the image, of its layer and of every file: so the same files give the same digest.
            "--timestamp",
            &time,
            "--omit-history",
            "--identity-label=false",
            container,
            &name,
        ])?;
        let place = self.place();
        if let Some(folder) = self.out.parent() {
            std::fs::create_dir_all(folder).context(|| paths::show(folder))?;
        }
        // Neither grows by what was there.
        let _ = std::fs::remove_dir_all(&self.out);
        let _ = std::fs::remove_file(&self.out);
        let digest = work.join("digest");
        let file = digest.display().to_string();
        buildah.run(&["push", "-q", "--digestfile", &file, &name, &place])?;
        let text = std::fs::read_to_string(&digest).context(|| paths::show(&digest))?;
        buildah.run(&["rmi", &name])?;
        Ok(text.trim().to_owned())
    }

    /// Where the image goes, as buildah and skopeo write it.
    fn place(&self) -> String {
        let out = self.out.display();
        match self.form {
            Form::Oci => format!("oci:{out}:{}", self.tag),
            Form::Docker => format!("docker-archive:{out}:twinfer:{}", self.tag),
        }
    }

    /// Flags of `buildah config`.
    fn settings(&self) -> Result<Vec<String>> {
        let mut flags = vec![
            // SageMaker starts `IMAGE serve`, Vertex AI and Azure ML `IMAGE`: both are the server.
            "--entrypoint=[\"/usr/bin/twinfer\"]".to_owned(),
            "--cmd=serve".into(),
            format!("--user={USER}"),
            "--workingdir=/".into(),
            "--port=8080/tcp".into(),
            "--stop-signal=SIGTERM".into(),
        ];
        flags.extend(ENVIRONMENT.map(|(name, value)| format!("--env={name}={value}")));
        flags.extend(WRITABLE.map(|folder| format!("--volume={folder}")));
        let revision = git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".into());
        let labels = [
            ("title", "twinfer"),
            (
                "description",
                "One model, the same answers in page and server: the server",
            ),
            ("version", env!("CARGO_PKG_VERSION")),
            ("licenses", env!("CARGO_PKG_LICENSE")),
            ("revision", &revision),
        ];
        for (name, value) in labels {
            flags.push(format!("--label=org.opencontainers.image.{name}={value}"));
        }
        if self.form == Form::Docker {
            flags.extend([
                // Words, which buildah makes a list of: there is no shell.
                "--healthcheck=CMD /usr/bin/twinfer health".to_owned(),
                "--healthcheck-interval=10s".into(),
                "--healthcheck-timeout=5s".into(),
                // Compiling the component takes half a minute on two processors.
                "--healthcheck-start-period=120s".into(),
                "--healthcheck-retries=3".into(),
            ]);
        }
        Ok(flags)
    }
}

/// `buildah` with a storage of our own, which needs neither a daemon nor an overlay file system.
struct Buildah {
    storage: PathBuf,
    /// Its own name of the form.
    format: &'static str,
}

impl Buildah {
    fn new(form: Form) -> Self {
        Self {
            storage: paths::target().join("image"),
            format: match form {
                Form::Oci => "oci",
                Form::Docker => "docker",
            },
        }
    }

    fn command<S: AsRef<str>>(&self, arguments: &[S]) -> Run {
        Run::new("buildah")
            .env("BUILDAH_FORMAT", self.format)
            .args(["--storage-driver", "vfs"])
            .args([Path::new("--root"), &self.storage.join("storage")])
            .args([Path::new("--runroot"), &self.storage.join("run")])
            .args(arguments.iter().map(AsRef::as_ref))
    }

    fn run<S: AsRef<str>>(&self, arguments: &[S]) -> Result<()> {
        // On standard output it names what it made, by ids that nobody needs.
        self.command(arguments).read().map(drop)
    }

    fn read(&self, arguments: &[&str]) -> Result<String> {
        Ok(self.command(arguments).read()?.trim().to_owned())
    }
}

/// Seconds since 1970 that stand in the image: `SOURCE_DATE_EPOCH`
/// (<https://reproducible-builds.org/specs/source-date-epoch/>), or the time of the last commit.
fn timestamp() -> Result<String> {
    let given = std::env::var("SOURCE_DATE_EPOCH").ok();
    let time = given
        .or_else(|| git(&["log", "-1", "--format=%ct"]))
        .unwrap_or_else(|| "0".into());
    match time.trim().parse::<u64>() {
        Ok(seconds) => Ok(seconds.to_string()),
        Err(_) => Err(Failure::usage(format!(
            "SOURCE_DATE_EPOCH is `{time}`, which is no number of seconds"
        ))),
    }
}

/// What git says; `None` outside of a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let found = std::process::Command::new("git")
        .args(arguments)
        .current_dir(paths::root())
        .output()
        .ok()
        .filter(|found| found.status.success())?;
    Some(String::from_utf8(found.stdout).ok()?.trim().to_owned())
}

/// Copies a file, with the mode that it needs whatever the mask of this process is.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = std::fs::read(from).context(|| paths::show(from))?;
    write(to, &bytes)?;
    // Programs, and libraries as Debian has its loader.
    let is_program = bytes.starts_with(b"\x7fELF");
    mode(to, if is_program { 0o755 } else { 0o644 })
}

fn write(to: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = to.parent() {
        folder_with_mode(folder, 0o755)?;
    }
    std::fs::write(to, bytes).context(|| paths::show(to))?;
    mode(to, 0o644)
}

/// Makes a folder, and those above it that are not there.
fn folder_with_mode(folder: &Path, bits: u32) -> Result<()> {
    if let Some(above) = folder.parent().filter(|above| !above.exists()) {
        folder_with_mode(above, 0o755)?;
    }
    std::fs::create_dir_all(folder).context(|| paths::show(folder))?;
    mode(folder, bits)
}

#[cfg(unix)]
fn mode(path: &Path, bits: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let permissions = std::fs::Permissions::from_mode(bits);
    std::fs::set_permissions(path, permissions).context(|| paths::show(path))
}

#[cfg(not(unix))]
fn mode(_path: &Path, _bits: u32) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_do_not_exist_are_refused() {
        assert!(Image::new(Some("quick".into()), None, None, None).is_err());
        assert!(Image::new(None, None, Some("zip"), None).is_err());
        let image = Image::new(None, None, None, None).unwrap();
        assert_eq!((image.profile.as_str(), image.form), ("release", Form::Oci));
        assert_eq!(image.tag, env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn the_image_is_the_server_with_and_without_an_argument() {
        let image = Image::new(None, None, Some("docker"), None).unwrap();
        let flags = image.settings().unwrap();
        for part in ["--cmd=serve", "--user=65532:65532", "--healthcheck=CMD"] {
            assert!(flags.iter().any(|flag| flag.starts_with(part)), "{part}");
        }
    }
}
