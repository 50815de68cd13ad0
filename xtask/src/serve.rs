//! `twinfer serve` beside us.

use std::net::{TcpListener, ToSocketAddrs};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::failure::{Context, Failure, Result};
use crate::http;
use crate::paths;
use crate::run::{Run, Running};
use crate::steps::Output;

/// Compiling the component takes 20 s on an idle machine and longer on a busy one.
const START_LIMIT: Duration = Duration::from_secs(300);

/// What to serve.
#[derive(Debug)]
pub struct Serving<'a> {
    /// The `twinfer` command.
    pub program: &'a Path,
    /// The registry folder.
    pub registry: &'a Path,
    /// The component.
    pub component: &'a Path,
    /// `host:port`.
    pub listen: &'a str,
}

/// A server that runs until this value goes.
pub struct Server {
    running: Running,
    address: String,
}

/// Fails with what to do about it when something listens there already.
pub fn check_free(listen: &str) -> Result<()> {
    let addresses: Vec<_> = listen
        .to_socket_addrs()
        .map_err(|e| {
            Failure::usage(format!(
                "--listen {listen}: {e}; write it as host:port, for example 127.0.0.1:8080"
            ))
        })?
        .collect();
    match TcpListener::bind(&addresses[..]) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(Failure::new(format!(
            "{listen} is in use by another program (perhaps another demo). End that one, or choose another port: \
             cargo xtask demo --listen 127.0.0.1:8081"
        ))),
        Err(error) => Err(Failure::new(format!("cannot listen on {listen}: {error}"))),
    }
}

/// A loopback address that is free now.
pub fn free_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context(|| "127.0.0.1".into())?;
    Ok(listener
        .local_addr()
        .context(|| "127.0.0.1".into())?
        .to_string())
}

impl Server {
    /// Starts it and waits until it answers. Its log is in `target/xtask/logs/serve.log`.
    pub fn start(serving: &Serving<'_>) -> Result<Self> {
        let log = paths::logs().join("serve.log");
        let _ = std::fs::remove_file(&log);
        let running = Run::new(serving.program)
            .args(["serve", "--listen", serving.listen])
            .args([Path::new("--registry"), serving.registry])
            .args([Path::new("--component"), serving.component])
            .args([Path::new("--page"), &paths::web().join("dist/demo")])
            .to(&Output::File(log.clone()))
            .start()?;
        let mut server = Self {
            running,
            address: serving.listen.to_string(),
        };
        let start = Instant::now();
        while !server.ready() {
            if let Some(status) = server.running.ended() {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(Failure::new(format!(
                    "`twinfer serve` ended ({status}):\n{said}"
                )));
            }
            if start.elapsed() > START_LIMIT {
                return Err(Failure::new(format!(
                    "`twinfer serve` does not answer after {START_LIMIT:?}; see {}",
                    paths::show(&log)
                )));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(server)
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Serves until it ends by itself or we are interrupted.
    pub fn wait(self) -> Result<()> {
        let status = self.running.wait()?;
        Err(Failure::new(format!(
            "`twinfer serve` ended ({status}); see {}",
            paths::show(&paths::logs().join("serve.log"))
        )))
    }

    fn ready(&self) -> bool {
        http::request(&self.address, "GET", "/v2/health/ready", &[], &[])
            .is_ok_and(|answer| answer.status == 200)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_named_with_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let failure = check_free(&address).unwrap_err().to_string();
        assert!(
            failure.contains(&address) && failure.contains("--listen"),
            "{failure}"
        );
        drop(taken);
        assert!(
            check_free("nonsense")
                .unwrap_err()
                .to_string()
                .contains("host:port")
        );
    }
}
