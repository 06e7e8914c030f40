//! Rules for Go's functions, from the table by which Go's runtime walks its own stacks.
//!
//! The table tells how far above the stack pointer the return address lies, and which functions are the outermost ones or
//! change to another stack, about which call frame information of Go's says nothing. Go's functions keep no register for
//! their callers but rbp; frames of C below them (a callback's) get nothing else.

use super::machine::Machine;
use super::rules::{Cfa, Effort, NoRow, Row, Rule};
use crate::elf::{GoFunction, Pclntab};
use crate::model::{FileAddress, Register};

/// Functions that nothing has called, by name because tables before Go 1.17 do not mark them.
const OUTERMOST: [&str; 3] = ["runtime.goexit", "runtime.mstart", "runtime.rt0_go"];
/// It leaves its goroutine's stack for good and pushes a word onto the scheduler's: what it calls then has no other caller.
const LEAVES: &str = "runtime.mcall";
/// Functions that go on on another stack. Before Go 1.17 and since Go 1.26 they are not marked as that.
const SWITCHES: [&str; 3] = ["runtime.asmcgocall", "runtime.systemstack", "runtime.cgocallback"];
/// Marked as one though a signal's handler returns from it, to the trampoline.
const HANDLER: &str = "runtime.sigtramp";
/// What a signal's handler returns to; the second since Go 1.21.
const TRAMPOLINES: [&str; 2] = ["runtime.sigreturn", "runtime.sigreturn__sigaction"];
/// The longest instruction with which rbp is saved once there is room for it.
const SAVING: u64 = 8;

/// The rules at an address inside the instruction in question. None where the table does not know the address.
pub(super) fn row(table: &Pclntab<'_>, address: FileAddress, effort: &mut Effort) -> Option<Result<Row, NoRow>> {
    // A handler's return address is the trampoline's first instruction, and look-ups are made one byte before.
    if let Some(next) = table.function(address.offset(1))
        && is_one_of(&next, &TRAMPOLINES)
    {
        return Some(Ok(Register::signal_return(next.range.clone())));
    }
    let function = table.function(address)?;
    if is_one_of(&function, &OUTERMOST) || function.is_outermost() && !is_one_of(&function, &[HANDLER]) {
        return Some(Ok(plain(&function, 0, Rule::Undefined, Rule::Undefined)));
    }
    // The values of all instructions before it are gone through.
    let before = address.0.saturating_sub(function.range.start.0);
    if effort.spend(usize::try_from(before).unwrap_or(usize::MAX)).is_none() {
        return Some(Err(NoRow::TooLong));
    }
    let depth = function.depth(address);
    if is_one_of(&function, &[LEAVES]) && depth.is_some_and(|depth| depth.bytes > 0) {
        return Some(Ok(plain(&function, 0, Rule::Undefined, Rule::Undefined)));
    }
    if function.switches_stacks() || is_one_of(&function, &SWITCHES) {
        return Some(Err(NoRow::Elsewhere(function.range.start)));
    }
    let depth = depth?;
    let Ok(bytes) = i64::try_from(depth.bytes) else {
        return Some(Err(NoRow::Bad));
    };
    let frame_pointer = match bytes {
        0 => Rule::Same,
        // Below the return address, once the instruction after the one that made room is done. Assembly may push anything.
        _ if !function.is_assembly() && address.0.wrapping_sub(depth.since.0) >= SAVING => Rule::Offset(-16),
        _ => Rule::Undefined,
    };
    Some(Ok(plain(&function, bytes, Rule::Offset(-8), frame_pointer)))
}

/// Whether it has one of these names, apart from what linkers add to tell calling conventions apart.
fn is_one_of(function: &GoFunction<'_>, names: &[&str]) -> bool {
    names.iter().any(|name| function.is_called(name, "") || function.is_called(name, ".abi0"))
}

fn plain(function: &GoFunction<'_>, depth: i64, return_address: Rule, frame_pointer: Rule) -> Row {
    let mut rules = [Rule::Undefined; Register::ALL.len()];
    rules[Register::Rsp as usize] = Rule::Unspecified;
    rules[Register::Rbp as usize] = frame_pointer;
    rules[Register::Rip as usize] = return_address;
    let cfa = Cfa::Offset(Register::Rsp, depth.saturating_add(8));
    let function = function.range.clone();
    Row { cfa, rules, return_address: Register::Rip, signing: (), signal_frame: false, function }
}
