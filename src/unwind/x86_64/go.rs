//! Go's functions: rules from the table by which Go's runtime walks its own stacks, and the way
//! across a change of stacks.
//!
//! The table says how far above the stack pointer the return address lies, and which functions are
//! the outermost ones or change to another stack, about which call frame information of Go's says
//! nothing. Go's functions keep no register for their callers but rbp; frames of C below them (a
//! callback's) get nothing else.
//!
//! A function that changes from one stack to another (runtime.asmcgocall, which calls C,
//! runtime.systemstack, runtime.cgocallback, by which C calls Go) goes on from a stack pointer that
//! Go keeps in its heap. What was copied of a second stack begins there, if `capture` found it. And
//! where C and Go call each other by turns, the frame from which a stack was changed to is where
//! the next change goes on, because each of these functions leaves a stack as it found it, but for
//! some words of its own.
//!
//! Near such a place, after some words, must be a return address after a direct call of the very
//! function; nothing else is taken. It is marked as inferred.
//!
//! gcc's split stacks need none of this where the frame pointer is known: libgcc's call frame
//! information leads the way.

use super::call;
use super::{Caller, Cfa, RegisterFile, Row, Rule, Rules, Walk};
use crate::elf::{GoFunction, Pclntab};
use crate::model::{CodeAddress, FileAddress, FoundBy, RuntimeAddress, WalkEnd, X86_64Register};
use crate::unwind::machine::Machine;
use crate::unwind::rules::{Effort, NoRow};

/// Words between where a stack was left and the return address: cgocallback's frame has six, and
/// asmcgocall's ten, with what it loses by aligning the stack.
const MOST_WORDS: usize = 16;

/// Functions that nothing has called, by name because tables before Go 1.17 do not mark them.
const OUTERMOST: [&str; 3] = ["runtime.goexit", "runtime.mstart", "runtime.rt0_go"];
/// It leaves its goroutine's stack for good and pushes a word onto the scheduler's: what it calls
/// then has no other caller.
const LEAVES: &str = "runtime.mcall";
/// Functions that go on on another stack. Before Go 1.17 and since Go 1.26 they are not marked as
/// that.
const SWITCHES: [&str; 3] = ["runtime.asmcgocall", "runtime.systemstack", "runtime.cgocallback"];
/// Marked as one though a signal's handler returns from it, to the trampoline.
const HANDLER: &str = "runtime.sigtramp";
/// What a signal's handler returns to; the second since Go 1.21.
const TRAMPOLINES: [&str; 2] = ["runtime.sigreturn", "runtime.sigreturn__sigaction"];
/// The longest instruction with which rbp is saved once there is room for it.
const SAVING: u64 = 8;

/// The rules at an address inside the instruction in question. None where the table does not know
/// the address.
pub(super) fn row(table: &Pclntab<'_>, address: FileAddress, effort: &mut Effort) -> Option<Result<Row, NoRow>> {
    // A handler's return address is the trampoline's first instruction, and look-ups are made one
    // byte before.
    if let Some(next) = table.function(address.offset(1))
        && is_one_of(&next, &TRAMPOLINES)
    {
        return Some(Ok(X86_64Register::signal_return(next.range.clone())));
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
        // Below the return address, once the instruction after the one that made room is done.
        // Assembly may push anything.
        _ if !function.is_assembly() && address.0.wrapping_sub(depth.since.0) >= SAVING => Rule::Offset(-16),
        _ => Rule::Undefined,
    };
    Some(Ok(plain(&function, bytes, Rule::Offset(-8), frame_pointer)))
}

/// Whether it has one of these names, apart from what linkers add to distinguish calling
/// conventions apart.
fn is_one_of(function: &GoFunction<'_>, names: &[&str]) -> bool {
    names.iter().any(|name| function.is_called(name, "") || function.is_called(name, ".abi0"))
}

fn plain(function: &GoFunction<'_>, depth: i64, return_address: Rule, frame_pointer: Rule) -> Row {
    let mut rules = [Rule::Undefined; X86_64Register::ALL.len()];
    rules[X86_64Register::Rsp as usize] = Rule::Unspecified;
    rules[X86_64Register::Rbp as usize] = frame_pointer;
    rules[X86_64Register::Rip as usize] = return_address;
    let cfa = Cfa::Offset(X86_64Register::Rsp, depth.saturating_add(8));
    let function = function.range.clone();
    Row { cfa, rules, return_address: X86_64Register::Rip, signing: (), signal_frame: false, function }
}

impl Walk<'_> {
    /// The caller of a function that begins there and has changed stacks.
    pub(super) fn caller_on_other_stack(
        &mut self,
        at: RuntimeAddress,
        function: FileAddress,
        registers: &RegisterFile,
    ) -> Result<Caller, WalkEnd> {
        let none = WalkEnd::NoUnwindInfo(at);
        let (_, bias) = self.space.module(at).ok_or(none)?;
        let function = bias.to_runtime(function);
        let here = registers.get(X86_64Register::Rsp);
        // asmcgocall has not changed stacks where the caller was on the thread's own already.
        let places = [self.left, self.stack.other(), here];
        let found = places.into_iter().flatten().find_map(|place| self.call_near(place, function));
        let (place, target) = found.ok_or(none)?;
        self.left = here;
        let mut outer = RegisterFile::default();
        outer.set(X86_64Register::Rsp, place.wrapping_add(8));
        outer.set(X86_64Register::Rip, target.0);
        Ok(Caller { registers: outer, found: FoundBy::Inferred, code: CodeAddress::Return(target) })
    }

    /// The caller of libgcc's __morestack, where the frame pointer is unknown by which it finds the
    /// stack that it has left: what was copied of that begins with its frame. Above the saved frame
    /// pointer is the return address after the call of it.
    pub(super) fn caller_on_left_stack(
        &mut self,
        at: RuntimeAddress,
        rules: &Rules,
        registers: &RegisterFile,
        register: X86_64Register,
    ) -> Option<Caller> {
        let place =
            self.stack.left_for(registers.get(X86_64Register::Rsp)?).filter(|_| register == X86_64Register::Rbp)?;
        let behind_call = RuntimeAddress(self.stack.word(place.checked_add(8)?)?);
        let called = call::direct(behind_call, &self.code_before(behind_call)?)?;
        let begin = self.function(rules).start;
        // __morestack_non_split is called in its place, and goes on with it.
        let goes_on = |walk: &mut Self| walk.rules(called).is_ok_and(|rules| walk.function(&rules).end == begin);
        if called != begin && !goes_on(self) {
            return None;
        }
        let mut supposed = *registers;
        supposed.set(register, place);
        self.supposed_caller(rules, &supposed, at)
    }

    /// The return address after a call of this function that lies nearest, and where.
    fn call_near(&mut self, place: u64, function: RuntimeAddress) -> Option<(u64, RuntimeAddress)> {
        let words = self.stack.from(place).filter(|words| words.start % 8 == 0)?;
        words.step_by(8).take(MOST_WORDS).find_map(|place| {
            let target = RuntimeAddress(self.stack.word(place)?);
            let called = call::direct(target, &self.code_before(target)?)?;
            (self.behind_stubs(called) == function).then_some((place, target))
        })
    }
}
