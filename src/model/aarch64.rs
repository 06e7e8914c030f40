//! The registers of an aarch64 thread that call frame information speaks of.
//!
//! They are numbered as in "DWARF for the Arm 64-bit Architecture" (aadwarf64, "DWARF register
//! names"): x0 to x30, sp, pc. The pseudo-register RA_SIGN_STATE (34) is no register of a thread:
//! it says at each instruction whether x30 is signed there, and is part of the unwinder's rules.

use std::fmt::Debug;

use super::Register;

/// A register that CFI can name. The discriminant is its DWARF number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
#[expect(missing_docs, reason = "named as the architecture names them")]
pub enum Aarch64Register {
    X0,
    X1,
    X2,
    X3,
    X4,
    X5,
    X6,
    X7,
    X8,
    X9,
    X10,
    X11,
    X12,
    X13,
    X14,
    X15,
    X16,
    X17,
    X18,
    X19,
    X20,
    X21,
    X22,
    X23,
    X24,
    X25,
    X26,
    X27,
    X28,
    X29,
    X30,
    Sp,
    Pc,
}

impl Aarch64Register {
    /// All of them, in DWARF order.
    pub const ALL: [Self; 33] = [
        Self::X0,
        Self::X1,
        Self::X2,
        Self::X3,
        Self::X4,
        Self::X5,
        Self::X6,
        Self::X7,
        Self::X8,
        Self::X9,
        Self::X10,
        Self::X11,
        Self::X12,
        Self::X13,
        Self::X14,
        Self::X15,
        Self::X16,
        Self::X17,
        Self::X18,
        Self::X19,
        Self::X20,
        Self::X21,
        Self::X22,
        Self::X23,
        Self::X24,
        Self::X25,
        Self::X26,
        Self::X27,
        Self::X28,
        Self::X29,
        Self::X30,
        Self::Sp,
        Self::Pc,
    ];
    /// The frame pointer (AAPCS64, 6.4.6).
    pub const FP: Self = Self::X29;
    /// The link register: where a call leaves its return address.
    pub const LR: Self = Self::X30;

    /// The name a debugger gives it.
    pub fn name(self) -> &'static str {
        const NAMES: [&str; 33] = [
            "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
            "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x29", "x30",
            "sp", "pc",
        ];
        NAMES[self as usize]
    }
}

impl Register for Aarch64Register {
    type Bits = u64;
    type Each<T: Copy + Debug> = [T; Self::ALL.len()];

    /// AAPCS64, 6.1.1. A call itself overwrites x30.
    const CALLEE_SAVED: &'static [Self] = &[
        Self::X19,
        Self::X20,
        Self::X21,
        Self::X22,
        Self::X23,
        Self::X24,
        Self::X25,
        Self::X26,
        Self::X27,
        Self::X28,
        Self::X29,
    ];

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
    fn bit(self) -> u64 {
        1 << self as u8
    }
}
