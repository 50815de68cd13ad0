//! The page's engine in a form that runs without JavaScript.
//!
//! wasm-bindgen hands values of JavaScript around as `externref`, which the natively built host
//! does not have. Loading a package needs none of them: every function that touches one is
//! exchanged for a trap, in this copy only.

use std::collections::HashSet;

use twinfer::{Result, bail, err};
use walrus::ir::{InstrSeq, InstrSeqType, RefNull, Visitor, dfs_in_order};
use walrus::{
    AbstractHeapType, FunctionBuilder, FunctionId, FunctionKind, GlobalId, GlobalKind, HeapType,
    LocalFunction, LocalId, Module, RefType, TableId, TypeId, ValType,
};

/// What `twinfer fuse` calls.
pub(super) const START: &str = "__wbindgen_start";
pub(super) const ALLOC: &str = "twinfer_fuse_alloc";
pub(super) const LOAD: &str = "twinfer_fuse_load";
pub(super) const ERROR: &str = "twinfer_fuse_error";
pub(super) const ERROR_LENGTH: &str = "twinfer_fuse_error_length";
pub(super) const FINISH: &str = "twinfer_fuse_finish";
pub(super) const MEMORY: &str = "memory";
const NEEDED: [&str; 7] = [START, ALLOC, LOAD, ERROR, ERROR_LENGTH, FINISH, MEMORY];

/// Prefix of the exports that this adds: the mutable globals by their number.
const GLOBAL: &str = "twinfer_fuse_global_";

/// Exported name of a mutable global.
pub(super) fn global_name(number: usize) -> String {
    format!("{GLOBAL}{number}")
}

/// The mutable globals of a module, which a snapshot has to take along, in their order.
///
/// # Errors
/// `invalid_request` for one that is imported: nobody here can give it.
pub(super) fn mutable_globals(module: &Module) -> Result<Vec<GlobalId>> {
    let mutable = module.globals.iter().filter(|global| global.mutable);
    mutable
        .map(|global| match (&global.kind, global.ty) {
            (GlobalKind::Local(_), ValType::Ref(_)) | (GlobalKind::Import(_), _) => bail!(
                InvalidRequest,
                "this engine has a global that cannot be in a snapshot"
            ),
            (GlobalKind::Local(_), _) => Ok(global.id()),
        })
        .collect()
}

/// The copy. It has the exports for fusing, and its mutable globals.
///
/// # Errors
/// `invalid_request` for what is no engine of the page, or one that cannot be fused.
pub(super) fn runnable(mut module: Module) -> Result<Vec<u8>> {
    let globals = mutable_globals(&module)?;
    for needed in NEEDED {
        if !module.exports.iter().any(|export| export.name == needed) {
            bail!(
                InvalidRequest,
                "this is not the page's engine, or one of another version of Twinfer: it has no export {needed}"
            );
        }
    }
    let others: Vec<_> = (module.exports.iter())
        .filter(|export| !NEEDED.contains(&&*export.name))
        .map(walrus::Export::id)
        .collect();
    others.into_iter().for_each(|id| module.exports.delete(id));
    for (number, id) in globals.into_iter().enumerate() {
        module.exports.add(&global_name(number), id);
    }
    without_references(&mut module);
    walrus::passes::gc::run(&mut module);
    Ok(module.emit_wasm())
}

fn without_references(module: &mut Module) {
    let references = References::of(module);
    let touching: Vec<(FunctionId, TypeId)> = (module.funcs.iter_local())
        .filter(|(_, function)| references.are_in(function))
        .map(|(id, function)| (id, function.ty()))
        .collect();
    for (id, ty) in touching {
        let trap = trap(module, ty);
        module.funcs.get_mut(id).kind = FunctionKind::Local(trap);
    }
    // Those that are in a table of functions stay, and are not called.
    for id in references.functions {
        let plain = plain(module, module.funcs.get(id).ty());
        if let FunctionKind::Import(import) = &mut module.funcs.get_mut(id).kind {
            import.ty = module.types.add(&plain.0, &plain.1);
        }
    }
    for table in module.tables.iter_mut() {
        if is_reference(table.element_ty) {
            table.element_ty = RefType::FUNCREF;
        }
    }
}

/// Parameters and results of a type, with numbers for references.
fn plain(module: &Module, ty: TypeId) -> (Vec<ValType>, Vec<ValType>) {
    let number = |ty: &ValType| match is_extern(*ty) {
        true => ValType::I32,
        false => *ty,
    };
    let (parameters, results) = module.types.params_results(ty);
    let plain = |types: &[ValType]| types.iter().map(number).collect();
    (plain(parameters), plain(results))
}

/// A body that traps; where the type has references, numbers.
fn trap(module: &mut Module, ty: TypeId) -> LocalFunction {
    let (parameters, results) = plain(module, ty);
    let arguments = parameters.iter().map(|ty| module.locals.add(*ty)).collect();
    let mut builder = FunctionBuilder::new(&mut module.types, &parameters, &results);
    builder.func_body().unreachable();
    builder.local_func(arguments)
}

fn is_reference(ty: RefType) -> bool {
    ty.heap_type == HeapType::Abstract(AbstractHeapType::Extern)
}

fn is_extern(ty: ValType) -> bool {
    matches!(ty, ValType::Ref(ty) if is_reference(ty))
}

/// Everything of a module that has to do with values of JavaScript.
struct References {
    tables: HashSet<TableId>,
    locals: HashSet<LocalId>,
    types: HashSet<TypeId>,
    functions: HashSet<FunctionId>,
}

impl References {
    fn of(module: &Module) -> Self {
        let has = |types: &[ValType]| types.iter().copied().any(is_extern);
        let types: HashSet<TypeId> = (module.types.iter())
            .filter(|ty| ty.is_function() && (has(ty.params()) || has(ty.results())))
            .map(walrus::Type::id)
            .collect();
        let functions = module.funcs.iter().filter(|f| types.contains(&f.ty()));
        let tables = module.tables.iter().filter(|t| is_reference(t.element_ty));
        let locals = module.locals.iter().filter(|local| is_extern(local.ty()));
        Self {
            functions: functions.map(walrus::Function::id).collect(),
            tables: tables.map(walrus::Table::id).collect(),
            locals: locals.map(walrus::Local::id).collect(),
            types,
        }
    }

    fn are_in(&self, function: &LocalFunction) -> bool {
        let mut search = Search {
            references: self,
            found: self.types.contains(&function.ty()),
        };
        dfs_in_order(&mut search, function, function.entry_block());
        search.found
    }
}

struct Search<'a> {
    references: &'a References,
    found: bool,
}

impl<'instr> Visitor<'instr> for Search<'_> {
    fn start_instr_seq(&mut self, sequence: &'instr InstrSeq) {
        self.found |= match sequence.ty {
            InstrSeqType::Simple(ty) => ty.is_some_and(is_extern),
            InstrSeqType::MultiValue(ty) => self.references.types.contains(&ty),
        };
    }

    fn visit_table_id(&mut self, table: &TableId) {
        self.found |= self.references.tables.contains(table);
    }

    fn visit_local_id(&mut self, local: &LocalId) {
        self.found |= self.references.locals.contains(local);
    }

    fn visit_function_id(&mut self, function: &FunctionId) {
        self.found |= self.references.functions.contains(function);
    }

    fn visit_type_id(&mut self, ty: &TypeId) {
        self.found |= self.references.types.contains(ty);
    }

    fn visit_ref_null(&mut self, null: &RefNull) {
        self.found |= is_reference(null.ty);
    }
}

/// A parsed engine.
///
/// # Errors
/// `invalid_request` for anything but a core module.
pub(super) fn parse(engine: &[u8]) -> Result<Module> {
    walrus::ModuleConfig::new()
        .generate_producers_section(false)
        .generate_name_section(false)
        .parse(engine)
        .map_err(|e| err!(InvalidRequest, "not a WebAssembly module: {e:#}"))
}
