//! The registers of an x86-64 thread, each with a value or honestly unknown.
//!
//! Sixteen general registers and the instruction pointer are what CFI speaks of, numbered as in the System V ABI
//! (x86-64 psABI, table "DWARF Register Number Mapping"). The others matter to a reader, not to the unwinder, and live
//! beside them.

use serde::{Deserialize, Serialize};

/// A register that CFI can name. The discriminant is its DWARF number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum Register {
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

impl Register {
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

    /// The register with this DWARF number, if it is one of the seventeen.
    pub fn from_dwarf(number: u16) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Whether the ABI obliges a function to leave the register as it found it (psABI 3.2.1).
    pub fn is_callee_saved(self) -> bool {
        use Register::*;
        matches!(self, Rbx | Rbp | R12 | R13 | R14 | R15)
    }

    /// The name a debugger gives it.
    pub fn name(self) -> &'static str {
        use Register::*;
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

/// Some of the registers that CFI can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegisterSet(u32);

impl RegisterSet {
    pub fn of(registers: &[Register]) -> Self {
        Self(registers.iter().fold(0, |set, register| set | 1 << *register as u8))
    }

    pub fn without(self, register: Register) -> Self {
        Self(self.0 & !(1 << register as u8))
    }
}

/// The seventeen registers CFI speaks of. What was never read, or could not be recovered, stays unknown.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegisterFile {
    known: u32,
    values: [u64; Register::ALL.len()],
}

impl RegisterFile {
    /// The register's value, or None when it is unknown.
    pub fn get(&self, register: Register) -> Option<u64> {
        (self.known & 1 << register as u8 != 0).then(|| self.values[register as usize])
    }

    pub fn set(&mut self, register: Register, value: u64) {
        self.known |= 1 << register as u8;
        self.values[register as usize] = value;
    }

    pub fn forget(&mut self, register: Register) {
        self.known &= !(1 << register as u8);
    }

    pub fn forget_all_but(&mut self, registers: RegisterSet) {
        self.known &= registers.0;
    }

    /// The known registers with their values, in DWARF order.
    pub fn iter(&self) -> impl Iterator<Item = (Register, u64)> + '_ {
        Register::ALL.into_iter().filter_map(|register| Some((register, self.get(register)?)))
    }
}

/// What an unknown register was before is of no consequence.
impl PartialEq for RegisterFile {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for RegisterFile {}

/// A register that CFI does not speak of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
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
    pub fn get(&self, register: SpecialRegister) -> u64 {
        self.0[register as usize]
    }
}

/// The x87 and SSE registers of one thread as FXSAVE lays them out (Intel SDM volume 1, 10.5.1): 512 bytes.
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
    pub general: RegisterFile,
    /// None for a thread that was read in place: the kernel then tells only where it entered, and the arguments.
    pub special: Option<SpecialRegisters>,
    /// Only where they were asked for.
    pub floating: Option<FloatingPoint>,
}
