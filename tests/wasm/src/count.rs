//! Instruments a module to count the instructions that it executes.
//!
//! The interpreter's own fuel does not measure this: it charges for all blocks of a function at its
//! entry, including blocks that are then skipped. A call of the allocator executes only a
//! thirteenth of its code.

use anyhow::Result;
use walrus::ir::{
    BinaryOp, Instr, InstrLocId, InstrSeq, InstrSeqId, UnaryOp, Value, Visitor, dfs_in_order,
};
use walrus::ir::{Binop, Const, GlobalGet, GlobalSet, LocalGet, LocalTee, Unop};
use walrus::{ConstExpr, GlobalId, LocalId, Module, ValType};

/// The exported global with the count, an `i64`.
pub(crate) const COUNTER: &str = "instructions";

/// Number of bytes per additional count of an instruction that copies or fills memory, as a power
/// of two: a machine word.
const BYTES: i64 = 3;

type Body = Vec<(Instr, InstrLocId)>;

/// Adds the global and the code that counts.
pub(crate) fn count_instructions(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut module = Module::from_buffer(wasm)?;
    let zero = ConstExpr::Value(Value::I64(0));
    let counter = module.globals.add_local(ValType::I64, true, false, zero);
    module.exports.add(COUNTER, counter);
    let counting = Counting { counter, length: module.locals.add(ValType::I32) };
    for (_, function) in module.funcs.iter_local_mut() {
        let mut sequences = Sequences::default();
        dfs_in_order(&mut sequences, function, function.entry_block());
        for sequence in sequences.0 {
            let mut sequence = function.builder_mut().instr_seq(sequence);
            let body = std::mem::take(sequence.instrs_mut());
            *sequence.instrs_mut() = counting.counted(body);
        }
    }
    Ok(module.emit_wasm())
}

/// The sequences of instructions of a function: its body and those of its blocks.
#[derive(Default)]
struct Sequences(Vec<InstrSeqId>);

impl<'a> Visitor<'a> for Sequences {
    fn start_instr_seq(&mut self, sequence: &'a InstrSeq) {
        self.0.push(sequence.id());
    }
}

struct Counting {
    counter: GlobalId,
    /// Number of bytes that an instruction accesses
    length: LocalId,
}

impl Counting {
    /// Returns a sequence in which each part without a jump is counted at its start.
    fn counted(&self, body: Body) -> Body {
        let mut counted = Vec::with_capacity(2 * body.len());
        for part in body.split_inclusive(|(instruction, _)| may_jump(instruction)) {
            let count = part.iter().filter(|(instruction, _)| is_executed(instruction)).count();
            if count > 0 {
                let count = Const { value: Value::I64(count as i64) };
                counted.extend(self.add([count.into()]));
            }
            for (instruction, place) in part {
                if matches!(instruction, Instr::MemoryCopy(_) | Instr::MemoryFill(_)) {
                    let local = self.length;
                    counted.push((LocalTee { local }.into(), InstrLocId::default()));
                    counted.extend(self.add([
                        LocalGet { local }.into(),
                        Unop { op: UnaryOp::I64ExtendUI32 }.into(),
                        Const { value: Value::I64(BYTES) }.into(),
                        Binop { op: BinaryOp::I64ShrU }.into(),
                    ]));
                }
                counted.push((instruction.clone(), *place));
            }
        }
        counted
    }

    /// Adds the value that `number` leaves on the stack to the counter.
    fn add<const N: usize>(&self, number: [Instr; N]) -> impl Iterator<Item = (Instr, InstrLocId)> {
        let global = self.counter;
        let sum = [Binop { op: BinaryOp::I64Add }.into(), GlobalSet { global }.into()];
        let all = [GlobalGet { global }.into()].into_iter().chain(number).chain(sum);
        all.map(|instruction| (instruction, InstrLocId::default()))
    }
}

/// Returns whether the next instruction may not be executed exactly once after this one. After a
/// call it always is, because a trap is an error anyway.
fn may_jump(instruction: &Instr) -> bool {
    matches!(
        instruction,
        Instr::Block(_)
            | Instr::Loop(_)
            | Instr::IfElse(_)
            | Instr::Br(_)
            | Instr::BrIf(_)
            | Instr::BrTable(_)
            | Instr::Return(_)
            | Instr::Unreachable(_)
    )
}

/// A block only marks the target of jumps.
fn is_executed(instruction: &Instr) -> bool {
    !matches!(instruction, Instr::Block(_) | Instr::Loop(_))
}

#[cfg(test)]
mod tests {
    use wasmi::{Engine, Extern, Linker, Module, Store, Val};

    use super::*;

    /// The count after a call of `run` with an argument.
    fn count(text: &str, argument: i32) -> i64 {
        let wasm = count_instructions(&wat::parse_str(text).unwrap()).unwrap();
        let engine = Engine::default();
        let module = Module::new(&engine, &wasm).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine).instantiate_and_start(&mut store, &module).unwrap();
        let run = instance.get_func(&store, "run").unwrap();
        run.call(&mut store, &[Val::I32(argument)], &mut []).unwrap();
        let counter = instance.get_export(&store, COUNTER).and_then(Extern::into_global);
        counter.unwrap().get(&store).i64().unwrap()
    }

    #[test]
    fn skipped_instructions_do_not_count() {
        let text = r#"(module (func (export "run") (param i32)
            block local.get 0 br_if 0 local.get 0 drop end local.get 0 drop))"#;
        assert_eq!([count(text, 1), count(text, 0)], [4, 6]);
        let text = r#"(module (func (export "run") (param i32)
            local.get 0 if local.get 0 drop else i32.const 1 local.get 0 i32.add drop end))"#;
        assert_eq!([count(text, 1), count(text, 0)], [4, 6]);
        let text = r#"(module (func (export "run") (param i32)
            local.get 0 if return end local.get 0 drop))"#;
        assert_eq!([count(text, 1), count(text, 0)], [3, 4]);
    }

    #[test]
    fn loops_count_as_often_as_they_run() {
        let text = r#"(module (func (export "run") (param i32)
            loop local.get 0 i32.const 1 i32.sub local.tee 0 br_if 0 end))"#;
        assert_eq!([count(text, 1), count(text, 10)], [5, 50]);
    }

    #[test]
    fn calls_include_the_instructions_of_the_callee() {
        let text = r#"(module (func $other i32.const 0 drop)
            (func (export "run") (param i32) call $other local.get 0 drop call $other))"#;
        assert_eq!(count(text, 0), 4 + 2 * 2);
    }

    #[test]
    fn copies_count_by_their_length() {
        let text = r#"(module (memory 1) (func (export "run") (param i32)
            i32.const 0 i32.const 100 local.get 0 memory.copy
            i32.const 0 i32.const 0 local.get 0 memory.fill))"#;
        assert_eq!([count(text, 0), count(text, 80)], [8, 8 + 2 * 10]);
    }
}
