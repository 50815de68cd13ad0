//! Derived engines in the entries of packages.

use twinfer::Result;

use super::{Entry, Index};
use crate::reference::referrers_subject;
use crate::{DerivedEngine, Descriptor, Digest, ENGINES};

impl Index {
    /// Says which derived engines a package has, in all of its entries.
    ///
    /// # Errors
    /// `internal`.
    pub fn set_engines(&mut self, package: &Digest, engines: &[DerivedEngine]) -> Result<()> {
        let said = match engines {
            [] => None,
            engines => Some(DerivedEngine::annotation(engines)?),
        };
        let digest = package.to_string();
        for entry in self.manifests.iter_mut().filter(|e| e.digest == digest) {
            match &said {
                Some(said) => entry.annotations.insert(ENGINES.into(), said.clone()),
                None => entry.annotations.remove(ENGINES),
            };
        }
        Ok(())
    }

    /// The derived engines of the package that a reference names, as its entry says.
    pub fn engines(&self, package: &Digest) -> Vec<DerivedEngine> {
        let said = self.said_of_engines(&package.to_string());
        said.and_then(|said| DerivedEngine::list(&said).ok())
            .unwrap_or_default()
    }

    /// Says of every package which derived engines it has, from the lists of what is attached to
    /// them: indexes that are made of an OCI registry's answers do not have it.
    ///
    /// # Errors
    /// Those of `read`, which gives the content of a list.
    pub fn annotate_engines(
        &mut self,
        read: &mut dyn FnMut(&Descriptor) -> Result<Vec<DerivedEngine>>,
    ) -> Result<()> {
        let lists: Vec<(String, String)> = (self.manifests.iter())
            .filter_map(Entry::full_tag)
            .map(|(name, tag)| (name.to_owned(), tag.to_owned()))
            .collect();
        for (name, tag) in lists {
            let Some(package) = referrers_subject(&tag) else {
                continue;
            };
            if let Some(list) = self.named(&name, &tag)? {
                self.set_engines(&package, &read(&list)?)?;
            }
        }
        Ok(())
    }

    /// The annotation of any entry with this digest.
    pub(super) fn said_of_engines(&self, digest: &str) -> Option<String> {
        let mut entries = self.manifests.iter().filter(|e| e.digest == digest);
        entries.find_map(|entry| entry.annotations.get(ENGINES).cloned())
    }
}
