//! The step that nearly every frame takes, kept by run-time address: one look into a table finds the frame's place and its
//! rules, and a handful of loads its caller.
//!
//! In compilers' code the CFA is a register plus a constant, the return address lies right below it and the registers that
//! are kept for the caller lie below that. Such a row is folded into a few words here. Whatever else there is (expressions,
//! signal frames, registers in other registers, memory that was not copied, a caller that cannot be one) is not decided
//! here: `caller` returns None, and the general way is taken, which tells why a walk ends.

use super::kept::Kept;
use super::rules::{Cfa, Row, Rule};
use super::{SpaceId, StackMemory};
use crate::model::{
    Bias, CodeAddress, FoundBy, Frame, ModuleIndex, Place, Register, RegisterFile, RegisterSet, RuntimeAddress,
};

/// The registers that are kept for the caller (psABI 3.2.1).
pub(super) const KEPT: [Register; 6] =
    [Register::Rbx, Register::Rbp, Register::R12, Register::R13, Register::R14, Register::R15];
/// Places in the table: half a mebibyte. Threads that run meet more addresses than threads that wait.
const PLACES: usize = 1 << 13;

/// What is known of one address of code.
#[derive(Clone, Copy)]
pub(super) struct Known {
    module: ModuleIndex,
    bias: Bias,
    way: Way,
}

#[derive(Clone, Copy)]
enum Way {
    Usual(Step),
    /// Nothing called this.
    Root,
    /// It has to be looked at in the general way each time.
    General,
}

/// How to get from a frame to its caller.
#[derive(Clone, Copy)]
struct Step {
    base: Register,
    offset: i32,
    /// Those of `KEPT` that are not unknown in the caller.
    kept: RegisterSet,
    /// One bit for each of `KEPT` that lies on the stack, and where, from the CFA.
    saved: u8,
    slots: [i16; KEPT.len()],
}

impl Step {
    /// What a row comes to, if it is of the usual kind.
    fn fold(row: &Row) -> Option<Self> {
        let Cfa::Offset(base, offset) = row.cfa else {
            return None;
        };
        if row.signal_frame || row.return_address != Register::Rip {
            return None;
        }
        let mut step = Self {
            base,
            offset: i32::try_from(offset).ok()?,
            kept: RegisterSet::of(&KEPT),
            saved: 0,
            slots: [0; KEPT.len()],
        };
        for register in Register::ALL {
            let kept = KEPT.iter().position(|kept| *kept == register);
            match (row.rules[register as usize], kept) {
                (Rule::Offset(-8), None) if register == Register::Rip => {}
                (_, None) if register == Register::Rip => return None,
                (Rule::Unspecified, _) | (Rule::Same, Some(_)) | (Rule::Undefined, None) => {}
                (Rule::Undefined, Some(_)) => step.kept = step.kept.without(register),
                (Rule::Offset(offset), Some(index)) => {
                    step.saved |= 1 << index;
                    step.slots[index] = i16::try_from(offset).ok()?;
                }
                _ => return None,
            }
        }
        Some(step)
    }
}

impl Known {
    /// What the rules of an address come to, which lies in executable memory.
    pub(super) fn new(module: ModuleIndex, bias: Bias, row: &Row) -> Self {
        let way = match row.is_root() {
            true => Way::Root,
            false => Step::fold(row).map_or(Way::General, Way::Usual),
        };
        Self { module, bias, way }
    }

    pub(super) fn is_root(&self) -> bool {
        matches!(self.way, Way::Root)
    }

    pub(super) fn frame(&self, code: CodeAddress<RuntimeAddress>, found: FoundBy) -> Frame {
        let place = |address| Place::InModule { module: self.module, address: self.bias.to_file(address) };
        Frame { code: code.map(place), found }
    }

    /// The caller, unless that needs a closer look.
    #[inline]
    pub(super) fn caller(&self, registers: &RegisterFile, stack: &StackMemory<'_>) -> Option<UsualCaller<'_>> {
        let Way::Usual(step) = &self.way else {
            return None;
        };
        let cfa = registers.get(step.base)?.wrapping_add_signed(step.offset.into());
        let target = stack.word(cfa.wrapping_sub(8))?;
        (target != 0 && cfa > registers.get(Register::Rsp)?).then_some(UsualCaller { step, cfa, target })
    }
}

/// A caller that was found, before anything is changed.
pub(super) struct UsualCaller<'a> {
    step: &'a Step,
    cfa: u64,
    target: u64,
}

impl UsualCaller<'_> {
    pub(super) fn code(&self) -> CodeAddress<RuntimeAddress> {
        CodeAddress::Return(RuntimeAddress(self.target))
    }

    /// Makes the frame's registers its caller's.
    #[inline]
    pub(super) fn restore(self, registers: &mut RegisterFile, stack: &StackMemory<'_>) {
        registers.forget_all_but(self.step.kept);
        let mut saved = self.step.saved;
        while saved != 0 {
            let index = saved.trailing_zeros() as usize;
            saved &= saved - 1;
            match stack.word(self.cfa.wrapping_add_signed(self.step.slots[index].into())) {
                Some(value) => registers.set(KEPT[index], value),
                None => registers.forget(KEPT[index]),
            }
        }
        registers.set(Register::Rsp, self.cfa);
        registers.set(Register::Rip, self.target);
    }
}

/// A table of addresses. One that falls on the place of another takes it.
pub(super) struct Table {
    places: Box<[Option<Entry>]>,
}

#[derive(Clone, Copy)]
struct Entry {
    space: SpaceId,
    at: RuntimeAddress,
    known: Known,
}

impl Default for Table {
    fn default() -> Self {
        Self { places: vec![None; PLACES].into() }
    }
}

impl Table {
    /// What is known of an address.
    #[inline]
    pub(super) fn find(&self, space: SpaceId, at: RuntimeAddress) -> Option<&Known> {
        let entry = self.places[place(space, at)].as_ref()?;
        (entry.at == at && entry.space == space).then_some(&entry.known)
    }

    /// Walks on from a frame of which everything is known, for as long as the table has all that is needed: usually to the
    /// root. Code and registers become those of the last frame so found; returns what is known of that.
    #[inline]
    pub(super) fn walk(
        &self,
        space: SpaceId,
        from: &Known,
        code: &mut CodeAddress<RuntimeAddress>,
        registers: &mut RegisterFile,
        stack: &StackMemory<'_>,
        frames: &mut Kept,
    ) -> Known {
        let mut here = from;
        // Each frame lies further up the stack than the last: it ends.
        while let Some(caller) = here.caller(registers, stack) {
            let Some(outer) = self.find(space, caller.code().lookup()) else {
                break;
            };
            *code = caller.code();
            frames.push(outer.frame(*code, FoundBy::Cfi));
            caller.restore(registers, stack);
            here = outer;
        }
        *here
    }

    pub(super) fn insert(&mut self, space: SpaceId, at: RuntimeAddress, known: Known) {
        self.places[place(space, at)] = Some(Entry { space, at, known });
    }
}

/// Fibonacci hashing: the upper bits of a product with 2^64 divided by the golden ratio.
fn place(space: SpaceId, at: RuntimeAddress) -> usize {
    let mixed = (at.0 ^ space.0.rotate_left(48)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - PLACES.trailing_zeros())) as usize
}
