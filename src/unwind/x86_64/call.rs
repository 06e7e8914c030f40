//! What machine code says of a call: the instruction before a return address, and where a jump stub
//! goes.
//!
//! Pure: bytes and the address they lie at in, addresses out. It knows the forms that compilers and
//! linkers for x86-64 emit (Intel SDM volume 2, CALL and JMP, near forms only) and promises nothing
//! about hand-made ones: bytes that end like a call may be the end of something else, so what is
//! found here is a reason to look further, never a proof.

use std::ops::Range;

use crate::model::RuntimeAddress;

/// The longest call instruction and a prefix.
pub(super) const LONGEST: usize = 8;
/// As much of a stub as is looked at.
pub(super) const STUB: usize = 16;

/// Where a jump stub goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stub {
    To(RuntimeAddress),
    /// To the address that is stored here, as an entry of a procedure linkage table does.
    Through(RuntimeAddress),
}

/// The target of `call rel32`, if these bytes before a return address are one.
pub(super) fn direct(return_address: RuntimeAddress, before: &[u8; LONGEST]) -> Option<RuntimeAddress> {
    let [.., 0xe8, a, b, c, d] = *before else {
        return None;
    };
    Some(return_address.offset(i32::from_le_bytes([a, b, c, d]).into()))
}

/// The slot of `call *slot(%rip)`: how code compiled without a procedure linkage table calls
/// another module.
pub(super) fn through_slot(return_address: RuntimeAddress, before: &[u8; LONGEST]) -> Option<RuntimeAddress> {
    let [.., 0xff, 0x15, a, b, c, d] = *before else {
        return None;
    };
    Some(return_address.offset(i32::from_le_bytes([a, b, c, d]).into()))
}

/// Whether the bytes before a return address are a call through a register or a word of memory.
pub(super) fn is_indirect(before: &[u8; LONGEST]) -> bool {
    (2..LONGEST).any(|length| match before[LONGEST - length..] {
        [0xff, operand, ref rest @ ..] => {
            // The operand's mode, its base, and /2 between them, which makes it a call.
            let (mode, base) = (operand >> 6, operand & 7);
            let no_base = rest.first().is_some_and(|scaled| scaled & 7 == 5);
            let size = match (mode, base) {
                (0, 4) if no_base => 7,
                (0, 4) => 3,
                (0, 5) => 6,
                (0 | 3, _) => 2,
                (1, 4) => 4,
                (1, _) => 3,
                (_, 4) => 7,
                _ => 6,
            };
            operand >> 3 & 7 == 2 && size == length
        }
        _ => false,
    })
}

/// Where the code at this address goes if all it does is to jump elsewhere.
pub(super) fn stub(at: RuntimeAddress, code: &[u8]) -> Option<Stub> {
    let is_landing_pad = code.starts_with(&[0xf3, 0x0f, 0x1e, 0xfa]);
    let skipped = if is_landing_pad { 4 } else { 0 };
    // `bnd`, which does nothing any more.
    let skipped = skipped + usize::from(code.get(skipped) == Some(&0xf2));
    let long = |offset| i64::from(i32::from_le_bytes(offset));
    let (offset, through) = match *code.get(skipped..)? {
        [0xeb, a, ..] => (2 + i64::from(a.cast_signed()), false),
        [0xe9, a, b, c, d, ..] => (5 + long([a, b, c, d]), false),
        [0xff, 0x25, a, b, c, d, ..] => (6 + long([a, b, c, d]), true),
        _ => return None,
    };
    let target = at.offset(skipped as i64 + offset);
    Some(if through { Stub::Through(target) } else { Stub::To(target) })
}

/// Whether the code at this address jumps into a function, as one does whose last call became a
/// jump, or whose cold part was moved away. Instructions are not decoded: that the bytes after a
/// jump's first ones hit upon the function by chance is not to be expected, but of a short jump,
/// which has one such byte, the start only counts.
pub(super) fn jumps_into(at: RuntimeAddress, code: &[u8], function: &Range<RuntimeAddress>) -> bool {
    (0i64..).zip(0..code.len()).any(|(offset, index)| {
        let long = |a, b, c, d| at.offset(offset + i64::from(i32::from_le_bytes([a, b, c, d])));
        match code[index..] {
            [0xeb, a, ..] => at.offset(offset + 2 + i64::from(a.cast_signed())) == function.start,
            [0xe9, a, b, c, d, ..] => function.contains(&long(a, b, c, d).offset(5)),
            [0x0f, 0x80..=0x8f, a, b, c, d, ..] => function.contains(&long(a, b, c, d).offset(6)),
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last bytes before a return address.
    fn ending(with: &[u8]) -> [u8; LONGEST] {
        let mut bytes = [0x90; LONGEST];
        bytes[LONGEST - with.len()..].copy_from_slice(with);
        bytes
    }

    #[test]
    fn direct_calls_tell_their_target() {
        let at = RuntimeAddress(0x1000);
        assert_eq!(direct(at, &ending(&[0xe8, 0x10, 0, 0, 0])), Some(RuntimeAddress(0x1010)));
        assert_eq!(direct(at, &ending(&[0xe8, 0xf0, 0xff, 0xff, 0xff])), Some(RuntimeAddress(0xff0)));
        assert_eq!(direct(at, &ending(&[0xe9, 0x10, 0, 0, 0])), None);
        assert_eq!(
            direct(RuntimeAddress(4), &ending(&[0xe8, 0, 0, 0, 0x80])),
            Some(RuntimeAddress(4u64.wrapping_sub(1 << 31)))
        );
        assert_eq!(through_slot(at, &ending(&[0xff, 0x15, 8, 0, 0, 0])), Some(RuntimeAddress(0x1008)));
        assert_eq!(through_slot(at, &ending(&[0xff, 0x25, 8, 0, 0, 0])), None);
    }

    #[test]
    fn indirect_calls_are_told_from_jumps_and_pushes() {
        // As GNU as encodes them: *%rax, *%r9, *(%rax), *8(%rax), *8(%r12), *0x100(%rbx),
        // *(%rax,%rdx,8), *8(%rax,%rdx,8), *0x100(%r12), *0x1000(,%rax,8), *0x10(%rip).
        let calls: [&[u8]; 11] = [
            &[0xff, 0xd0],
            &[0x41, 0xff, 0xd1],
            &[0xff, 0x10],
            &[0xff, 0x50, 8],
            &[0x41, 0xff, 0x54, 0x24, 8],
            &[0xff, 0x93, 0, 1, 0, 0],
            &[0xff, 0x14, 0xd0],
            &[0xff, 0x54, 0xd0, 8],
            &[0x41, 0xff, 0x94, 0x24, 0, 1, 0, 0],
            &[0xff, 0x14, 0xc5, 0, 0x10, 0, 0],
            &[0xff, 0x15, 0x10, 0, 0, 0],
        ];
        for call in calls {
            assert!(is_indirect(&ending(call)), "{call:x?}");
        }
        // jmp *%rax, push (%rax), a direct call, call *%rax with a byte after it, an incomplete
        // one.
        let others: [&[u8]; 5] =
            [&[0xff, 0xe0], &[0xff, 0x30], &[0xe8, 0, 0, 0, 0], &[0xff, 0xd0, 0x90], &[0xff, 0x50]];
        for other in others {
            assert!(!is_indirect(&ending(other)), "{other:x?}");
        }
    }

    #[test]
    fn stubs_tell_where_they_go() {
        let at = RuntimeAddress(0x1000);
        let plt = [0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25, 0x75, 0x2f, 0, 0, 0x0f, 0x1f, 0x44, 0, 0];
        assert_eq!(stub(at, &plt), Some(Stub::Through(RuntimeAddress(0x1000 + 11 + 0x2f75))));
        assert_eq!(stub(at, &[0xff, 0x25, 0, 1, 0, 0]), Some(Stub::Through(RuntimeAddress(0x1106))));
        assert_eq!(stub(at, &[0xe9, 0xfb, 0xff, 0xff, 0xff]), Some(Stub::To(at)));
        assert_eq!(stub(at, &[0xe9, 0xfb, 0xff, 0xff]), None);
        assert_eq!(stub(at, &[0xeb, 0xfe]), Some(Stub::To(at)));
        assert_eq!(stub(at, &[0x55]), None);
        assert_eq!(stub(at, &[]), None);
    }

    #[test]
    fn a_jump_into_the_function_is_found_and_one_beside_it_is_not() {
        let at = RuntimeAddress(0x1000);
        let function = RuntimeAddress(0x2000)..RuntimeAddress(0x2010);
        // nop; jmp 0x2000: the jump ends at 0x1006.
        let jump = [0x90, 0xe9, 0xfa, 0x0f, 0, 0, 0x90];
        assert!(jumps_into(at, &jump, &function));
        assert!(!jumps_into(at.offset(-1), &jump, &function));
        assert!(jumps_into(at.offset(15), &jump, &function));
        assert!(!jumps_into(at.offset(16), &jump, &function));
        // nop; je 0x2000: it ends at 0x1007.
        let conditional = [0x90, 0x0f, 0x84, 0xf9, 0x0f, 0, 0];
        assert!(jumps_into(at, &conditional, &function));
        assert!(!jumps_into(at.offset(-1), &conditional, &function));
        // nop; jmp 0x2000, the short one, which ends at 0x1f83.
        let short = [0x90, 0xeb, 0x7d];
        assert!(jumps_into(RuntimeAddress(0x1f80), &short, &function));
        assert!(!jumps_into(RuntimeAddress(0x1f81), &short, &function));
    }
}
