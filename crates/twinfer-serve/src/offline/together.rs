//! Many rows in as few runs as possible, where one that fails takes no other along.

use std::collections::HashMap;

use serde_json::Value as Json;
use twinfer::{NamedValues, Parameters, Result, err};

use super::{Asked, BatchAxis, Item, Rows};
use crate::run::batch::{Form, cut, form, join};

/// How far apart numbers of one answer may be: native code sums in another order for a batch.
const RELATIVE: f64 = 1e-5;
const ABSOLUTE: f64 = 1e-6;

impl Rows<'_> {
    /// Answers rows, in their order; `batch` of them run at once where they have the same form.
    /// Parameters `beside` are for each of them.
    ///
    /// Which rows run together depends on the rows only, so the same rows get the same bits. Runs of
    /// fewer rows are filled up with copies of the last one to a power of two, so that the engine
    /// needs few plans.
    ///
    /// # Errors
    /// Of each row by itself: those of [`twinfer::Model::predict`].
    pub fn answer(
        &self,
        asked: Vec<Asked>,
        beside: &Parameters,
        batch: usize,
    ) -> Vec<Result<Item>> {
        let staged: Vec<_> = (asked.into_iter())
            .map(|asked| self.stage(asked, beside))
            .collect();
        let mut outputs = self.run_all(&staged, batch);
        let answer = |(at, staged): (usize, Result<(Option<NamedValues>, _)>)| {
            let (values, then) = staged?;
            let outputs = match (values, outputs.remove(&at)) {
                (None, _) => Vec::new(),
                (Some(_), Some(outputs)) => outputs?,
                (Some(values), None) => self.model.run_values(values)?,
            };
            self.finish(then, outputs)
        };
        staged.into_iter().enumerate().map(answer).collect()
    }

    /// Whether rows give the same answers together as each alone, up to rounding. Whether the rows
    /// of a model influence each other cannot be seen in its signature.
    pub fn agree(&self, asked: &[Asked], beside: &Parameters, batch: usize) -> bool {
        let together = self.answer(asked.to_vec(), beside, batch);
        let alone = self.answer(asked.to_vec(), beside, 1);
        let same = |(a, b): (&Result<Item>, &Result<Item>)| match (a, b) {
            (Ok(a), Ok(b)) => close(&Json::Object(a.clone()), &Json::Object(b.clone())),
            (Err(_), Err(_)) => true,
            _ => false,
        };
        together.iter().zip(&alone).all(same)
    }

    /// What the model gives for rows that can run with others, by their places.
    fn run_all<T>(
        &self,
        staged: &[Result<(Option<NamedValues>, T)>],
        batch: usize,
    ) -> HashMap<usize, Result<NamedValues>> {
        let fixed = match self.batch_axis() {
            BatchAxis::Fixed(rows) => Some(rows),
            BatchAxis::One | BatchAxis::Free => None,
        };
        let mut groups: HashMap<Form, Vec<(usize, &NamedValues)>> = HashMap::new();
        for (at, staged) in staged.iter().enumerate() {
            if let Ok((Some(values), _)) = staged
                && let Some((form, 1)) = form(values)
            {
                groups.entry(form).or_default().push((at, values));
            }
        }
        let mut outputs = HashMap::new();
        for members in groups.values() {
            for part in members.chunks(fixed.unwrap_or(batch).max(1)) {
                if fixed.is_none() && (batch < 2 || part.len() < 2) {
                    continue;
                }
                let values: Vec<&NamedValues> = part.iter().map(|(_, values)| *values).collect();
                let size = fixed.unwrap_or(values.len().next_power_of_two().min(batch));
                match self.run_joined(&values, size) {
                    Ok(parts) => {
                        let places = part.iter().map(|(at, _)| *at);
                        outputs.extend(places.zip(parts.into_iter().map(Ok)));
                    }
                    // One of them may be to blame: each gets its own answer.
                    Err(_) => {
                        let alone = |(at, values): &(usize, &NamedValues)| {
                            (*at, self.run_alone(values, fixed))
                        };
                        outputs.extend(part.iter().map(alone));
                    }
                }
            }
        }
        outputs
    }

    fn run_alone(&self, values: &NamedValues, fixed: Option<usize>) -> Result<NamedValues> {
        match fixed {
            None => self.model.run_values(values.clone()),
            Some(size) => {
                let mut parts = self.run_joined(&[values], size)?;
                parts
                    .pop()
                    .ok_or_else(|| err!(Internal, "a row has no answer"))
            }
        }
    }

    /// Runs these rows as one batch of `size`.
    fn run_joined(&self, values: &[&NamedValues], size: usize) -> Result<Vec<NamedValues>> {
        let mut filled = values.to_vec();
        if let Some(last) = values.last() {
            filled.resize(size.max(values.len()), last);
        }
        let rows = filled.len();
        let outputs = self.model.run_values(join(&filled)?)?;
        let part = |at| {
            cut(&outputs, at, 1, rows).ok_or_else(|| {
                err!(
                    WrongShape,
                    "the model gave something else than one output for each of {rows} rows"
                )
            })
        };
        (0..values.len()).map(part).collect()
    }
}

/// Whether two answers are the same up to rounding.
fn close(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= ABSOLUTE + RELATIVE * a.abs().max(b.abs()),
            _ => a == b,
        },
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && (a.iter()).all(|(key, a)| b.get(key).is_some_and(|b| close(a, b)))
        }
        (a, b) => a == b,
    }
}
