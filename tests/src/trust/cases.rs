//! The cases.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use twinfer::ErrorCode as Code;
use twinfer_package::{Curve, Envelope, FILEPATH, PrivateKey, TITLE, media};

use super::maker::{Maker, fail, key};
use super::{Decided, Table, TrustCase};
use crate::forge::{Parts, VERSION};

pub(super) struct Keys {
    /// P-256, accepted.
    pub(super) release: PrivateKey,
    /// P-384, accepted.
    pub(super) wide: PrivateKey,
    /// Accepted by no rule.
    pub(super) stranger: PrivateKey,
}

/// The folder, the rules and the cases as they grow.
pub(super) struct Making {
    pub(super) one: Maker,
    pub(super) keys: Keys,
    rules: Vec<Value>,
    revoked: Vec<String>,
    pub(super) cases: Vec<TrustCase>,
}

pub(super) type Done = io::Result<()>;

pub(super) fn make(from: &Path, base: &str, folder: &Path) -> io::Result<Table> {
    copy(from, &folder.join("one"))?;
    std::fs::create_dir_all(folder.join("policies"))?;
    let mut making = Making {
        one: Maker::new(&folder.join("one"), base),
        keys: Keys {
            release: key("release", Curve::P256),
            wide: key("wide", Curve::P384),
            stranger: key("stranger", Curve::P256),
        },
        rules: Vec::new(),
        revoked: Vec::new(),
        cases: Vec::new(),
    };
    making.unsigned()?;
    making.signed()?;
    making.wrong_bundles()?;
    making.changed_packages()?;
    making.refused()?;
    making.tags()?;
    making.bad_tags()?;
    making.seen_before(from, base, folder)?;
    making.malformed(folder)?;
    std::fs::write(
        folder.join("policies/main.json"),
        serde_json::to_vec_pretty(&making.policy()?)?,
    )?;
    Ok(Table {
        cases: making.cases,
    })
}

pub(super) fn copy(from: &Path, to: &Path) -> Done {
    std::fs::create_dir_all(to.join("blobs/sha256"))?;
    for name in ["oci-layout", "index.json"] {
        std::fs::copy(from.join(name), to.join(name))?;
    }
    for blob in std::fs::read_dir(from.join("blobs/sha256"))? {
        let blob = blob?;
        std::fs::copy(blob.path(), to.join("blobs/sha256").join(blob.file_name()))?;
    }
    Ok(())
}

pub(super) fn allowed(keys: &[&str]) -> Decided {
    Decided::Allowed(Some(keys.iter().map(|&key| key.into()).collect()))
}

pub(super) fn refused(code: Code) -> Decided {
    Decided::Refused(code.as_str().into())
}

pub(super) fn unchanged(_: &mut Parts) -> Done {
    Ok(())
}

impl Making {
    fn policy(&self) -> io::Result<Value> {
        let pem = |key: &PrivateKey| key.public().and_then(|key| key.to_pem()).map_err(fail);
        Ok(json!({
            "format_version": 1,
            "keys": {
                "release": {"public_key": pem(&self.keys.release)?},
                "wide": {"public_key": pem(&self.keys.wide)?},
            },
            "rules": self.rules,
            "default": "refuse",
            "revoked": self.revoked,
        }))
    }

    /// A case of `name:1.0.0`, and a rule for that name: both keys, and `more`.
    pub(super) fn case(&mut self, name: &str, more: Value, expect: Decided) {
        let mut rule = json!({"names": name, "keys": ["release", "wide"]});
        if let (Some(rule), Value::Object(more)) = (rule.as_object_mut(), more) {
            rule.extend(more);
        }
        self.rules.push(rule);
        self.also(name, &format!("{name}:{VERSION}"), expect);
    }

    /// A case under a rule that is there.
    pub(super) fn also(&mut self, id: &str, reference: &str, expect: Decided) {
        self.cases.push(TrustCase {
            id: id.into(),
            registry: "one".into(),
            policy: Some("main".into()),
            reference: reference.into(),
            expect,
        });
    }

    fn unsigned(&mut self) -> Done {
        for (name, mode, expect) in [
            ("unsigned-allow", "allow", allowed(&[])),
            ("unsigned-warn", "warn", Decided::Warned),
            ("unsigned-refuse", "refuse", refused(Code::UnsignedPackage)),
        ] {
            self.one.package(name, unchanged)?;
            self.case(name, json!({"unsigned": mode}), expect);
        }
        self.one.package("no-rule", unchanged)?;
        self.also("no-rule", "no-rule:1.0.0", refused(Code::UnsignedPackage));
        self.one.package("free", unchanged)?;
        self.cases.push(TrustCase {
            id: "no-policy".into(),
            registry: "one".into(),
            policy: None,
            reference: "free:1.0.0".into(),
            expect: Decided::Allowed(None),
        });
        Ok(())
    }

    fn signed(&mut self) -> Done {
        self.one.package("by-p256", unchanged)?;
        self.one.sign("by-p256", &self.keys.release).map_err(fail)?;
        self.case("by-p256", json!({}), allowed(&["release"]));
        self.also("by-p256/bare", "by-p256", allowed(&["release"]));
        let digest = self.one.digest("by-p256").map_err(fail)?;
        self.also(
            "by-p256/pinned",
            &format!("by-p256@{digest}"),
            allowed(&["release"]),
        );
        self.one.package("by-p384", unchanged)?;
        self.one.sign("by-p384", &self.keys.wide).map_err(fail)?;
        self.case("by-p384", json!({}), allowed(&["wide"]));
        self.one.package("by-both", unchanged)?;
        for key in [&self.keys.wide, &self.keys.release, &self.keys.stranger] {
            self.one.sign("by-both", key).map_err(fail)?;
        }
        self.case("by-both", json!({}), allowed(&["release", "wide"]));

        for (name, mode, expect) in [
            ("by-stranger", "refuse", refused(Code::UntrustedKey)),
            ("by-stranger-warn", "warn", Decided::Warned),
        ] {
            self.one.package(name, unchanged)?;
            self.one.sign(name, &self.keys.stranger).map_err(fail)?;
            self.case(name, json!({"unsigned": mode}), expect);
        }
        self.one.package("for-others", unchanged)?;
        self.one.sign("for-others", &self.keys.wide).map_err(fail)?;
        // The key is in the policy, but for other names.
        self.case(
            "for-others",
            json!({"keys": ["release"]}),
            refused(Code::UntrustedKey),
        );
        self.one.package("pattern-fits", unchanged)?;
        self.one
            .sign("pattern-fits", &self.keys.release)
            .map_err(fail)?;
        self.rules
            .push(json!({"names": "pattern-*", "keys": ["release"]}));
        self.also("pattern", "pattern-fits:1.0.0", allowed(&["release"]));
        Ok(())
    }

    /// A package `name` with what `make` makes of its good bundle attached to it.
    fn with_bundle(
        &mut self,
        name: &str,
        make: impl FnOnce(&Self, Vec<u8>) -> twinfer::Result<Vec<u8>>,
        mode: &str,
        expect: Decided,
    ) -> Done {
        self.one.package(name, unchanged)?;
        let good = self.one.bundle(name, &self.keys.release).map_err(fail)?;
        let bundle = make(self, good).map_err(fail)?;
        self.one.attach(name, &bundle, |_| ())?;
        self.case(name, json!({"unsigned": mode}), expect);
        Ok(())
    }

    fn wrong_bundles(&mut self) -> Done {
        let invalid = || refused(Code::InvalidSignature);
        self.with_bundle(
            "other-subject",
            |this, _| this.one.bundle("free", &this.keys.release),
            "refuse",
            invalid(),
        )?;
        self.with_bundle(
            "wrong-type",
            |this, good| {
                this.resigned(&good, |payload_type, _| {
                    *payload_type = "application/json".into();
                })
            },
            "refuse",
            invalid(),
        )?;
        self.with_bundle(
            "wrong-predicate",
            |this, good| {
                this.resigned(&good, |_, payload| {
                    payload["predicateType"] = "https://slsa.dev/provenance/v1".into();
                })
            },
            "refuse",
            invalid(),
        )?;
        self.with_bundle(
            "tampered",
            |_, good| {
                // Another digest in the payload, the old signature.
                changed(&good, |bundle| {
                    let mut payload = payload_of(bundle);
                    payload["predicate"]["resources"][0]["digest"] = "00".repeat(32).into();
                    bundle["dsseEnvelope"]["payload"] = STANDARD.encode(payload.to_string()).into();
                })
            },
            "refuse",
            invalid(),
        )?;
        self.with_bundle("malformed", |_, _| Ok(b"{".to_vec()), "refuse", invalid())?;
        self.with_bundle(
            "truncated",
            |_, good| Ok(good[..good.len() / 2].to_vec()),
            "refuse",
            invalid(),
        )?;
        // Even where no signature is demanded: this one claims a key and is damaged.
        self.with_bundle(
            "damaged-allow",
            |_, good| Ok(good[..good.len() / 2].to_vec()),
            "allow",
            invalid(),
        )?;
        self.with_bundle(
            "certificate",
            |_, good| {
                changed(&good, |bundle| {
                    bundle["verificationMaterial"] =
                        json!({"x509CertificateChain": {"certificates": [{"rawBytes": "AA=="}]}});
                })
            },
            "refuse",
            refused(Code::UntrustedKey),
        )?;
        self.one.package("bad-beside-good", unchanged)?;
        self.one
            .sign("bad-beside-good", &self.keys.release)
            .map_err(fail)?;
        self.one.attach("bad-beside-good", b"nothing", |_| ())?;
        self.case("bad-beside-good", json!({}), allowed(&["release"]));

        self.one.package("about-another", unchanged)?;
        let good = self.one.bundle("about-another", &self.keys.release);
        let other = self.one.digest("free").map_err(fail)?;
        self.one
            .attach("about-another", &good.map_err(fail)?, |manifest| {
                manifest["subject"]["digest"] = json!(other);
            })?;
        self.case("about-another", json!({}), invalid());
        Ok(())
    }

    /// A bundle of which type and payload are changed, and signed again.
    fn resigned(
        &self,
        bundle: &[u8],
        change: impl FnOnce(&mut String, &mut Value),
    ) -> twinfer::Result<Vec<u8>> {
        changed_with(bundle, |bundle| {
            let mut payload = payload_of(bundle);
            let mut payload_type = "application/vnd.in-toto+json".to_owned();
            change(&mut payload_type, &mut payload);
            let payload = payload.to_string().into_bytes();
            let envelope = Envelope::sign(&payload_type, payload, &self.keys.release, false)?;
            bundle["dsseEnvelope"] = serde_json::from_slice(&envelope.to_json()?)
                .map_err(|e| twinfer::err!(Internal, "{e}"))?;
            Ok(())
        })
    }

    fn changed_packages(&mut self) -> Done {
        type Change = fn(&mut Parts) -> Done;
        let changes: [(&str, Change); 4] = [
            ("stripped-layer", |parts| {
                parts.remove(media::GOLDEN_NAME);
                Ok(())
            }),
            ("added-layer", |parts| {
                let digest = parts.put(b"more")?;
                let layer = json!({
                    "mediaType": media::DOC, "digest": digest, "size": 4,
                    "annotations": {TITLE: "README.md", FILEPATH: "README.md"},
                });
                push(&mut parts.manifest["layers"], layer);
                push(&mut parts.config["modelfs"]["diffIds"], json!(digest));
                Ok(())
            }),
            ("renamed-layer", |parts| {
                let layer = parts.descriptor(media::GOLDEN_NAME)?;
                for key in [TITLE, FILEPATH] {
                    layer["annotations"][key] = "baseline.json".into();
                }
                Ok(())
            }),
            ("changed-layer", |parts| {
                parts.configure("description", json!("not what was signed"))
            }),
        ];
        for (name, change) in changes {
            self.one.package(name, unchanged)?;
            let bundle = self.one.bundle(name, &self.keys.release).map_err(fail)?;
            self.one.package(name, change)?;
            self.one.attach(name, &bundle, |_| ())?;
            self.case(name, json!({}), refused(Code::InvalidSignature));
        }
        Ok(())
    }

    fn refused(&mut self) -> Done {
        for (name, layer) in [
            ("revoked", None),
            ("revoked-layer", Some(media::CONFIG_NAME)),
        ] {
            self.one.package(name, unchanged)?;
            self.one.sign(name, &self.keys.release).map_err(fail)?;
            let manifest = self.one.manifest(name).map_err(fail)?;
            let layers = manifest.layers.iter();
            let revoked = layers
                .filter(|l| layer.is_some() && l.file_name() == layer)
                .map(|l| l.digest)
                .next();
            let revoked = match revoked {
                Some(digest) => digest,
                None => self.one.digest(name).map_err(fail)?,
            };
            self.revoked.push(revoked.to_string());
            self.case(name, json!({}), refused(Code::RevokedPackage));
        }
        self.one.package("too-old", unchanged)?;
        self.one.sign("too-old", &self.keys.release).map_err(fail)?;
        self.case(
            "too-old",
            json!({"minimum_version": "1.0.1"}),
            refused(Code::VersionTooOld),
        );
        let digest = self.one.digest("too-old").map_err(fail)?;
        self.also(
            "too-old/pinned",
            &format!("too-old@{digest}"),
            refused(Code::VersionTooOld),
        );
        self.one.package("new-enough", unchanged)?;
        self.one
            .sign("new-enough", &self.keys.release)
            .map_err(fail)?;
        self.case(
            "new-enough",
            json!({"minimum_version": "1.0.0"}),
            allowed(&["release"]),
        );
        Ok(())
    }

    fn malformed(&mut self, folder: &Path) -> Done {
        let good = json!({"format_version": 1, "default": "allow"});
        let with = |key: &str, value: Value| {
            let mut policy = good.clone();
            policy[key] = value;
            policy.to_string()
        };
        let rule = |rule: Value| with("rules", json!([rule]));
        for (name, text) in [
            ("no-json", "{\"format_version\": 1,".to_owned()),
            ("no-version", "{\"default\": \"allow\"}".to_owned()),
            ("newer", with("format_version", json!(2))),
            ("unknown-field", with("surprise", json!(true))),
            ("unknown-mode", with("default", json!("maybe"))),
            (
                "bad-key",
                with("keys", json!({"a": {"public_key": "none"}})),
            ),
            ("bad-digest", with("revoked", json!(["sha256:0"]))),
            ("unknown-key", rule(json!({"names": "*", "keys": ["a"]}))),
            ("bad-pattern", rule(json!({"names": "Face?"}))),
            (
                "bad-minimum",
                rule(json!({"names": "*", "minimum_version": "1"})),
            ),
            (
                "tags-without-keys",
                rule(json!({"names": "*", "signed_tags": "required"})),
            ),
        ] {
            let policy = format!("bad-{name}");
            std::fs::write(folder.join(format!("policies/{policy}.json")), text)?;
            self.cases.push(TrustCase {
                id: policy.clone(),
                registry: "one".into(),
                policy: Some(policy),
                reference: "free:1.0.0".into(),
                expect: refused(Code::InvalidPolicy),
            });
        }
        Ok(())
    }
}

fn push(list: &mut Value, value: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(value);
    }
}

fn payload_of(bundle: &Value) -> Value {
    let text = bundle["dsseEnvelope"]["payload"].as_str();
    let bytes = STANDARD.decode(text.unwrap_or_default());
    serde_json::from_slice(&bytes.unwrap_or_default()).unwrap_or_default()
}

fn changed(bundle: &[u8], change: impl FnOnce(&mut Value)) -> twinfer::Result<Vec<u8>> {
    changed_with(bundle, |bundle| {
        change(bundle);
        Ok(())
    })
}

fn changed_with(
    bundle: &[u8],
    change: impl FnOnce(&mut Value) -> twinfer::Result<()>,
) -> twinfer::Result<Vec<u8>> {
    let mut value: Value =
        serde_json::from_slice(bundle).map_err(|e| twinfer::err!(Internal, "{e}"))?;
    change(&mut value)?;
    Ok(value.to_string().into_bytes())
}
