//! How many connections each address has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections of all addresses.
pub(crate) struct Addresses {
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that is counted, as long as this lives.
pub(crate) struct Counted {
    addresses: Arc<Addresses>,
    key: IpAddr,
}

impl Addresses {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
        })
    }

    /// One more connection, unless the address has as many as it may: `most`.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Counted> {
        let key = key(address);
        let mut open = self.open();
        let count = open.entry(key).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Counted {
            addresses: self.clone(),
            key,
        })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.addresses.open();
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

/// Who is counted together: one address of IPv4, one network of 64 bits of IPv6, in which a client
/// takes the addresses that it likes.
fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_share() {
        let addresses = Addresses::new();
        let enter = |text: &str| addresses.enter(text.parse().unwrap(), 2);
        let first = enter("10.0.0.1");
        let mapped = enter("::ffff:10.0.0.1");
        assert!(first.is_some() && mapped.is_some());
        assert!(enter("10.0.0.1").is_none(), "both forms are one address");
        assert!(enter("10.0.0.2").is_some());
        let same = (enter("2001:db8::1"), enter("2001:db8::2"));
        assert!(same.0.is_some() && same.1.is_some());
        assert!(enter("2001:db8::3").is_none(), "one network");
        assert!(enter("2001:db8:0:1::3").is_some());
        drop(first);
        assert!(enter("10.0.0.1").is_some());
        drop((mapped, same));
        assert!(addresses.open().is_empty(), "nothing is kept");
    }
}
