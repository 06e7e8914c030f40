//! Where instructions end, and which parts of them change the stack.
//!
//! Lengths of everything that 64-bit programs execute (Intel SDM volume 2, chapter 2 and appendix
//! A): prefixes, opcode maps, operands, constants. It does not know what instructions do. It says
//! so where it cannot read one; bytes that are no code may be read as some all the same.

use crate::model::X86_64Register;

/// How instructions number a general register. The instruction pointer has no number there.
pub(super) const fn encoding(register: X86_64Register) -> u8 {
    match register {
        X86_64Register::Rax => 0,
        X86_64Register::Rcx => 1,
        X86_64Register::Rdx => 2,
        X86_64Register::Rbx => 3,
        X86_64Register::Rsp => SP,
        X86_64Register::Rbp => FP,
        X86_64Register::Rsi => 6,
        X86_64Register::Rdi => 7,
        X86_64Register::R8 => 8,
        X86_64Register::R9 => 9,
        X86_64Register::R10 => 10,
        X86_64Register::R11 => 11,
        X86_64Register::R12 => 12,
        X86_64Register::R13 => 13,
        X86_64Register::R14 => 14,
        X86_64Register::R15 => 15,
        X86_64Register::Rip => u8::MAX,
    }
}

/// A register's number as it is encoded, where the stack and frame pointers are.
pub(super) const SP: u8 = 4;
pub(super) const FP: u8 = 5;

/// One instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Instruction {
    pub(super) length: usize,
    pub(super) map: Map,
    pub(super) opcode: u8,
    pub(super) operands: Option<Operands>,
    /// The constant, or the distance of a jump.
    pub(super) constant: i64,
    /// Whether it works on 64 bits by a prefix of its own.
    pub(super) is_wide: bool,
    /// The upper bit of the register in the opcode.
    extends_opcode: bool,
}

/// Which table the opcode is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Map {
    One,
    Two,
    /// Vectors, and what few compilers emit.
    Other,
}

/// The byte after the opcode, with what extends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Operands {
    /// A register, or more of the opcode.
    pub(super) register: u8,
    pub(super) other: Other,
}

/// What the second operand is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Other {
    Register(u8),
    /// Memory at a register and a distance.
    At(u8, i32),
    Memory,
}

impl Instruction {
    /// The register that is named in the opcode itself, as push and pop do.
    pub(super) fn register_in_opcode(&self) -> u8 {
        self.opcode & 7 | if self.extends_opcode { 8 } else { 0 }
    }

    /// Whether it is a jump to its constant that is always taken.
    pub(super) fn jumps(&self) -> bool {
        self.map == Map::One && matches!(self.opcode, 0xe9 | 0xeb)
    }

    /// Whether it is a near call.
    pub(super) fn calls(&self) -> bool {
        let through = self.operands.is_some_and(|operands| operands.register & 7 == 2);
        self.map == Map::One && (self.opcode == 0xe8 || self.opcode == 0xff && through)
    }

    /// Whether it is a near return.
    pub(super) fn returns(&self) -> bool {
        self.map == Map::One && matches!(self.opcode, 0xc2 | 0xc3)
    }

    /// Whether this is mov %rsp,%rbp.
    pub(super) fn sets_frame_pointer(&self) -> bool {
        let operands = match self.opcode {
            0x89 => Operands { register: SP, other: Other::Register(FP) },
            0x8b => Operands { register: FP, other: Other::Register(SP) },
            _ => return false,
        };
        self.map == Map::One && self.is_wide && self.operands == Some(operands)
    }
}

/// What follows the opcode.
struct Form {
    has_operands: bool,
    constant: Constant,
}

#[derive(Clone, Copy)]
enum Constant {
    None,
    Byte,
    /// Two bytes with a prefix, else four.
    Usual,
    /// The same, and eight where it works on 64 bits.
    Full,
    /// This many bytes.
    Bytes(usize),
}

/// The first instruction of some code.
pub(super) fn instruction(code: &[u8]) -> Option<Instruction> {
    let mut at = 0;
    let mut is_short = false;
    let mut address_is_short = false;
    let opcode = loop {
        match *code.get(at)? {
            0x66 => is_short = true,
            0x67 => address_is_short = true,
            0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0xf0 | 0xf2 | 0xf3 => {}
            other => break other,
        }
        at += 1;
    };
    let rex = if opcode & 0xf0 == 0x40 { opcode } else { 0 };
    at += usize::from(rex != 0);
    let is_wide = rex & 8 != 0;
    let first = *code.get(at)?;
    let (map, opcode, form) = match first {
        0x0f => match *code.get(at + 1)? {
            0x38 => (Map::Other, *code.get(at + 2)?, Form { has_operands: true, constant: Constant::None }),
            0x3a => (Map::Other, *code.get(at + 2)?, Form { has_operands: true, constant: Constant::Byte }),
            opcode => (Map::Two, opcode, second(opcode)?),
        },
        0xc5 | 0xc4 | 0x62 => vector(code.get(at..)?)?,
        opcode => (Map::One, opcode, one(opcode, code.get(at + 1).copied(), address_is_short)?),
    };
    at += match (map, first) {
        (Map::One, _) => 1,
        (_, 0xc5) | (Map::Two, _) => 2,
        (_, 0xc4) => 3,
        (_, 0x62) => 4,
        _ => 2,
    };
    // After vectors' prefixes, and after both bytes of an escape, comes the opcode.
    at += usize::from(map == Map::Other);
    let operands = match form.has_operands {
        true => {
            let (operands, length) = operands(code.get(at..)?, rex)?;
            at += length;
            Some(operands)
        }
        false => None,
    };
    let size = match form.constant {
        Constant::None => 0,
        Constant::Byte => 1,
        Constant::Full if is_wide => 8,
        Constant::Usual | Constant::Full if is_short && !is_wide => 2,
        Constant::Usual | Constant::Full => 4,
        Constant::Bytes(size) => size,
    };
    let constant = signed(code.get(at..at + size)?);
    let length = at + size;
    Some(Instruction { length, map, opcode, operands, constant, is_wide, extends_opcode: rex & 1 != 0 })
}

fn one(opcode: u8, next: Option<u8>, address_is_short: bool) -> Option<Form> {
    use Constant::{Byte, Bytes, Full, None as Nothing, Usual};
    let extension = next.map(|byte| byte >> 3 & 7);
    let (has_operands, constant) = match opcode {
        0x00..=0x3f => match opcode & 7 {
            0..=3 => (true, Nothing),
            4 => (false, Byte),
            5 => (false, Usual),
            _ => return None,
        },
        0x50..=0x5f => (false, Nothing),
        0x63 => (true, Nothing),
        0x68 => (false, Usual),
        0x69 => (true, Usual),
        0x6a => (false, Byte),
        0x6b => (true, Byte),
        0x6c..=0x6f => (false, Nothing),
        0x70..=0x7f => (false, Byte),
        0x80 | 0x83 => (true, Byte),
        0x81 => (true, Usual),
        0x84..=0x8e => (true, Nothing),
        0x8f if extension == Some(0) => (true, Nothing),
        0x90..=0x99 | 0x9b..=0x9f => (false, Nothing),
        0xa0..=0xa3 => (false, Bytes(if address_is_short { 4 } else { 8 })),
        0xa4..=0xa7 | 0xaa..=0xaf => (false, Nothing),
        0xa8 => (false, Byte),
        0xa9 => (false, Usual),
        0xb0..=0xb7 => (false, Byte),
        0xb8..=0xbf => (false, Full),
        0xc0 | 0xc1 | 0xc6 => (true, Byte),
        0xc2 | 0xca => (false, Bytes(2)),
        0xc3 | 0xc9 | 0xcb | 0xcc | 0xcf => (false, Nothing),
        0xc7 => (true, Usual),
        0xc8 => (false, Bytes(3)),
        0xcd => (false, Byte),
        0xd0..=0xd3 | 0xd8..=0xdf => (true, Nothing),
        0xd7 => (false, Nothing),
        0xe0..=0xe7 | 0xeb => (false, Byte),
        0xe8 | 0xe9 => (false, Bytes(4)),
        0xec..=0xef | 0xf1 | 0xf4 | 0xf5 | 0xf8..=0xfd => (false, Nothing),
        0xf6 => (true, if extension? < 2 { Byte } else { Nothing }),
        0xf7 => (true, if extension? < 2 { Usual } else { Nothing }),
        0xfe | 0xff => (true, Nothing),
        _ => return None,
    };
    Some(Form { has_operands, constant })
}

fn second(opcode: u8) -> Option<Form> {
    use Constant::{Byte, Bytes, None as Nothing};
    let (has_operands, constant) = match opcode {
        0x04 | 0x0a | 0x0c | 0x24..=0x27 | 0x36 | 0x39..=0x3f => return None,
        0x05..=0x09 | 0x0b | 0x0e | 0x30..=0x35 | 0x37 | 0x77 | 0xa0..=0xa2 | 0xa8..=0xaa | 0xc8..=0xcf => {
            (false, Nothing)
        }
        0x80..=0x8f => (false, Bytes(4)),
        0x0f | 0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => (true, Byte),
        _ => (true, Nothing),
    };
    Some(Form { has_operands, constant })
}

/// After the prefixes of vectors' instructions, which say what table the opcode is from.
fn vector(code: &[u8]) -> Option<(Map, u8, Form)> {
    let (table, opcode) = match *code {
        [0xc5, _, opcode, ..] => (1, opcode),
        [0xc4, table, _, opcode, ..] => (table & 0x1f, opcode),
        [0x62, table, _, _, opcode, ..] => (table & 7, opcode),
        _ => return None,
    };
    let constant = match (table, opcode) {
        (1, 0x70..=0x73 | 0xc2 | 0xc4..=0xc6) | (3, _) => Constant::Byte,
        (1 | 2 | 5 | 6, _) => Constant::None,
        _ => return None,
    };
    let has_operands = (table, opcode) != (1, 0x77);
    Some((Map::Other, opcode, Form { has_operands, constant }))
}

/// The operands, and how many bytes they take.
fn operands(code: &[u8], rex: u8) -> Option<(Operands, usize)> {
    let byte = *code.first()?;
    let (mode, register, base) = (byte >> 6, byte >> 3 & 7, byte & 7);
    let register = register | (rex & 4) << 1;
    let extended = (rex & 1) << 3;
    if mode == 3 {
        return Some((Operands { register, other: Other::Register(base | extended) }, 1));
    }
    let scaled = match base {
        4 => Some(*code.get(1)?),
        _ => None,
    };
    let start = 1 + usize::from(scaled.is_some());
    let base = scaled.map_or(base, |scaled| scaled & 7);
    let has_no_base = mode == 0 && base == 5;
    let size = match mode {
        0 if has_no_base => 4,
        1 => 1,
        2 => 4,
        _ => 0,
    };
    let distance = signed(code.get(start..start + size)?) as i32;
    // 4 stands for no index, unless it is extended.
    let has_index = scaled.is_some_and(|scaled| scaled >> 3 & 7 != 4 || rex & 2 != 0);
    let other = if has_no_base || has_index { Other::Memory } else { Other::At(base | extended, distance) };
    Some((Operands { register, other }, start + size))
}

fn signed(bytes: &[u8]) -> i64 {
    let mut word = [if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 }; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// A library with instructions of all kinds, for all kinds of processors, as another program
    /// takes it apart.
    #[test]
    fn instructions_end_where_objdump_says() {
        const LIBRARIES: [&str; 2] = ["/lib/x86_64-linux-gnu/libm.so.6", "/lib64/libm.so.6"];
        let Some(library) = LIBRARIES.into_iter().find(|path| std::path::Path::new(path).exists()) else {
            eprintln!("SKIPPED: there is no library to take apart");
            return;
        };
        let output = Command::new("objdump").args(["-d", "-w", "-j", ".text", library]).output();
        let output = output.expect("objdump is installed with the compilers");
        let mut compared = 0;
        // It shows the wait of old coprocessors and what waits as one.
        const WAIT: u8 = 0x9b;
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Some((_, rest)) = line.split_once(":\t") else {
                continue;
            };
            let (bytes, text) = rest.split_once('\t').unwrap_or((rest, ""));
            if text.contains("(bad)") {
                continue;
            }
            let code: Vec<u8> = bytes.split_whitespace().filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
            let code = code.strip_prefix(&[WAIT]).filter(|rest| !rest.is_empty()).unwrap_or(&code);
            let followed = [code, &[0; 16]].concat();
            assert_eq!(instruction(&followed).map(|found| found.length), Some(code.len()), "{line}");
            compared += 1;
        }
        assert!(compared > 10_000, "only {compared} instructions of {library}");
    }

    #[test]
    fn operands_are_told() {
        // mov %rbx,0x10(%rsp); mov %r12,-8(%rbp); lea 0x18(%rsp),%rsp; mov %rax,(%rsp,%rcx,8)
        let at = |code: &[u8]| instruction(code).and_then(|found| found.operands).expect("operands");
        assert_eq!(at(&[0x48, 0x89, 0x5c, 0x24, 0x10]), Operands { register: 3, other: Other::At(SP, 0x10) });
        assert_eq!(at(&[0x4c, 0x89, 0x65, 0xf8]), Operands { register: 12, other: Other::At(FP, -8) });
        assert_eq!(at(&[0x48, 0x8d, 0x64, 0x24, 0x18]), Operands { register: SP, other: Other::At(SP, 0x18) });
        assert_eq!(at(&[0x48, 0x89, 0x04, 0xcc]), Operands { register: 0, other: Other::Memory });
        // push %r13; sub $0x1000,%rsp
        assert_eq!(instruction(&[0x41, 0x55]).map(|found| found.register_in_opcode()), Some(13));
        let sub = instruction(&[0x48, 0x81, 0xec, 0, 0x10, 0, 0]).expect("an instruction");
        assert_eq!((sub.constant, sub.is_wide), (0x1000, true));
    }

    #[test]
    fn whatever_the_bytes_are_no_more_is_read_than_there_is() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                for length in 1..6 {
                    let code = [first, second, first, second, first];
                    let found = instruction(&code[..length]);
                    assert!(found.is_none_or(|found| (1..=length).contains(&found.length)));
                }
            }
        }
    }
}
