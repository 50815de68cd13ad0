//! The cases of signed tags.

use std::path::Path;

use serde_json::json;
use twinfer::ErrorCode as Code;

use super::TrustCase;
use super::cases::{Done, Making, allowed, copy, refused, unchanged};
use super::maker::{Maker, fail};

impl Making {
    /// A signed package with the alias `stable`.
    fn tagged(&self, name: &str) -> Done {
        self.one.package(name, unchanged)?;
        self.one.sign(name, &self.keys.release).map_err(fail)?;
        self.one.alias(&format!("{name}:stable"), name)
    }

    pub(super) fn tags(&mut self) -> Done {
        let required = || json!({"signed_tags": "required"});
        self.tagged("tags-missing")?;
        self.case("tags-missing", required(), refused(Code::UnsignedIndex));
        let digest = self.one.digest("tags-missing").map_err(fail)?;
        // A digest needs no tags.
        self.also(
            "tags-missing/pinned",
            &format!("tags-missing@{digest}"),
            allowed(&["release"]),
        );
        self.tagged("tags-good")?;
        self.one
            .tags("tags-good", &self.keys.wide, 3, |_| ())
            .map_err(fail)?;
        self.case(
            "tags-good",
            json!({"signed_tags": "required", "minimum_counter": 3}),
            allowed(&["release"]),
        );
        for (id, reference) in [("bare", "tags-good"), ("alias", "tags-good:stable")] {
            self.also(&format!("tags-good/{id}"), reference, allowed(&["release"]));
        }
        self.tagged("tags-by-stranger")?;
        self.tagged("tags-by-stranger-optional")?;
        for name in ["tags-by-stranger", "tags-by-stranger-optional"] {
            self.one
                .tags(name, &self.keys.stranger, 3, |_| ())
                .map_err(fail)?;
        }
        self.case("tags-by-stranger", required(), refused(Code::UntrustedKey));
        self.case(
            "tags-by-stranger-optional",
            json!({}),
            allowed(&["release"]),
        );
        Ok(())
    }

    pub(super) fn bad_tags(&mut self) -> Done {
        for name in [
            "tags-expired",
            "tags-replayed",
            "tags-moved",
            "tags-unlisted",
            "tags-of-another",
        ] {
            self.tagged(name)?;
        }
        let release = &self.keys.release;
        let free = self.one.digest("free").map_err(fail)?;
        let made = [
            self.one.tags("tags-expired", release, 1, |list| {
                list.expires = "2020-10-01T00:00:00Z".into();
            }),
            self.one.tags("tags-replayed", release, 4, |_| ()),
            // The list still says what the tag was before it was moved.
            self.one.tags("tags-moved", release, 1, |list| {
                list.tags.insert("stable".into(), free);
            }),
            self.one.tags("tags-unlisted", release, 1, |list| {
                list.tags.remove("stable");
            }),
            self.one.tags("tags-of-another", release, 1, |list| {
                list.name = "somebody-else".into();
            }),
        ];
        made.into_iter()
            .collect::<twinfer::Result<()>>()
            .map_err(fail)?;
        self.case("tags-expired", json!({}), refused(Code::IndexExpired));
        self.case(
            "tags-replayed",
            json!({"minimum_counter": 5}),
            refused(Code::IndexReplayed),
        );
        self.case("tags-moved", json!({}), allowed(&["release"]));
        self.case("tags-unlisted", json!({}), allowed(&["release"]));
        for name in ["tags-moved", "tags-unlisted"] {
            self.also(
                &format!("{name}/alias"),
                &format!("{name}:stable"),
                refused(Code::InvalidSignature),
            );
        }
        self.case(
            "tags-of-another",
            json!({}),
            refused(Code::InvalidSignature),
        );
        Ok(())
    }

    /// A list with the counter 7 in `one`, with 6 in `two`.
    pub(super) fn seen_before(&mut self, from: &Path, base: &str, folder: &Path) -> Done {
        const NAME: &str = "tags-seen";
        self.tagged(NAME)?;
        copy(from, &folder.join("two"))?;
        let two = Maker::new(&folder.join("two"), base);
        two.package(NAME, unchanged)?;
        let made = [
            two.sign(NAME, &self.keys.release),
            two.tags(NAME, &self.keys.release, 6, |_| ()),
            self.one.tags(NAME, &self.keys.release, 7, |_| ()),
        ];
        made.into_iter()
            .collect::<twinfer::Result<()>>()
            .map_err(fail)?;
        self.case(NAME, json!({}), allowed(&["release"]));
        self.cases.push(TrustCase {
            id: "tags-seen/older".into(),
            registry: "two".into(),
            policy: Some("main".into()),
            reference: "tags-seen:1.0.0".into(),
            expect: refused(Code::IndexReplayed),
        });
        Ok(())
    }
}
