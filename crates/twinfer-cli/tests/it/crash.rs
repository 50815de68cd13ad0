//! Full disks and sudden death: what is left is a whole registry.

#![cfg(unix)]

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::support::{Place, Said};

/// Enough that writing takes a good part of the time of packing.
const LARGE: usize = 30_000_000;

/// A shell that limits itself, and then becomes `twinfer pack recipe`.
fn shell(place: &Place, script: &str) -> Said {
    let script = format!("{script} exec \"$0\" pack recipe --no-self-test");
    let mut command = Command::new("bash");
    command
        .current_dir(place.path(""))
        .arg("-c")
        .arg(script)
        .arg(env!("CARGO_BIN_EXE_twinfer"));
    Said::of(command.output().unwrap())
}

/// No package of version 2.0.0, and version 1.0.0 as it was.
fn only_the_first(place: &Place, index: &[u8]) {
    assert_eq!(fs::read(place.path("registry/index.json")).unwrap(), index);
    place.good(&["verify"]);
    place.bad(&["inspect", "big:2.0.0"], "unknown_version", 1);
}

#[test]
fn a_quota_on_file_size() {
    let place = Place::new();
    place.recipe("1.0.0", 1);
    place.good(&["pack", "recipe"]);
    let index = fs::read(place.path("registry/index.json")).unwrap();
    place.recipe("2.0.0", LARGE);
    let said = shell(&place, "trap '' XFSZ; ulimit -f 1000;");
    assert_eq!(said.code, Some(4), "{}", said.err);
    assert!(
        said.err.starts_with("error[out_of_space]: ") && said.err.contains("free some space"),
        "{}",
        said.err
    );
    only_the_first(&place, &index);
    // Without the trap the system kills it at once.
    let said = shell(&place, "ulimit -f 1000;");
    assert_eq!(said.code, None);
    only_the_first(&place, &index);
    place.good(&["pack", "recipe"]);
    place.good(&["verify"]);
    assert_eq!(left_overs(&place), Vec::<String>::new());
}

#[test]
fn a_full_disk() {
    let place = Place::new();
    place.recipe("1.0.0", 1);
    fs::create_dir(place.path("registry")).unwrap();
    // A disk of 8 MB, in a namespace of its own, so that it goes with the process.
    let script = r#"
        mount -t tmpfs -o size=8m none registry || exit 77
        "$0" pack recipe || exit 78
        mv recipe small && mv large recipe
        "$0" pack recipe; echo "code $?" >&2
        mv recipe large && mv small recipe
        "$0" pack recipe && "$0" verify && ls -A registry registry/blobs/sha256 && cat registry/index.json
    "#;
    let small = place.path("recipe");
    fs::rename(&small, place.path("keep")).unwrap();
    place.recipe("2.0.0", LARGE);
    fs::rename(&small, place.path("large")).unwrap();
    fs::rename(place.path("keep"), &small).unwrap();
    let said = Said::of(
        Command::new("unshare")
            .args([
                "--user",
                "--map-root-user",
                "--mount",
                "bash",
                "-c",
                script,
                env!("CARGO_BIN_EXE_twinfer"),
            ])
            .current_dir(place.path(""))
            .output()
            .unwrap(),
    );
    if said.code == Some(77) || said.err.contains("unshare failed") {
        eprintln!(
            "skipped: this system does not let a test mount a disk of its own: {}",
            said.err
        );
        return;
    }
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(
        said.err.contains("error[out_of_space]: ") && said.err.contains("code 4"),
        "{}",
        said.err
    );
    assert!(
        said.out.contains("ok      big:1.0.0")
            && !said.out.contains("2.0.0")
            && !said.out.contains(".partial"),
        "{}",
        said.out
    );
}

#[test]
fn killed_at_any_moment() {
    const KILLS: u32 = 60;
    let place = Place::new();
    place.recipe("0.0.0", LARGE);
    let start = Instant::now();
    place.good(&["pack", "recipe"]);
    let usual = start.elapsed();
    let (mut before, mut half_written, mut after) = (0, 0, 0);
    for round in 1..=KILLS {
        let version = format!("{round}.0.0");
        place.recipe(&version, LARGE);
        let mut child = place
            .command(&["pack", "recipe"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(usual * round / KILLS);
        // SIGKILL
        child.kill().unwrap();
        child.wait().unwrap();
        half_written += left_overs(&place).len();
        let reference = format!("big:{version}");
        let said = place.twinfer(&["verify", "--no-self-test", &reference]);
        match said.code {
            Some(0) => after += 1,
            _ => {
                assert!(said.err.contains("[unknown_version]"), "{}", said.err);
                before += 1;
            }
        }
        // Room for the others: what is left of this one is of no use to them.
        if round % 10 == 0 {
            place.good(&["verify", "--no-self-test"]);
            fs::remove_dir_all(place.path("registry")).unwrap();
            place.recipe("0.0.0", 1);
            place.good(&["pack", "recipe"]);
        }
    }
    eprintln!("{before} killed before the package was there, {after} after");
    assert!(
        before > 0 && half_written > 0,
        "{before} before, {half_written} while writing"
    );
    place.recipe("1000.0.0", 1);
    place.good(&["pack", "recipe"]);
    place.good(&["verify"]);
    assert_eq!(left_overs(&place), Vec::<String>::new());
}

fn left_overs(place: &Place) -> Vec<String> {
    let names = |folder: &str| {
        fs::read_dir(place.path(folder))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect::<Vec<_>>()
    };
    [names("registry"), names("registry/blobs/sha256")]
        .concat()
        .into_iter()
        .filter(|name| name.contains("partial"))
        .collect()
}
