//! The registers of a thread as the last record left them, and what differs from them: the same
//! code's two sides, for writing and for reading.
//!
//! Promises: what `tell_difference` says, `apply` undoes exactly. Of a register that is not known
//! the value that was known last is kept: the next one is likely to be near it.

use std::mem;

use crate::model::{FloatingPoint, Registers, SpecialRegisters, X86_64Register};
use crate::wire::{Error, pb};

/// Registers that have numbers: 16 general ones and the instruction pointer.
const GENERAL: usize = X86_64Register::ALL.len();
/// eflags and those that follow it.
const SPECIAL: usize = 9;

#[derive(Clone, Default, Debug)]
pub(in crate::wire) struct BaseRegisters {
    /// Those that are known, by their numbers.
    known: u32,
    general: [u64; GENERAL],
    special_known: bool,
    special: [u64; SPECIAL],
    /// Empty where it is not known.
    floating_point: Vec<u8>,
}

impl BaseRegisters {
    /// As a message gives them. Errors if it does not give the values of those that it says are
    /// known.
    pub(in crate::wire) fn from_message(message: pb::Registers) -> Result<Self, Error> {
        let pb::Registers { known, values, special, floating_point } = message;
        let mut registers = Self { known, floating_point, ..Self::default() };
        if numbers(known).count() != values.len() {
            return Err(Error::Unknown("the value of a register"));
        }
        for (number, value) in numbers(known).zip(values) {
            registers.general[number] = value;
        }
        if !special.is_empty() {
            registers.special_known = true;
            registers.special = special.try_into().map_err(|_| Error::Unknown("a special register"))?;
        }
        Ok(registers)
    }

    pub(in crate::wire) fn to_model(&self) -> Registers {
        let mut registers = Registers::default();
        for register in X86_64Register::ALL.into_iter().filter(|register| self.known & 1 << *register as u8 != 0) {
            registers.general.set(register, self.general[register as usize]);
        }
        registers.special = self.special_known.then_some(SpecialRegisters(self.special));
        let has_floating_point = !self.floating_point.is_empty();
        registers.floating = has_floating_point.then(|| FloatingPoint(self.floating_point.as_slice().into()));
        registers
    }

    /// Whether these are just those.
    pub(in crate::wire) fn are(&self, registers: &Registers) -> bool {
        self.known == known(registers)
            && registers.general.iter().all(|(register, value)| self.general[register as usize] == value)
            && self.special_known == registers.special.is_some()
            && registers.special.is_none_or(|SpecialRegisters(special)| self.special == special)
            && self.floating_point == floating_point(registers)
    }

    /// Puts what differs into the room that is there. None if nothing does.
    pub(in crate::wire) fn tell_difference(&self, new: &Registers, told: &mut Option<pb::RegisterChange>) {
        let change = told.get_or_insert_default();
        change.known = known(new);
        change.changed = 0;
        change.differences.clear();
        for (register, value) in new.general.iter() {
            let before = self.general[register as usize];
            if before != value {
                change.changed |= 1 << register as u8;
                change.differences.push(apart(before, value));
            }
        }
        change.special_known = new.special.is_some();
        change.special_changed = 0;
        change.special_differences.clear();
        if let Some(SpecialRegisters(special)) = &new.special {
            for (number, (before, value)) in self.special.iter().zip(special).enumerate() {
                if before != value {
                    change.special_changed |= 1 << number;
                    change.special_differences.push(apart(*before, *value));
                }
            }
        }
        let floating_point = floating_point(new);
        change.floating_point_known = !floating_point.is_empty();
        change.floating_point.clear();
        if self.floating_point != floating_point {
            change.floating_point.extend_from_slice(floating_point);
        }
        if self.known == change.known
            && change.changed == 0
            && self.special_known == change.special_known
            && change.special_changed == 0
            && self.floating_point == floating_point
        {
            *told = None;
        }
    }

    /// Takes what differs over, as much of it as there is; what is long is taken out of the change.
    pub(in crate::wire) fn apply(&mut self, change: &mut pb::RegisterChange) {
        for (number, more) in numbers(change.changed).zip(&change.differences) {
            self.general[number] = together(self.general[number], *more);
        }
        let specials = (0..SPECIAL).filter(|number| change.special_changed & 1 << number != 0);
        for (number, more) in specials.zip(&change.special_differences) {
            self.special[number] = together(self.special[number], *more);
        }
        self.known = change.known;
        self.special_known = change.special_known;
        match (change.floating_point_known, change.floating_point.is_empty()) {
            (false, _) => self.floating_point.clear(),
            (true, false) => mem::swap(&mut self.floating_point, &mut change.floating_point),
            (true, true) => {}
        }
    }
}

impl pb::RegisterChange {
    /// Errors if it does not say how each of those has changed that it says have.
    pub(in crate::wire) fn check(&self) -> Result<(), Error> {
        match numbers(self.changed).count() == self.differences.len()
            && (0..SPECIAL).filter(|number| self.special_changed & 1 << number != 0).count()
                == self.special_differences.len()
        {
            true => Ok(()),
            false => Err(Error::Unknown("the value of a register")),
        }
    }
}

/// The numbers of the registers in a set.
fn numbers(set: u32) -> impl Iterator<Item = usize> {
    (0..GENERAL).filter(move |number| set & 1 << number != 0)
}

fn known(registers: &Registers) -> u32 {
    registers.general.iter().fold(0, |known, (register, _)| known | 1 << register as u8)
}

fn floating_point(registers: &Registers) -> &[u8] {
    registers.floating.as_ref().map_or(&[], |floating| &floating.0)
}

/// What is to be added to one number to come to the other.
pub(in crate::wire) fn apart(from: u64, to: u64) -> i64 {
    to.wrapping_sub(from).cast_signed()
}

pub(in crate::wire) fn together(from: u64, more: i64) -> u64 {
    from.wrapping_add(more.cast_unsigned())
}

impl From<&Registers> for BaseRegisters {
    fn from(registers: &Registers) -> Self {
        let mut general = [0; GENERAL];
        for (register, value) in registers.general.iter() {
            general[register as usize] = value;
        }
        Self {
            known: known(registers),
            general,
            special_known: registers.special.is_some(),
            special: registers.special.map_or([0; SPECIAL], |special| special.0),
            floating_point: floating_point(registers).to_vec(),
        }
    }
}

impl From<&Registers> for pb::Registers {
    fn from(registers: &Registers) -> Self {
        Self {
            known: known(registers),
            values: registers.general.iter().map(|(_, value)| value).collect(),
            special: registers.special.iter().flat_map(|special| special.0).collect(),
            floating_point: floating_point(registers).to_vec(),
        }
    }
}
