//! The system call a thread is inside of.

use serde::{Deserialize, Serialize};
use syscalls::{x86, x86_64};

use super::X86_64Register;

/// The convention by which a call was made: it decides what the call's number means and which
/// registers hold its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum Abi {
    /// `syscall` (x86-64 psABI, A.2.1).
    #[default]
    X86_64,
    /// `int $0x80`, which 64-bit code may use as well (i386 psABI).
    I386,
}

impl Abi {
    /// The registers that hold the arguments, in their order.
    pub fn argument_registers(self) -> [X86_64Register; 6] {
        match self {
            Self::X86_64 => [
                X86_64Register::Rdi,
                X86_64Register::Rsi,
                X86_64Register::Rdx,
                X86_64Register::R10,
                X86_64Register::R8,
                X86_64Register::R9,
            ],
            Self::I386 => [
                X86_64Register::Rbx,
                X86_64Register::Rcx,
                X86_64Register::Rdx,
                X86_64Register::Rsi,
                X86_64Register::Rdi,
                X86_64Register::Rbp,
            ],
        }
    }

    /// The arguments that these registers hold: the lower halves for i386.
    pub fn values(self, registers: [u64; 6]) -> [u64; 6] {
        match self {
            Self::X86_64 => registers,
            Self::I386 => registers.map(|value| value & 0xffff_ffff),
        }
    }
}

/// Calls whose first argument is a descriptor.
const ON_DESCRIPTOR: [&str; 40] = [
    "read",
    "readv",
    "pread64",
    "preadv",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "sendto",
    "sendmsg",
    "sendmmsg",
    "accept",
    "accept4",
    "connect",
    "flock",
    "fcntl",
    "ioctl",
    "fsync",
    "fdatasync",
    "syncfs",
    "splice",
    "sendfile",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "getdents64",
    "fallocate",
    "ftruncate",
    "io_uring_enter",
    "mq_timedsend",
    "mq_timedreceive",
    "close",
    "fstat",
    "lseek",
    "listen",
    "tee",
    "vmsplice",
];

/// Calls in which a thread sleeps until something happens, and has nothing to compute.
const ONLY_WAITING: [&str; 19] = [
    "pause",
    "nanosleep",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "futex",
    "futex_time64",
    "futex_waitv",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "wait4",
    "waitid",
    "restart_syscall",
];

/// A call's number and its six argument registers, as the kernel received them. Arguments beyond
/// those that the call takes hold whatever the registers held.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SystemCall {
    /// By which convention it was made.
    pub abi: Abi,
    /// Its number in that convention.
    pub number: u32,
    /// The argument registers, in the order of the convention.
    pub arguments: [u64; 6],
}

impl SystemCall {
    /// A call made by the `syscall` instruction.
    pub fn new(number: u32, arguments: [u64; 6]) -> Self {
        Self { abi: Abi::X86_64, number, arguments }
    }

    /// Whether the number is that of `restart_syscall`, by which some sleeping calls go once a stop
    /// or a signal without a handler has interrupted them.
    pub fn is_restart(&self) -> bool {
        match self.abi {
            Abi::X86_64 => self.number == 219,
            Abi::I386 => self.number == 0,
        }
    }

    /// Whether its first argument is a descriptor.
    pub fn is_on_descriptor(&self) -> bool {
        self.name().is_some_and(|name| ON_DESCRIPTOR.contains(&name))
    }

    /// Whether a thread in it does nothing but wait.
    pub fn only_waits(&self) -> bool {
        self.name().is_some_and(|name| ONLY_WAITING.contains(&name))
    }

    /// The name of the call, where this version knows it.
    pub fn name(&self) -> Option<&'static str> {
        let number = usize::try_from(self.number).ok()?;
        match self.abi {
            Abi::X86_64 => x86_64::Sysno::new(number).map(|number| number.name()),
            Abi::I386 => x86::Sysno::new(number).map(|number| number.name()),
        }
    }
}
