//! Applying a row of call frame information: from a frame's registers to its caller's.

use super::machine::Machine;
use super::rules::{Cfa, Row, Rule};
use super::{Caller, StackMemory, expression};
use crate::elf::CfiSections;
use crate::model::{CodeAddress, FoundBy, RegisterFile, RuntimeAddress, WalkEnd};

/// What a register's rule comes to.
enum Value {
    Known(u64),
    Unknown,
    /// The word at this address is needed and was not copied.
    NotCopied(u64),
}

/// The caller of a frame whose rules these are.
pub(super) fn caller<R: Machine>(
    row: &Row<R>,
    sections: &CfiSections,
    registers: &RegisterFile<R>,
    stack: StackMemory<'_>,
    pointers: R::Pointers,
    at: RuntimeAddress,
) -> Result<Caller<R>, WalkEnd> {
    let bad = WalkEnd::BadUnwindInfo(at);
    if row.is_root() {
        // Whether or not the frame's own address can be computed.
        return Err(WalkEnd::Root);
    }
    let cfa = match &row.cfa {
        Cfa::Offset(base, offset) => {
            registers.get(*base).ok_or(WalkEnd::UnknownRegister((*base).into()))?.wrapping_add_signed(*offset)
        }
        Cfa::Expression(place) => expression::evaluate(place, sections, registers, stack, None)
            .map_err(|failure| failure.into_walk_end(bad))?,
    };
    let value = |register: R| -> Result<Value, WalkEnd> {
        let memory = |address: u64| stack.word(address).map_or(Value::NotCopied(address), Value::Known);
        let same = |register: R| registers.get(register).map_or(Value::Unknown, Value::Known);
        let evaluate = |place| expression::evaluate(place, sections, registers, stack, Some(cfa));
        Ok(match &row.rule(register) {
            Rule::Unspecified if register == R::SP => Value::Known(cfa),
            // A function that has not saved the link register has its return address there.
            Rule::Unspecified if register.is_callee_saved() || Some(register) == R::LINK => same(register),
            Rule::Unspecified | Rule::Undefined | Rule::Unusable => Value::Unknown,
            Rule::Same => same(register),
            Rule::Offset(offset) => memory(cfa.wrapping_add_signed(*offset)),
            Rule::ValOffset(offset) => Value::Known(cfa.wrapping_add_signed(*offset)),
            Rule::Register(other) => same(*other),
            Rule::Expression(place) => memory(evaluate(place).map_err(|failure| failure.into_walk_end(bad))?),
            Rule::ValExpression(place) => Value::Known(evaluate(place).map_err(|failure| failure.into_walk_end(bad))?),
            Rule::Constant(value) => Value::Known(*value),
        })
    };
    let target = match value(row.return_address)? {
        Value::Known(stored) => R::address(stored, row.signing, pointers),
        Value::NotCopied(address) => return Err(WalkEnd::MemoryNotCopied(RuntimeAddress(address))),
        Value::Unknown => return Err(WalkEnd::UnknownRegister(row.return_address.into())),
    };
    let mut outer = RegisterFile::default();
    for &register in R::all() {
        // A register that cannot be recovered matters only if a frame further out asks for it.
        if let Ok(Value::Known(known)) = value(register) {
            outer.set(register, known);
        }
    }
    outer.set(R::PC, target);
    if let Some(link) = R::LINK
        && !row.signal_frame
    {
        // The caller has made a call, and what was in the link register before is where the caller
        // has saved it.
        outer.forget(link);
    }
    let target = RuntimeAddress(target);
    Ok(if row.signal_frame {
        Caller { registers: outer, found: FoundBy::SignalFrame, code: CodeAddress::Pc(target) }
    } else {
        Caller { registers: outer, found: FoundBy::Cfi, code: CodeAddress::Return(target) }
    })
}
