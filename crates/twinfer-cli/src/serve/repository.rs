//! `--repository`: Triton's model repository extension, for administrators.
//!
//! The component asks for a token, which the host makes and nobody else knows: the host takes
//! what clients send in its header away, and puts it there for those whom access control lets in
//! with the scope `admin`.

use std::net::SocketAddr;

use twinfer::{Result, bail};
use twinfer_host::HostConfig;

use super::secrets::Secrets;

/// Switches it on in the component.
pub fn apply(on: bool, secrets: &Secrets, config: &mut HostConfig) {
    if !on {
        return;
    }
    config.admin_token = Some(secrets.admin.clone());
    config.env.extend([
        ("TWINFER_REPOSITORY".to_owned(), "enabled".to_owned()),
        ("TWINFER_ADMIN_TOKEN".to_owned(), secrets.admin.clone()),
    ]);
}

/// Whether there is somebody who may use it.
///
/// # Errors
/// `invalid_parameter` where it would be switched on, beyond this machine, with nobody to have a
/// key for it.
pub fn check(on: bool, has_access: bool, listen: SocketAddr) -> Result<()> {
    if on && !has_access && !listen.ip().to_canonical().is_loopback() {
        bail!(
            InvalidParameter,
            "`--repository` beyond loopback needs `--access` with a key or token of the scope admin: make one with `twinfer api-key --scopes admin`"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_loopback_somebody_has_to_have_a_key() {
        check(true, false, ([127, 0, 0, 1], 80).into()).unwrap();
        let all = ([0, 0, 0, 0], 80).into();
        check(false, false, all).unwrap();
        let error = check(true, false, all).unwrap_err();
        assert_eq!(error.code(), twinfer::ErrorCode::InvalidParameter);
        check(true, true, all).unwrap();
    }

    #[test]
    fn both_sides_know_one_secret() {
        let mut config = HostConfig::new("c.wasm", "r");
        apply(false, &Secrets::new().unwrap(), &mut config);
        assert!(config.env.is_empty() && config.admin_token.is_none());
        let secrets = Secrets::new().unwrap();
        assert_ne!(secrets.admin, Secrets::new().unwrap().admin);
        apply(true, &secrets, &mut config);
        let told = config
            .env
            .iter()
            .find(|(name, _)| name == "TWINFER_ADMIN_TOKEN");
        assert_eq!(told.map(|(_, value)| value.clone()), config.admin_token);
        assert!(secrets.admin.len() >= 32 && secrets.admin != secrets.bundle);
    }
}
