use super::*;
use crate::reference::{SIGNED_TAGS, referrers_tag};
use std::collections::BTreeSet;
use twinfer::ErrorCode;

fn index(tags: &[&str]) -> Index {
    let mut index = Index::default();
    for tag in tags {
        let (name, tag) = tag.split_once(':').unwrap();
        index.point(
            &Reference::new(name, tag).unwrap(),
            &Descriptor::new(media::MANIFEST, format!("{name}{tag}").as_bytes()),
        );
    }
    index
}

fn resolved(index: &Index, reference: &str) -> Result<Digest> {
    resolve(&index.to_json()?, &reference.parse()?).map(|d| d.digest)
}

#[test]
fn a_bare_name_is_the_highest_release() {
    let all = index(&[
        "m:1.9.0",
        "m:1.10.0",
        "m:2.0.0-rc.1",
        "m:stable",
        "other:3.0.0",
    ]);
    assert_eq!(resolved(&all, "m").unwrap(), Digest::of(b"m1.10.0"));
    assert_eq!(resolved(&all, "m:stable").unwrap(), Digest::of(b"mstable"));
    assert_eq!(
        resolved(&index(&["m:1.0.0-a", "m:1.0.0-b"]), "m").unwrap(),
        Digest::of(b"m1.0.0-b")
    );
    assert_eq!(
        resolved(&index(&["m:stable"]), "m").unwrap_err().code(),
        ErrorCode::UnknownVersion
    );
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let all = index(&["m:1.0.0", "n:1.0.0"]);
    let error = resolved(&all, "x:1.0.0").unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownModel);
    assert!(error.message().contains("m, n"), "{error}");
    let error = resolved(&all, "m:2.0.0").unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownVersion);
    assert!(error.message().contains("1.0.0"), "{error}");
    assert_eq!(
        resolved(&all, &format!("m@{}", Digest::of(b"?")))
            .unwrap_err()
            .code(),
        ErrorCode::UnknownVersion
    );
    // There, but under another name.
    assert_eq!(
        resolved(&all, &format!("m@{}", Digest::of(b"n1.0.0")))
            .unwrap_err()
            .code(),
        ErrorCode::UnknownVersion
    );
    assert!(resolved(&all, &format!("m:9.9.9@{}", Digest::of(b"m1.0.0"))).is_ok());
}

#[test]
fn entries_of_other_tools_stay_and_do_not_disturb() {
    let json = br#"{"schemaVersion":2,"x-tool":{"a":1},"manifests":[
        {"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha512:00","size":1,"platform":{"os":"linux"}},
        {"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1,"annotations":{"org.opencontainers.image.ref.name":"list:1"}}]}"#;
    let mut index = Index::from_json(json).unwrap();
    index.point(
        &Reference::new("m", "1.0.0").unwrap(),
        &Descriptor::new(media::MANIFEST, b"m"),
    );
    let text = String::from_utf8(index.to_json().unwrap()).unwrap();
    assert!(
        text.contains("x-tool") && text.contains("linux") && text.contains("sha512:00"),
        "{text}"
    );
    assert_eq!(index.tags().len(), 1);
    assert_eq!(
        resolved(&index, "list:1").unwrap_err().code(),
        ErrorCode::InvalidManifest
    );
}

#[test]
fn a_moved_tag_leaves_the_old_manifest_reachable() {
    let mut all = index(&["m:1.0.0"]);
    all.point(
        &Reference::new("m", "1.0.0").unwrap(),
        &Descriptor::new(media::MANIFEST, b"new"),
    );
    assert_eq!(resolved(&all, "m:1.0.0").unwrap(), Digest::of(b"new"));
    assert!(resolved(&all, &format!("m@{}", Digest::of(b"m1.0.0"))).is_ok());
    let again = all.clone();
    all.point(
        &Reference::new("m", "1.0.0").unwrap(),
        &Descriptor::new(media::MANIFEST, b"new"),
    );
    assert_eq!(all, again);
}

#[test]
fn a_tag_that_is_there_twice_is_refused() {
    let mut all = index(&["m:1.0.0", "m:2.0.0"]);
    for entry in &mut all.manifests {
        entry.annotations.insert(REF_NAME.into(), "m:1.0.0".into());
    }
    assert_eq!(
        resolved(&all, "m:1.0.0").unwrap_err().code(),
        ErrorCode::InvalidManifest
    );
}

#[test]
fn foreign_and_newer_files_are_refused() {
    use ErrorCode::*;
    for (json, code) in [
        ("", InvalidManifest),
        ("[]", InvalidManifest),
        ("<html>", InvalidManifest),
        (r#"{"schemaVersion":2}"#, InvalidManifest),
        (
            r#"{"schemaVersion":3,"manifests":[]}"#,
            UnsupportedFormatVersion,
        ),
        (
            r#"{"schemaVersion":2,"manifests":[],"mediaType":"application/json"}"#,
            InvalidManifest,
        ),
    ] {
        assert_eq!(
            Index::from_json(json.as_bytes()).unwrap_err().code(),
            code,
            "{json}"
        );
    }
}

#[test]
fn a_name_moves_with_all_that_belongs_to_it() {
    let digest = Digest::of(b"m1.0.0");
    let attached = referrers_tag(&digest);
    let mut all = index(&["m:1.0.0", "m:stable", "n:1.0.0"]);
    all.name("m", SIGNED_TAGS, &Descriptor::new(media::MANIFEST, b"tags"));
    all.name("m", &attached, &Descriptor::new(media::INDEX, b"list"));
    let parts = all.by_name();
    assert_eq!(parts.keys().collect::<Vec<_>>(), ["m", "n"]);
    assert_eq!(parts["m"].manifests.len(), 4);
    let mut rebuilt = Index::default();
    rebuilt.replace("n", &parts["n"], &Index::default());
    rebuilt.replace("m", &parts["m"], &Index::default());
    assert_eq!(rebuilt, all);
    // Whatever order another tool writes, the part is the same.
    all.manifests.reverse();
    assert_eq!(all.by_name(), parts);
    let gone: BTreeSet<String> = ["stable".to_owned()].into();
    assert_eq!(parts["m"].without_tags(&gone).tags().len(), 1);
    assert_eq!(parts["m"].of_tags(&gone).tags().len(), 1);
    assert_eq!(parts["m"].of_tags(&gone).manifests.len(), 3);
}

#[test]
fn a_package_can_be_shown_by_digest_only() {
    let (old, new) = (index(&["m:1.0.0"]), index(&["m:1.0.0", "m:2.0.0"]));
    let digest = Digest::of(b"m2.0.0");
    let shown = new.untagged(&[digest].into(), &old);
    let mut both = old.clone();
    both.merge(&shown);
    assert_eq!(both.tags(), old.tags());
    assert_eq!(resolved(&both, &format!("m@{digest}")).unwrap(), digest);
    assert!(resolved(&old, &format!("m@{digest}")).is_err());
    assert_eq!(both.untagged(&[digest].into(), &old), shown);
    // What is left behind stays only when it is known.
    let known = |digest: &str| [digest.to_owned()].into();
    assert_eq!(both.without_names(&known("")), Index::default());
    assert_eq!(both.without_names(&known(&digest.to_string())), shown);
}
