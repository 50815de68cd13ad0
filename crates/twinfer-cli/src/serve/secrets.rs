//! What the host and the component know, and nobody else: made anew at each start.

use twinfer::{Result, err};

/// Two secrets of one run.
pub struct Secrets {
    /// By which the component knows a bundle of requests of the host.
    pub bundle: String,
    /// By which the component knows an administrator whom the host vouches for.
    pub admin: String,
}

impl Secrets {
    /// From the randomness of the system.
    ///
    /// # Errors
    /// `internal` where the system has none.
    pub fn new() -> Result<Self> {
        Ok(Self {
            bundle: secret()?,
            admin: secret()?,
        })
    }
}

/// 128 bits in hexadecimal digits.
fn secret() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| err!(Internal, "no random numbers: {e}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
