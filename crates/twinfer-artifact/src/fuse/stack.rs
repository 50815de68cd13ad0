//! The part of memory that is dead in a snapshot: the stack, when nothing runs.

use twinfer::{Result, err};
use wasmparser::{ConstExpr, DataKind, Operator, Parser, Payload};

/// Where the stack of a module is, when it is in front of everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stack {
    end: usize,
}

impl Stack {
    /// The linker puts the stack first, and its end is the first value of the first mutable
    /// global. Where that does not hold, nothing is taken for the stack.
    pub(super) fn of(module: &[u8]) -> Result<Self> {
        let broken = |e| err!(InvalidRequest, "this component is malformed: {e}");
        let (mut end, mut first_data) = (None, u32::MAX);
        for payload in Parser::new(0).parse_all(module) {
            match payload.map_err(broken)? {
                Payload::GlobalSection(globals) => {
                    for global in globals {
                        let global = global.map_err(broken)?;
                        if global.ty.mutable {
                            end = end.or(Some(constant(&global.init_expr)));
                        }
                    }
                }
                Payload::DataSection(segments) => {
                    for segment in segments {
                        if let DataKind::Active { offset_expr, .. } = segment.map_err(broken)?.kind
                        {
                            // One that is computed could be anywhere.
                            first_data = first_data.min(constant(&offset_expr).unwrap_or(0));
                        }
                    }
                }
                _ => {}
            }
        }
        let end = end.flatten().filter(|end| *end <= first_data);
        Ok(Self {
            end: end.unwrap_or(0) as usize,
        })
    }

    /// Makes it zero.
    pub(super) fn clear(self, memory: &mut [u8]) {
        let end = self.end.min(memory.len());
        memory[..end].fill(0);
    }
}

fn constant(expression: &ConstExpr<'_>) -> Option<u32> {
    match expression.get_operators_reader().read() {
        Ok(Operator::I32Const { value }) => Some(value.cast_unsigned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_encoder::{
        ConstExpr, DataSection, GlobalSection, GlobalType, MemorySection, MemoryType, Module,
        ValType,
    };

    fn module(stack: i32, data: i32) -> Vec<u8> {
        let mut memories = MemorySection::new();
        memories.memory(MemoryType {
            minimum: 1,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut globals = GlobalSection::new();
        globals.global(
            GlobalType {
                val_type: ValType::I32,
                mutable: true,
                shared: false,
            },
            &ConstExpr::i32_const(stack),
        );
        let mut segments = DataSection::new();
        segments.active(0, &ConstExpr::i32_const(data), [1, 2, 3]);
        let mut module = Module::new();
        module.section(&memories);
        module.section(&globals);
        module.section(&segments);
        module.finish()
    }

    #[test]
    fn only_a_stack_in_front_of_the_data_is_cleared() {
        let mut memory = [7; 20];
        Stack::of(&module(8, 8)).unwrap().clear(&mut memory);
        assert_eq!(memory[..8], [0; 8]);
        assert_eq!(memory[8..], [7; 12]);
        assert_eq!(Stack::of(&module(8, 4)).unwrap(), Stack { end: 0 });
        // A memory that is shorter than the stack.
        Stack::of(&module(64, 64)).unwrap().clear(&mut memory);
        assert_eq!(memory, [0; 20]);
    }
}
