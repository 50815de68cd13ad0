//! What the flags become.

use super::*;
use clap::Parser;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: ServeArgs,
}

fn parse(arguments: &[&str]) -> Result<HostConfig, clap::Error> {
    let arguments = std::iter::once("serve").chain(arguments.iter().copied());
    Command::try_parse_from(arguments).map(|command| config(command.args, Path::new("r")))
}

#[test]
fn arguments_become_settings() {
    let config = parse(&[
        "--listen",
        "127.0.0.1:0",
        "--component",
        "c.wasm",
        "--page",
        "p",
        "--cors",
        "https://a.example",
        "--cors",
        "https://b.example",
        "--instances",
        "3,fresh",
        "--full-component",
        "full.wasm",
        "--memory",
        "256",
        "--timeout",
        "2.5",
        "--no-cache",
        "--default-model",
        "m:stable",
        "--predict-route",
        "/predict",
    ])
    .unwrap();
    assert_eq!(config.listen, SocketAddr::from(([127, 0, 0, 1], 0)));
    assert_eq!(
        (config.registry, config.component, config.page),
        ("r".into(), "c.wasm".into(), Some("p".into()))
    );
    assert_eq!(config.cors, ["https://a.example", "https://b.example"]);
    assert_eq!(
        (config.limits.max_instances, config.limits.max_memory),
        (3, 256 << 20)
    );
    assert_eq!(
        (config.limits.request_timeout, config.cache),
        (Duration::from_millis(2500), None)
    );
    assert_eq!(config.instances, Instances::Fresh);
    assert_eq!(config.full_component, Some("full.wasm".into()));
    assert!(config.handle_signals);
    let told = [
        ("TWINFER_DEFAULT_MODEL", "m:stable"),
        ("AIP_PREDICT_ROUTE", "/predict"),
    ];
    assert_eq!(config.env, told.map(|(n, v)| (n.to_owned(), v.to_owned())));
    // A container of Vertex AI is reached from outside.
    let config = parse(&["--port", "8123"]).unwrap();
    assert_eq!(config.listen, SocketAddr::from(([0, 0, 0, 0], 8123)));
    assert!(config.tls.is_none());
}

#[test]
fn tls_and_limits_on_clients() {
    let config = parse(&[
        "--tls-certificate",
        "c.pem",
        "--tls-key",
        "k.pem",
        "--tls-client-ca",
        "a.pem",
        "--tls-client-auth",
        "optional",
        "--cancel-grace",
        "0",
        "--write-timeout",
        "5",
        "--max-connections",
        "101",
    ])
    .unwrap();
    let files = config.tls.unwrap();
    assert_eq!(files.certificate, PathBuf::from("c.pem"));
    assert_eq!(files.key, PathBuf::from("k.pem"));
    assert_eq!(files.client_ca, Some("a.pem".into()));
    assert!(files.client_optional);
    let limits = config.limits;
    assert_eq!(
        (limits.cancel_grace, limits.write_timeout),
        (Duration::ZERO, Duration::from_secs(5))
    );
    assert_eq!(
        (limits.max_connections, limits.max_connections_per_address),
        (101, 51)
    );
}

/// What nobody says is what the host does by itself.
#[test]
fn the_defaults_are_those_of_the_host() {
    let (ours, hosts) = (parse(&[]).unwrap().limits, twinfer_host::Limits::default());
    assert_eq!(format!("{ours:?}"), format!("{hosts:?}"));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for arguments in [
        ["--listen", "8080"],
        ["--listen", "nowhere:port"],
        ["--timeout", "0"],
        ["--timeout", "NaN"],
        ["--timeout", "1e300"],
        ["--memory", "-1"],
        ["--poll", "-1"],
        ["--instances", "many"],
        ["--model", "Not A Name"],
        ["--predict-route", "predict"],
        ["--port", "100000"],
        ["--tls-certificate", "c.pem"],
        ["--tls-key", "k.pem"],
        ["--tls-client-ca", "a.pem"],
        ["--tls-client-auth", "perhaps"],
        ["--write-timeout", "0"],
        ["--cancel-grace", "-1"],
    ] {
        assert!(parse(&arguments).is_err(), "{arguments:?}");
    }
}
