//! Java's virtual threads, which run on the stacks of others.
//!
//! HotSpot calls one through a frame of its own on its carrier's stack, whose newest part is what
//! it keeps of the virtual thread (ContinuationEntry, runtime/continuationEntry.hpp), with the
//! saved frame pointer and the return address after it. When a virtual thread that had left goes
//! on, only its newest frames are brought back from the heap, below that frame: the oldest of them
//! returns to a barrier, which brings back more. The barrier's first instruction takes the stack
//! pointer from the carrier's JavaThread.
//!
//! Promises: at such a barrier the walk goes on with the carrier's frames, marked as guesses; that
//! those in between are in the heap is noted as a gap. Frames in the heap are not walked.

use super::{Caller, RegisterFile, Walk};
use crate::model::{CodeAddress, FoundBy, RuntimeAddress, X86_64Register};

/// What the barrier begins with: mov N(%r15),%rsp; push %rax; sub $0x10,%rsp.
const LOADS_STACK_POINTER: [u8; 3] = [0x49, 0x8b, 0xa7];
const SAVES_RESULT: [u8; 5] = [0x50, 0x48, 0x83, 0xec, 0x10];
const BARRIER: usize = LOADS_STACK_POINTER.len() + 4 + SAVES_RESULT.len();
/// Words before the saved frame pointer: at least what is kept of a virtual thread, and at most
/// that after some arguments.
const LEAST: u64 = 6;
const MOST: u64 = 24;

impl Walk<'_> {
    /// The frame that has called the virtual thread, if `barrier` is what the oldest of its frames
    /// on this stack returns to.
    pub(super) fn caller_of_virtual_thread(
        &mut self,
        barrier: RuntimeAddress,
        registers: &RegisterFile,
    ) -> Option<Caller> {
        let mut code = [0; BARRIER];
        if self.see(barrier, &mut code)? != BARRIER || !is_barrier(&code) {
            return None;
        }
        // Whatever the caller is found by, there are others before it.
        self.beyond_heap = Some(barrier);
        let sp = registers.get(X86_64Register::Rsp)?.checked_next_multiple_of(8)?;
        // Nothing else of what is kept points to code. (The interpreter has its callees return
        // where no call is.)
        let (fp, target) = (LEAST..=MOST).find_map(|words| {
            let fp = sp.checked_add(8 * words)?;
            let target = RuntimeAddress(self.stack.word(fp.checked_add(8)?)?);
            let is_made = self.space.is_executable(target) && self.space.module(target).is_none();
            is_made.then_some((fp, target))
        })?;
        let mut outer = RegisterFile::default();
        outer.set(X86_64Register::Rbp, self.stack.word(fp)?);
        outer.set(X86_64Register::Rsp, fp.checked_add(16)?);
        outer.set(X86_64Register::Rip, target.0);
        Some(Caller { registers: outer, found: FoundBy::Guess, code: CodeAddress::Return(target) })
    }
}

fn is_barrier(code: &[u8; BARRIER]) -> bool {
    code.starts_with(&LOADS_STACK_POINTER) && code.ends_with(&SAVES_RESULT)
}
