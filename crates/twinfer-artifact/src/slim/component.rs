//! Slim components: the same for the core module with the program.

use twinfer::{Result, err};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

use super::{Missing, Optimised, entered, instrument, optimise, strip, wasm_opt};
use crate::Profile;
use crate::component::{modules, program, replace_module};
use crate::fuse::component::{EXPORT, ready};

/// A component whose functions note that they were entered.
///
/// # Errors
/// `invalid_request` for anything but a component.
pub fn counting(component: &[u8]) -> Result<Vec<u8>> {
    let (number, module) = program(component)?;
    replace_module(component, number, &instrument(module)?)
}

/// A component of [`counting`] whose notes can be read from outside: an instance of it has an
/// export with a function for each of them.
pub struct Watched<'a> {
    wizer: Wizer,
    context: ComponentContext<'a>,
    /// The component to run.
    pub wasm: Vec<u8>,
}

impl<'a> Watched<'a> {
    /// Adds the functions.
    ///
    /// # Errors
    /// `invalid_request` for what is no component of ours.
    pub fn new(counting: &'a [u8]) -> Result<Self> {
        let mut wizer = Wizer::new();
        wizer.init_func(EXPORT).keep_init_func(true);
        let (context, wasm) = wizer
            .instrument_component(counting)
            .map_err(|e| err!(InvalidRequest, "this component cannot be watched: {e:#}"))?;
        Ok(Self {
            wizer,
            context,
            wasm,
        })
    }

    /// What an instance entered until now: `number` calls a function of an exported instance.
    /// `component` is the one before [`counting`].
    ///
    /// # Errors
    /// Those of `number`; `internal`.
    pub fn entered(
        &self,
        component: &[u8],
        number: impl FnMut(&str, &str) -> Result<i32> + Send,
    ) -> Result<Profile> {
        let mut notes = Notes {
            number,
            failed: None,
        };
        let snapshot = self.wizer.snapshot_component(&self.context, &mut notes);
        let snapshot = ready(snapshot)?.map_err(|e| err!(Internal, "the notes: {e:#}"))?;
        if let Some(error) = notes.failed {
            return Err(error);
        }
        let (number, module) = program(component)?;
        let watched = modules(&snapshot)?;
        let watched = watched
            .get(number)
            .ok_or_else(|| err!(Internal, "the notes are of another component"))?;
        entered(module, watched)
    }
}

/// The component without the functions that the profile of its program does not have.
///
/// # Errors
/// `invalid_request` for a profile of another component; `internal` when wasm-opt fails.
pub fn slim(component: &[u8], profile: &Profile) -> Result<Optimised> {
    let (number, module) = program(component)?;
    let stripped = strip(module, profile, Missing::Trap)?;
    let optimised = optimise(stripped, wasm_opt(None).as_deref())?;
    Ok(Optimised {
        module: replace_module(component, number, &optimised.module)?,
        with: optimised.with,
    })
}

/// Only numbers are read: what is in the memory does not matter.
struct Notes<F> {
    number: F,
    failed: Option<twinfer::Error>,
}

impl<F: FnMut(&str, &str) -> Result<i32> + Send> ComponentInstanceState for Notes<F> {
    async fn call_func_ret_list_u8(
        &mut self,
        _: &str,
        _: &str,
        contents: impl FnOnce(&[u8]) + Send,
    ) {
        contents(&[]);
    }

    async fn call_func_ret_s32(&mut self, instance: &str, function: &str) -> i32 {
        (self.number)(instance, function).unwrap_or_else(|error| {
            self.failed.get_or_insert(error);
            0
        })
    }

    async fn call_func_ret_s64(&mut self, _: &str, _: &str) -> i64 {
        0
    }

    async fn call_func_ret_f32(&mut self, _: &str, _: &str) -> u32 {
        0
    }

    async fn call_func_ret_f64(&mut self, _: &str, _: &str) -> u64 {
        0
    }
}
