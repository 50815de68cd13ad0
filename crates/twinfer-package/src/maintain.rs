//! Moving and removing the tags of a registry.

use twinfer::{Result, bail, compatibility, err};

use crate::index::check_free;
use crate::{
    Descriptor, Digest, Index, Package, Parts, Reference, Store, WritableStore, tag_version,
};

/// What an alias pointed to, and what it points to now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// `name:alias`.
    pub alias: Reference,
    /// Before; `None` for a new alias.
    pub from: Option<Digest>,
    /// Now.
    pub to: Digest,
    /// What breaks callers of the version before; only with `breaking`.
    pub breaking: Vec<String>,
}

/// Lets an alias (`stable`, `canary`) point to a package. The package is opened and verified
/// first. Where the alias pointed to another one, the new one must serve its callers too.
///
/// # Errors
/// `invalid_reference` for a tag that is a version or reserved; `incompatible_signature` when
/// the new package breaks callers of the old one, unless `breaking`; those of
/// [`Package::open`] and of the registry.
pub fn move_alias(
    store: &dyn WritableStore,
    target: &Reference,
    alias: &str,
    breaking: bool,
) -> Result<Moved> {
    check_free(alias)?;
    if tag_version(alias).is_some() {
        bail!(
            InvalidReference,
            "`{alias}` is a version: versions come from `twinfer pack` and never move; name an alias, like stable"
        );
    }
    let wanted = Reference::new(target.name(), alias)?;
    let package = Package::open_parts(store, target, Parts::Model)?;
    let to = *package.digest();
    let before = Index::from_json(&store.index_of(&wanted)?)?;
    let from: Option<Digest> = before.digest_of(&wanted).map(str::parse).transpose()?;
    let mut moved = Moved {
        alias: wanted.clone(),
        from,
        to,
        breaking: Vec::new(),
    };
    if from == Some(to) {
        return Ok(moved);
    }
    if from.is_some() {
        let old = Package::open_parts(store, &wanted, Parts::Description);
        match old {
            Ok(old) => moved.breaking = breaks(&old, &package),
            Err(error) if !breaking => {
                return Err(error.context("what the alias points to now cannot be compared with"));
            }
            // Broken for its callers already.
            Err(_) => {}
        }
    }
    if !breaking {
        refuse(
            &moved.breaking,
            target,
            &format!("what {wanted} points to now"),
        )?;
    }
    let change = store.begin(target.name())?;
    let mut index = change.index()?;
    if index.digest_of(&wanted) != from.map(|d| d.to_string()).as_deref() {
        bail!(
            VersionExists,
            "{wanted} was moved by somebody else at the same time: look again"
        );
    }
    let descriptor = index.resolve(&pinned(target, to)?)?;
    index.point(
        &wanted,
        &Descriptor {
            annotations: Default::default(),
            ..descriptor
        },
    );
    change.commit(&index)?;
    Ok(moved)
}

/// Checks that a package serves the callers of another one of the same model.
///
/// # Errors
/// `incompatible_signature`; those of [`Package::open`].
pub fn check_callers(store: &dyn Store, old: &Reference, new: &Reference) -> Result<()> {
    let package = Package::open_parts(store, old, Parts::Description)
        .map_err(|error| error.context("what is served now cannot be compared with"))?;
    let breaking = breaks(
        &package,
        &Package::open_parts(store, new, Parts::Description)?,
    );
    refuse(&breaking, new, &old.to_string())
}

fn refuse(breaking: &[String], new: &Reference, old: &str) -> Result<()> {
    let Some(first) = breaking.first() else {
        return Ok(());
    };
    bail!(
        IncompatibleSignature,
        "{new} breaks callers of {old}: {first}{}; use --breaking when they all know",
        match breaking.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        }
    );
}

fn pinned(target: &Reference, digest: Digest) -> Result<Reference> {
    let reference: Reference = target.name().parse()?;
    Ok(reference.pinned(digest))
}

/// What of a package breaks the callers of an older one.
fn breaks(old: &Package, new: &Package) -> Vec<String> {
    compatibility(old.config(), new.config())
        .iter()
        .filter(|change| change.breaking)
        .map(|change| format!("{} {}", change.what, change.text))
        .collect()
}

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// `name:tag`, of each tag that went.
    pub tags: Vec<Reference>,
    /// What they pointed to.
    pub digest: Digest,
}

/// Takes a tag out of a registry; with a digest, all tags of the name that point to it. The
/// content stays until it is collected.
///
/// # Errors
/// `unknown_model`, `unknown_version`; `invalid_request` for a version that an alias points to,
/// unless `force`, and for a name alone.
pub fn remove(store: &dyn WritableStore, target: &Reference, force: bool) -> Result<Removed> {
    let change = store.begin(target.name())?;
    let mut index = change.index()?;
    let descriptor = index.resolve(target)?;
    let digest = descriptor.digest;
    let of_digest = index.tags_of(target.name(), &digest.to_string());
    let tags: Vec<String> = match (target.digest(), target.tag()) {
        (Some(_), _) => of_digest.clone(),
        (None, Some(tag)) => vec![tag.to_owned()],
        (None, None) => bail!(
            InvalidRequest,
            "`{target}` is a whole model: name the version or alias to remove, like {target}:1.0.0"
        ),
    };
    let is_version = |tag: &String| tag_version(tag).is_some();
    let alias = of_digest.iter().find(|tag| !is_version(tag));
    if let Some(alias) = alias.filter(|alias| !tags.contains(alias) || target.digest().is_some())
        && !force
    {
        bail!(
            InvalidRequest,
            "{}:{alias} points to {target}: move or remove that alias first, or use --force",
            target.name()
        );
    }
    let tags: Vec<Reference> = tags
        .iter()
        .map(|tag| Reference::new(target.name(), tag))
        .collect::<Result<_>>()?;
    for tag in &tags {
        if !index.remove(tag) {
            return Err(err!(UnknownVersion, "there is no `{tag}` in the registry"));
        }
    }
    change.commit(&index)?;
    Ok(Removed { tags, digest })
}
