//! `twinfer sign-tags`

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use twinfer::{ErrorCode, Result, bail};
use twinfer_package::{
    Digest, Index, PrivateKey, Reference, SignedTags, WritableStore, media, publish_tags,
    published_tags,
};

use crate::output::{Output, table};
use crate::trust::{Trust, now};
use crate::{keys, trust};

const DAY: u64 = 24 * 60 * 60;

/// Sign the list of the tags of a model, with a counter that grows and a date of expiry
///
/// Do it after each change of the tags, and before the list expires. The changes since the
/// list before are shown: what is signed is what the registry says, so look at them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  twinfer sign-tags face-detector --key release.key --days 30")]
pub struct SignTagsArgs {
    /// The name of the model
    pub name: String,

    /// The private key (PEM)
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,

    /// For how many days the list holds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub days: u64,
}

pub fn run(
    args: &SignTagsArgs,
    store: &dyn WritableStore,
    trust: &Trust,
    output: &Output,
) -> Result<()> {
    let key = keys::private(&args.key)?;
    let reference: Reference = args.name.parse()?;
    if reference.name() != args.name {
        bail!(
            InvalidReference,
            "`{}` has a tag or digest: all tags of a name are signed together",
            args.name
        );
    }
    let index = Index::from_json(&store.index_of(&reference)?)?;
    let tags = index.tags().into_iter().filter(|tag| tag.name == args.name);
    let tags: BTreeMap<String, Digest> = tags.map(|tag| (tag.tag, tag.digest)).collect();
    if tags.is_empty() {
        bail!(
            UnknownModel,
            "there is no model `{}` in the registry",
            args.name
        );
    }
    let before = before(store, &args.name, &key)?;
    let seen = trust.counters()?.get(&args.name).copied().unwrap_or(0);
    let counter = before.as_ref().map_or(0, |list| list.counter).max(seen) + 1;
    let list = SignedTags::new(&args.name, counter, now(), args.days * DAY, tags)?;
    let digest = publish_tags(store, &list, &key)?;
    if let Err(error) = trust.remember(&args.name, counter) {
        trust::warn(&format!("the counter is not kept: {error}"));
    }
    let changes = changes(before.as_ref(), &list);
    let rows: Vec<_> = changes
        .iter()
        .map(|(tag, from, to)| json!({"tag": tag, "from": from, "to": to}))
        .collect();
    let value = json!({
        "name": list.name, "counter": list.counter, "issued": list.issued,
        "expires": list.expires, "tags": list.tags, "signature": digest, "changes": rows,
    });
    output.print(&value, || text(&list, &changes))
}

/// The list that is there, where this key signed it. One by another key has a counter too,
/// but anybody could have written it.
fn before(store: &dyn WritableStore, name: &str, key: &PrivateKey) -> Result<Option<SignedTags>> {
    let public = key.public()?;
    let ours = published_tags(store, name).and_then(|published| {
        let Some((envelope, list)) = published else {
            return Ok(None);
        };
        match envelope.verify(media::TAGS, std::iter::once(&public))? {
            Some(_) => Ok(Some(list)),
            None => bail!(InvalidSignature, "it was signed with another key"),
        }
    });
    match ours {
        // A damaged list must not keep anybody from signing a good one.
        Err(error) if error.code() == ErrorCode::InvalidSignature => {
            trust::warn(&format!(
                "the list of tags that is there is not continued: {error}"
            ));
            Ok(None)
        }
        ours => ours,
    }
}

/// Tags that are new, moved or gone.
type Changes<'a> = Vec<(&'a str, Option<&'a Digest>, Option<&'a Digest>)>;

fn changes<'a>(before: Option<&'a SignedTags>, list: &'a SignedTags) -> Changes<'a> {
    let old = |tag: &str| before.and_then(|before| before.tags.get(tag));
    let mut changes: Changes<'a> = Vec::new();
    for (tag, digest) in &list.tags {
        if old(tag) != Some(digest) {
            changes.push((tag, old(tag), Some(digest)));
        }
    }
    for (tag, digest) in before.iter().flat_map(|before| &before.tags) {
        if !list.tags.contains_key(tag) {
            changes.push((tag, Some(digest), None));
        }
    }
    changes
}

fn text(list: &SignedTags, changes: &Changes<'_>) -> String {
    let show = |digest: &Option<&Digest>| digest.map_or("-".to_owned(), ToString::to_string);
    let rows: Vec<Vec<String>> = changes
        .iter()
        .map(|(tag, from, to)| vec![(*tag).to_owned(), show(from), "->".into(), show(to)])
        .collect();
    let head = format!(
        "{}: {} tags signed, counter {}, until {}",
        list.name,
        list.tags.len(),
        list.counter,
        list.expires
    );
    match rows.is_empty() {
        true => format!("{head}\nno tag changed"),
        false => format!("{head}\n{}", table(&rows)),
    }
}
