//! What the unwinder knows of aarch64 (AAPCS64, aadwarf64): a call leaves its return address in
//! x30, and a function that calls others saves that wherever it likes.
//!
//! * Call frame information says nothing of x30 in a function that has not saved it: the return
//!   address is still there. A caller has overwritten x30 by its call, so its own return address
//!   has to be on the stack; where it is not, the walk ends.
//! * Return addresses may be signed (pointer authentication). RA_SIGN_STATE says at each
//!   instruction whether they are; then, and only then, what lies above an address is taken off.
//!   The signature takes the bits between the highest address that there can be and bit 55 (the
//!   kernel says the same to debuggers: NT_ARM_PAC_MASK); which those are is taken from where the
//!   highest memory ends, since no address in the space has more bits.
//! * Look-ups for return addresses are made one byte before, as on x86-64: that is inside the call,
//!   and call frame information is in force for whole instructions.
//! * The kernel's context of a signal is found by the two instructions that its trampoline consists
//!   of: current kernels' vdso has no call frame information there.
//!
//! Without call frame information there is the chain of frame records: x29 points to the caller's
//! x29 and the return address. In the innermost function that may be its caller's record still, so
//! x30 is asked first. Such code is not searched for other return addresses, and what was not
//! copied of a stack is not bridged: there the walk ends, and says so.

mod code;

use std::ops::Range;

use gimli::{AArch64, RegisterRule, UnwindTableRow, Vendor};

use super::machine::Machine;
use super::rules::{Cfa, Effort, NoRow, Row, Rule};
use super::{Caller, CodeSpace, StackMemory, Walk, evaluate};
use crate::elf::{CfiSections, Pclntab};
use crate::model::{
    Aarch64Register, CodeAddress, FileAddress, FoundBy, Register, RegisterFile, RegisterSet, RuntimeAddress, WalkEnd,
};
use code::Call;

/// Where the kernel's frame for a signal (`struct rt_sigframe`) has the registers: after 128 bytes
/// of siginfo, 176 of a ucontext, and the fault's address.
const SAVED_REGISTERS: i64 = 128 + 176 + 8;
/// At least as much of that frame lies before anything after it: the registers, and the
/// processor's state.
const SIGNAL_CONTEXT: u64 = SAVED_REGISTERS as u64 + 8 * 35;
/// How far before the record after it the kernel's frame is sought. With the largest vectors it is
/// some 10 KiB long.
const LONGEST_SIGNAL_FRAME: u64 = 16 << 10;
/// How far after its beginning a function without call frame information may be left.
const LONGEST_FUNCTION: u64 = 4096;

/// Whether the return address is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signing {
    Plain,
    Signed,
}

/// The bits of a pointer that an address has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressBits(u64);

impl AddressBits {
    /// Where all memory lies below this address.
    fn below(end: RuntimeAddress) -> Self {
        let highest = end.0.saturating_sub(1);
        Self(u64::MAX.checked_shr(highest.leading_zeros()).unwrap_or(0))
    }
}

impl Machine for Aarch64Register {
    const PC: Self = Self::Pc;
    const SP: Self = Self::Sp;
    const LINK: Option<Self> = Some(Self::LR);
    type Slots = [i16; Self::CALLEE_SAVED.len()];
    type ReturnSlot = i16;
    type Signing = Signing;
    type Pointers = AddressBits;
    type Followed = ();
    const VENDOR: Vendor = Vendor::AArch64;
    /// mov x8, #139; svc #0.
    const SIGNAL_RETURN: &'static [u8] = &[0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];

    fn pointers(space: &dyn CodeSpace) -> AddressBits {
        AddressBits::below(space.end())
    }

    #[inline]
    fn address(stored: u64, signing: Signing, AddressBits(bits): AddressBits) -> u64 {
        match signing {
            Signing::Plain => stored,
            Signing::Signed => stored & bits,
        }
    }

    fn signing(row: &UnwindTableRow<usize>) -> Signing {
        match row.register(AArch64::RA_SIGN_STATE) {
            Some(RegisterRule::Constant(state)) if state & 1 != 0 => Signing::Signed,
            _ => Signing::Plain,
        }
    }

    fn return_slot(row: &Row<Self>) -> Option<i16> {
        match row.rule(row.return_address) {
            Rule::Offset(offset) if row.return_address == Self::LR => i16::try_from(offset).ok(),
            _ => None,
        }
    }

    #[inline]
    fn return_offset(slot: i16) -> i64 {
        slot.into()
    }

    fn signal_return(function: Range<FileAddress>) -> Row<Self> {
        Row::of_signal_frame((Self::Sp, SAVED_REGISTERS), &Aarch64Register::ALL, function, Signing::Plain)
    }

    /// Go's table is not read for this machine; the call frame information that Go's linker writes
    /// is.
    fn go_row(_: &Pclntab<'_>, _: FileAddress, _: &mut Effort) -> Option<Result<Row<Self>, NoRow>> {
        None
    }

    fn called_through_bad_pointer(
        pc: RuntimeAddress,
        registers: &RegisterFile<Self>,
        _: StackMemory<'_>,
    ) -> Result<Caller<Self>, WalkEnd> {
        let target = registers.get(Self::LR).filter(|&target| target != 0).ok_or(WalkEnd::NoUnwindInfo(pc))?;
        Ok(still_in_link_register(registers, target))
    }

    fn caller_without_cfi(
        walk: &mut Walk<'_, Self>,
        code: CodeAddress<RuntimeAddress>,
        _: &RegisterFile<Self>,
    ) -> Result<Caller<Self>, WalkEnd> {
        let at = code.lookup();
        Err(if walk.is_entry(at) { WalkEnd::Root } else { WalkEnd::NoUnwindInfo(at) })
    }

    fn caller_by_frame_pointer(
        walk: &mut Walk<'_, Self>,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile<Self>,
    ) -> Result<Caller<Self>, WalkEnd> {
        if let CodeAddress::Pc(pc) = code
            && let Some(caller) = walk.caller_in_link_register(pc, registers)
        {
            return Ok(caller);
        }
        let none = WalkEnd::NoUnwindInfo(code.lookup());
        let (outer_fp, target) = walk.record(registers).ok_or(none)?;
        // Nothing says how far above the record the frame ends: the stack pointer is unknown.
        let mut outer = RegisterFile::default();
        outer.set(Self::FP, outer_fp);
        outer.set(Self::PC, target.0);
        Ok(Caller { registers: outer, found: FoundBy::FramePointer, code: CodeAddress::Return(target) })
    }

    fn caller_of_generated_code(
        walk: &mut Walk<'_, Self>,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile<Self>,
    ) -> Result<Caller<Self>, WalkEnd> {
        Self::caller_by_frame_pointer(walk, code, registers)
    }

    /// At its end a function has its return address in the link register again, as call frame
    /// information says.
    fn is_end(_: &mut Walk<'_, Self>, _: RuntimeAddress) -> bool {
        false
    }

    fn caller_at_end(_: &mut Walk<'_, Self>, _: RuntimeAddress, _: &RegisterFile<Self>) -> Option<Caller<Self>> {
        None
    }

    /// Only Go's table has such functions.
    fn caller_on_other_stack(
        _: &mut Walk<'_, Self>,
        at: RuntimeAddress,
        _: FileAddress,
        _: &RegisterFile<Self>,
    ) -> Result<Caller<Self>, WalkEnd> {
        Err(WalkEnd::NoUnwindInfo(at))
    }

    fn recovered_caller(
        walk: &mut Walk<'_, Self>,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile<Self>,
        register: Self,
    ) -> Result<Caller<Self>, WalkEnd> {
        walk.recovered(code, registers, register).ok_or(WalkEnd::UnknownRegister(register.into()))
    }

    fn behind_the_hole(_: &mut Walk<'_, Self>, _: RuntimeAddress) -> Option<(Caller<Self>, u64)> {
        None
    }
}

/// The caller of a function that has changed nothing yet.
fn still_in_link_register(registers: &RegisterFile<Aarch64Register>, target: u64) -> Caller<Aarch64Register> {
    let mut outer = *registers;
    let untouched = [Aarch64Register::CALLEE_SAVED, &[Aarch64Register::Sp]].concat();
    outer.forget_all_but(RegisterSet::of(&untouched));
    outer.set(Aarch64Register::Pc, target);
    Caller { registers: outer, found: FoundBy::Guess, code: CodeAddress::Return(RuntimeAddress(target)) }
}

impl Walk<'_, Aarch64Register> {
    /// The stack pointer, after frames without call frame information: a function that
    /// has saved x29 and x30 side by side has made a record of them, as a rule, and points x29 at
    /// it.
    fn recovered(
        &mut self,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile<Aarch64Register>,
        register: Aarch64Register,
    ) -> Option<Caller<Aarch64Register>> {
        let at = code.lookup();
        if let CodeAddress::Pc(pc) = code
            && self.is_trampoline(pc)
        {
            return self.interrupted_behind_record(registers, at);
        }
        let rules = self.rules(at).ok()?;
        let (Cfa::Offset(Aarch64Register::Sp, size), Rule::Offset(record)) =
            (rules.row.cfa, rules.row.rule(Aarch64Register::FP))
        else {
            return None;
        };
        if register != Aarch64Register::Sp
            || rules.row.rule(Aarch64Register::LR) != Rule::Offset(record.checked_add(8)?)
        {
            return None;
        }
        let cfa = registers.get(Aarch64Register::FP)?.wrapping_add_signed(record.checked_neg()?);
        let mut supposed = *registers;
        supposed.set(Aarch64Register::Sp, cfa.wrapping_add_signed(size.checked_neg()?));
        let caller = evaluate::caller(&rules.row, &rules.sections, &supposed, self.stack, self.pointers, at).ok()?;
        let caller = self.check(caller, CodeAddress::Return(at), &supposed).ok()?;
        let start = rules.bias.to_runtime(rules.row.function.start);
        let is_called = match self.call_before(caller.code.exact())? {
            Call::To(target) => self.behind_stub(target) == start,
            Call::Indirect => true,
        };
        is_called.then_some(Caller { found: FoundBy::Inferred, ..caller })
    }

    /// What lies in the record that x29 points to: the caller's x29 and the return address.
    fn record(&self, registers: &RegisterFile<Aarch64Register>) -> Option<(u64, RuntimeAddress)> {
        let fp = registers.get(Aarch64Register::FP).filter(|fp| fp % 8 == 0)?;
        if registers.get(Aarch64Register::SP).is_some_and(|sp| fp < sp) {
            return None;
        }
        let (outer_fp, stored) = (self.stack.word(fp)?, self.stack.word(fp.wrapping_add(8))?);
        // Each record points to one further up, the outermost to none (AAPCS64, 6.4.6). Nothing
        // says whether it is signed.
        let target = Aarch64Register::address(stored, Signing::Signed, self.pointers);
        (outer_fp == 0 || outer_fp > fp).then_some((outer_fp, RuntimeAddress(target)))
    }

    /// The caller of the innermost function, which no call frame information covers, if x30 still
    /// is its return address: it lies after a call of this function, or after an indirect one in
    /// code that does have such information.
    fn caller_in_link_register(
        &mut self,
        pc: RuntimeAddress,
        registers: &RegisterFile<Aarch64Register>,
    ) -> Option<Caller<Aarch64Register>> {
        let AddressBits(bits) = self.pointers;
        let target = RuntimeAddress(registers.get(Aarch64Register::LR)? & bits);
        if !self.space.is_executable(target.offset(-1)) {
            return None;
        }
        let mut caller = still_in_link_register(registers, target.0);
        if self.is_in_stub(pc) {
            return Some(caller);
        }
        match self.call_before(target)? {
            Call::To(called) => {
                let start = self.behind_stub(called);
                let into = pc.0.checked_sub(start.0).filter(|into| *into < LONGEST_FUNCTION)?;
                if (start.0..pc.0).contains(&target.0) {
                    return None;
                }
                let mut code = vec![0; usize::try_from(into).ok()?];
                let length = self.look(start, &mut code)?;
                let (words, _) = code[..length].as_chunks::<4>();
                let does = |what: fn(u32) -> bool| words.iter().any(|word| what(u32::from_le_bytes(*word)));
                if does(code::sets_frame_pointer) && self.record(registers).is_some_and(|record| record.1 == target) {
                    // It has its own record, in which the same is said.
                    return None;
                }
                if does(code::moves_stack_pointer) {
                    caller.registers.forget(Aarch64Register::Sp);
                }
            }
            Call::Indirect => {
                self.rules(target.offset(-1)).ok()?;
                caller.registers.forget(Aarch64Register::Sp);
            }
        }
        Some(caller)
    }

    /// What a signal has interrupted, where only the record is known that the kernel puts after
    /// its frame, as if the interrupted function had called the handler: the frame is the nearest
    /// before it with the same x29 and x30 in it.
    fn interrupted_behind_record(
        &mut self,
        registers: &RegisterFile<Aarch64Register>,
        at: RuntimeAddress,
    ) -> Option<Caller<Aarch64Register>> {
        let record = registers.get(Aarch64Register::FP)?;
        let (fp, link) = (self.stack.word(record)?, self.stack.word(record.wrapping_add(8))?);
        let row = Aarch64Register::signal_return(FileAddress(0)..FileAddress(0));
        let frames = (SIGNAL_CONTEXT..LONGEST_SIGNAL_FRAME).step_by(16).map(|distance| record.wrapping_sub(distance));
        for sp in frames {
            let saved = |register: Aarch64Register| {
                let place = SAVED_REGISTERS.wrapping_add(8 * i64::from(register as u8));
                self.stack.word(sp.wrapping_add_signed(place))
            };
            if saved(Aarch64Register::FP) != Some(fp) || saved(Aarch64Register::LR) != Some(link) {
                continue;
            }
            let mut supposed = *registers;
            supposed.set(Aarch64Register::Sp, sp);
            return evaluate::caller(&row, &CfiSections::default(), &supposed, self.stack, self.pointers, at).ok();
        }
        None
    }

    fn call_before(&mut self, return_address: RuntimeAddress) -> Option<Call> {
        let mut instruction = [0; code::SIZE as usize];
        let length = self.look(return_address.offset(-(code::SIZE as i64)), &mut instruction)?;
        code::call(return_address, u32::from_le_bytes(instruction)).filter(|_| length == instruction.len())
    }

    /// Whether this is in an entry of a procedure linkage table, which changes nothing, whatever
    /// has called or jumped there.
    fn is_in_stub(&mut self, pc: RuntimeAddress) -> bool {
        const BEFORE: usize = code::STUB - code::SIZE as usize;
        let mut around = [0; BEFORE + code::STUB];
        let from = pc.offset(-(BEFORE as i64));
        let length = self.look(from, &mut around).unwrap_or(0);
        let starts = (0..=BEFORE).step_by(code::SIZE as usize);
        starts.zip((0..).step_by(code::SIZE as usize)).any(|(start, offset)| {
            let stub = around[..length].get(start..).unwrap_or_default();
            code::slot(from.offset(offset), &stub[..stub.len().min(code::STUB)]).is_some()
        })
    }

    /// Where a call of this address comes to, as far as an entry of a procedure linkage table
    /// says.
    fn behind_stub(&mut self, target: RuntimeAddress) -> RuntimeAddress {
        let mut stub = [0; code::STUB];
        let length = self.look(target, &mut stub).unwrap_or(0);
        let mut word = [0; 8];
        match code::slot(target, &stub[..length]) {
            Some(slot) if self.look(slot, &mut word) == Some(word.len()) => RuntimeAddress(u64::from_le_bytes(word)),
            _ => target,
        }
    }
}
