//! What the unwinder has to know of a machine. One walk serves all of them; this is where they
//! differ.
//!
//! A machine is its set of registers: of what kind the registers are that a walk begins with
//! decides at compile time which machine's walk it is. What a machine has no need of is of no size
//! (`()`) or empty there and costs nothing.

use std::fmt::Debug;
use std::ops::Range;

use gimli::{UnwindTableRow, Vendor};

use super::rules::{Effort, NoRow, Row};
use super::{Caller, CodeSpace, StackMemory, Walk};
use crate::elf::Pclntab;
use crate::model::{CodeAddress, FileAddress, Register, RegisterFile, RuntimeAddress, WalkEnd};

pub trait Machine: Register {
    const PC: Self;
    const SP: Self;
    /// The register in which a call leaves its return address; None where it leaves it on the
    /// stack.
    const LINK: Option<Self>;
    /// Where each callee-saved register lies, from the CFA.
    type Slots: Copy + Default + AsRef<[i16]> + AsMut<[i16]>;
    /// Where the return address lies, from the CFA, if that is not always the same place.
    type ReturnSlot: Copy;
    /// Whether a return address is signed at an instruction (pointer authentication).
    type Signing: Copy + Debug;
    /// How the address in a signed pointer is separated from the signature.
    type Pointers: Copy;
    /// What the instructions of functions have shown in one walk.
    type Followed: Default;
    /// Whose call frame instructions there are besides DWARF's.
    const VENDOR: Vendor;
    /// rt_sigreturn(2), as a signal's handler returns to it.
    const SIGNAL_RETURN: &'static [u8];

    fn pointers(space: &dyn CodeSpace) -> Self::Pointers;
    /// The address in a return address as it is stored.
    fn address(stored: u64, signing: Self::Signing, pointers: Self::Pointers) -> u64;
    fn signing(row: &UnwindTableRow<usize>) -> Self::Signing;
    /// Where the return address lies by these rules, if they are of the usual kind.
    fn return_slot(row: &Row<Self>) -> Option<Self::ReturnSlot>;
    fn return_offset(slot: Self::ReturnSlot) -> i64;
    /// The rules of code that a signal's handler has returned to: the kernel's saved context begins
    /// where the stack pointer points.
    fn signal_return(function: Range<FileAddress>) -> Row<Self>;
    /// What Go's own table says of an address; None where it does not know.
    fn go_row(table: &Pclntab<'_>, address: FileAddress, effort: &mut Effort) -> Option<Result<Row<Self>, NoRow>>;
    /// The instruction pointer of an innermost frame points at no code: somebody called through a
    /// bad pointer, and the call has just left its return address. An outer frame has no such
    /// excuse.
    fn called_through_bad_pointer(
        pc: RuntimeAddress,
        registers: &RegisterFile<Self>,
        stack: StackMemory<'_>,
    ) -> Result<Caller<Self>, WalkEnd>;

    /// The caller of a frame in a module's code that no call frame information covers, by what can
    /// be known of such code.
    fn caller_without_cfi(
        walk: &mut Walk<'_, Self>,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile<Self>,
    ) -> Result<Caller<Self>, WalkEnd>;
    /// The caller of a frame by the chain of saved frame pointers.
    fn caller_by_frame_pointer(
        walk: &mut Walk<'_, Self>,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile<Self>,
    ) -> Result<Caller<Self>, WalkEnd>;
    /// The caller of a frame in code that lies in no file.
    fn caller_of_generated_code(
        walk: &mut Walk<'_, Self>,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile<Self>,
    ) -> Result<Caller<Self>, WalkEnd>;
    /// Whether nothing but its end is left of a function at this instruction.
    fn is_end(walk: &mut Walk<'_, Self>, pc: RuntimeAddress) -> bool;
    /// The caller of such a function, by the instructions alone.
    fn caller_at_end(
        walk: &mut Walk<'_, Self>,
        pc: RuntimeAddress,
        registers: &RegisterFile<Self>,
    ) -> Option<Caller<Self>>;
    /// The caller of a function that begins there and has changed stacks.
    fn caller_on_other_stack(
        walk: &mut Walk<'_, Self>,
        at: RuntimeAddress,
        function: FileAddress,
        registers: &RegisterFile<Self>,
    ) -> Result<Caller<Self>, WalkEnd>;
    /// The caller of a frame whose rules need a register that is unknown, or why there is none.
    fn recovered_caller(
        walk: &mut Walk<'_, Self>,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile<Self>,
        register: Self,
    ) -> Result<Caller<Self>, WalkEnd>;
    /// The first frame that can be known after the hole in a stack in which this address lies, and
    /// the size of the hole.
    fn behind_the_hole(walk: &mut Walk<'_, Self>, missing: RuntimeAddress) -> Option<(Caller<Self>, u64)>;
}
