//! TLS: versions, certificates that change, clients with certificates.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use twinfer_gateway::Settings;
use twinfer_host::{Host, HostConfig, HostErrorKind, LogSink, ObserveOptions, Observer, TlsFiles};

use crate::authority::{Authority, Client, Pair, Stream};
use crate::support::{Fixture, misbehaving_guest};

/// A host with a certificate of this owner, whose files are in its folder.
fn host(authority: &Authority, change: impl FnOnce(&mut HostConfig)) -> Fixture {
    Fixture::new(|config| {
        let folder = config.registry.parent().unwrap().to_owned();
        let (certificate, key) = authority.vouch("first").write(&folder);
        let mut files = TlsFiles::new(certificate, key);
        // Only when a test says so.
        files.poll = Duration::from_secs(3600);
        config.tls = Some(files);
        change(config);
    })
}

fn exchange(fixture: &Fixture, pair: &Pair) {
    pair.write(fixture.folder.path());
}

fn reload(fixture: &Fixture) -> Result<bool, twinfer_host::HostError> {
    fixture.host.as_ref().unwrap().handle().reload_tls()
}

/// The certificate of the other side.
fn seen(stream: &Stream) -> Vec<u8> {
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

/// One request on a connection that stays open.
fn ask(stream: &mut Stream) -> String {
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    while !text.ends_with("ok\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0].into());
    }
    text
}

#[test]
fn both_versions_of_tls_and_of_http() {
    let authority = Authority::new();
    let fixture = host(&authority, |_| {});
    for version in rustls::ALL_VERSIONS {
        for (offered, chosen) in [
            (&["h2", "http/1.1"][..], Some("h2")),
            (&["http/1.1"], Some("http/1.1")),
            (&[], None),
        ] {
            let client = Client {
                versions: Some(version),
                alpn: offered,
                ..Client::default()
            };
            let stream = authority.connect(fixture.address, &client).unwrap();
            assert_eq!(stream.conn.protocol_version(), Some(version.version));
            let alpn = stream.conn.alpn_protocol().map(<[u8]>::to_vec);
            assert_eq!(alpn, chosen.map(|name| name.as_bytes().to_vec()));
            if chosen != Some("h2") {
                let answer = authority.get(fixture.address, "/v2/echo", &client).unwrap();
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        }
    }
}

#[test]
fn http_2_reaches_the_component() {
    let authority = Authority::new();
    let fixture = host(&authority, |_| {});
    let client = Client {
        alpn: &["h2"],
        ..Client::default()
    };
    let answers = authority.get_h2(fixture.address, &["/v2/served", "/healthz"], &client);
    assert_eq!(answers, ["1", "ok\n"]);
}

#[test]
fn other_certificates_are_taken_while_connections_go_on() {
    let authority = Authority::new();
    let fixture = host(&authority, |_| {});
    let mut old = authority
        .connect(fixture.address, &Client::default())
        .unwrap();
    ask(&mut old);
    assert!(!reload(&fixture).unwrap(), "nothing changed");
    exchange(&fixture, &authority.vouch("second"));
    assert!(reload(&fixture).unwrap());
    let mut new = authority
        .connect(fixture.address, &Client::default())
        .unwrap();
    assert_ne!(seen(&old), seen(&new));
    ask(&mut new);
    ask(&mut old);
    fixture.wait_for_log(&["tls_loaded", "CN=second", "expires"]);
}

#[test]
fn files_are_looked_at_by_themselves() {
    let authority = Authority::new();
    let fixture = host(&authority, |config| {
        config.tls.as_mut().unwrap().poll = Duration::from_millis(20);
    });
    exchange(&fixture, &authority.vouch("second"));
    fixture.wait_for_log(&["tls_loaded", "CN=second"]);
    let answer = authority.get(fixture.address, "/healthz", &Client::default());
    answer.unwrap().expect_text("ok\n");
}

#[test]
fn a_broken_file_leaves_the_old_certificate() {
    let authority = Authority::new();
    let fixture = host(&authority, |_| {});
    let first = authority
        .connect(fixture.address, &Client::default())
        .unwrap();
    let (first, folder) = (seen(&first), fixture.folder.path());
    let second = authority.vouch("second");
    let broken = [
        // The key is that of another, as between two writes of whoever exchanges both.
        (
            "certificate.pem",
            second.certificate.clone(),
            "work together",
        ),
        ("certificate.pem", "no PEM".into(), "no certificate"),
        ("key.pem", "no PEM".into(), "not encrypted"),
    ];
    for (file, text, why) in broken {
        let before = std::fs::read(folder.join(file)).unwrap();
        std::fs::write(folder.join(file), text).unwrap();
        let error = reload(&fixture).unwrap_err();
        assert_eq!(error.kind(), HostErrorKind::Config);
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.to_string().contains(file), "{error}");
        fixture.wait_for_log(&["tls_not_reloaded", why]);
        let now = authority
            .connect(fixture.address, &Client::default())
            .unwrap();
        assert!(seen(&now) == first);
        std::fs::write(folder.join(file), before).unwrap();
    }
    std::fs::remove_file(folder.join("key.pem")).unwrap();
    reload(&fixture).unwrap_err();
    exchange(&fixture, &second);
    assert!(reload(&fixture).unwrap(), "a good one is taken again");
}

#[test]
fn a_client_certificate_is_required() {
    let (authority, others) = (Authority::new(), Authority::new());
    let fixture = host(&authority, |config| {
        let files = config.tls.as_mut().unwrap();
        files.client_ca = Some(authority.write(config.registry.parent().unwrap()));
    });
    let (robot, stranger) = (authority.vouch("robot"), others.vouch("robot"));
    let get = |pair| {
        let client = Client {
            pair,
            ..Client::default()
        };
        authority.get(fixture.address, "/v2/served", &client)
    };
    get(None).unwrap_err();
    get(Some(&stranger)).unwrap_err();
    // The first request that came through.
    get(Some(&robot)).unwrap().expect_text("1");
    fixture.wait_for_log(&[
        "\"event\":\"request\"",
        "\"name\":\"robot\"",
        "uri:spiffe://example/robot",
        "dns:localhost",
    ]);
}

/// Certificates as they are made and verified, by each of their names.
#[test]
fn a_client_certificate_is_known_by_its_names() {
    let authority = Authority::new();
    let robot = authority.vouch("robot");
    for (said, expected) in [
        ("subject = '*CN=robot*'", 200),
        ("common_name = 'robot'", 200),
        ("common_name = 'rob*'\ndns = 'LOCALHOST'", 200),
        ("dns = 'localhost'", 200),
        ("uri = 'spiffe://example/*'", 200),
        ("email = '*@lab.example'", 200),
        ("ip = '10.1.2.3'", 200),
        ("ip = '10.1.0.0/16'", 200),
        ("common_name = 'other'", 401),
        ("common_name = 'robot'\ndns = 'elsewhere'", 401),
        ("uri = 'spiffe://example/other'", 401),
        ("email = '*@other.example'", 401),
        ("ip = '10.2.0.0/16'", 401),
    ] {
        let fixture = host(&authority, |config| {
            let files = config.tls.as_mut().unwrap();
            files.client_ca = Some(authority.write(config.registry.parent().unwrap()));
            let text = format!("[[certificates]]\n{said}\nscopes = ['packages']\n");
            config.observer = Some(Observer::new(ObserveOptions::default()).unwrap());
            config.access.guarded = true;
            config.access.settings = Some(Settings::from_toml(&text).unwrap());
        });
        std::fs::write(fixture.registry().join("index.json"), "{}").unwrap();
        let client = Client {
            pair: Some(&robot),
            ..Client::default()
        };
        let answer = authority.get(fixture.address, "/registry/index.json", &client);
        assert_eq!(answer.unwrap().status, expected, "{said}");
        if expected == 200 {
            fixture.wait_for_log(&["\"principal\":\"certificate:", "CN=robot"]);
        }
    }
}

#[test]
fn a_client_certificate_can_be_optional_but_not_wrong() {
    let (authority, others) = (Authority::new(), Authority::new());
    let fixture = host(&authority, |config| {
        let files = config.tls.as_mut().unwrap();
        files.client_ca = Some(authority.write(config.registry.parent().unwrap()));
        files.client_optional = true;
    });
    let stranger = others.vouch("robot");
    let client = Client {
        pair: Some(&stranger),
        ..Client::default()
    };
    authority
        .get(fixture.address, "/v2/served", &client)
        .unwrap_err();
    let answer = authority.get(fixture.address, "/v2/served", &Client::default());
    answer.unwrap().expect_text("1");
    assert!(!fixture.log().contains("\"client\""), "nobody is named");
    // Another authority is taken like another certificate; the old one vouches for nobody then.
    others.write(fixture.folder.path());
    assert!(reload(&fixture).unwrap());
    let answer = authority
        .get(fixture.address, "/v2/served", &client)
        .unwrap();
    answer.expect_text("2");
}

#[test]
fn a_handshake_has_an_end() {
    let authority = Authority::new();
    let fixture = host(&authority, |config| {
        config.limits.handshake_timeout = Duration::from_millis(200);
    });
    // Nothing; a beginning; something else.
    for bytes in [
        &b""[..],
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\r\nhost: t\r\n\r\n",
    ] {
        let mut stream = fixture.connect();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        assert!(!crate::support::is_patience(&read), "it is still open");
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    fixture.wait_for_log(&["connection_failed", "handshake took too long"]);
    let answer = authority.get(fixture.address, "/healthz", &Client::default());
    answer.unwrap().expect_text("ok\n");
}

#[test]
fn a_handshake_does_not_hold_up_the_end() {
    let authority = Authority::new();
    let mut fixture = host(&authority, |config| {
        config.limits.handshake_timeout = Duration::from_secs(3600);
        config.limits.shutdown_timeout = Duration::from_secs(60);
    });
    let mut stream = fixture.connect();
    stream.write_all(b"\x16\x03\x01").unwrap();
    authority
        .get(fixture.address, "/healthz", &Client::default())
        .unwrap();
    fixture.shutdown().unwrap();
    assert!(fixture.log().contains("\"finished\":true"));
}

#[test]
fn wrong_files_are_named_at_the_start() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = authority.vouch("first").write(folder.path());
    let other = folder.path().join("other.pem");
    std::fs::write(&other, authority.vouch("second").key).unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "text").unwrap();
    let missing = folder.path().join("missing");
    let with_ca = |path| TlsFiles {
        client_ca: Some(path),
        ..TlsFiles::new(&certificate, &key)
    };
    for (files, named) in [
        (TlsFiles::new(&missing, &key), &missing),
        (TlsFiles::new(&certificate, &missing), &missing),
        (TlsFiles::new(&text, &key), &text),
        (TlsFiles::new(&certificate, &text), &text),
        (TlsFiles::new(&certificate, &other), &other),
        (with_ca(missing.clone()), &missing),
        (with_ca(text.clone()), &text),
    ] {
        let error = Host::start(HostConfig {
            tls: Some(files),
            log: LogSink::Function(Arc::new(|_| {})),
            ..HostConfig::new(misbehaving_guest(), folder.path())
        });
        let error = error.err().unwrap();
        assert_eq!(error.kind(), HostErrorKind::Config, "{error}");
        assert!(
            error.to_string().contains(named.to_str().unwrap()),
            "{error}"
        );
    }
}
