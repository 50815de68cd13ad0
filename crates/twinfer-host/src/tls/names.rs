//! The names in a certificate (RFC 5280, 4.1). rustls has verified it before; here it is only read.

use std::net::IpAddr;

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode, Reader, SliceReader, Tag, Tagged};

/// Identifier of an alternative name in extensions: 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
/// Attributes of a name that have a short name of their own (RFC 4514, 3): below 2.5.4.
const ATTRIBUTES: [(u8, &str); 6] = [
    (3, "CN"),
    (6, "C"),
    (7, "L"),
    (8, "ST"),
    (10, "O"),
    (11, "OU"),
];
/// Alternative names that are text: the number of their choice (RFC 5280, 4.2.1.6).
const TEXTS: [(u8, &str); 3] = [(1, "email"), (2, "dns"), (6, "uri")];
/// The choice that is an IP address: four or sixteen bytes.
const ADDRESS: u8 = 7;

/// What a certificate says of its owner.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// The attributes that have a short name: `C=DE, O=Example, CN=robot`.
    pub(super) subject: String,
    /// All common names.
    pub(super) common: Vec<String>,
    /// `dns:…`, `uri:…`, `email:…`, `ip:…`.
    pub(super) alternative: Vec<String>,
    /// The last moment of its validity, `2030-01-01T00:00:00Z`.
    pub(super) expires: String,
}

impl Names {
    /// Reads a certificate.
    ///
    /// # Errors
    /// What is no certificate in DER.
    pub(super) fn of(certificate: &[u8]) -> der::Result<Self> {
        let certificate = parts(AnyRef::try_from(certificate)?.value())?;
        let mut fields = parts(nth(&certificate, 0)?.value())?.into_iter().peekable();
        // The version, where it is not the first; then serial number, algorithm and issuer.
        fields.next_if(|field| choice(*field) == Some(0));
        let fields: Vec<AnyRef<'_>> = fields.skip(3).collect();
        let mut names = Self {
            expires: time(nth(&parts(nth(&fields, 0)?.value())?, 1)?)?,
            ..Self::default()
        };
        names.read_subject(nth(&fields, 1)?)?;
        for field in fields.iter().filter(|field| choice(**field) == Some(3)) {
            names.read_extensions(*field)?;
        }
        Ok(names)
    }

    fn read_subject(&mut self, name: AnyRef<'_>) -> der::Result<()> {
        let mut shown = Vec::new();
        for set in parts(name.value())? {
            for attribute in parts(set.value())? {
                let pair = parts(attribute.value())?;
                let (kind, value) = (nth(&pair, 0)?, nth(&pair, 1)?);
                let [0x55, 0x04, kind] = kind.value() else {
                    continue;
                };
                let known = ATTRIBUTES.iter().find(|(number, _)| number == kind);
                let (Some((_, short)), Some(text)) = (known, text(value)) else {
                    continue;
                };
                shown.push(format!("{short}={}", escaped(&text)));
                if *short == "CN" {
                    self.common.push(text);
                }
            }
        }
        self.subject = shown.join(", ");
        Ok(())
    }

    fn read_extensions(&mut self, wrapped: AnyRef<'_>) -> der::Result<()> {
        for extension in parts(AnyRef::try_from(wrapped.value())?.value())? {
            let extension = parts(extension.value())?;
            let (Some(kind), Some(value)) = (extension.first(), extension.last()) else {
                continue;
            };
            if kind.value() != ALTERNATIVE_NAMES {
                continue;
            }
            // The value is a string of bytes, with DER in it.
            for name in parts(AnyRef::try_from(value.value())?.value())? {
                let known = TEXTS
                    .iter()
                    .find(|(number, _)| choice(name) == Some(*number));
                if let (Some((_, kind)), Some(text)) = (known, printable(name.value())) {
                    self.alternative.push(format!("{kind}:{text}"));
                }
                if choice(name) == Some(ADDRESS)
                    && let Some(address) = address(name.value())
                {
                    self.alternative.push(format!("ip:{address}"));
                }
            }
        }
        Ok(())
    }
}

/// The values inside of a sequence or set.
fn parts(content: &[u8]) -> der::Result<Vec<AnyRef<'_>>> {
    let (mut reader, mut all) = (SliceReader::new(content)?, Vec::new());
    while !reader.is_finished() {
        all.push(AnyRef::decode(&mut reader)?);
    }
    Ok(all)
}

fn nth<'a>(all: &[AnyRef<'a>], at: usize) -> der::Result<AnyRef<'a>> {
    let missing = || Tag::Sequence.value_error().into();
    all.get(at).copied().ok_or_else(missing)
}

/// The number of a context-specific tag.
fn choice(value: AnyRef<'_>) -> Option<u8> {
    let tag = match value.tag() {
        Tag::ContextSpecific { number, .. } => number.value(),
        _ => return None,
    };
    u8::try_from(tag).ok()
}

fn time(value: AnyRef<'_>) -> der::Result<String> {
    let time = match value.tag() {
        Tag::UtcTime => value.decode_as::<UtcTime>()?.to_date_time(),
        _ => value.decode_as::<GeneralizedTime>()?.to_date_time(),
    };
    Ok(time.to_string())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from);
    v4().or_else(v6)
}

/// As in RFC 4514, 2.4: what a value says cannot look like another attribute.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if ",+\"\\<>;=".contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

fn text(value: AnyRef<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => printable(value.value()),
        _ => None,
    }
}

/// A name that is compared and logged has no zero bytes, line ends and the like in it.
fn printable(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        change(&mut params);
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn names_of_every_kind() {
        let names = Names::of(&certificate(|params| {
            let name = &mut params.distinguished_name;
            name.push(DnType::CountryName, "DE");
            name.push(DnType::OrganizationName, "Beispiel, Töchter");
            name.push(DnType::CommonName, "robot");
            let uri = "spiffe://example/robot".try_into().unwrap();
            params.subject_alt_names.push(SanType::URI(uri));
            let email = "robot@a.example".try_into().unwrap();
            params.subject_alt_names.push(SanType::Rfc822Name(email));
            let address = "10.0.0.1".parse().unwrap();
            params.subject_alt_names.push(SanType::IpAddress(address));
        }));
        let names = names.unwrap();
        assert_eq!(names.subject, r"C=DE, O=Beispiel\, Töchter, CN=robot");
        assert_eq!(names.common, ["robot"]);
        assert_eq!(
            names.alternative,
            [
                "dns:a.example",
                "uri:spiffe://example/robot",
                "email:robot@a.example",
                "ip:10.0.0.1"
            ]
        );
        assert_eq!(names.expires, "2031-02-03T00:00:00Z");
    }

    #[test]
    fn no_names_and_names_with_zero_bytes() {
        let names = Names::of(&certificate(|params| params.subject_alt_names.clear())).unwrap();
        assert_eq!((names.common, names.alternative), (vec![], vec![]));
        let names = Names::of(&certificate(|params| {
            let name = "robot\0.attacker";
            params.distinguished_name.push(DnType::CommonName, name);
        }));
        assert_eq!(names.unwrap().common, Vec::<String>::new());
    }

    #[test]
    fn what_is_no_certificate_is_an_error() {
        let whole = certificate(|_| {});
        for length in 0..whole.len() {
            assert!(Names::of(&whole[..length]).is_err(), "{length}");
        }
        // Damaged anywhere: an error or other names, never a panic.
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            let _ = Names::of(&damaged);
        }
    }
}
