//! Installing programs of Debian, where we may: as root on Debian or what derives from it.

use crate::failure::Result;
use crate::run::{Run, find_program};
use crate::steps::Job;

/// A program, and the package that brings it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program {
    /// Its name on the PATH.
    pub name: &'static str,
    /// The Debian package.
    pub package: &'static str,
}

/// Registries and other programs of others, which the tests talk to.
pub const TEST_TOOLS: [Program; 6] = [
    Program {
        name: "docker-registry",
        package: "docker-registry",
    },
    Program {
        name: "skopeo",
        package: "skopeo",
    },
    Program {
        name: "nginx",
        package: "nginx-light",
    },
    Program {
        name: "prometheus",
        package: "prometheus",
    },
    Program {
        name: "promtool",
        package: "prometheus",
    },
    // 20 MB, installed in 9 s.
    Program {
        name: "buildah",
        package: "buildah",
    },
];

/// Servers that the host uses.
pub const SERVERS: [Program; 1] = [Program {
    name: "redis-server",
    package: "redis-server",
}];

/// All programs that tests talk to.
pub fn test_programs() -> Vec<Program> {
    [&TEST_TOOLS[..], &SERVERS].concat()
}

/// Those of these programs that are not there.
pub fn missing(programs: &[Program]) -> Vec<Program> {
    // Debian keeps servers in a folder that only root has on the PATH.
    let there = |name: &str| {
        find_program(&[name]).is_some() || std::path::Path::new("/usr/sbin").join(name).is_file()
    };
    programs
        .iter()
        .copied()
        .filter(|program| !there(program.name))
        .collect()
}

/// Whether we are root.
pub fn is_root() -> bool {
    Run::new("id")
        .args(["-u"])
        .read()
        .is_ok_and(|id| id.trim() == "0")
}

/// Whether we may install.
pub fn may_install() -> bool {
    let debian = std::fs::read_to_string("/etc/os-release")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once('='))
        .any(|(key, value)| {
            (key == "ID" || key == "ID_LIKE")
                && value.trim_matches('"').split(' ').any(|id| id == "debian")
        });
    is_root() && debian && find_program(&["apt-get"]).is_some()
}

/// The installation of these packages, as one job: apt lets only one at a time.
pub fn install(packages: Vec<&'static str>) -> Option<Job<'static>> {
    if packages.is_empty() {
        return None;
    }
    let what = format!("apt-get install {}", packages.join(" "));
    Some(Job::new(&what, move |output| {
        let apt = |arguments: &[&str]| -> Result<()> {
            Run::new("apt-get")
                .args(arguments)
                .env("DEBIAN_FRONTEND", "noninteractive")
                // Servers are for the tests to start: none is started by its installation.
                .env("RUNLEVEL", "1")
                .to(output)
                .run()
        };
        apt(&["-q", "update"])?;
        let install = ["-q", "install", "-y", "--no-install-recommends"];
        apt(&[&install[..], &packages].concat())
    }))
}
