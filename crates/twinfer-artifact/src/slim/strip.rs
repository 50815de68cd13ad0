//! Dropping what was not entered.

use std::collections::{HashMap, HashSet};

use twinfer::{Result, bail};
use twinfer_package::Digest;
use walrus::ir::{
    Call, Const, Instr, InstrLocId, InstrSeq, Unreachable, Value, VisitorMut, dfs_pre_order_mut,
};
use walrus::{
    ConstExpr, ElementItems, ExportItem, FunctionBuilder, FunctionId, FunctionKind, LocalFunction,
    Module, TypeId, ValType,
};

use super::parse;
use crate::Profile;

/// Name of the function that traps in a module made with [`Missing::Trap`]: what a host looks
/// for in the backtrace.
pub const MISSING_FUNCTION: &str = "engine_function_missing";

/// Export of that module: an `i32` global with the index of the missing function, -1 before.
pub const MISSING_GLOBAL: &str = "twinfer_missing";

/// What happens when a function is called that was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The import `"twinfer" "missing"(i32)` is called, which must not return. It is told the
    /// index of the function in the full engine, or -1 for one that was called by its address.
    Import,
    /// [`MISSING_FUNCTION`] is called, which traps: for modules that may import nothing more.
    Trap,
}

/// What the profile says of a function that was called by its address: functions of one type
/// share a stub, since thousands of them are in the table and nowhere else.
const BY_ADDRESS: i32 = -1;

/// The module without the bodies of functions that the profile does not have. Whatever calls
/// one of them reports it; what is then reachable no more is dropped, as are names and producers.
///
/// The answers are those of the full engine, or there is none: an instance that reported a
/// missing function stopped in the middle of something, and must be dropped.
///
/// # Errors
/// `invalid_request` for a profile of another module, and for anything but a core module.
pub fn strip(engine: &[u8], profile: &Profile, missing: Missing) -> Result<Vec<u8>> {
    if *profile.engine() != Digest::of(engine) {
        bail!(
            InvalidRequest,
            "the profile is of the engine {}, not of {}",
            profile.engine(),
            Digest::of(engine)
        );
    }
    let mut module = parse(engine)?;
    let all: Vec<FunctionId> = module.funcs.iter().map(|function| function.id()).collect();
    let dropped: HashMap<FunctionId, i32> = (all.iter().enumerate())
        .filter(|(index, id)| !profile.has(*index) && is_local(&module, **id))
        .map(|(index, id)| (*id, i32::try_from(index).unwrap_or(BY_ADDRESS)))
        .collect();
    let reporter = match missing {
        Missing::Import => import_reporter(&mut module),
        Missing::Trap => trapping_reporter(&mut module),
    };
    // In the order of the module, so that the same profile gives the same bytes.
    for id in all {
        if let Some(index) = dropped.get(&id) {
            let stub = stub(&mut module, id, reporter, *index);
            module.funcs.get_mut(id).kind = FunctionKind::Local(stub);
        } else if let FunctionKind::Local(local) = &mut module.funcs.get_mut(id).kind {
            let entry = local.entry_block();
            let mut redirect = Redirect {
                dropped: &dropped,
                reporter,
            };
            dfs_pre_order_mut(&mut redirect, local, entry);
        }
    }
    share_in_tables(&mut module, &dropped, reporter);
    walrus::passes::gc::run(&mut module);
    Ok(module.emit_wasm())
}

fn is_local(module: &Module, id: FunctionId) -> bool {
    matches!(module.funcs.get(id).kind, FunctionKind::Local(_))
}

/// Calls of a dropped function in the bodies of others: what comes after them is dead, and need not
/// be kept alive by a stub that takes the arguments.
struct Redirect<'a> {
    dropped: &'a HashMap<FunctionId, i32>,
    reporter: FunctionId,
}

impl VisitorMut for Redirect<'_> {
    fn start_instr_seq_mut(&mut self, sequence: &mut InstrSeq) {
        let found = sequence
            .instrs
            .iter()
            .enumerate()
            .find_map(|(at, (instruction, _))| {
                let called = match instruction {
                    Instr::Call(call) => call.func,
                    Instr::ReturnCall(call) => call.func,
                    _ => return None,
                };
                self.dropped.get(&called).map(|index| (at, *index))
            });
        if let Some((at, index)) = found {
            sequence.instrs.truncate(at);
            sequence.instrs.extend(report(self.reporter, index));
        }
    }
}

/// Instructions that report a function; they do not return.
fn report(reporter: FunctionId, index: i32) -> [(Instr, InstrLocId); 3] {
    let value = Value::I32(index);
    [
        Const { value }.into(),
        Call { func: reporter }.into(),
        Unreachable {}.into(),
    ]
    .map(|instruction| (instruction, InstrLocId::default()))
}

/// A body of the type of `function` that reports `index`.
fn stub(
    module: &mut Module,
    function: FunctionId,
    reporter: FunctionId,
    index: i32,
) -> LocalFunction {
    let ty = module.funcs.get(function).ty();
    let (parameters, results) = module.types.params_results(ty);
    let (parameters, results) = (parameters.to_vec(), results.to_vec());
    let arguments = parameters.iter().map(|ty| module.locals.add(*ty)).collect();
    let mut builder = FunctionBuilder::new(&mut module.types, &parameters, &results);
    for (instruction, _) in report(reporter, index) {
        builder.func_body().instr(instruction);
    }
    builder.local_func(arguments)
}

/// Lets the entries of tables that are dropped functions of one type be one function.
fn share_in_tables(module: &mut Module, dropped: &HashMap<FunctionId, i32>, reporter: FunctionId) {
    let in_tables: HashSet<FunctionId> = (module.elements.iter())
        .flat_map(|element| match &element.items {
            ElementItems::Functions(functions) => functions.clone(),
            ElementItems::Expressions(_, expressions) => expressions
                .iter()
                .filter_map(|expression| match expression {
                    ConstExpr::RefFunc(function) => Some(*function),
                    _ => None,
                })
                .collect(),
        })
        .filter(|function| dropped.contains_key(function))
        .collect();
    let mut in_order: Vec<FunctionId> = in_tables.into_iter().collect();
    in_order.sort_by_key(|function| dropped.get(function));
    let mut of_type: HashMap<TypeId, FunctionId> = HashMap::new();
    let mut shared: HashMap<FunctionId, FunctionId> = HashMap::new();
    for function in in_order {
        let ty = module.funcs.get(function).ty();
        let one = match of_type.get(&ty) {
            Some(one) => *one,
            None => {
                let stub = stub(module, function, reporter, BY_ADDRESS);
                let one = module.funcs.add_local(stub);
                of_type.insert(ty, one);
                one
            }
        };
        shared.insert(function, one);
    }
    for element in module.elements.iter_mut() {
        match &mut element.items {
            ElementItems::Functions(functions) => {
                for function in functions {
                    *function = *shared.get(function).unwrap_or(function);
                }
            }
            ElementItems::Expressions(_, expressions) => {
                for expression in expressions {
                    if let ConstExpr::RefFunc(function) = expression {
                        *function = *shared.get(function).unwrap_or(function);
                    }
                }
            }
        }
    }
}

fn import_reporter(module: &mut Module) -> FunctionId {
    let ty = module.types.add(&[ValType::I32], &[]);
    module.add_import_func("twinfer", "missing", ty).0
}

/// It writes the index down before it traps, so that no other function has the same body: an
/// optimiser would unite the two, and its trap would then be taken for this one.
fn trapping_reporter(module: &mut Module) -> FunctionId {
    let none = ConstExpr::Value(Value::I32(BY_ADDRESS));
    let global = module.globals.add_local(ValType::I32, true, false, none);
    module
        .exports
        .add(MISSING_GLOBAL, ExportItem::Global(global));
    let index = module.locals.add(ValType::I32);
    let mut builder = FunctionBuilder::new(&mut module.types, &[ValType::I32], &[]);
    builder.name(MISSING_FUNCTION.to_owned());
    builder
        .func_body()
        .local_get(index)
        .global_set(global)
        .unreachable();
    builder.finish(vec![index], &mut module.funcs)
}
