//! DWARF expressions in call frame information: glibc's signal trampolines, PLT entries and
//! hand-written assembly use them.

use gimli::{EvaluationResult, Location, Piece, Value};

use super::StackMemory;
use super::rules::{MAX_STEPS, StoredExpression};
use crate::elf::CfiSections;
use crate::model::{AnyRegister, Register, RegisterFile, RuntimeAddress, WalkEnd};

/// Why an expression has no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Failure {
    Malformed,
    NotCopied(u64),
    Unknown(AnyRegister),
}

impl Failure {
    pub(super) fn into_walk_end(self, malformed: WalkEnd) -> WalkEnd {
        match self {
            Self::Malformed => malformed,
            Self::NotCopied(address) => WalkEnd::MemoryNotCopied(RuntimeAddress(address)),
            Self::Unknown(register) => WalkEnd::UnknownRegister(register),
        }
    }
}

/// Evaluates an expression; the rules of registers begin with the CFA on the stack (DWARF 5,
/// 6.4.2.2).
pub(super) fn evaluate<R: Register>(
    expression: &StoredExpression,
    sections: &CfiSections,
    registers: &RegisterFile<R>,
    stack: StackMemory<'_>,
    initial: Option<u64>,
) -> Result<u64, Failure> {
    let malformed = |_| Failure::Malformed;
    let bytes = expression.bytes(sections).ok_or(Failure::Malformed)?;
    let mut evaluation = bytes.evaluation(expression.encoding);
    evaluation.set_max_iterations(MAX_STEPS);
    if let Some(value) = initial {
        evaluation.set_initial_value(value);
    }
    let mut result = evaluation.evaluate().map_err(malformed)?;
    loop {
        result = match result {
            EvaluationResult::Complete => break,
            EvaluationResult::RequiresRegister { register, .. } => {
                let register = R::from_dwarf(register.0).ok_or(Failure::Malformed)?;
                let value = registers.get(register).ok_or(Failure::Unknown(register.into()))?;
                evaluation.resume_with_register(Value::Generic(value)).map_err(malformed)?
            }
            EvaluationResult::RequiresMemory { address, size, .. } => {
                let value = match size {
                    8 => stack.word(address),
                    4 => stack.read(address).map(|bytes| u32::from_le_bytes(bytes).into()),
                    2 => stack.read(address).map(|bytes| u16::from_le_bytes(bytes).into()),
                    1 => stack.read(address).map(|bytes| u8::from_le_bytes(bytes).into()),
                    _ => return Err(Failure::Malformed),
                };
                let value = value.ok_or(Failure::NotCopied(address))?;
                evaluation.resume_with_memory(Value::Generic(value)).map_err(malformed)?
            }
            // Nothing else has a meaning in call frame information.
            _ => return Err(Failure::Malformed),
        };
    }
    match evaluation.result().as_slice() {
        [Piece { location: Location::Address { address }, .. }] => Ok(*address),
        _ => Err(Failure::Malformed),
    }
}
