//! The registers of an x86-64 thread, each with a value or honestly unknown.
//!
//! Sixteen general registers and the instruction pointer are what CFI speaks of, numbered as in the
//! System V ABI (x86-64 psABI, table "DWARF Register Number Mapping"). The others matter to a
//! reader, not to the unwinder, and live beside them. A register file is one of a set of registers
//! (`Register`).

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::Register;

/// A register that CFI can name. The discriminant is its DWARF number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
#[expect(missing_docs, reason = "named as the architecture names them")]
pub enum X86_64Register {
    Rax,
    Rdx,
    Rcx,
    Rbx,
    Rsi,
    Rdi,
    Rbp,
    Rsp,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    Rip,
}

impl X86_64Register {
    /// All of them, in DWARF order.
    pub const ALL: [Self; 17] = [
        Self::Rax,
        Self::Rdx,
        Self::Rcx,
        Self::Rbx,
        Self::Rsi,
        Self::Rdi,
        Self::Rbp,
        Self::Rsp,
        Self::R8,
        Self::R9,
        Self::R10,
        Self::R11,
        Self::R12,
        Self::R13,
        Self::R14,
        Self::R15,
        Self::Rip,
    ];

    /// The name a debugger gives it.
    pub fn name(self) -> &'static str {
        use X86_64Register::*;
        match self {
            Rax => "rax",
            Rdx => "rdx",
            Rcx => "rcx",
            Rbx => "rbx",
            Rsi => "rsi",
            Rdi => "rdi",
            Rbp => "rbp",
            Rsp => "rsp",
            R8 => "r8",
            R9 => "r9",
            R10 => "r10",
            R11 => "r11",
            R12 => "r12",
            R13 => "r13",
            R14 => "r14",
            R15 => "r15",
            Rip => "rip",
        }
    }
}

impl Register for X86_64Register {
    type Bits = u32;
    type Each<T: Copy + Debug> = [T; Self::ALL.len()];

    /// psABI 3.2.1.
    const CALLEE_SAVED: &'static [Self] = &[Self::Rbx, Self::Rbp, Self::R12, Self::R13, Self::R14, Self::R15];

    fn all() -> &'static [Self] {
        &Self::ALL
    }

    fn each<T: Copy + Debug>(value: impl FnMut(Self) -> T) -> Self::Each<T> {
        Self::ALL.map(value)
    }

    #[inline]
    fn number(self) -> u8 {
        self as u8
    }

    #[inline]
    fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// Some of the registers that CFI can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegisterSet<R: Register>(R::Bits);

impl<R: Register> RegisterSet<R> {
    /// The set of these registers.
    pub fn of(registers: &[R]) -> Self {
        Self(registers.iter().fold(R::Bits::default(), |set, register| set | register.bit()))
    }

    /// The set without this register.
    pub fn without(self, register: R) -> Self {
        Self(self.0 & !register.bit())
    }
}

/// The registers CFI speaks of. What was never read, or could not be recovered, stays unknown.
#[derive(Clone, Copy, Debug)]
pub struct RegisterFile<R: Register> {
    known: R::Bits,
    values: R::Each<u64>,
}

impl<R: Register> Default for RegisterFile<R> {
    fn default() -> Self {
        Self { known: R::Bits::default(), values: R::each(|_| 0) }
    }
}

impl<R: Register> RegisterFile<R> {
    /// The register's value, or None when it is unknown.
    #[inline]
    pub fn get(&self, register: R) -> Option<u64> {
        (self.known & register.bit() != R::Bits::default()).then(|| self.values.as_ref()[register.index()])
    }

    /// Makes the register known, with this value.
    #[inline]
    pub fn set(&mut self, register: R, value: u64) {
        self.known = self.known | register.bit();
        self.values.as_mut()[register.index()] = value;
    }

    /// Makes the register unknown.
    #[inline]
    pub fn forget(&mut self, register: R) {
        self.known = self.known & !register.bit();
    }

    /// Makes all registers unknown but these.
    #[inline]
    pub fn forget_all_but(&mut self, registers: RegisterSet<R>) {
        self.known = self.known & registers.0;
    }

    /// The known registers with their values, in DWARF order.
    pub fn iter(&self) -> impl Iterator<Item = (R, u64)> + '_ {
        R::all().iter().filter_map(|register| Some((*register, self.get(*register)?)))
    }
}

/// What an unknown register was before is of no consequence.
impl<R: Register> PartialEq for RegisterFile<R> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<R: Register> Eq for RegisterFile<R> {}

/// A register that CFI does not speak of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
#[expect(missing_docs, reason = "named as the architecture names them")]
pub enum SpecialRegister {
    Eflags,
    FsBase,
    GsBase,
    Cs,
    Ss,
    Ds,
    Es,
    Fs,
    Gs,
}

impl SpecialRegister {
    /// All of them, in the order in which they are stored.
    pub const ALL: [Self; 9] =
        [Self::Eflags, Self::FsBase, Self::GsBase, Self::Cs, Self::Ss, Self::Ds, Self::Es, Self::Fs, Self::Gs];

    /// The name a debugger gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eflags => "eflags",
            Self::FsBase => "fs_base",
            Self::GsBase => "gs_base",
            Self::Cs => "cs",
            Self::Ss => "ss",
            Self::Ds => "ds",
            Self::Es => "es",
            Self::Fs => "fs",
            Self::Gs => "gs",
        }
    }
}

/// The special registers of one thread; they are read all at once or not at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SpecialRegisters(pub [u64; SpecialRegister::ALL.len()]);

impl SpecialRegisters {
    /// The register's value.
    pub fn get(&self, register: SpecialRegister) -> u64 {
        self.0[register as usize]
    }
}

/// The x87 and SSE registers of one thread as FXSAVE lays them out (Intel SDM volume 1, 10.5.1):
/// 512 bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FloatingPoint(pub Box<[u8]>);

impl FloatingPoint {
    const SSE: usize = 160;

    /// The SSE registers xmm0 to xmm15.
    pub fn sse(&self) -> impl Iterator<Item = u128> + '_ {
        (0..16).filter_map(|number| {
            let bytes = self.0.get(Self::SSE + 16 * number..)?.first_chunk()?;
            Some(u128::from_le_bytes(*bytes))
        })
    }

    /// The SSE control and status register.
    pub fn mxcsr(&self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.0.get(24..)?.first_chunk()?))
    }
}

/// What is known of a thread's registers at the moment of the snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Registers {
    /// The registers that CFI can name.
    pub general: RegisterFile<X86_64Register>,
    /// None for a thread that was read in place: the kernel then says only where it entered, and
    /// the arguments.
    pub special: Option<SpecialRegisters>,
    /// Only where they were asked for.
    pub floating: Option<FloatingPoint>,
}
