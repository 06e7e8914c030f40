//! What the unwinder knows of x86-64 (System V psABI): return addresses lie on the stack, right
//! below the CFA.

mod call;
mod edges;
mod effects;
mod epilogue;
mod frame_pointer;
mod go;
mod instruction;
mod java;
mod jit;
mod no_cfi;
mod pointer;
mod prologue;
mod recover;
mod resume;
mod uprobe;

use std::collections::HashMap;
use std::ops::Range;

use gimli::{UnwindTableRow, Vendor};

use crate::elf::Pclntab;
use crate::model::{CodeAddress, FileAddress, FoundBy, Register, RuntimeAddress, WalkEnd, X86_64Register};
use crate::unwind::machine::Machine;
use crate::unwind::rules::{Effort, NoRow};
use crate::unwind::{CodeSpace, StackMemory};
use effects::Effects;
use instruction::encoding;

// What all machines have, as this one has it.
type Caller = crate::unwind::Caller<X86_64Register>;
type Cfa = crate::unwind::rules::Cfa<X86_64Register>;
type RegisterFile = crate::model::RegisterFile<X86_64Register>;
type Row = crate::unwind::rules::Row<X86_64Register>;
type Rule = crate::unwind::rules::Rule<X86_64Register>;
type Rules = crate::unwind::Rules<X86_64Register>;
type Walk<'a> = crate::unwind::Walk<'a, X86_64Register>;

/// The callee-saved registers, and how instructions number them.
const CALLEE_SAVED: [(X86_64Register, u8); X86_64Register::CALLEE_SAVED.len()] = {
    let mut numbered = [(X86_64Register::Rbx, 0); X86_64Register::CALLEE_SAVED.len()];
    let mut index = 0;
    while index < numbered.len() {
        let register = X86_64Register::CALLEE_SAVED[index];
        numbered[index] = (register, encoding(register));
        index += 1;
    }
    numbered
};
/// Where the return address lies, from the CFA.
const RETURN_OFFSET: i64 = -8;

/// What the instructions of functions have shown in this walk: recursions ask for the same again
/// and again.
#[derive(Default)]
pub struct Followed {
    /// By the beginning of a function and an address in it.
    functions: HashMap<(RuntimeAddress, RuntimeAddress), Option<Effects>>,
    /// By an address in generated code: None if it is unknown whose it is, and what has been done
    /// to the stack, if that can be known.
    java: HashMap<RuntimeAddress, Option<Option<Effects>>>,
    /// By the beginning of a function: whether it may take stack of any size.
    sizes: HashMap<RuntimeAddress, bool>,
}

impl Machine for X86_64Register {
    const PC: Self = Self::Rip;
    const SP: Self = Self::Rsp;
    const LINK: Option<Self> = None;
    type Slots = [i16; Self::CALLEE_SAVED.len()];
    type ReturnSlot = ();
    type Signing = ();
    type Pointers = ();
    type Followed = Followed;
    const VENDOR: Vendor = Vendor::Default;
    /// mov $15,%rax; syscall.
    const SIGNAL_RETURN: &'static [u8] = &[0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];

    fn pointers(_: &dyn CodeSpace) {}

    #[inline]
    fn address(stored: u64, (): (), (): ()) -> u64 {
        stored
    }

    fn signing(_: &UnwindTableRow<usize>) {}

    fn return_slot(row: &Row) -> Option<()> {
        let usual = row.return_address == Self::Rip && row.rule(Self::Rip) == Rule::Offset(RETURN_OFFSET);
        usual.then_some(())
    }

    #[inline]
    fn return_offset((): ()) -> i64 {
        RETURN_OFFSET
    }

    /// `struct ucontext` of asm/ucontext.h: 40 bytes, and then the registers.
    fn signal_return(function: Range<FileAddress>) -> Row {
        use X86_64Register::{R8, R9, R10, R11, R12, R13, R14, R15, Rax, Rbp, Rbx, Rcx, Rdi, Rdx, Rip, Rsi, Rsp};
        const SAVED: [X86_64Register; 17] =
            [R8, R9, R10, R11, R12, R13, R14, R15, Rdi, Rsi, Rbp, Rbx, Rdx, Rax, Rcx, Rsp, Rip];
        Row::of_signal_frame((Rsp, 40), &SAVED, function, ())
    }

    fn go_row(table: &Pclntab<'_>, address: FileAddress, effort: &mut Effort) -> Option<Result<Row, NoRow>> {
        go::row(table, address, effort)
    }

    fn called_through_bad_pointer(
        pc: RuntimeAddress,
        registers: &RegisterFile,
        stack: StackMemory<'_>,
    ) -> Result<Caller, WalkEnd> {
        let sp = registers.get(Self::Rsp).ok_or(WalkEnd::UnknownRegister(Self::Rsp.into()))?;
        let target = stack.word(sp).filter(|&target| target != 0).ok_or(WalkEnd::NoUnwindInfo(pc))?;
        let mut registers = *registers;
        registers.set(Self::Rsp, sp.wrapping_add(8));
        registers.set(Self::Rip, target);
        Ok(Caller { registers, found: FoundBy::Guess, code: CodeAddress::Return(RuntimeAddress(target)) })
    }

    fn caller_without_cfi(
        walk: &mut Walk<'_>,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile,
    ) -> Result<Caller, WalkEnd> {
        walk.caller_without_cfi(code, registers)
    }

    fn caller_by_frame_pointer(
        walk: &mut Walk<'_>,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile,
    ) -> Result<Caller, WalkEnd> {
        frame_pointer::caller(registers, walk.stack, code.lookup())
    }

    fn caller_of_generated_code(
        walk: &mut Walk<'_>,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile,
    ) -> Result<Caller, WalkEnd> {
        walk.caller_of_generated_code(code, registers)
    }

    fn is_end(walk: &mut Walk<'_>, pc: RuntimeAddress) -> bool {
        walk.is_end(pc)
    }

    fn caller_at_end(walk: &mut Walk<'_>, pc: RuntimeAddress, registers: &RegisterFile) -> Option<Caller> {
        walk.caller_at_end(pc, registers)
    }

    fn caller_on_other_stack(
        walk: &mut Walk<'_>,
        at: RuntimeAddress,
        function: FileAddress,
        registers: &RegisterFile,
    ) -> Result<Caller, WalkEnd> {
        walk.caller_on_other_stack(at, function, registers)
    }

    fn recovered_caller(
        walk: &mut Walk<'_>,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile,
        register: Self,
    ) -> Result<Caller, WalkEnd> {
        walk.recovered_caller(code, registers, register)
    }

    fn behind_the_hole(walk: &mut Walk<'_>, missing: RuntimeAddress) -> Option<(Caller, u64)> {
        walk.behind_the_hole(missing)
    }
}
