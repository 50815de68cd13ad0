//! Counting: every function notes that it was entered.

use twinfer::Result;
use walrus::ir::{BinaryOp, Binop, Const, GlobalGet, GlobalSet, Instr, InstrLocId, Value};
use walrus::{ConstExpr, FunctionKind, GlobalId, Module, ValType};

use super::parse;

/// Prefix of the exported globals; the number of the word follows.
pub const ENTERED: &str = "twinfer_entered_";

/// Functions of one word.
const BITS: usize = 32;

/// Adds mutable `i32` globals to a module, exported as `twinfer_entered_<word>`: bit `i % 32` of
/// word `i / 32` is set when function `i` is entered. Globals, because JavaScript reads them
/// from the instance, and a snapshot of memory and globals keeps them; bits, because a snapshot of
/// a component costs time for each global.
///
/// # Errors
/// `invalid_request` for anything but a core module.
pub fn instrument(module: &[u8]) -> Result<Vec<u8>> {
    let mut module = parse(module)?;
    let functions: Vec<_> = module.funcs.iter().map(|function| function.id()).collect();
    let words: Vec<GlobalId> = (0..functions.len().div_ceil(BITS))
        .map(|word| add_word(&mut module, word))
        .collect();
    for (index, function) in functions.into_iter().enumerate() {
        let FunctionKind::Local(local) = &mut module.funcs.get_mut(function).kind else {
            continue;
        };
        let Some(&word) = words.get(index / BITS) else {
            continue;
        };
        let entry = local.entry_block();
        let note = note(word, 1 << (index % BITS));
        local.block_mut(entry).instrs.splice(0..0, note);
    }
    Ok(module.emit_wasm())
}

fn add_word(module: &mut Module, word: usize) -> GlobalId {
    let zero = ConstExpr::Value(Value::I32(0));
    let global = module.globals.add_local(ValType::I32, true, false, zero);
    module.exports.add(&format!("{ENTERED}{word}"), global);
    global
}

fn note(word: GlobalId, bit: u32) -> [(Instr, InstrLocId); 4] {
    let value = Value::I32(bit.cast_signed());
    [
        GlobalGet { global: word }.into(),
        Const { value }.into(),
        Binop {
            op: BinaryOp::I32Or,
        }
        .into(),
        GlobalSet { global: word }.into(),
    ]
    .map(|instruction| (instruction, InstrLocId::default()))
}
