use twinfer_package::Digest;
use wasm_encoder::ConstExpr;
use wasm_encoder::*;
use wasmtime::{Instance, Linker, Store, Val};

use super::*;
use Instruction as I;

const I32: ValType = ValType::I32;
const EXTERN: ValType = ValType::EXTERNREF;
/// Where the sample keeps what it knows.
const STARTS: i32 = 4096;
const LENGTH: i32 = 4100;
const TEXT: i32 = 2048;
const BUNDLE: i32 = 8192;
const GROWN: i32 = 70_000;
const STACK: i32 = 1024;

fn at(offset: u64) -> MemArg {
    MemArg {
        offset,
        align: 0,
        memory_index: 0,
    }
}

/// What `twinfer_fuse_load` of the sample does beyond noting the length of the bundle.
#[derive(Clone, Copy, PartialEq)]
enum Load {
    Works,
    Refuses,
    AsksForTheTime,
    UsesAValue,
}

/// An engine of the form that wasm-bindgen gives: it counts its starts, and has functions with
/// values of JavaScript, one of them in the table of functions.
fn sample(load: Load) -> Vec<u8> {
    let mut module = Module::new();
    let mut types = TypeSection::new();
    types.ty().function([], []);
    types.ty().function([], [ValType::F64]);
    types.ty().function([EXTERN], [EXTERN]);
    types.ty().function([I32], [I32]);
    types.ty().function([I32, I32], [I32]);
    types.ty().function([], [I32]);
    types.ty().function([], [ValType::I64]);
    module.section(&types);
    let mut imports = ImportSection::new();
    for (name, ty) in [(TABLE, 0), ("__wbg_now", 1), ("__wbg_value", 2)] {
        imports.import("./bg.js", name, EntityType::Function(ty));
    }
    module.section(&imports);
    // 3 start, 4 alloc, 5 load, 6 error, 7 error_length, 8 finish, 9 starts, 10 length, 11 value,
    // 12 wide
    let mut functions = FunctionSection::new();
    for ty in [0, 3, 4, 5, 5, 0, 5, 5, 3, 6] {
        functions.function(ty);
    }
    module.section(&functions);
    let mut tables = TableSection::new();
    for (element_type, minimum) in [(RefType::FUNCREF, 1), (RefType::EXTERNREF, 8)] {
        tables.table(TableType {
            element_type,
            table64: false,
            minimum,
            maximum: None,
            shared: false,
        });
    }
    module.section(&tables);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    module.section(&memories);
    let mut globals = GlobalSection::new();
    for (val_type, init) in [
        (I32, ConstExpr::i32_const(STACK)),
        (ValType::I64, ConstExpr::i64_const(7)),
    ] {
        let ty = GlobalType {
            val_type,
            mutable: true,
            shared: false,
        };
        globals.global(ty, &init);
    }
    module.section(&globals);
    let mut exports = ExportSection::new();
    exports.export(MEMORY, ExportKind::Memory, 0);
    exports.export("externrefs", ExportKind::Table, 1);
    for (name, index) in [
        (START, 3),
        (ALLOC, 4),
        (LOAD, 5),
        (ERROR, 6),
        (ERROR_LENGTH, 7),
        (FINISH, 8),
        ("starts", 9),
        ("length", 10),
        ("value", 11),
        ("wide", 12),
    ] {
        exports.export(name, ExportKind::Func, index);
    }
    module.section(&exports);
    let mut elements = ElementSection::new();
    let entries = Elements::Functions([2].as_slice().into());
    elements.active(None, &ConstExpr::i32_const(0), entries);
    module.section(&elements);
    let mut loads = vec![
        // Something that stays on the stack, and the length.
        I::I32Const(STACK - 4),
        I::I32Const(-1),
        I::I32Store(at(0)),
        I::I32Const(LENGTH),
        I::LocalGet(1),
        I::I32Store(at(0)),
        I::I64Const(99),
        I::GlobalSet(1),
        I::I32Const(1),
        I::MemoryGrow(0),
        I::Drop,
        I::I32Const(GROWN),
        I::I32Const(5),
        I::I32Store8(at(0)),
    ];
    match load {
        Load::Works | Load::Refuses => {}
        Load::AsksForTheTime => loads.extend([I::Call(1), I::Drop]),
        Load::UsesAValue => loads.extend([I::I32Const(0), I::Call(11), I::Drop]),
    }
    loads.push(I::I32Const(i32::from(load == Load::Refuses)));
    let count = [
        I::Call(0),
        I::I32Const(STARTS),
        I::I32Const(STARTS),
        I::I32Load(at(0)),
        I::I32Const(1),
        I::I32Add,
        I::I32Store(at(0)),
    ];
    let value = [
        I::LocalGet(0),
        I::LocalGet(0),
        I::TableGet(1),
        I::Call(2),
        I::TableSet(1),
        I::I32Const(0),
    ];
    let bodies: [&[I<'_>]; 10] = [
        &count,
        &[I::I32Const(BUNDLE)],
        &loads,
        &[I::I32Const(TEXT)],
        &[I::I32Const(20)],
        &[],
        &[I::I32Const(STARTS), I::I32Load(at(0))],
        &[I::I32Const(LENGTH), I::I32Load(at(0))],
        &value,
        &[I::GlobalGet(1)],
    ];
    let mut code = CodeSection::new();
    for body in bodies {
        let mut function = Function::new([]);
        for instruction in body {
            function.instruction(instruction);
        }
        function.instruction(&I::End);
        code.function(&function);
    }
    module.section(&code);
    let mut data = DataSection::new();
    data.active(0, &ConstExpr::i32_const(TEXT), *b"invalid_model\nbroken");
    module.section(&data);
    module.section(&CustomSection {
        name: "producers".into(),
        data: (&[0u8][..]).into(),
    });
    module.finish()
}

fn bundle() -> Bundle {
    Bundle::of(b"manifest", &[b"layer"])
}

/// An instance of the fused engine, as far as it runs without JavaScript.
fn instance(engine: &[u8]) -> (Store<()>, Instance) {
    let engine = runnable_with(engine, &["starts", "length", "wide"]);
    let native = Engine::default();
    let module = wasmtime::Module::new(&native, &engine).unwrap();
    let mut linker: Linker<()> = Linker::new(&native);
    linker.define_unknown_imports_as_traps(&module).unwrap();
    let mut store = Store::new(&native, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

/// [`runnable`] keeps the exports for fusing; these are asked for here, under their names.
fn runnable_with(engine: &[u8], names: &[&str]) -> Vec<u8> {
    let mut module = parse(engine).unwrap();
    for (name, as_what) in names.iter().zip([ERROR, ERROR_LENGTH, FINISH]) {
        let function = module.exports.get_func(name).unwrap();
        module.exports.remove(as_what).unwrap();
        module.exports.add(as_what, function);
    }
    runnable(module).unwrap()
}

fn number(store: &mut Store<()>, instance: &Instance, name: &str) -> i64 {
    let function = instance.get_func(&mut *store, name).unwrap();
    let mut results = [Val::I64(0)];
    function.call(store, &[], &mut results).unwrap();
    match results[0] {
        Val::I32(number) => number.into(),
        ref other => other.unwrap_i64(),
    }
}

#[test]
fn an_instance_of_a_fused_engine_begins_with_memory_and_globals_as_they_were() {
    let fused = fuse(&sample(Load::Works), &bundle()).unwrap();
    let (mut store, one) = instance(&fused);
    // "manifest", "layer", and four bytes before each.
    assert_eq!(number(&mut store, &one, ERROR_LENGTH), 21);
    assert_eq!(number(&mut store, &one, ERROR), 1);
    assert_eq!(number(&mut store, &one, FINISH), 99);
    let memory = one.get_memory(&mut store, MEMORY).unwrap();
    assert_eq!(memory.data(&store)[GROWN as usize], 5);
    assert_eq!(&memory.data(&store)[BUNDLE as usize..][4..12], b"manifest");
    assert!(
        memory.data(&store)[..STACK as usize]
            .iter()
            .all(|byte| *byte == 0)
    );
    // What one instance does, another does not see.
    let start = one.get_typed_func::<(), ()>(&mut store, START).unwrap();
    memory.write(&mut store, LENGTH as usize, &[1]).unwrap();
    assert!(
        start.call(&mut store, ()).is_err(),
        "the table is filled again"
    );
    let (mut store, other) = instance(&fused);
    assert_eq!(number(&mut store, &other, ERROR_LENGTH), 21);
}

#[test]
fn the_fused_engine_has_the_interface_of_the_full_one() {
    let full = sample(Load::Works);
    let fused = fuse(&full, &bundle()).unwrap();
    let names = |engine: &[u8]| {
        let module = parse(engine).unwrap();
        let exports = module.exports.iter().map(|e| e.name.clone());
        let imports = module.imports.iter().map(|i| i.name.clone());
        exports.chain(imports).collect::<Vec<_>>()
    };
    assert_eq!(names(&fused), names(&full));
    assert_eq!(fused, fuse(&full, &bundle()).unwrap(), "two runs, one file");
    assert_ne!(fused, fuse(&full, &Bundle::of(b"another", &[])).unwrap());
}

#[test]
fn nothing_of_javascript_can_be_in_a_snapshot() {
    for load in [Load::AsksForTheTime, Load::UsesAValue] {
        let error = fuse(&sample(load), &bundle()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidModel, "{error}");
    }
}

#[test]
fn what_the_engine_refuses_has_its_own_code() {
    let error = fuse(&sample(Load::Refuses), &bundle()).unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (ErrorCode::InvalidModel, "broken")
    );
}

#[test]
fn a_label_is_read_back_and_a_derived_engine_is_not_fused_again() {
    let wanted = Label {
        kind: EngineKind::Fused,
        slim: true,
        engine: Digest::of(b"full"),
        version: "1.0.0".into(),
        packages: [(Digest::of(b"package"), Digest::of(b"profile"))].into(),
    };
    let fused = fuse(&sample(Load::Works), &bundle()).unwrap();
    assert_eq!(label(&fused).unwrap(), None);
    let labelled = with_label(fused, &wanted).unwrap();
    assert_eq!(label(&labelled).unwrap(), Some(wanted));
    assert!(
        fuse(&labelled, &bundle())
            .unwrap_err()
            .message()
            .contains("already")
    );
    for junk in [&b""[..], b"\0asm\x01\0\0\0", b"text"] {
        let error = fuse(junk, &bundle()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidRequest, "{junk:?}");
    }
}
