//! From copied bytes to frames: registers, a piece of stack and call frame information in, a stack
//! out.
//!
//! Promises: pure (it reads what it is given, never a process or a file). Every frame says how it
//! was found, and every walk why it ended. A register that was not captured is unknown; where a
//! walk needs it, it is looked for on the stack (`recover`), and if it is not found the walk ends
//! there. Callers are guessed, and marked so, where no call frame information covers the code
//! (`no_cfi`), and after a part of a stack that was not copied (`resume`). All general registers
//! are carried from frame to frame, because a caller's CFA may depend on any of them: signal frames
//! restore every one. Call frame information is hostile input: evaluation is bounded and cannot
//! panic.
//!
//! Does not know symbols. Follows changes of stacks that Go's table describes (`go`), into what was
//! copied of the other stack.

mod aarch64;
mod code;
mod evaluate;
mod expression;
mod frame_buffer;
mod machine;
mod retrace;
mod rule_cache;
mod rules;
mod stack_memory;
mod walk;
mod x86_64;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::elf::CfiSections;
use crate::model::{Bias, CodeAddress, FoundBy, ModuleIndex, RegisterFile, RuntimeAddress, Stack};
use code::{Budget, Code};
use machine::Machine;
pub use retrace::{FrameRegisters, RecordedFrame};
use rule_cache::Table;
use rules::{ModuleRules, Row};
pub use stack_memory::StackMemory;

/// What distinguishes the modules of one address space from those of another, or of the same one
/// when it has changed since: spaces of the same number have the same modules at the same
/// addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SpaceId(pub u64);

/// What the unwinder asks of the process's address space.
pub trait CodeSpace {
    /// What identifies it.
    fn id(&self) -> SpaceId;
    /// The module that this address lies in.
    fn module(&self, address: RuntimeAddress) -> Option<(ModuleIndex, Bias)>;
    /// Where the highest memory ends: no pointer into this space is larger.
    fn end(&self) -> RuntimeAddress;
    /// Whether code can be executed there.
    fn is_executable(&self, address: RuntimeAddress) -> bool;
    /// The call frame information of a module.
    fn cfi(&mut self, module: ModuleIndex) -> Arc<CfiSections>;
    /// The call frame information of code in no module, by the addresses that it has, if the
    /// process has registered some.
    fn registered(&mut self, _: RuntimeAddress) -> Option<Arc<CfiSections>> {
        None
    }
    /// Whether it is where the kernel has functions return to while a tracer's probe waits for that
    /// (uprobes).
    fn is_uprobe(&self, _: RuntimeAddress) -> bool {
        false
    }
    /// Copies what lies there now, code or the tables that code jumps through, and returns how many
    /// bytes could be had.
    fn read(&mut self, address: RuntimeAddress, buffer: &mut [u8]) -> usize;
}

/// Walks stacks of one machine. Keeps the rules it has worked out, by module, for all targets and
/// samples.
pub struct Unwinder<R: Machine> {
    /// By the address of the sections, which the rules keep alive, so that it is not given out
    /// again.
    modules: HashMap<usize, ModuleRules<R>>,
    table: Table<R>,
    /// Addresses of files' code that are not among the last instructions of a function.
    no_ends: HashSet<(SpaceId, RuntimeAddress)>,
}

impl<R: Machine> Default for Unwinder<R> {
    fn default() -> Self {
        Self { modules: HashMap::new(), table: Table::default(), no_ends: HashSet::new() }
    }
}

/// The caller of a frame.
#[derive(Clone, Copy)]
pub struct Caller<R: Machine> {
    registers: RegisterFile<R>,
    found: FoundBy,
    code: CodeAddress<RuntimeAddress>,
}

impl<R: Machine> Unwinder<R> {
    /// Forgets the rules of modules that only this still knows.
    pub fn forget_unloaded(&mut self) {
        self.modules.retain(|_, rules| rules.is_loaded());
        self.no_ends.clear();
    }

    /// The stack of a thread with these registers.
    pub fn walk(&mut self, registers: &RegisterFile<R>, stack: StackMemory<'_>, space: &mut dyn CodeSpace) -> Stack {
        Walk::new(self, stack, space).run(registers)
    }
}

/// One walk up a stack.
pub struct Walk<'a, R: Machine> {
    unwinder: &'a mut Unwinder<R>,
    stack: StackMemory<'a>,
    space: &'a mut dyn CodeSpace,
    id: SpaceId,
    pointers: R::Pointers,
    budget: Budget,
    /// The stack pointer of the last frame from which Go changed to the stack that the walk is on.
    left: Option<u64>,
    /// The last frame whose caller was found beyond others that are not on a stack.
    beyond_heap: Option<RuntimeAddress>,
    /// An address in the last function whose return address a tracer has replaced.
    probed: Option<RuntimeAddress>,
    code: Code,
    followed: R::Followed,
}

impl<'a, R: Machine> Walk<'a, R> {
    fn new(unwinder: &'a mut Unwinder<R>, stack: StackMemory<'a>, space: &'a mut dyn CodeSpace) -> Self {
        let id = space.id();
        let pointers = R::pointers(space);
        Self {
            unwinder,
            stack,
            space,
            id,
            pointers,
            budget: Budget::default(),
            left: None,
            beyond_heap: None,
            probed: None,
            code: Code::default(),
            followed: R::Followed::default(),
        }
    }
}

/// The rules in force at an address, with what they refer to.
struct Rules<R: Machine> {
    row: Arc<Row<R>>,
    sections: Arc<CfiSections>,
    bias: Bias,
}
