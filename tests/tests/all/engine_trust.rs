//! What a trust policy says of derived engines: a table that is decided here, and by the npm
//! package (`web/test/unit/engine-trust.test.ts`), which has the rules a second time: it decides
//! before there is an engine.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use twinfer::Result;
use twinfer_package::{
    Curve, DerivedEngine, Digest, EngineKind, EngineTarget, Envelope, PrivateKey, TrustPolicy,
    media,
};

use crate::generated::check;

struct Table {
    release: PrivateKey,
    wide: PrivateKey,
    stranger: PrivateKey,
    engine: DerivedEngine,
    cases: Vec<Json>,
}

#[test]
fn generated_cases_of_engines_under_a_trust_policy_are_up_to_date() {
    let mut table = Table {
        release: key(1, Curve::P256),
        wide: key(2, Curve::P384),
        stranger: key(3, Curve::P256),
        engine: DerivedEngine {
            kind: EngineKind::Slim,
            target: EngineTarget::Page,
            digest: Digest::of(b"wasm"),
            size: 4,
            engine: Digest::of(b"full"),
            version: "0.1.0".into(),
            packages: [b"one", b"two"]
                .map(|name| (Digest::of(name), Digest::of(b"profile")))
                .into(),
            signatures: Vec::new(),
        },
        cases: Vec::new(),
    };
    table.unsigned();
    table.signed();
    table.wrong();
    table.names();
    table.policies();
    let lines: Vec<String> = table.cases.iter().map(Json::to_string).collect();
    let text = format!("[\n{}\n]\n", lines.join(",\n"));
    check("tests/data/engine-trust.json", &text);
}

fn key(byte: u8, curve: Curve) -> PrivateKey {
    let fill = |bytes: &mut [u8]| {
        bytes.fill(byte);
        Ok(())
    };
    PrivateKey::generate(curve, fill).unwrap()
}

fn allowed(keys: &[&str]) -> Json {
    json!({ "allowed": keys })
}

fn refused(code: &str) -> Json {
    json!({ "refused": code })
}

impl Table {
    /// A policy with a rule for `face-*` that accepts engines by `release` and `wide`, changed by
    /// `more`.
    fn policy(&self, more: Json) -> Json {
        let pem = |key: &PrivateKey| json!({"public_key": key.public().unwrap().to_pem().unwrap()});
        let mut rule =
            json!({"names": "face-*", "keys": ["other"], "engine_keys": ["release", "wide"]});
        let fields = rule.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        json!({
            "format_version": 1,
            "keys": {"release": pem(&self.release), "wide": pem(&self.wide), "other": pem(&self.stranger)},
            "rules": [rule, {"names": "other", "keys": ["release"], "engine_keys": ["other"]}],
        })
    }

    fn by(&self, key: &PrivateKey) -> Envelope {
        let payload = serde_json::to_vec(&self.engine).unwrap();
        Envelope::sign(media::ENGINE_CONFIG, payload, key, true).unwrap()
    }

    /// Decides, compares, and notes the case.
    fn case(&mut self, id: &str, policy: &Json, name: &str, envelopes: &[Envelope], expect: Json) {
        let texts = envelopes.iter().map(|envelope| envelope.to_json().unwrap());
        self.case_of(id, policy, name, &texts.collect::<Vec<_>>(), expect);
    }

    fn case_of(&mut self, id: &str, policy: &Json, name: &str, texts: &[Vec<u8>], expect: Json) {
        let decided = match decide(policy, name, &self.engine, texts) {
            Ok(keys) => json!({ "allowed": keys }),
            Err(error) => refused(error.code().as_str()),
        };
        assert_eq!(decided, expect, "{id}");
        let texts: Vec<String> = texts.iter().map(|text| STANDARD.encode(text)).collect();
        self.cases.push(json!({
            "id": id, "policy": policy, "name": name, "engine": self.engine, "envelopes": texts,
            "expect": expect,
        }));
    }

    fn unsigned(&mut self) {
        for unsigned in ["refuse", "warn", "allow"] {
            let rule = self.policy(json!({ "unsigned": unsigned }));
            let id = format!("unsigned, where packages are to {unsigned}");
            let expect = refused("unsigned_package");
            self.case(&id, &rule, "face-detector", &[], expect);
        }
        let one = [self.by(&self.release)];
        for (id, policy) in [
            ("a policy without anything", json!({"format_version": 1})),
            (
                "a policy that allows everything",
                json!({"format_version": 1, "default": "allow"}),
            ),
            (
                "a rule without keys for engines",
                self.policy(json!({"engine_keys": []})),
            ),
        ] {
            self.case(id, &policy, "face-detector", &one, refused("untrusted_key"));
        }
    }

    fn signed(&mut self) {
        let policy = self.policy(json!({}));
        let (release, wide) = (self.by(&self.release), self.by(&self.wide));
        let stranger = self.by(&self.stranger);
        let mut unnamed = release.clone();
        unnamed.signatures[0].0 = None;
        let mut several = stranger.clone();
        several.signatures.push(release.signatures[0].clone());
        for (id, envelopes, expect) in [
            ("P-256", vec![release.clone()], allowed(&["release"])),
            ("P-384", vec![wide.clone()], allowed(&["wide"])),
            (
                "by two keys",
                vec![wide, release.clone()],
                allowed(&["release", "wide"]),
            ),
            (
                "without the name of the key",
                vec![unnamed],
                allowed(&["release"]),
            ),
            (
                "beside a stranger",
                vec![stranger.clone(), release],
                allowed(&["release"]),
            ),
            (
                "a stranger in the same envelope",
                vec![several],
                allowed(&["release"]),
            ),
            ("by a stranger", vec![stranger], refused("untrusted_key")),
        ] {
            self.case(id, &policy, "face-detector", &envelopes, expect);
        }
    }

    fn wrong(&mut self) {
        let policy = self.policy(json!({}));
        let good = self.by(&self.release);
        let mut damaged = good.clone();
        damaged.signatures[0].1[20] ^= 1;
        let mut unnamed = damaged.clone();
        unnamed.signatures[0].0 = Some(String::new());
        let mut changed = good.clone();
        let at = changed.payload.len() / 2;
        changed.payload[at] ^= 1;
        let mut typed = good.clone();
        typed.payload_type = media::TAGS.into();
        let mut short = good.clone();
        short.signatures[0].1.pop();
        let mut other = self.engine.clone();
        other.packages.remove(&Digest::of(b"one"));
        let payload = serde_json::to_vec(&other).unwrap();
        let other = Envelope::sign(media::ENGINE_CONFIG, payload, &self.release, true).unwrap();
        let wrong = refused("invalid_signature");
        for (id, envelope) in [
            ("a damaged signature", damaged.clone()),
            ("a changed engine", changed),
            ("a payload of another type", typed),
            ("a signature that is cut", short),
            ("signed for other packages", other),
        ] {
            let one = [envelope];
            self.case(id, &policy, "face-detector", &one, wrong.clone());
        }
        let id = "a damaged signature that names no key";
        let one = [unnamed];
        self.case(id, &policy, "face-detector", &one, refused("untrusted_key"));
        let id = "a damaged signature beside a good one";
        let two = [damaged, good];
        self.case(id, &policy, "face-detector", &two, allowed(&["release"]));
        for text in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"payload":"?","payloadType":"","signatures":[]}"#,
        ] {
            let id = format!("no envelope: `{text}`");
            let texts = [text.as_bytes().to_vec()];
            self.case_of(&id, &policy, "face-detector", &texts, wrong.clone());
        }
    }

    fn names(&mut self) {
        let policy = self.policy(json!({}));
        for (name, expect) in [
            ("face-", allowed(&["release"])),
            ("face", refused("untrusted_key")),
            ("a-face-detector", refused("untrusted_key")),
            ("other", refused("untrusted_key")),
        ] {
            let one = [self.by(&self.release)];
            self.case(&format!("for `{name}`"), &policy, name, &one, expect);
        }
        let one = [self.by(&self.stranger)];
        let id = "by a key of this name's rule";
        self.case(id, &policy, "other", &one, allowed(&["other"]));
    }

    fn policies(&mut self) {
        let one = [self.by(&self.release)];
        let mut revoked = self.policy(json!({}));
        revoked["revoked"] = json!([self.engine.digest]);
        let expect = refused("revoked_package");
        self.case("revoked", &revoked, "face-detector", &one, expect);
        let bad = refused("invalid_policy");
        let mut newer = self.policy(json!({}));
        newer["format_version"] = json!(2);
        self.case("a newer policy", &newer, "face-detector", &one, bad.clone());
        let mut unknown = self.policy(json!({}));
        unknown["signers"] = json!([]);
        let id = "a policy with an unknown field";
        self.case(id, &unknown, "face-detector", &one, bad.clone());
        let rule = self.policy(json!({"expires": "never"}));
        let id = "a rule with an unknown field";
        self.case(id, &rule, "face-detector", &one, bad.clone());
        let missing = self.policy(json!({"engine_keys": ["nobody"]}));
        self.case(
            "a rule with an unknown key",
            &missing,
            "face-detector",
            &one,
            bad,
        );
    }
}

fn decide(
    policy: &Json,
    name: &str,
    engine: &DerivedEngine,
    texts: &[Vec<u8>],
) -> Result<Vec<String>> {
    let policy = TrustPolicy::from_json(policy.to_string().as_bytes())?;
    let envelopes: Result<Vec<Envelope>> = texts.iter().map(|t| Envelope::from_json(t)).collect();
    policy.engine_signers(name, engine, &envelopes?)
}
