//! Where a variable is at an instruction: location lists and expressions.
//!
//! Promises: evaluation is bounded, and what an expression needs and a snapshot does not have is
//! said. A register of an outer frame is read only where call frame information has it back; none
//! of those that a function called since may have used. It does not know types.

use gimli::constants as dw;
use gimli::{AttributeValue, DwAt, EvaluationResult, Expression, Location, Piece, UnitOffset, Value, ValueType};

use super::debug::{Bytes, Debug, Die};
use super::entry_value;
use super::frames::{Context, Stack};
use super::object::{Object, Part, Source};
use super::value::Absent;
use crate::model::{FileAddress, Register, RuntimeAddress, X86_64Register};

/// Operations in one expression.
const MOST_STEPS: u32 = 1 << 12;
/// Entries of one location list.
const MOST_ENTRIES: usize = 1 << 14;
/// Pieces of one variable.
const MOST_PIECES: usize = 1 << 10;
/// Expressions that need another one: frame bases, and values in callers.
const DEEPEST: usize = 16;
/// The DWARF number of xmm0 on x86-64; fifteen follow it.
const XMM0: u16 = 17;

impl<'a> Stack<'_, 'a> {
    /// Where a variable is in the frame of this number.
    pub(super) fn locate(&self, frame: usize, die: &Die<'a>) -> Result<Object, Absent> {
        let context = self.frame(frame)?;
        let (owner, value) = context.debug.with(die, dw::DW_AT_location).ok_or(Absent::OptimizedOut)?;
        let expression = self.expression(context, &owner, value)?;
        self.object(frame, &owner, expression, 0)
    }

    /// The expression of an attribute that is in force at the frame's instruction.
    fn expression(
        &self,
        context: &Context<'_, 'a>,
        owner: &Die<'a>,
        value: AttributeValue<Bytes<'a>>,
    ) -> Result<Expression<Bytes<'a>>, Absent> {
        if let AttributeValue::Exprloc(expression) = value {
            return if expression.0.is_empty() { Err(Absent::OptimizedOut) } else { Ok(expression) };
        }
        if let AttributeValue::Block(bytes) = value {
            return Ok(Expression(bytes));
        }
        let list = context.debug.dwarf(owner.place).attr_locations(&owner.unit, value);
        let mut list = list.ok().flatten().ok_or(Absent::Unreadable)?;
        let address = context.code.lookup().0;
        for _ in 0..MOST_ENTRIES {
            self.spend(1)?;
            match list.next() {
                Ok(Some(entry)) if (entry.range.begin..entry.range.end).contains(&address) => {
                    return if entry.data.0.is_empty() { Err(Absent::OptimizedOut) } else { Ok(entry.data) };
                }
                Ok(Some(_)) => {}
                Ok(None) => return Err(Absent::OptimizedOut),
                Err(_) => break,
            }
        }
        Err(Absent::Unreadable)
    }

    /// What an expression describes.
    fn object(
        &self,
        frame: usize,
        owner: &Die<'a>,
        expression: Expression<Bytes<'a>>,
        depth: usize,
    ) -> Result<Object, Absent> {
        let pieces = self.evaluate(frame, owner, expression, depth)?;
        if pieces.len() > MOST_PIECES {
            return Err(Absent::Unreadable);
        }
        let parts = pieces.into_iter().map(|piece| self.part(frame, piece));
        Ok(Object::new(parts.collect::<Result<_, _>>()?))
    }

    /// The number that an expression comes to.
    pub(super) fn number(
        &self,
        frame: usize,
        owner: &Die<'a>,
        expression: Expression<Bytes<'a>>,
        depth: usize,
    ) -> Result<u64, Absent> {
        let pieces = self.evaluate(frame, owner, expression, depth)?;
        let [piece] = &pieces[..] else { return Err(Absent::Unreadable) };
        match piece.location {
            // An expression that is no description of a location leaves a value on the stack.
            Location::Address { address } => Ok(address),
            Location::Value { value } => value.to_u64(u64::MAX).map_err(|_| Absent::Unreadable),
            Location::Register { register } => self.register(frame, register.0),
            Location::Empty => Err(Absent::OptimizedOut),
            Location::Bytes { .. } | Location::ImplicitPointer { .. } => Err(Absent::Unreadable),
        }
    }

    /// The number that an attribute of an entry says, or comes to at this frame.
    pub(super) fn attribute(&self, frame: usize, owner: &Die<'a>, name: DwAt) -> Result<u64, Absent> {
        let value = owner.entry.attr_value(name).ok_or(Absent::Unreadable)?;
        match value {
            AttributeValue::Exprloc(expression) => self.number(frame, owner, expression, 0),
            _ => Err(Absent::Unreadable),
        }
    }

    fn evaluate(
        &self,
        frame: usize,
        owner: &Die<'a>,
        expression: Expression<Bytes<'a>>,
        depth: usize,
    ) -> Result<Vec<Piece<Bytes<'a>>>, Absent> {
        let context = self.frame(frame)?;
        if depth > DEEPEST {
            return Err(Absent::Unreadable);
        }
        let cost = u64::from(MOST_STEPS).min(expression.0.len() as u64 + 1);
        self.spend(cost)?;
        let bad = |_| Absent::Unreadable;
        let dwarf = context.debug.dwarf(owner.place);
        let mut evaluation = expression.evaluation(owner.unit.encoding());
        evaluation.set_max_iterations(MOST_STEPS);
        let mut result = evaluation.evaluate().map_err(bad)?;
        loop {
            result = match result {
                EvaluationResult::Complete => return Ok(evaluation.result()),
                EvaluationResult::RequiresRegister { register, base_type } => {
                    let value = self.register(frame, register.0)?;
                    let value = Value::from_u64(value_type(owner, base_type)?, value).map_err(bad)?;
                    evaluation.resume_with_register(value)
                }
                EvaluationResult::RequiresMemory { address, size, space: None, base_type } => {
                    let value = self.memory.word(address, size.into())?;
                    let value = Value::from_u64(value_type(owner, base_type)?, value).map_err(bad)?;
                    evaluation.resume_with_memory(value)
                }
                EvaluationResult::RequiresFrameBase => {
                    let (function, value) =
                        context.debug.with(&context.function, dw::DW_AT_frame_base).ok_or(Absent::Unreadable)?;
                    let expression = self.expression(context, &function, value)?;
                    evaluation.resume_with_frame_base(self.number(frame, &function, expression, depth + 1)?)
                }
                EvaluationResult::RequiresCallFrameCfa => {
                    evaluation.resume_with_call_frame_cfa(context.cfa.ok_or(Absent::NotCaptured)?)
                }
                EvaluationResult::RequiresEntryValue(expression) => {
                    let value = entry_value::at_entry(self, frame, owner, expression, &|outer, die, expression| {
                        self.number(outer, die, expression, depth + 1)
                    })?;
                    evaluation.resume_with_entry_value(Value::Generic(value))
                }
                EvaluationResult::RequiresRelocatedAddress(address) => {
                    let RuntimeAddress(address) = context.bias.to_runtime(FileAddress(address));
                    evaluation.resume_with_relocated_address(address)
                }
                EvaluationResult::RequiresIndexedAddress { index, relocate } => {
                    let address = dwarf.address(&owner.unit, index).map_err(bad)?;
                    let RuntimeAddress(moved) = context.bias.to_runtime(FileAddress(address));
                    evaluation.resume_with_indexed_address(if relocate { moved } else { address })
                }
                EvaluationResult::RequiresBaseType(offset) => {
                    evaluation.resume_with_base_type(value_type(owner, offset)?)
                }
                // Where a thread keeps its own variables depends on the C library's tables.
                EvaluationResult::RequiresTls(_) => return Err(Absent::NotCaptured),
                _ => return Err(Absent::Unreadable),
            }
            .map_err(bad)?;
        }
    }

    fn part(&self, frame: usize, piece: Piece<Bytes<'a>>) -> Result<Part, Absent> {
        let in_bytes = |bits: u64| if bits.is_multiple_of(8) { Ok(bits / 8) } else { Err(Absent::Unreadable) };
        let size = piece.size_in_bits.map(in_bytes).transpose()?;
        let skipped = in_bytes(piece.bit_offset.unwrap_or(0))?;
        let after = |bytes: Vec<u8>| {
            let skipped = usize::try_from(skipped).ok().and_then(|skipped| bytes.get(skipped..));
            skipped.map_or(Source::Absent(Absent::Unreadable), |rest| Source::Known(rest.to_vec()))
        };
        let source = match piece.location {
            Location::Empty => Source::Absent(Absent::OptimizedOut),
            Location::Address { address } => Source::Memory(address.wrapping_add(skipped)),
            Location::Register { register } => match self.register_bytes(frame, register.0) {
                Ok(bytes) => after(bytes),
                Err(absent) => Source::Absent(absent),
            },
            Location::Value { value } => after(value_bytes(value)),
            Location::Bytes { value } => after(value.slice().to_vec()),
            Location::ImplicitPointer { value, byte_offset } => Source::Implicit(Debug::own_place(value), byte_offset),
        };
        Ok(Part { size, source })
    }

    fn register(&self, frame: usize, number: u16) -> Result<u64, Absent> {
        let context = self.frame(frame)?;
        let register = X86_64Register::from_dwarf(number).ok_or(Absent::Unreadable)?;
        let is_kept = context.has_all_registers
            || register.is_callee_saved()
            || matches!(register, X86_64Register::Rsp | X86_64Register::Rip);
        match context.registers.get(register) {
            Some(value) if is_kept => Ok(value),
            _ if is_kept => Err(Absent::NotCaptured),
            _ => Err(Absent::NotSaved),
        }
    }

    fn register_bytes(&self, frame: usize, number: u16) -> Result<Vec<u8>, Absent> {
        let context = self.frame(frame)?;
        match number.checked_sub(XMM0) {
            Some(sse @ 0..=15) if context.has_all_registers => {
                let value = context.floating.and_then(|floating| floating.sse().nth(sse.into()));
                Ok(value.ok_or(Absent::NotCaptured)?.to_le_bytes().to_vec())
            }
            Some(_) if number < XMM0 + 16 => Err(Absent::NotSaved),
            _ => Ok(self.register(frame, number)?.to_le_bytes().to_vec()),
        }
    }
}

/// How an operand is to be read, by the entry of its base type.
fn value_type(owner: &Die<'_>, offset: UnitOffset) -> Result<ValueType, Absent> {
    if offset.0 == 0 {
        return Ok(ValueType::Generic);
    }
    let entry = owner.unit.entry(offset).map_err(|_| Absent::Unreadable)?;
    ValueType::from_entry(&entry).ok().flatten().ok_or(Absent::Unreadable)
}

fn value_bytes(value: Value) -> Vec<u8> {
    match value {
        Value::Generic(value) | Value::U64(value) => value.to_le_bytes().to_vec(),
        Value::I64(value) => value.to_le_bytes().to_vec(),
        Value::I8(value) => value.to_le_bytes().to_vec(),
        Value::U8(value) => value.to_le_bytes().to_vec(),
        Value::I16(value) => value.to_le_bytes().to_vec(),
        Value::U16(value) => value.to_le_bytes().to_vec(),
        Value::I32(value) => value.to_le_bytes().to_vec(),
        Value::U32(value) => value.to_le_bytes().to_vec(),
        Value::F32(value) => value.to_le_bytes().to_vec(),
        Value::F64(value) => value.to_le_bytes().to_vec(),
    }
}
