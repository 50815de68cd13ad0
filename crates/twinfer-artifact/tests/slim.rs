//! Instrumenting and stripping, on a module small enough to know by heart.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use twinfer_artifact::Profile;
use twinfer_artifact::slim::{
    ENTERED, MISSING_FUNCTION, MISSING_GLOBAL, Missing, entered, entered_words, instrument, strip,
};
use wasm_encoder as encode;
use wasm_encoder::Instruction as I;
use wasmtime::{Caller, Engine, Instance, Linker, Module, Store};

/// Imports `env.base() -> i32`; exports `double(i32) -> i32`, `choose(i32) -> i32`, which calls
/// `cold` for 0 and `warm` through the table for others, `by_address(i32) -> i32`, which calls
/// table entry `i`, and `unused() -> i64`. Functions: 0 base, 1 double, 2 cold, 3 warm,
/// 4 choose, 5 by_address, 6 unused.
fn sample() -> Vec<u8> {
    let mut module = encode::Module::new();
    let i32 = encode::ValType::I32;
    let mut types = encode::TypeSection::new();
    types.ty().function([], [i32]);
    types.ty().function([i32], [i32]);
    types.ty().function([], [encode::ValType::I64]);
    module.section(&types);
    let mut imports = encode::ImportSection::new();
    imports.import("env", "base", encode::EntityType::Function(0));
    module.section(&imports);
    let mut functions = encode::FunctionSection::new();
    for ty in [1, 1, 1, 1, 1, 2] {
        functions.function(ty);
    }
    module.section(&functions);
    let mut tables = encode::TableSection::new();
    tables.table(encode::TableType {
        element_type: encode::RefType::FUNCREF,
        table64: false,
        minimum: 2,
        maximum: None,
        shared: false,
    });
    module.section(&tables);
    let mut exports = encode::ExportSection::new();
    for (name, index) in [
        ("double", 1),
        ("choose", 4),
        ("by_address", 5),
        ("unused", 6),
    ] {
        exports.export(name, encode::ExportKind::Func, index);
    }
    module.section(&exports);
    let mut elements = encode::ElementSection::new();
    let entries = encode::Elements::Functions([2, 3].as_slice().into());
    elements.active(None, &encode::ConstExpr::i32_const(0), entries);
    module.section(&elements);
    let mut code = encode::CodeSection::new();
    let indirect = |index| I::CallIndirect {
        type_index: index,
        table_index: 0,
    };
    let bodies: [&[I<'_>]; 6] = [
        &[I::LocalGet(0), I::LocalGet(0), I::I32Add],
        &[I::I32Const(1000)],
        &[I::LocalGet(0), I::Call(0), I::I32Add],
        &[
            I::LocalGet(0),
            I::If(encode::BlockType::Result(i32)),
            I::LocalGet(0),
            I::I32Const(1),
            indirect(1),
            I::Else,
            I::I32Const(7),
            I::Call(2),
            I::I32Const(1),
            I::I32Add,
            I::End,
        ],
        &[I::I32Const(5), I::LocalGet(0), indirect(1)],
        &[I::I64Const(1)],
    ];
    for body in bodies {
        let mut function = encode::Function::new([]);
        for instruction in body {
            function.instruction(instruction);
        }
        function.instruction(&I::End);
        code.function(&function);
    }
    module.section(&code);
    module.finish()
}

/// An instance; `missing` notes what it is told, and throws.
fn start(module: &[u8]) -> (Store<Vec<i32>>, Instance) {
    let engine = Engine::default();
    let module = Module::new(&engine, module).unwrap();
    let mut linker: Linker<Vec<i32>> = Linker::new(&engine);
    linker.func_wrap("env", "base", || 40i32).unwrap();
    let missing = |mut caller: Caller<'_, Vec<i32>>, index: i32| -> wasmtime::Result<()> {
        caller.data_mut().push(index);
        Err(wasmtime::Error::msg("missing"))
    };
    linker.func_wrap("twinfer", "missing", missing).unwrap();
    let mut store = Store::new(&engine, Vec::new());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

fn call(
    store: &mut Store<Vec<i32>>,
    instance: &Instance,
    name: &str,
    argument: i32,
) -> wasmtime::Result<i32> {
    let function = instance.get_typed_func::<i32, i32>(&mut *store, name)?;
    function.call(store, argument)
}

/// What calls of an instrumented module enter.
fn profile_of(calls: &[(&str, i32)]) -> Profile {
    let (mut store, instance) = start(&instrument(&sample()).unwrap());
    for (name, argument) in calls {
        call(&mut store, &instance, name, *argument).unwrap();
    }
    let word = instance
        .get_global(&mut store, &format!("{ENTERED}0"))
        .unwrap();
    let word = word.get(&mut store).i32().unwrap();
    entered_words(&sample(), &[word.cast_unsigned()]).unwrap()
}

#[test]
fn an_instrumented_module_answers_the_same_and_notes_what_was_entered() {
    let profile = profile_of(&[("choose", 2)]);
    let entered: Vec<usize> = (0..7).filter(|i| profile.has(*i)).collect();
    assert_eq!(entered, [3, 4]);
    assert_eq!(profile.functions(), 7);
    let (mut store, instance) = start(&instrument(&sample()).unwrap());
    assert_eq!(call(&mut store, &instance, "choose", 2).unwrap(), 42);
    assert_eq!(call(&mut store, &instance, "choose", 0).unwrap(), 1001);
}

#[test]
fn a_stripped_module_answers_as_before_and_reports_what_it_lacks() {
    let profile = profile_of(&[("choose", 2), ("by_address", 1)]);
    let slim = strip(&sample(), &profile, Missing::Import).unwrap();
    let (mut store, instance) = start(&slim);
    assert_eq!(call(&mut store, &instance, "choose", 2).unwrap(), 42);
    assert_eq!(call(&mut store, &instance, "by_address", 1).unwrap(), 45);
    assert!(store.data().is_empty());
    // Called by name: its index. By address: it shares a stub with others of its type.
    assert!(call(&mut store, &instance, "choose", 0).is_err());
    assert!(call(&mut store, &instance, "by_address", 0).is_err());
    assert!(call(&mut store, &instance, "double", 1).is_err());
    assert_eq!(store.data(), &[2, -1, 1]);
    let unused = instance
        .get_typed_func::<(), i64>(&mut store, "unused")
        .unwrap();
    assert!(unused.call(&mut store, ()).is_err());
    assert_eq!(store.data(), &[2, -1, 1, 6]);
}

#[test]
fn without_an_import_the_trap_has_a_name_in_the_backtrace() {
    let profile = profile_of(&[("choose", 2)]);
    let slim = strip(&sample(), &profile, Missing::Trap).unwrap();
    let module = Module::new(&Engine::default(), &slim).unwrap();
    assert!(module.imports().all(|import| import.module() != "twinfer"));
    let (mut store, instance) = start(&slim);
    let error = call(&mut store, &instance, "choose", 0).unwrap_err();
    let backtrace = error.downcast_ref::<wasmtime::WasmBacktrace>().unwrap();
    let names: Vec<_> = backtrace
        .frames()
        .iter()
        .map(|frame| frame.func_name())
        .collect();
    assert_eq!(names.first(), Some(&Some(MISSING_FUNCTION)), "{names:?}");
    let missing = instance.get_global(&mut store, MISSING_GLOBAL).unwrap();
    assert_eq!(missing.get(&mut store).i32(), Some(2));
}

#[test]
fn a_snapshot_of_an_instrumented_module_tells_what_was_entered() {
    // As wizer writes it: the same module with other first values.
    let mut snapshot = walrus::Module::from_buffer(&instrument(&sample()).unwrap()).unwrap();
    let word = snapshot
        .exports
        .iter()
        .find(|e| e.name == "twinfer_entered_0")
        .unwrap();
    let walrus::ExportItem::Global(word) = word.item else {
        panic!("no global");
    };
    let value = walrus::ir::Value::I32(0b1010);
    snapshot.globals.get_mut(word).kind =
        walrus::GlobalKind::Local(walrus::ConstExpr::Value(value));
    let profile = entered(&sample(), &snapshot.emit_wasm()).unwrap();
    assert!(profile.has(1) && profile.has(3));
    assert_eq!(profile.entered(), 2);
    let error = entered(&sample(), &sample()).unwrap_err();
    assert_eq!(error.code(), twinfer::ErrorCode::InvalidRequest);
}

#[test]
fn the_same_profile_gives_the_same_bytes_and_another_engine_is_refused() {
    let profile = profile_of(&[("choose", 2)]);
    let slim = strip(&sample(), &profile, Missing::Import).unwrap();
    assert_eq!(slim, strip(&sample(), &profile, Missing::Import).unwrap());
    assert!(strip(&slim, &profile, Missing::Import).is_err());
    for junk in [&b""[..], b"\0asm\x0d\0\x01\0", b"\0asm\x01\0\0\0\x01\x7f"] {
        assert!(instrument(junk).is_err(), "{junk:?}");
    }
}
