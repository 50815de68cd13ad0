//! Reading and changing records where they are kept.

use std::sync::Arc;

use twinfer::{Error, Result, bail, err};
use twinfer_deploy::Record;
use twinfer_package::check_name;
use twinfer_state::{State, StateError};

/// What the keys of records begin with; the name of the model follows.
pub const PREFIX: &str = "deployments/";
/// How often a change is tried again when others are faster.
const TURNS: usize = 20;

/// The deployments in a state.
#[derive(Clone)]
pub struct Deployments {
    state: Arc<dyn State>,
}

impl Deployments {
    /// Those of this state.
    pub fn new(state: Arc<dyn State>) -> Self {
        Self { state }
    }

    /// Where they are kept.
    pub fn state(&self) -> &Arc<dyn State> {
        &self.state
    }

    /// The record of a model, if it has a deployment.
    ///
    /// # Errors
    /// `storage`; `invalid_reference`; what is wrong with the record.
    pub async fn get(&self, name: &str) -> Result<Option<Record>> {
        Ok(self.read(name).await?.map(|(record, _)| record))
    }

    /// The same, where there must be one.
    ///
    /// # Errors
    /// As [`Deployments::get`]; `unknown_deployment`.
    pub async fn known(&self, name: &str) -> Result<Record> {
        self.get(name).await?.ok_or_else(|| unknown(name))
    }

    /// All of them, each with what is wrong with it.
    ///
    /// # Errors
    /// `storage`.
    pub async fn all(&self) -> Result<Vec<(String, Result<Record>)>> {
        let keys = self.state.keys(PREFIX).await.map_err(storage)?;
        let mut all = Vec::new();
        for key in keys {
            let name = key.strip_prefix(PREFIX).unwrap_or(&key).to_owned();
            match self.get(&name).await {
                Ok(Some(record)) => all.push((name, Ok(record))),
                // Taken away meanwhile.
                Ok(None) => {}
                Err(error) => all.push((name, Err(error))),
            }
        }
        Ok(all)
    }

    /// Changes a record as a whole: where its revision is `expected` (0: where there is none), or
    /// whatever it is. Others who change it at the same time are not overwritten: the change is
    /// made anew from what they wrote, or refused.
    ///
    /// # Errors
    /// `revision_mismatch`; `storage`; those of `change`, which is given what is there.
    pub async fn change(
        &self,
        name: &str,
        expected: Option<u64>,
        change: impl Fn(Option<&Record>) -> Result<Record>,
    ) -> Result<Record> {
        for _ in 0..TURNS {
            let there = self.read(name).await?;
            let (record, version) = match &there {
                Some((record, version)) => (Some(record), *version),
                None => (None, 0),
            };
            expect(name, record, expected)?;
            let next = change(record)?;
            let json = next.to_json()?;
            let put = self.state.put(&key(name), &json, version).await;
            match put.map_err(storage)? {
                Some(_) => return Ok(next),
                None if expected.is_some() => bail!(
                    RevisionMismatch,
                    "the deployment of `{name}` was changed by somebody else just now"
                ),
                None => {}
            }
        }
        bail!(
            RevisionMismatch,
            "the deployment of `{name}` is changed by others all the time"
        )
    }

    /// Takes a deployment away: the model is served by its highest version again.
    ///
    /// # Errors
    /// `unknown_deployment`, `revision_mismatch`, `storage`.
    pub async fn delete(&self, name: &str, expected: Option<u64>) -> Result<()> {
        let Some((record, version)) = self.read(name).await? else {
            return Err(unknown(name));
        };
        expect(name, Some(&record), expected)?;
        let deleted = self.state.delete(&key(name), version).await;
        match deleted.map_err(storage)? {
            true => Ok(()),
            false => bail!(
                RevisionMismatch,
                "the deployment of `{name}` was changed by somebody else just now"
            ),
        }
    }

    async fn read(&self, name: &str) -> Result<Option<(Record, u64)>> {
        check_name(name)?;
        let document = self.state.get(&key(name)).await.map_err(storage)?;
        let Some(document) = document else {
            return Ok(None);
        };
        let record = Record::from_json(&document.value).map_err(|e| e.context(name))?;
        Ok(Some((record, document.version)))
    }
}

fn expect(name: &str, record: Option<&Record>, expected: Option<u64>) -> Result<()> {
    match (record, expected) {
        (_, None) | (None, Some(0)) => Ok(()),
        (Some(record), Some(expected)) => record.expect(expected),
        (None, Some(_)) => Err(unknown(name)),
    }
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// There is no such deployment.
pub fn unknown(name: &str) -> Error {
    err!(
        UnknownDeployment,
        "`{name}` has no deployment: make one with `twinfer deploy apply`"
    )
}

fn storage(error: StateError) -> Error {
    err!(Storage, "{}", error.message())
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::FutureExt;
    use twinfer::ErrorCode;
    use twinfer_deploy::{By, DeploymentSpec};
    use twinfer_package::Digest;
    use twinfer_state::MemoryState;

    fn record(record: Option<&Record>) -> Result<Record> {
        let spec = DeploymentSpec::new("face", "1.0.0");
        let deployment = spec.resolve(1, 0, |_| Ok(Digest::of(b"face")))?;
        let by = By {
            author: "ada",
            at: 0,
            reason: "",
        };
        match record {
            Some(record) => record.apply(&deployment, by),
            None => Record::first(&deployment, by),
        }
    }

    #[test]
    fn changes_are_compared_and_set() {
        let deployments = Deployments::new(Arc::new(MemoryState::new()));
        let change = |expected| {
            let changed = deployments.change("face", expected, record);
            changed.now_or_never().unwrap().map(|r| r.revision())
        };
        let code = |result: Result<u64>| result.unwrap_err().code();
        assert_eq!(code(change(Some(1))), ErrorCode::UnknownDeployment);
        assert_eq!(change(Some(0)).unwrap(), 1);
        assert_eq!(code(change(Some(0))), ErrorCode::RevisionMismatch);
        assert_eq!(change(Some(1)).unwrap(), 2);
        assert_eq!(code(change(Some(1))), ErrorCode::RevisionMismatch);
        assert_eq!(change(None).unwrap(), 3);
        // Somebody is faster between reading and writing.
        let raced = std::cell::Cell::new(false);
        let slow = |there: Option<&Record>| {
            if !raced.replace(true) {
                assert_eq!(change(None).unwrap(), 4);
            }
            record(there)
        };
        let changed = deployments.change("face", None, slow).now_or_never();
        assert_eq!(changed.unwrap().unwrap().revision(), 5);
        raced.set(false);
        let slow = |there: Option<&Record>| {
            if !raced.replace(true) {
                assert_eq!(change(None).unwrap(), 6);
            }
            record(there)
        };
        let changed = deployments.change("face", Some(5), slow).now_or_never();
        assert_eq!(
            changed.unwrap().unwrap_err().code(),
            ErrorCode::RevisionMismatch
        );
        let deleted = |expected| {
            let deleted = deployments.delete("face", expected);
            deleted.now_or_never().unwrap().map(|()| 0)
        };
        assert_eq!(code(deleted(Some(5))), ErrorCode::RevisionMismatch);
        assert_eq!(deleted(Some(6)).unwrap(), 0);
        assert_eq!(code(deleted(None)), ErrorCode::UnknownDeployment);
    }
}
