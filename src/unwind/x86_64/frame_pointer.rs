//! The fallback where no call frame information covers an address: the chain of saved frame
//! pointers.
//!
//! A function that keeps a frame pointer has its caller's at [rbp] and its return address at [rbp +
//! 8]. Generated code and assembly often do; nothing proves it, so the frame is marked, and what
//! does not look like a chain is refused. A frame pointer of zero is no proof of an outermost frame
//! either: code without frame pointers uses rbp for anything.

use super::{Caller, RegisterFile};
use crate::model::{CodeAddress, FoundBy, RuntimeAddress, WalkEnd, X86_64Register};
use crate::unwind::StackMemory;

pub(super) fn caller(registers: &RegisterFile, stack: StackMemory<'_>, at: RuntimeAddress) -> Result<Caller, WalkEnd> {
    let none = WalkEnd::NoUnwindInfo(at);
    let sp = registers.get(X86_64Register::Rsp).ok_or(WalkEnd::UnknownRegister(X86_64Register::Rsp.into()))?;
    let fp = registers.get(X86_64Register::Rbp).ok_or(none)?;
    if fp < sp || fp % 8 != 0 {
        return Err(none);
    }
    let (Some(outer_fp), Some(target)) = (stack.word(fp), stack.word(fp.wrapping_add(8))) else {
        return Err(none);
    };
    let mut outer = RegisterFile::default();
    outer.set(X86_64Register::Rbp, outer_fp);
    outer.set(X86_64Register::Rsp, fp.wrapping_add(16));
    outer.set(X86_64Register::Rip, target);
    Ok(Caller { registers: outer, found: FoundBy::FramePointer, code: CodeAddress::Return(RuntimeAddress(target)) })
}
