//! The smallest program around a host:
//! `cargo run -p twinfer-host --example serve -- COMPONENT REGISTRY [CACHE]`.

use twinfer_host::{Host, HostConfig, HostError};

fn main() -> Result<(), HostError> {
    let mut arguments = std::env::args().skip(1);
    let component = arguments
        .next()
        .unwrap_or_else(|| "target/wasm32-wasip2/wasm-dev/twinfer_worker.wasm".into());
    let registry = arguments.next().unwrap_or_else(|| "registry".into());
    let host = Host::start(HostConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        cache: arguments.next().map(Into::into),
        handle_signals: true,
        ..HostConfig::new(component, registry)
    })?;
    println!("http://{}/v2/models", host.local_addr());
    host.wait()
}
