//! Addresses that cannot be mistaken for one another: in a running process or in an ELF file, of an
//! instruction about to run or of the one after a call.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An address in the memory of a live process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct RuntimeAddress(pub u64);

/// An address as the ELF file itself counts: `p_vaddr`, symbol values, CFI and DWARF use it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FileAddress(pub u64);

/// How far a module was moved when it was loaded: run-time address minus file address, modulo 2^64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bias(pub u64);

impl Bias {
    /// The address in the ELF file.
    #[inline]
    pub fn to_file(self, address: RuntimeAddress) -> FileAddress {
        FileAddress(address.0.wrapping_sub(self.0))
    }

    /// The address in the process.
    #[inline]
    pub fn to_runtime(self, address: FileAddress) -> RuntimeAddress {
        RuntimeAddress(address.0.wrapping_add(self.0))
    }
}

impl RuntimeAddress {
    /// The address `bytes` further on, or before where negative, modulo 2^64.
    #[inline]
    pub fn offset(self, bytes: i64) -> Self {
        Self(self.0.wrapping_add_signed(bytes))
    }
}

impl FileAddress {
    /// The address `bytes` further on, or before where negative, modulo 2^64.
    #[inline]
    pub fn offset(self, bytes: i64) -> Self {
        Self(self.0.wrapping_add_signed(bytes))
    }
}

impl fmt::Display for RuntimeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for FileAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A place in code and how it came to be known, which decides what to look up for it.
///
/// A return address is the instruction after a call. When the callee never returns, that
/// instruction may belong to another function, another source line or another row of CFI, so all
/// look-ups are made one byte before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CodeAddress<A> {
    /// The next instruction to execute: a register's value, or what a signal interrupted.
    Pc(A),
    /// The instruction that a call returns to.
    Return(A),
}

impl<A: Copy> CodeAddress<A> {
    /// The address itself, as the register or the stack held it.
    #[inline]
    pub fn exact(self) -> A {
        match self {
            Self::Pc(address) | Self::Return(address) => address,
        }
    }

    /// The same kind of place in another way of counting addresses.
    #[inline]
    pub fn map<B>(self, f: impl FnOnce(A) -> B) -> CodeAddress<B> {
        match self {
            Self::Pc(address) => CodeAddress::Pc(f(address)),
            Self::Return(address) => CodeAddress::Return(f(address)),
        }
    }
}

impl CodeAddress<RuntimeAddress> {
    /// An address inside the instruction this is about.
    #[inline]
    pub fn lookup(self) -> RuntimeAddress {
        match self {
            Self::Pc(address) => address,
            Self::Return(address) => address.offset(-1),
        }
    }
}

impl CodeAddress<FileAddress> {
    /// An address inside the instruction this is about.
    #[inline]
    pub fn lookup(self) -> FileAddress {
        match self {
            Self::Pc(address) => address,
            Self::Return(address) => address.offset(-1),
        }
    }
}
