//! Running the list natively.

use std::collections::BTreeMap;
use std::path::Path;

use twinfer::{Model, Result};
use twinfer_package::{FolderStore, GoldenTensor, Package, Reference};

use crate::answer::{Answer, CaseResult, Results};
use crate::case::{Call, Case, Cases};

/// Models by reference, each loaded when it is first asked for.
struct Instance<'a> {
    store: &'a FolderStore,
    models: BTreeMap<String, Result<Model>>,
}

impl<'a> Instance<'a> {
    fn new(store: &'a FolderStore) -> Self {
        Self {
            store,
            models: BTreeMap::new(),
        }
    }

    fn answer(&mut self, case: &Case) -> Answer {
        let model = self
            .models
            .entry(case.reference.clone())
            .or_insert_with(|| {
                let reference: Reference = case.reference.parse()?;
                Package::open(self.store, &reference)?.load()
            });
        match model {
            Err(error) => Answer::of_error(error.clone()),
            Ok(model) => call(model, &case.call),
        }
    }
}

/// Does what a case says with a loaded model.
pub fn call(model: &Model, call: &Call) -> Answer {
    match call {
        Call::Predict { input, parameters } => Answer::of_prediction(
            input
                .to_input()
                .and_then(|input| model.predict(input, parameters)),
        ),
        Call::Run { tensors } => {
            let named: Result<Vec<_>> = tensors
                .iter()
                .map(|t: &GoldenTensor| Ok((t.name.clone(), t.to_tensor()?)))
                .collect();
            Answer::of_run(named.and_then(|tensors| model.run(tensors)))
        }
    }
}

/// Runs every case three times.
pub fn run(registry: &Path, cases: &Cases) -> Results {
    let store = FolderStore::new(registry);
    let (mut one, mut other) = (Instance::new(&store), Instance::new(&store));
    let results = cases.cases.iter().map(|case| CaseResult {
        id: case.id.clone(),
        runs: vec![one.answer(case), one.answer(case), other.answer(case)],
    });
    Results {
        place: "native".into(),
        results: results.collect(),
    }
}
