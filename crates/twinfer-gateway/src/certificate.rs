//! Client certificates: what one says of its owner, and whose names an operator means.

use std::net::IpAddr;

use crate::error::{Result, wrong};
use crate::pattern::Patterns;
use crate::settings::CertificateSettings;

/// What a certificate says of its owner, which the host has verified.
#[derive(Debug, Clone, Copy, Default)]
pub struct Certificate<'a> {
    /// The whole name, such as `C=DE, O=Example, CN=robot`; it may be empty.
    pub subject: &'a str,
    /// The common name, where it has exactly one.
    pub common_name: Option<&'a str>,
    /// The alternative names (RFC 5280, 4.2.1.6) with their kind: `dns:…`, `uri:…`, `email:…`,
    /// `ip:…`.
    pub alternative_names: &'a [String],
}

impl<'a> Certificate<'a> {
    /// How its owner is called in logs and limits: by the subject, or, as certificates of SPIFFE
    /// have none, by the first of the other names.
    pub fn name(&self) -> &'a str {
        if !self.subject.is_empty() {
            return self.subject;
        }
        let first = self.alternative_names.first().map(String::as_str);
        first.or(self.common_name).unwrap_or_default()
    }

    /// The alternative names of a kind.
    fn named(&self, kind: &str) -> impl Iterator<Item = &'a str> {
        let names = self.alternative_names.iter();
        names.filter_map(move |name| name.strip_prefix(kind)?.strip_prefix(':'))
    }
}

/// Which certificates are meant: those that fit all that is said.
pub(crate) struct Matcher {
    subject: Option<Patterns>,
    common_name: Option<Patterns>,
    /// In lower case: names of hosts have no case.
    dns: Option<Patterns>,
    uri: Option<Patterns>,
    email: Option<Patterns>,
    ip: Option<Network>,
}

impl Matcher {
    /// # Errors
    /// Where nothing is said: it would fit every certificate. What is no address or network.
    pub(crate) fn new(settings: &CertificateSettings) -> Result<Self> {
        if settings.names().all(|(_, name)| name.is_none()) {
            return Err(wrong!(
                "say whose certificate it is: `subject`, `common_name`, `dns`, `uri`, `email` or `ip`"
            ));
        }
        let patterns = |text: &Option<String>| {
            let text = text.clone()?;
            Some(Patterns::new(vec![text]))
        };
        let ip = settings.ip.as_deref().map(Network::parse);
        Ok(Self {
            subject: patterns(&settings.subject),
            common_name: patterns(&settings.common_name),
            dns: patterns(&settings.dns.as_ref().map(|dns| dns.to_lowercase())),
            uri: patterns(&settings.uri),
            email: patterns(&settings.email),
            ip: ip.transpose()?,
        })
    }

    /// Whether a certificate is meant. Of several names of one kind one has to fit.
    pub(crate) fn fits(&self, certificate: &Certificate<'_>) -> bool {
        let one_of = |wanted: &Option<Patterns>, kind: &str| {
            let mut names = certificate.named(kind);
            wanted
                .as_ref()
                .is_none_or(|wanted| names.any(|name| wanted.fit(name)))
        };
        let mut hosts = certificate.named("dns").map(str::to_lowercase);
        let mut addresses = certificate
            .named("ip")
            .filter_map(|text| text.parse::<IpAddr>().ok());
        let subject = self.subject.as_ref();
        let common_name = self.common_name.as_ref();
        subject.is_none_or(|wanted| wanted.fit(certificate.subject))
            && common_name
                .is_none_or(|wanted| certificate.common_name.is_some_and(|n| wanted.fit(n)))
            && self
                .dns
                .as_ref()
                .is_none_or(|wanted| hosts.any(|name| wanted.fit(&name)))
            && one_of(&self.uri, "uri")
            && one_of(&self.email, "email")
            && self
                .ip
                .is_none_or(|wanted| addresses.any(|address| wanted.has(address)))
    }
}

/// An address, or a network: `10.1.0.0/16`, `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: u128,
    is_v4: bool,
    /// The bits of the address that count.
    mask: u128,
}

impl Network {
    fn parse(text: &str) -> Result<Self> {
        let no_network =
            || wrong!("`ip`: `{text}` is no address and no network such as 10.1.0.0/16");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let (address, bits) = match address.parse().map_err(|_| no_network())? {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32),
            IpAddr::V6(v6) => (u128::from(v6), 128),
        };
        let length: u32 = match length {
            None => bits,
            Some(length) => length.parse().map_err(|_| no_network())?,
        };
        if length > bits {
            return Err(no_network());
        }
        // Shifting by all bits is what no shift can do.
        let mask = u128::MAX.checked_shl(bits - length).unwrap_or(0);
        Ok(Self {
            address: address & mask,
            is_v4: bits == 32,
            mask,
        })
    }

    fn has(self, address: IpAddr) -> bool {
        let (address, is_v4) = match address {
            IpAddr::V4(v4) => (u128::from(u32::from(v4)), true),
            IpAddr::V6(v6) => (u128::from(v6), false),
        };
        is_v4 == self.is_v4 && address & self.mask == self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(toml: &str) -> Result<Matcher> {
        let settings: CertificateSettings =
            toml::from_str(&format!("scopes = ['metrics']\n{toml}")).unwrap();
        Matcher::new(&settings)
    }

    #[test]
    fn all_that_is_said_has_to_fit() {
        let names = [
            "dns:robot.Lab.example",
            "dns:robot",
            "uri:spiffe://example/ns/lab/sa/robot",
            "email:robot@lab.example",
            "ip:10.1.2.3",
            "ip:2001:db8::7",
        ]
        .map(str::to_owned);
        let robot = Certificate {
            subject: "C=DE, O=Lab, CN=robot",
            common_name: Some("robot"),
            alternative_names: &names,
        };
        for (said, expected) in [
            ("subject = '*, CN=robot'", true),
            ("subject = 'CN=robot'", false),
            ("common_name = 'robot'", true),
            ("common_name = 'rob*'", true),
            ("common_name = 'ROBOT'", false),
            ("dns = '*.lab.EXAMPLE'", true),
            ("dns = 'robot'", true),
            ("dns = '*.example.org'", false),
            ("uri = 'spiffe://example/ns/lab/*'", true),
            ("uri = 'spiffe://other/*'", false),
            ("email = '*@lab.example'", true),
            ("email = 'robot'", false),
            ("ip = '10.1.2.3'", true),
            ("ip = '10.1.0.0/16'", true),
            ("ip = '10.2.0.0/16'", false),
            ("ip = '2001:db8::/32'", true),
            ("ip = '0.0.0.0/0'", true),
            ("common_name = 'robot'\ndns = '*.lab.example'", true),
            ("common_name = 'robot'\ndns = 'other'", false),
            ("common_name = 'other'\ndns = 'robot'", false),
        ] {
            assert_eq!(matcher(said).unwrap().fits(&robot), expected, "{said}");
        }
        // A name of one kind is none of another.
        let nobody = Certificate {
            alternative_names: &["dns:uri:spiffe://example/x".to_owned()],
            ..Certificate::default()
        };
        assert!(!matcher("uri = 'spiffe://example/*'").unwrap().fits(&nobody));
        assert!(!matcher("common_name = '*'").unwrap().fits(&nobody));
        assert!(!matcher("ip = '::/0'").unwrap().fits(&Certificate {
            alternative_names: &["ip:10.1.2.3".to_owned()],
            ..Certificate::default()
        }));
    }

    #[test]
    fn what_fits_everybody_or_is_no_address_is_refused() {
        assert!(matcher("").is_err());
        for ip in ["", "10", "10.0.0.0/33", "10.0.0.0/x", "::/129", "a/8"] {
            assert!(matcher(&format!("ip = '{ip}'")).is_err(), "{ip}");
        }
    }

    #[test]
    fn who_has_no_subject_is_called_by_another_name() {
        let names = ["uri:spiffe://example/robot".to_owned()];
        let svid = Certificate {
            alternative_names: &names,
            ..Certificate::default()
        };
        assert_eq!(svid.name(), "uri:spiffe://example/robot");
        let with_subject = Certificate {
            subject: "CN=robot",
            ..svid
        };
        assert_eq!(with_subject.name(), "CN=robot");
    }
}
