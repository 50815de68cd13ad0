//! Who may ask what, on hosts that do not decide that before the component is asked.

use twinfer_gateway::Surroundings;

use crate::environment::variable;
use crate::origin::issuer_keys;

/// Variables, files, clock and network of WASI; the log is standard error.
pub(crate) struct Host;

impl Surroundings for Host {
    fn variable(&self, name: &str) -> Option<String> {
        variable(name)
    }

    fn read(&self, file: &str) -> std::io::Result<Vec<u8>> {
        std::fs::read(file)
    }

    fn log(&self, line: &str) {
        eprintln!("{line}");
    }

    fn now(&self) -> u64 {
        crate::surroundings::now()
    }

    async fn fetch(&self, address: &str) -> Result<Vec<u8>, String> {
        issuer_keys(address).await
    }
}
