//! Keys, signatures, and how they lie in a registry.

use sha2::{Digest as _, Sha256};
use twinfer::ErrorCode;
use twinfer_package::{
    Bundle, Curve, Descriptor, Envelope, Index, MemoryStore, Package, PrivateKey, PublicKey, Seen,
    SignedTags, Signer, Store, TrustPolicy, attach_signature, media, publish_tags, published_tags,
};

use crate::fixture::{Recipe, reference};

/// The same key for the same number.
pub fn key(number: u8, curve: Curve) -> PrivateKey {
    PrivateKey::generate(curve, |bytes| {
        for (at, chunk) in bytes.chunks_mut(32).enumerate() {
            let digest = Sha256::digest([number, at as u8]);
            chunk.copy_from_slice(&digest[..chunk.len()]);
        }
        Ok(())
    })
    .unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(|c| !c.is_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
        .collect()
}

/// The integers of a signature in DER, without leading zeros.
fn integers(der: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = &der[2..];
    let mut integers = Vec::new();
    while rest.len() > 2 {
        let (integer, tail) = rest[2..].split_at(rest[1].into());
        integers.push(integer.iter().copied().skip_while(|b| *b == 0).collect());
        rest = tail;
    }
    integers
}

/// RFC 6979, A.2.5 and A.2.6: the message "sample".
#[test]
fn signatures_are_those_of_rfc_6979() {
    for (curve, private, r, s) in [
        (
            Curve::P256,
            "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721",
            "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
            "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
        ),
        (
            Curve::P384,
            "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5",
            "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46",
            "99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8",
        ),
    ] {
        let key = PrivateKey::generate(curve, |to| {
            to.copy_from_slice(&bytes(private));
            Ok(())
        })
        .unwrap();
        let signature = key.sign(b"sample").unwrap();
        assert_eq!(integers(&signature), [bytes(r), bytes(s)], "{curve:?}");
        let public = key.public().unwrap();
        assert!(public.verifies(b"sample", &signature));
        assert!(!public.verifies(b"simple", &signature));
        for at in 0..signature.len() {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert!(!public.verifies(b"sample", &changed), "{curve:?} {at}");
        }
    }
}

#[test]
fn what_is_no_key_is_refused_with_a_reason() {
    let private = key(1, Curve::P256).to_pem().unwrap();
    let public = key(1, Curve::P256).public().unwrap().to_pem().unwrap();
    for (text, said) in [
        ("", "not a public key"),
        ("none", "not a public key"),
        (&private, "private key"),
        (&public[..60], "not a public key"),
    ] {
        let error = PublicKey::from_pem(text).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidRequest);
        assert!(error.message().contains(said), "{error}");
    }
    for (text, said) in [
        ("", "not a private key"),
        (public.as_str(), "not a private key"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "encrypted"),
    ] {
        let error = PrivateKey::from_pem(text).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidRequest);
        assert!(error.message().contains(said), "{error}");
    }
    let none = PrivateKey::generate(Curve::P256, |bytes| {
        bytes.fill(0);
        Ok(())
    });
    assert_eq!(none.unwrap_err().code(), ErrorCode::Internal);
}

fn packed() -> MemoryStore {
    let store = MemoryStore::new();
    Recipe::new().pack(&store).unwrap();
    store
}

#[test]
fn signing_again_adds_nothing_and_another_key_adds_its_own() {
    let store = packed();
    let (first, second) = (key(1, Curve::P256), key(2, Curve::P384));
    let one = attach_signature(&store, &reference(), Signer::Key(&first)).unwrap();
    assert!(one.added);
    let index = store.index().unwrap();
    let again = attach_signature(&store, &reference(), Signer::Key(&first)).unwrap();
    assert_eq!((again.added, again.signature), (false, one.signature));
    assert_eq!(store.index().unwrap(), index);
    let two = attach_signature(&store, &reference(), Signer::Key(&second)).unwrap();
    assert!(two.added);
    // In any order the same index.
    let other = packed();
    for key in [&second, &first] {
        attach_signature(&other, &reference(), Signer::Key(key)).unwrap();
    }
    assert_eq!(other.index().unwrap(), store.index().unwrap());
    // The package is where it was, and neither signature is a model.
    let index = Index::from_json(&store.index().unwrap()).unwrap();
    assert_eq!(index.tags().len(), 1);
    assert_eq!(
        Package::open(&store, &reference()).unwrap().digest(),
        &one.package
    );
}

#[test]
fn a_bundle_over_other_files_is_not_attached() {
    let store = packed();
    let package = Package::open(&store, &reference()).unwrap();
    let mut manifest = package.manifest().clone();
    manifest.layers.pop();
    let bundle = Bundle::sign("risk", &manifest, &key(1, Curve::P256)).unwrap();
    for bundle in [&bundle[..], b"{}", &bundle[..bundle.len() - 1]] {
        let error = attach_signature(&store, &reference(), Signer::Bundle(bundle)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidSignature, "{error}");
    }
    assert_eq!(
        Index::from_json(&store.index().unwrap())
            .unwrap()
            .to_json()
            .unwrap(),
        packed().index().unwrap()
    );
}

#[test]
fn signed_tags_are_published_in_the_place_of_those_before() {
    let store = packed();
    let key = key(1, Curve::P256);
    assert!(published_tags(&store, "risk").unwrap().is_none());
    let digest = *Package::open(&store, &reference()).unwrap().digest();
    for counter in [1, 2] {
        let tags = [("1.0.0".to_owned(), digest)].into();
        let list = SignedTags::new("risk", counter, 1_000_000_000, 86_400, tags).unwrap();
        assert_eq!(list.issued, "2001-09-09T01:46:40Z");
        assert_eq!(list.expires, "2001-09-10T01:46:40Z");
        publish_tags(&store, &list, &key).unwrap();
        let (envelope, found) = published_tags(&store, "risk").unwrap().unwrap();
        assert_eq!(found, list);
        let public = key.public().unwrap();
        let verified = envelope.verify(media::TAGS, std::iter::once(&public));
        assert_eq!(verified.unwrap().unwrap().0, 0);
    }
    assert_eq!(
        SignedTags::new("risk", u64::MAX, 0, 0, Default::default())
            .unwrap_err()
            .code(),
        ErrorCode::InvalidRequest
    );
    assert!(SignedTags::new("risk", 1, u64::MAX, 1, Default::default()).is_err());
}

#[test]
fn a_list_of_another_format_is_refused() {
    let list = |version: u32, issued: &str, expires: &str| {
        let text = format!(
            r#"{{"format_version":{version},"name":"a","counter":1,"issued":"{issued}","expires":"{expires}","tags":{{}}}}"#
        );
        SignedTags::from_json(text.as_bytes()).map_err(|e| e.code())
    };
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    assert!(list(1, early, late).is_ok());
    assert_eq!(
        list(2, early, late).unwrap_err(),
        ErrorCode::UnsupportedFormatVersion
    );
    for (issued, expires) in [
        (late, early),
        (early, "tomorrow"),
        ("1969-01-01T00:00:00Z", late),
        (early, "2026-13-01T00:00:00Z"),
    ] {
        assert_eq!(
            list(1, issued, expires).unwrap_err(),
            ErrorCode::InvalidSignature
        );
    }
}

/// What the machine asks for before it decided.
#[test]
fn nothing_of_the_package_is_asked_for_before_the_decision() {
    let store = packed();
    let (private, stranger) = (key(1, Curve::P256), key(2, Curve::P256));
    attach_signature(&store, &reference(), Signer::Key(&private)).unwrap();
    let package = Package::open(&store, &reference()).unwrap();
    let content: Vec<_> = std::iter::once(&package.manifest().config)
        .chain(package.layers())
        .map(|d| d.digest)
        .collect();
    for (key, expected) in [(&private, None), (&stranger, Some(ErrorCode::UntrustedKey))] {
        let policy = TrustPolicy::of_key(&key.public().unwrap()).unwrap();
        let index = store.index().unwrap();
        let mut admission =
            twinfer_package::Admission::new(&index, &reference(), &policy, Seen::default())
                .unwrap();
        let mut failed = None;
        while failed.is_none() && !admission.needs().is_empty() {
            for wanted in admission.needs() {
                assert!(!content.contains(&wanted.digest), "{wanted:?}");
                let bytes = store.blob(&wanted).unwrap();
                failed = failed.or(admission.supply(&wanted.digest, bytes).err());
            }
        }
        assert_eq!(failed.map(|e| e.code()), expected);
    }
}

#[test]
fn an_envelope_names_its_key_only_where_it_should() {
    let private = key(1, Curve::P256);
    let public = private.public().unwrap();
    let named = Envelope::sign("text/plain", b"x".to_vec(), &private, true).unwrap();
    let json = String::from_utf8(named.to_json().unwrap()).unwrap();
    assert!(json.contains(public.hint()));
    assert_eq!(Envelope::from_json(json.as_bytes()).unwrap(), named);
    // A name that is wrong is no help and no harm: the key is then not tried.
    let other = key(2, Curve::P256).public().unwrap();
    let by_other = named.verify("text/plain", std::iter::once(&other)).unwrap();
    assert!(by_other.is_none());
    let descriptor = Descriptor::new(media::DSSE, json.as_bytes());
    assert_eq!(descriptor.size, json.len() as u64);
}
