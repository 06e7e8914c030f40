//! The step that nearly every frame takes, kept by run-time address: one look into a table finds
//! the frame's place and its rules, and a handful of loads its caller.
//!
//! In compilers' code the CFA is a register plus a constant, and the return address and the
//! registers that are kept for the caller lie below it. Such a row is folded into a few words here.
//! Whatever else there is (expressions, signal frames, registers in other registers, memory that
//! was not copied, a caller that cannot be one) is not decided here: `caller` returns None, and the
//! general way is taken, which says why a walk ends.

use super::frame_buffer::FrameBuffer;
use super::machine::Machine;
use super::rules::{Cfa, Row, Rule};
use super::{SpaceId, StackMemory};
use crate::model::{Bias, CodeAddress, FoundBy, Frame, ModuleIndex, Place, RegisterFile, RegisterSet, RuntimeAddress};

/// Places in the table: half a mebibyte. Threads that run meet more addresses than threads that
/// wait.
const PLACES: usize = 1 << 13;

/// What is known of one address of code.
#[derive(Clone, Copy)]
pub(super) struct CachedRule<R: Machine> {
    module: ModuleIndex,
    bias: Bias,
    way: Way<R>,
}

#[derive(Clone, Copy)]
enum Way<R: Machine> {
    Usual(CallerStep<R>),
    /// Nothing called this.
    Root,
    /// It has to be looked at in the general way each time.
    General,
}

/// How to get from a frame to its caller.
#[derive(Clone, Copy)]
struct CallerStep<R: Machine> {
    base: R,
    offset: i32,
    /// Those of `CALLEE_SAVED` that are not unknown in the caller.
    callee_saved: RegisterSet<R>,
    /// One bit for each of `CALLEE_SAVED` that lies on the stack, and where, from the CFA.
    saved: u16,
    slots: R::Slots,
    return_slot: R::ReturnSlot,
    signing: R::Signing,
}

impl<R: Machine> CallerStep<R> {
    /// What a row comes to, if it is of the usual kind.
    fn fold(row: &Row<R>) -> Option<Self> {
        let Cfa::Offset(base, offset) = row.cfa else {
            return None;
        };
        if row.signal_frame {
            return None;
        }
        let mut step = Self {
            base,
            offset: i32::try_from(offset).ok()?,
            callee_saved: RegisterSet::of(R::CALLEE_SAVED),
            saved: 0,
            slots: R::Slots::default(),
            return_slot: R::return_slot(row)?,
            signing: row.signing,
        };
        for &register in R::all().iter().filter(|register| **register != row.return_address) {
            let callee_saved = R::CALLEE_SAVED.iter().position(|callee_saved| *callee_saved == register);
            match (row.rule(register), callee_saved) {
                (Rule::Unspecified, _) | (Rule::Same, Some(_)) | (Rule::Undefined, None) => {}
                (Rule::Undefined, Some(_)) => step.callee_saved = step.callee_saved.without(register),
                (Rule::Offset(offset), Some(index)) => {
                    step.saved |= 1 << index;
                    step.slots.as_mut()[index] = i16::try_from(offset).ok()?;
                }
                _ => return None,
            }
        }
        Some(step)
    }
}

impl<R: Machine> CachedRule<R> {
    /// What the rules of an address come to, which lies in executable memory.
    pub(super) fn new(module: ModuleIndex, bias: Bias, row: &Row<R>) -> Self {
        let way = match row.is_root() {
            true => Way::Root,
            false => CallerStep::fold(row).map_or(Way::General, Way::Usual),
        };
        Self { module, bias, way }
    }

    #[inline]
    pub(super) fn is_root(&self) -> bool {
        matches!(self.way, Way::Root)
    }

    #[inline]
    pub(super) fn frame(&self, code: CodeAddress<RuntimeAddress>, found: FoundBy) -> Frame {
        let place = |address| Place::InModule { module: self.module, address: self.bias.to_file(address) };
        Frame::new(code.map(place), found)
    }

    /// The caller, unless that needs a closer look.
    #[inline]
    pub(super) fn caller(
        &self,
        registers: &RegisterFile<R>,
        stack: &StackMemory<'_>,
        pointers: R::Pointers,
    ) -> Option<UsualCaller<'_, R>> {
        let Way::Usual(step) = &self.way else {
            return None;
        };
        let cfa = registers.get(step.base)?.wrapping_add_signed(step.offset.into());
        let stored = stack.word(cfa.wrapping_add_signed(R::return_offset(step.return_slot)))?;
        let target = R::address(stored, step.signing, pointers);
        (target != 0 && cfa > registers.get(R::SP)?).then_some(UsualCaller { step, cfa, target })
    }
}

/// A caller that was found, before anything is changed.
pub(super) struct UsualCaller<'a, R: Machine> {
    step: &'a CallerStep<R>,
    cfa: u64,
    target: u64,
}

impl<R: Machine> UsualCaller<'_, R> {
    #[inline]
    pub(super) fn code(&self) -> CodeAddress<RuntimeAddress> {
        CodeAddress::Return(RuntimeAddress(self.target))
    }

    /// Makes the frame's registers its caller's.
    #[inline]
    pub(super) fn restore(self, registers: &mut RegisterFile<R>, stack: &StackMemory<'_>) {
        registers.forget_all_but(self.step.callee_saved);
        let mut saved = u32::from(self.step.saved);
        while saved != 0 {
            let index = saved.trailing_zeros() as usize;
            saved &= saved - 1;
            match stack.word(self.cfa.wrapping_add_signed(self.step.slots.as_ref()[index].into())) {
                Some(value) => registers.set(R::CALLEE_SAVED[index], value),
                None => registers.forget(R::CALLEE_SAVED[index]),
            }
        }
        registers.set(R::SP, self.cfa);
        registers.set(R::PC, self.target);
    }
}

/// A table of addresses. One that falls on the place of another takes it.
pub(super) struct Table<R: Machine> {
    places: Box<[Option<Entry<R>>]>,
}

#[derive(Clone, Copy)]
struct Entry<R: Machine> {
    space: SpaceId,
    at: RuntimeAddress,
    cached: CachedRule<R>,
}

impl<R: Machine> Default for Table<R> {
    fn default() -> Self {
        Self { places: vec![None; PLACES].into() }
    }
}

impl<R: Machine> Table<R> {
    /// What is known of an address.
    #[inline]
    pub(super) fn find(&self, space: SpaceId, at: RuntimeAddress) -> Option<&CachedRule<R>> {
        let entry = self.places[place(space, at)].as_ref()?;
        (entry.at == at && entry.space == space).then_some(&entry.cached)
    }

    /// Walks on from a frame that everything is known of, for as long as the table has all that is
    /// needed: usually to the root. Code and registers become those of the last frame so found;
    /// returns what is known of that.
    #[inline]
    pub(super) fn walk(
        &self,
        (space, pointers): (SpaceId, R::Pointers),
        from: &CachedRule<R>,
        code: &mut CodeAddress<RuntimeAddress>,
        registers: &mut RegisterFile<R>,
        stack: &StackMemory<'_>,
        frames: &mut FrameBuffer,
    ) -> CachedRule<R> {
        let mut here = from;
        // Each frame lies further up the stack than the last: it ends.
        while let Some(caller) = here.caller(registers, stack, pointers) {
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

    pub(super) fn insert(&mut self, space: SpaceId, at: RuntimeAddress, cached: CachedRule<R>) {
        self.places[place(space, at)] = Some(Entry { space, at, cached });
    }
}

/// Fibonacci hashing: the upper bits of a product with 2^64 divided by the golden ratio.
#[inline]
fn place(space: SpaceId, at: RuntimeAddress) -> usize {
    let mixed = (at.0 ^ space.0.rotate_left(48)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - PLACES.trailing_zeros())) as usize
}
