//! Which version answers a request that names none: what the deployment of the model says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::request::Parts;
use twinfer::{Result, err};
use twinfer_deploy::{Deployment, Variant, assign};
use twinfer_package::{Digest, Reference, Store, tag_version};

/// The header by which a request pins a version: a version, a tag or a digest.
const PIN: &str = "x-twinfer-version";

/// The deployments beside the index, parsed again only when they changed.
pub(crate) struct Deployments {
    store: Arc<dyn Store>,
    last: Mutex<BTreeMap<String, Known>>,
}

struct Known {
    json: Vec<u8>,
    deployment: Arc<Deployment>,
}

/// The package that answers a request.
pub(crate) struct Chosen {
    pub(crate) reference: Reference,
    /// The deployment that chose it, if one did.
    pub(crate) by: Option<Assigned>,
}

/// A variant of a deployment.
pub(crate) struct Assigned {
    deployment: Arc<Deployment>,
    variant: Variant,
}

impl Assigned {
    pub(crate) fn variant(&self) -> &Variant {
        &self.variant
    }

    /// Of the deployment.
    pub(crate) fn revision(&self) -> u64 {
        self.deployment.revision
    }
}

impl From<Reference> for Chosen {
    fn from(reference: Reference) -> Self {
        Self {
            reference,
            by: None,
        }
    }
}

/// The random number of a request, by which it is assigned when it has no key. It stays with the
/// request, which may be asked twice.
#[derive(Clone, Copy)]
struct Chance(u64);

/// Gives a request its random number, unless it has one.
pub(crate) fn draw(parts: &mut Parts, random: Option<fn() -> u64>) {
    if let Some(random) = random
        && parts.extensions.get::<Chance>().is_none()
    {
        parts.extensions.insert(Chance(random()));
    }
}

impl Deployments {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            last: Mutex::default(),
        }
    }

    /// What answers for this reference: itself where it names a version, what the request pins, or
    /// what the deployment of the model assigns. Without a request that is the primary.
    ///
    /// # Errors
    /// `storage`, or what is wrong with the deployment, where none was good before;
    /// `invalid_reference`, `invalid_digest` for a pin.
    pub(crate) fn choose(&self, reference: Reference, parts: Option<&Parts>) -> Result<Chosen> {
        let tag = reference.tag();
        if reference.digest().is_some() || tag.is_some_and(|tag| tag_version(tag).is_some()) {
            return Ok(reference.into());
        }
        let deployment = self.of(reference.name())?;
        let alias = deployment.as_ref().map(|deployment| &*deployment.alias);
        if tag.is_some() && tag != alias {
            return Ok(reference.into());
        }
        let pin = parts.and_then(|parts| parts.headers.get(PIN));
        if let Some(pin) = pin.map(|pin| String::from_utf8_lossy(pin.as_bytes()))
            && alias != Some(&*pin)
        {
            return Ok(pinned(reference.name(), &pin)?.into());
        }
        let Some(deployment) = deployment else {
            return Ok(reference.into());
        };
        let variant = assigned(&deployment, parts).cloned();
        let variant = variant.ok_or_else(|| err!(Internal, "a deployment without a primary"))?;
        Ok(Chosen {
            reference: format!("{}@{}", deployment.name, variant.digest).parse()?,
            by: Some(Assigned {
                deployment,
                variant,
            }),
        })
    }

    /// The deployment of a model. One that is malformed takes nobody's place: the last good one
    /// stays.
    fn of(&self, name: &str) -> Result<Option<Arc<Deployment>>> {
        let json = self.store.deployment(name)?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(json) = json else {
            last.remove(name);
            return Ok(None);
        };
        let known = last.get(name);
        if let Some(known) = known.filter(|known| known.json == json) {
            return Ok(Some(known.deployment.clone()));
        }
        match (Deployment::of(name, &json), known) {
            (Err(_), Some(known)) => Ok(Some(known.deployment.clone())),
            (Err(error), None) => Err(error),
            (Ok(deployment), _) => {
                let deployment = Arc::new(deployment);
                let known = Known {
                    json,
                    deployment: deployment.clone(),
                };
                last.insert(name.to_owned(), known);
                Ok(Some(deployment))
            }
        }
    }
}

fn assigned<'a>(deployment: &'a Deployment, parts: Option<&Parts>) -> Option<&'a Variant> {
    let Some(parts) = parts else {
        return deployment.primary();
    };
    if let Some(key) = parts.headers.get(deployment.sticky.header.as_str()) {
        return assign(deployment, &String::from_utf8_lossy(key.as_bytes()));
    }
    match parts.extensions.get::<Chance>() {
        Some(Chance(random)) => deployment.by_chance(*random),
        None => deployment.primary(),
    }
}

fn pinned(name: &str, version: &str) -> Result<Reference> {
    match version.starts_with("sha256:") {
        true => format!("{name}@{}", version.parse::<Digest>()?).parse(),
        false => Reference::new(name, version),
    }
}
