//! The system call a thread is inside of.

use serde::{Deserialize, Serialize};

use super::Register;

/// A call's number and its six argument registers, as the kernel received them (x86-64: rdi, rsi, rdx, r10, r8, r9).
/// Arguments beyond those that the call takes hold whatever the registers held.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SystemCall {
    pub number: u32,
    pub arguments: [u64; 6],
}

impl SystemCall {
    /// What the kernel renames some sleeping calls to once they were interrupted (x86-64 `restart_syscall`).
    pub const RESTART: u32 = 219;

    /// The registers that hold the arguments, in their order (x86-64 psABI, A.2.1).
    pub const ARGUMENTS: [Register; 6] =
        [Register::Rdi, Register::Rsi, Register::Rdx, Register::R10, Register::R8, Register::R9];
}
