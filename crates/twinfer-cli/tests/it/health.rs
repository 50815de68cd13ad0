//! `twinfer health`.

use crate::server::Server;
use crate::support::{Place, Said};

#[test]
fn a_server_is_asked_and_one_that_is_not_there_is_named() {
    let place = Place::new();
    place.pack("tumour-risk");
    let server = Server::start(&place, &[]);
    let address = format!("http://127.0.0.1:{}", server.port);
    let said = place.json(&["health", &address]);
    assert_eq!(said["ready"], true, "{said}");
    // Where `twinfer serve` would be told to listen, the server is looked for.
    let mut command = place.command(&["health"]);
    command.env("TWINFER_LISTEN", format!("0.0.0.0:{}", server.port));
    let said = Said::of(command.output().unwrap());
    assert_eq!(said.code, Some(0), "{}", said.err);
    drop(server);
    let message = place.bad(&["health", &address], "network", 4);
    assert!(message.contains(&address), "{message}");
    place.bad(&["health", "file:///etc/passwd"], "invalid_parameter", 1);
}
