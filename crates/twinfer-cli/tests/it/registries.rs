//! push, pull, copy, mirror, and the other commands on registries of all three kinds.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::{Place, Said, sample};

/// Debian's `docker-registry`, as long as this lives.
struct Registry {
    child: Child,
    port: u16,
}

impl Registry {
    /// `None` where it is not installed.
    fn start(test: &str, place: &Place, more: &str) -> Option<Self> {
        let installed = std::env::var_os("PATH").is_some_and(|path| {
            std::env::split_paths(&path).any(|folder| folder.join("docker-registry").is_file())
        });
        if !installed {
            let all = std::env::var_os("TWINFER_TEST_ALL").is_some_and(|all| all == "1");
            assert!(!all, "{test}: docker-registry is not on the PATH");
            // Not captured, so that it is seen.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED {test}: docker-registry is not on the PATH"
            );
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let data = place.path("data");
        place.write(
            "registry.yml",
            format!(
                "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\nhttp:\n  addr: 127.0.0.1:{port}\n{more}",
                data.display()
            ),
        );
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(place.path("registry.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(300));
            sleep(Duration::from_millis(50));
        }
        Some(Self { child, port })
    }

    fn location(&self, prefix: &str) -> String {
        format!("oci://127.0.0.1:{}/{prefix}", self.port)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_package_goes_round() {
    let place = Place::new();
    let Some(registry) = Registry::start("a_package_goes_round", &place, "") else {
        return;
    };
    let digest = place.pack("tumour-risk-mlp");
    let models = registry.location("models");
    let pushed = place.good(&["push", "tumour-risk-mlp:1.0.0", &models]);
    assert!(
        pushed.contains(&format!("tumour-risk-mlp:1.0.0@{digest}")) && pushed.contains(" sent"),
        "{pushed}"
    );
    let again = place.json(&["push", "tumour-risk-mlp", &models]);
    assert_eq!(again["packages"][0]["unchanged"], true);
    assert_eq!(again["packages"][0]["bytes_sent"], 0);

    // Every command that reads, on the registry itself.
    for arguments in [&["ls"][..], &["ls", "tumour-risk-mlp"], &["verify"]] {
        let printed = place.good(&[arguments, &["--registry", &models]].concat());
        assert!(
            printed.contains("tumour-risk-mlp") && printed.contains(&digest),
            "{printed}"
        );
    }
    let shown = place.json(&["inspect", "tumour-risk-mlp", "--registry", &models]);
    assert_eq!(shown["digest"], digest);
    let record = fs::read_to_string(format!("{}/golden.json", sample("tumour-risk-mlp"))).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&record).unwrap();
    let record = format!("record={}", golden["cases"][0]["input"]["record"]);
    let predict = ["predict", "tumour-risk-mlp", "--input", &record, "--json"];
    let here = place.twinfer(&predict);
    let there = place.twinfer(&[&predict[..], &["--registry", &models]].concat());
    assert_eq!(
        (here.code, there.code),
        (Some(0), Some(0)),
        "{}{}",
        here.err,
        there.err
    );
    let outputs = |said: &Said| {
        serde_json::from_str::<serde_json::Value>(&said.out).unwrap()["outputs"].clone()
    };
    assert_eq!(outputs(&here), outputs(&there));

    place.good(&["pull", "tumour-risk-mlp", &models, "--registry", "second"]);
    place.good(&["verify", "--registry", "second"]);
    let production = registry.location("production");
    let copied = place.json(&[
        "copy",
        "tumour-risk-mlp:1.0.0",
        "--from",
        &models,
        "--to",
        &production,
    ]);
    assert!(
        copied["packages"][0]["bytes_mounted"].as_u64().unwrap() > 0,
        "{copied}"
    );
    let mirrored = place.json(&["mirror", "public", "--from", &production]);
    assert_eq!(
        mirrored["written"].as_array().unwrap().last().unwrap(),
        "index.json"
    );
    assert!(
        place
            .good(&["mirror", "public", "--from", &production])
            .contains("nothing to do")
    );
    place.good(&["verify", "--registry", "public"]);

    place.bad(
        &["inspect", "nobody", "--registry", &models],
        "unknown_model",
        1,
    );
    place.bad(&["ls", "nobody", "--registry", &models], "unknown_model", 1);
    place.bad(
        &["inspect", "tumour-risk-mlp:9.0.0", "--registry", &models],
        "unknown_version",
        1,
    );
    place.bad(
        &["pull", "tumour-risk-mlp:9.0.0", &models],
        "unknown_version",
        1,
    );
    place.bad(
        &["pack", &sample("tumour-risk-mlp"), "--registry", &models],
        "invalid_parameter",
        1,
    );
}

#[test]
fn versions_in_registries_are_immutable_too() {
    let place = Place::new();
    let Some(registry) = Registry::start("versions_in_registries_are_immutable_too", &place, "")
    else {
        return;
    };
    let models = registry.location("models");
    place.recipe("1.0.0", 10);
    place.good(&["pack", "recipe"]);
    place.good(&["push", "big", &models]);
    place.write("recipe/README.md", "other");
    place.good(&["pack", "recipe", "--force"]);
    let error = place.bad(&["push", "big", &models], "version_exists", 1);
    assert!(error.contains("raise the version"), "{error}");
    place.good(&["push", "big", &models, "--force"]);
    place.good(&["inspect", "big", "--registry", &models]);
}

#[test]
fn passwords_come_from_dockers_configuration() {
    let place = Place::new();
    // Of `htpasswd -nbB ann sesame`.
    place.write(
        "passwords",
        "ann:$2y$05$p2mub44.FgISgAa9BJoWx.UkoAPo32heTBxnrQ1NNQDlnCdH41pJO\n",
    );
    let auth = format!(
        "auth:\n  htpasswd:\n    realm: tests\n    path: {}\n",
        place.path("passwords").display()
    );
    let Some(registry) =
        Registry::start("passwords_come_from_dockers_configuration", &place, &auth)
    else {
        return;
    };
    let models = registry.location("models");
    let host = format!("127.0.0.1:{}", registry.port);
    place.pack("tumour-risk-mlp");
    let push = |config: &str| {
        place.write("docker/config.json", config);
        let mut command = place.command(&["push", "tumour-risk-mlp", &models]);
        let path = std::env::var("PATH").unwrap();
        let path = format!("{}:{path}", place.path("bin").display());
        command
            .env("DOCKER_CONFIG", place.path("docker"))
            .env("PATH", path);
        Said::of(command.output().unwrap())
    };
    // None; a wrong password; a malformed file.
    let wrong = format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"YW5uOndyb25n\"}}}}}}");
    for (config, part) in [
        ("{}", format!("docker login {host}")),
        (
            &wrong,
            "`ann` may not do this, or the password is wrong".into(),
        ),
        ("{", "config.json".into()),
    ] {
        let said = push(config);
        assert!(
            said.err.starts_with("error[unauthorized]: "),
            "{}",
            said.err
        );
        assert!(
            said.err.contains(&part) && !said.err.contains("YW5u"),
            "{}",
            said.err
        );
        assert_eq!(said.code, Some(4), "{}", said.err);
    }
    // The right one, in all the places where it can be (`ann:sesame`).
    let right = format!("{{\"auths\":{{\"{host}\":{{\"auth\":\"YW5uOnNlc2FtZQ==\"}}}}}}");
    assert_eq!(push(&right).code, Some(0));
    if cfg!(unix) {
        place.write(
            "bin/docker-credential-tests",
            "#!/bin/sh\nread server\necho \"$1 $server\" >> \"$DOCKER_CONFIG/asked\"\necho '{\"Username\":\"ann\",\"Secret\":\"sesame\"}'\n",
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let helper = place.path("bin/docker-credential-tests");
            fs::set_permissions(helper, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for config in [
            format!("{{\"credHelpers\":{{\"{host}\":\"tests\"}}}}"),
            "{\"credsStore\":\"tests\"}".into(),
        ] {
            let said = push(&config);
            assert_eq!(said.code, Some(0), "{}", said.err);
        }
        let asked = fs::read_to_string(place.path("docker/asked")).unwrap();
        // Once for each run, however many requests there are.
        assert_eq!(asked, format!("get {host}\nget {host}\n"));
    }
}

#[test]
fn addresses_that_lead_nowhere() {
    let place = Place::new();
    place.pack("tumour-risk-mlp");
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("127.0.0.1:{}", free.local_addr().unwrap().port());
    drop(free);
    let error = place.bad(
        &[
            "inspect",
            "tumour-risk-mlp",
            "--registry",
            &format!("http://{nobody}/"),
        ],
        "network",
        4,
    );
    assert!(error.contains(&nobody), "{error}");
    place.bad(
        &[
            "inspect",
            "tumour-risk-mlp",
            "--registry",
            "http://192.0.2.1/models",
        ],
        "invalid_parameter",
        1,
    );
    place.bad(
        &["push", "tumour-risk-mlp", "https://models.example.org/"],
        "invalid_parameter",
        1,
    );
    place.bad(
        &[
            "push",
            "tumour-risk-mlp",
            "oci://registry.example/m",
            "--ca-file",
            "none.pem",
        ],
        "storage",
        4,
    );
    place.write("empty.pem", "");
    place.bad(
        &[
            "push",
            "tumour-risk-mlp",
            "oci://registry.example/m",
            "--ca-file",
            "empty.pem",
        ],
        "invalid_parameter",
        1,
    );
}
