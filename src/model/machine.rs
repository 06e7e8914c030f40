//! What the register files of all machines have in common, and a register of whichever machine.
//!
//! Which machine it is about is part of a register file's type: what the unwinder does to one is
//! compiled for each machine, and registers of two of them cannot be mixed up.

use std::fmt::Debug;
use std::ops::{BitAnd, BitOr, Not};

use super::{Aarch64Register, X86_64Register};

/// A register that call frame information can name, of one machine. They are numbered without gaps
/// as DWARF numbers them.
pub trait Register: Copy + Ord + Debug + Into<AnyRegister> + TryFrom<AnyRegister> + 'static {
    /// A bit for each register.
    type Bits: Copy
        + Eq
        + Default
        + Debug
        + BitAnd<Output = Self::Bits>
        + BitOr<Output = Self::Bits>
        + Not<Output = Self::Bits>;
    /// A value for each register, by its number.
    type Each<T: Copy + Debug>: Copy + Debug + AsRef<[T]> + AsMut<[T]>;

    /// All of them, in the order of their numbers.
    fn all() -> &'static [Self];
    /// A value for each register, made by a function.
    fn each<T: Copy + Debug>(value: impl FnMut(Self) -> T) -> Self::Each<T>;
    /// The DWARF number.
    fn number(self) -> u8;
    /// The set that has this register alone.
    fn bit(self) -> Self::Bits;
    /// The registers that the ABI obliges a function to leave as it found them, but the stack
    /// pointer.
    const CALLEE_SAVED: &'static [Self];

    /// Whether it is one of `CALLEE_SAVED`.
    #[inline]
    fn is_callee_saved(self) -> bool {
        Self::CALLEE_SAVED.contains(&self)
    }

    /// Its place in `Each`.
    #[inline]
    fn index(self) -> usize {
        self.number().into()
    }

    /// The register with this DWARF number, if call frame information means anything by it.
    fn from_dwarf(number: u16) -> Option<Self> {
        Self::all().get(usize::from(number)).copied()
    }
}

/// A register of whichever machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AnyRegister {
    /// Of x86-64.
    X86_64(X86_64Register),
    /// Of aarch64.
    Aarch64(Aarch64Register),
}

impl AnyRegister {
    /// The name a debugger gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64(register) => register.name(),
            Self::Aarch64(register) => register.name(),
        }
    }

    /// Its DWARF number on its machine.
    pub fn number(self) -> u8 {
        match self {
            Self::X86_64(register) => register.number(),
            Self::Aarch64(register) => register.number(),
        }
    }
}

impl From<X86_64Register> for AnyRegister {
    fn from(register: X86_64Register) -> Self {
        Self::X86_64(register)
    }
}

impl From<Aarch64Register> for AnyRegister {
    fn from(register: Aarch64Register) -> Self {
        Self::Aarch64(register)
    }
}

/// The register is another machine's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OtherMachine;

impl TryFrom<AnyRegister> for X86_64Register {
    type Error = OtherMachine;

    fn try_from(register: AnyRegister) -> Result<Self, OtherMachine> {
        match register {
            AnyRegister::X86_64(register) => Ok(register),
            AnyRegister::Aarch64(_) => Err(OtherMachine),
        }
    }
}

impl TryFrom<AnyRegister> for Aarch64Register {
    type Error = OtherMachine;

    fn try_from(register: AnyRegister) -> Result<Self, OtherMachine> {
        match register {
            AnyRegister::Aarch64(register) => Ok(register),
            AnyRegister::X86_64(_) => Err(OtherMachine),
        }
    }
}
