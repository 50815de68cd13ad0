//! Which functions of an engine were entered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use twinfer::{Result, bail, err};
use twinfer_package::Digest;

/// The functions of one engine that a run entered, by their index in the module.
///
/// It means something for the very bytes of that engine only, so it carries their digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    engine: Digest,
    entered: Vec<bool>,
}

/// The file: bit `i % 8` of byte `i / 8` is function `i`, imports included.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    engine: Digest,
    functions: usize,
    entered: String,
}

impl Profile {
    /// A profile of an engine with so many functions, none of them entered.
    pub fn new(engine: Digest, functions: usize) -> Self {
        Self {
            engine,
            entered: vec![false; functions],
        }
    }

    /// A profile of an engine all of whose functions are kept.
    pub fn whole(engine: Digest, functions: usize) -> Self {
        Self {
            engine,
            entered: vec![true; functions],
        }
    }

    /// The engine that it is of.
    pub fn engine(&self) -> &Digest {
        &self.engine
    }

    /// How many functions the engine has.
    pub fn functions(&self) -> usize {
        self.entered.len()
    }

    /// How many of them were entered.
    pub fn entered(&self) -> usize {
        self.entered.iter().filter(|entered| **entered).count()
    }

    /// Whether a function was entered.
    pub fn has(&self, function: usize) -> bool {
        self.entered.get(function).copied().unwrap_or(false)
    }

    /// Notes that a function was entered; one that the engine does not have is ignored.
    pub fn enter(&mut self, function: usize) {
        if let Some(entered) = self.entered.get_mut(function) {
            *entered = true;
        }
    }

    /// Adds what another run of the same engine entered.
    ///
    /// # Errors
    /// `invalid_request` for a profile of another engine.
    pub fn add(&mut self, other: &Self) -> Result<()> {
        if (&self.engine, self.functions()) != (&other.engine, other.functions()) {
            bail!(
                InvalidRequest,
                "a profile of the engine {} cannot be added to one of {}",
                other.engine,
                self.engine
            );
        }
        for (entered, too) in self.entered.iter_mut().zip(&other.entered) {
            *entered |= too;
        }
        Ok(())
    }

    /// The file, always the same for the same functions.
    ///
    /// # Errors
    /// `internal`.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut bits = vec![0u8; self.entered.len().div_ceil(8)];
        for (at, _) in self.entered.iter().enumerate().filter(|(_, e)| **e) {
            if let Some(byte) = bits.get_mut(at / 8) {
                *byte |= 1 << (at % 8);
            }
        }
        let file = File {
            engine: self.engine,
            functions: self.entered.len(),
            entered: STANDARD.encode(bits),
        };
        serde_json::to_vec(&file).map_err(|e| err!(Internal, "a profile has no JSON form: {e}"))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// `invalid_request` for anything else.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let file: File = serde_json::from_slice(json)
            .map_err(|e| err!(InvalidRequest, "not a profile of an engine: {e}"))?;
        let bits = STANDARD
            .decode(&file.entered)
            .map_err(|e| err!(InvalidRequest, "not a profile of an engine: {e}"))?;
        if bits.len() != file.functions.div_ceil(8) {
            bail!(
                InvalidRequest,
                "a profile of {} functions has {} bytes of them",
                file.functions,
                bits.len()
            );
        }
        let entered = (0..file.functions).map(|at| bits[at / 8] >> (at % 8) & 1 == 1);
        Ok(Self {
            engine: file.engine,
            entered: entered.collect(),
        })
    }

    /// Its name: the digest of the file.
    ///
    /// # Errors
    /// `internal`.
    pub fn digest(&self) -> Result<Digest> {
        Ok(Digest::of(&self.to_json()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_survives_its_file_and_has_one_name() {
        let mut profile = Profile::new(Digest::of(b"engine"), 19);
        for function in [0, 7, 8, 18, 19] {
            profile.enter(function);
        }
        let read = Profile::from_json(&profile.to_json().unwrap()).unwrap();
        assert_eq!(read, profile);
        assert_eq!(read.digest().unwrap(), profile.digest().unwrap());
        assert_eq!((read.entered(), read.functions()), (4, 19));
        assert!(read.has(8) && !read.has(9) && !read.has(19));
    }

    #[test]
    fn profiles_of_one_engine_are_united_and_others_refused() {
        let mut one = Profile::new(Digest::of(b"engine"), 4);
        let mut two = one.clone();
        one.enter(1);
        two.enter(3);
        one.add(&two).unwrap();
        assert!(one.has(1) && one.has(3) && !one.has(2));
        assert!(one.add(&Profile::new(Digest::of(b"other"), 4)).is_err());
        assert!(one.add(&Profile::new(Digest::of(b"engine"), 5)).is_err());
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        for json in [
            "",
            "{}",
            "[]",
            "{\"engine\":\"x\",\"functions\":1,\"entered\":\"\"}",
        ] {
            assert!(Profile::from_json(json.as_bytes()).is_err(), "{json}");
        }
        let short = format!(
            "{{\"engine\":\"{}\",\"functions\":99999999,\"entered\":\"AA==\"}}",
            Digest::of(b"engine")
        );
        assert!(Profile::from_json(short.as_bytes()).is_err());
    }
}
