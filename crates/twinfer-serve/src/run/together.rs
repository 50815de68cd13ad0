//! Several requests at once: what their models have to run, in as few runs as possible.
//!
//! Each request is answered twice. The first time it only says what it wants to have run; then
//! the runs are made, those of one model and one form together; the second time it gets its part
//! of what came out. So no protocol knows anything of this.
//!
//! An answer must not depend on which others came at the same time. Whether a model's rows do not
//! influence each other, and whether the engine computes them the same way in a longer batch,
//! cannot be seen from outside. So it is tried: the first runs of each form and length are made
//! both ways, and compared to the bit; a model that differs once is never run so again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use twinfer::{Error, ErrorCode, Model, Result};

use super::batch::{Form, allows, cut, form, join, same_bits};
use super::{Directly, Run, Values};

/// How often runs of one form and length are made both ways before they are believed.
const TRIALS: u32 = 3;
/// Of the later ones each so many is made both ways again.
const AGAIN: u32 = 256;
/// Forms and lengths that are remembered for a model.
const MAX_TRIED: usize = 4096;

/// What is known of models.
#[derive(Default)]
pub(crate) struct Together {
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Default)]
struct Known {
    /// It gave other bits in a batch.
    refused: bool,
    /// How often each form and number of rows ran.
    tried: HashMap<(Form, usize), u32>,
}

/// The first time: takes what is to be run.
pub(crate) struct Asking<'a> {
    together: &'a Together,
    asked: RefCell<Option<(String, Values)>>,
}

/// The second time: gives what came out. A request that runs more than once gets the rest at once.
pub(crate) struct Giving {
    ready: RefCell<Option<Part>>,
}

/// What a request has of a run.
pub(crate) struct Part {
    pub(crate) outputs: Result<Values>,
    /// The executions of the model that this request counts, of those that it shares with others.
    pub(crate) executions: u64,
}

impl<'a> Asking<'a> {
    pub(crate) fn new(together: &'a Together) -> Self {
        Self {
            together,
            asked: RefCell::default(),
        }
    }

    /// The package and the inputs, when the request came to a run that can be shared.
    pub(crate) fn asked(self) -> Option<(String, Values)> {
        self.asked.into_inner()
    }
}

impl Run for Asking<'_> {
    fn run(&self, model: &Model, inputs: Values) -> Result<Values> {
        let mut asked = self.asked.borrow_mut();
        if asked.is_some() || !self.together.may(model) || form(&inputs).is_none() {
            return model.run_values(inputs);
        }
        // Wrong inputs get their error at once, and no part in what others run.
        let signature = model.signature();
        let checked = signature.check_values(inputs)?.into_iter().flatten();
        let names = signature.inputs.iter().map(|spec| spec.name.clone());
        *asked = Some((model.digest().to_owned(), names.zip(checked).collect()));
        Err(Error::new(ErrorCode::Internal, "the run comes later"))
    }
}

impl Giving {
    pub(crate) fn new(part: Part) -> Self {
        Self {
            ready: RefCell::new(Some(part)),
        }
    }
}

impl Run for Giving {
    fn run(&self, model: &Model, inputs: Values) -> Result<Values> {
        match self.ready.borrow_mut().take() {
            Some(part) => part.outputs,
            None => Directly.run(model, inputs),
        }
    }

    fn executions(&self) -> u64 {
        let ready = self.ready.borrow();
        ready.as_ref().map_or(1, |part| part.executions)
    }
}

impl Part {
    /// Of a run that is of this request alone.
    pub(crate) fn alone(outputs: Result<Values>) -> Self {
        Self {
            outputs,
            executions: 1,
        }
    }
}

impl Together {
    fn may(&self, model: &Model) -> bool {
        let refused = self.known().get(model.digest()).is_some_and(|k| k.refused);
        !refused && allows(model)
    }

    /// The outputs of all inputs, which are of one model, in their order, and how many of them ran
    /// with others. Batches have at most `max_rows` rows, but for inputs that have more by themselves.
    pub(crate) fn run(&self, model: &Model, all: &[Values], max_rows: usize) -> (Vec<Part>, usize) {
        let mut joined = 0;
        let mut outputs: Vec<Option<Part>> = all.iter().map(|_| None).collect();
        for group in groups(all, max_rows) {
            let members: Vec<&Values> = group.iter().filter_map(|at| all.get(*at)).collect();
            let results = self.run_group(model, &members);
            if members.len() > 1 && self.may(model) {
                joined += members.len();
            }
            for (at, result) in group.into_iter().zip(results) {
                if let Some(slot) = outputs.get_mut(at) {
                    *slot = Some(result);
                }
            }
        }
        let direct = |(inputs, part): (&Values, Option<Part>)| {
            part.unwrap_or_else(|| Part::alone(model.run_values(inputs.clone())))
        };
        (all.iter().zip(outputs).map(direct).collect(), joined)
    }

    fn run_group(&self, model: &Model, members: &[&Values]) -> Vec<Part> {
        let singly = || {
            members
                .iter()
                .map(|inputs| Part::alone(model.run_values((*inputs).clone())))
        };
        if members.len() < 2 || !self.may(model) {
            return singly().collect();
        }
        // One that fails must not take the others along: then each gets its own answer.
        let Some((parts, check)) = self.run_joined(model, members) else {
            return singly().collect();
        };
        if !check {
            // The first stands for the execution that all have a part in.
            let part = |(at, outputs)| Part {
                outputs: Ok(outputs),
                executions: u64::from(at == 0),
            };
            return parts.into_iter().enumerate().map(part).collect();
        }
        let mut single: Vec<Part> = singly().collect();
        if let Some(first) = single.first_mut() {
            first.executions += 1;
        }
        let same = single.iter().zip(&parts).all(|(single, part)| {
            let outputs = single.outputs.as_ref();
            outputs.is_ok_and(|outputs| same_bits(outputs, part))
        });
        if !same {
            self.known()
                .entry(model.digest().to_owned())
                .or_default()
                .refused = true;
        }
        single
    }

    /// The parts of one run of all, and whether they must be compared with single runs.
    fn run_joined(&self, model: &Model, members: &[&Values]) -> Option<(Vec<Values>, bool)> {
        let inputs = join(members).ok()?;
        let (form, rows) = form(&inputs)?;
        let lengths = members
            .iter()
            .map(|member| super::batch::form(member).map(|(_, rows)| rows));
        let lengths = lengths.collect::<Option<Vec<usize>>>()?;
        let outputs = model.run_values(inputs).ok()?;
        let mut from = 0;
        let mut parts = Vec::with_capacity(lengths.len());
        for length in lengths {
            parts.push(cut(&outputs, from, length, rows)?);
            from += length;
        }
        Some((parts, self.is_trial(model, (form, rows))))
    }

    fn is_trial(&self, model: &Model, what: (Form, usize)) -> bool {
        let mut known = self.known();
        let tried = &mut known.entry(model.digest().to_owned()).or_default().tried;
        if tried.len() >= MAX_TRIED && !tried.contains_key(&what) {
            return true;
        }
        let times = tried.entry(what).or_insert(0);
        *times = times.wrapping_add(1);
        *times <= TRIALS || times.is_multiple_of(AGAIN)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The positions of inputs of one form, in groups of at most `max_rows` rows.
fn groups(all: &[Values], max_rows: usize) -> Vec<Vec<usize>> {
    let mut open: HashMap<Form, (usize, Vec<usize>)> = HashMap::new();
    let mut done = Vec::new();
    for (at, inputs) in all.iter().enumerate() {
        let Some((form, rows)) = form(inputs) else {
            continue;
        };
        let (sum, members) = open.entry(form).or_default();
        if *sum > 0 && *sum + rows > max_rows {
            done.push(std::mem::take(members));
            *sum = 0;
        }
        *sum += rows;
        members.push(at);
    }
    done.extend(open.into_values().map(|(_, members)| members));
    done
}
