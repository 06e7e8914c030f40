//! What aarch64 machine code says of a call (Arm Architecture Reference Manual, C6.2): every
//! instruction is four bytes, so unlike on x86-64 what lies before a return address is not a matter
//! of chance.
//!
//! Pure: instructions and the addresses they lie at in, addresses out.

use crate::model::RuntimeAddress;

/// The size of an instruction.
pub(super) const SIZE: u64 = 4;
/// As much of a stub as is looked at: a landing pad and four instructions.
pub(super) const STUB: usize = 20;

/// An instruction that leaves a return address in x30.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Call {
    /// bl
    To(RuntimeAddress),
    /// blr, with or without authentication
    Indirect,
}

/// The call that this instruction is, which lies right before the return address.
pub(super) fn call(return_address: RuntimeAddress, instruction: u32) -> Option<Call> {
    let at = return_address.offset(-(SIZE as i64));
    match instruction {
        _ if instruction & 0xfc00_0000 == 0x9400_0000 => Some(Call::To(at.offset(jump_offset(instruction)))),
        _ if instruction & 0xffff_fc1f == 0xd63f_0000 => Some(Call::Indirect),
        // blraa, blrab, blraaz, blrabz
        _ if instruction & 0xfeff_f800 == 0xd63f_0800 => Some(Call::Indirect),
        _ => None,
    }
}

/// Where an entry of a procedure linkage table finds the address that it jumps to: adrp x16, page;
/// ldr x17, [x16, #offset].
pub(super) fn slot(at: RuntimeAddress, code: &[u8]) -> Option<RuntimeAddress> {
    let (words, _) = code.as_chunks::<4>();
    let mut instructions = words.iter().map(|word| u32::from_le_bytes(*word)).zip((0..).step_by(4)).peekable();
    // bti c
    instructions.next_if(|(instruction, _)| *instruction == 0xd503_245f);
    let (adrp, offset) = instructions.next()?;
    let (ldr, _) = instructions.next()?;
    if adrp & 0x9f00_001f != 0x9000_0010 || ldr & 0xffc0_03ff != 0xf940_0211 {
        return None;
    }
    let pages = (adrp >> 5 & 0x7_ffff) << 2 | adrp >> 29 & 3;
    let pages = i64::from((pages << 11).cast_signed() >> 11);
    let page = RuntimeAddress(at.offset(offset).0 & !0xfff).offset(pages << 12);
    Some(page.offset(i64::from(ldr >> 10 & 0xfff) * 8))
}

/// Whether an instruction may change the stack pointer: additions to it, and loads and stores that
/// write it back.
pub(super) fn moves_stack_pointer(instruction: u32) -> bool {
    const SP: u32 = 31;
    let (destination, base) = (instruction & 31, instruction >> 5 & 31);
    let adds = instruction & 0x3f00_0000 == 0x1100_0000 || instruction & 0x3fe0_0000 == 0x0b20_0000;
    let writes_back_pair = instruction & 0x3a80_0000 == 0x2880_0000;
    let writes_back = instruction & 0x3b20_0400 == 0x3800_0400;
    adds && destination == SP || (writes_back_pair || writes_back) && base == SP
}

/// Whether an instruction points x29 at a record on the stack: add x29, sp, #offset, which is mov
/// x29, sp too.
pub(super) fn sets_frame_pointer(instruction: u32) -> bool {
    instruction & 0xff80_03ff == 0x9100_03fd
}

/// The signed distance in a `b` or `bl`.
fn jump_offset(instruction: u32) -> i64 {
    i64::from((instruction << 6).cast_signed() >> 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_from_jumps_and_their_targets_from_them() {
        let at = RuntimeAddress(0x1004);
        // As GNU as encodes them: bl .+16, bl .-4, blr x3, blraaz x8, blrab x1, x2; b .+16, br x3,
        // ret, nop.
        assert_eq!(call(at, 0x9400_0004), Some(Call::To(RuntimeAddress(0x1010))));
        assert_eq!(call(at, 0x97ff_ffff), Some(Call::To(RuntimeAddress(0xffc))));
        for indirect in [0xd63f_0060, 0xd63f_091f, 0xd73f_0c22] {
            assert_eq!(call(at, indirect), Some(Call::Indirect), "{indirect:x}");
        }
        for other in [0x1400_0004, 0xd61f_0060, 0xd65f_03c0, 0xd503_201f] {
            assert_eq!(call(at, other), None, "{other:x}");
        }
    }

    #[test]
    fn stubs_tell_the_slot_they_jump_through() {
        // bti c; adrp x16, .+0x1f000; ldr x17, [x16, #0xf98]; add x16, x16, #0xf98; br x17
        let stub = [0xd503_245f_u32, 0xf000_00f0, 0xf947_ce11, 0x913e_6210, 0xd61f_0220];
        let bytes: Vec<u8> = stub.iter().flat_map(|instruction| instruction.to_le_bytes()).collect();
        assert_eq!(slot(RuntimeAddress(0x7a0), &bytes), Some(RuntimeAddress(0x1f_000 + 0xf98)));
        assert_eq!(slot(RuntimeAddress(0x7a4), &bytes[4..]), Some(RuntimeAddress(0x1f_000 + 0xf98)));
        assert_eq!(slot(RuntimeAddress(0x7a4), &bytes[8..]), None);
        assert_eq!(slot(RuntimeAddress(0x7a4), &[]), None);
    }

    #[test]
    fn what_moves_the_stack_pointer_is_seen() {
        // sub sp, sp, #0x20; stp x29, x30, [sp, #-32]!; ldp x29, x30, [sp], #32; str x30, [sp,
        // #-16]!; mov sp, x29; sub sp, sp, x9
        for moving in [0xd100_83ff, 0xa9be_7bfd, 0xa8c2_7bfd, 0xf81f_0ffe, 0x9100_03bf, 0xcb29_63ff] {
            assert!(moves_stack_pointer(moving), "{moving:x}");
        }
        // add x29, sp, #0x10; stp x19, x20, [sp, #16]; ldr x0, [sp, #8]; add x0, x0, #1; str x0,
        // [x1], #8; cmp sp, #0
        for still in [0x9100_43fd, 0xa901_53f3, 0xf940_07e0, 0x9100_0400, 0xf800_8420, 0xf100_03ff] {
            assert!(!moves_stack_pointer(still), "{still:x}");
        }
        assert!(sets_frame_pointer(0x9100_43fd) && sets_frame_pointer(0x9100_03fd));
        assert!(!sets_frame_pointer(0x9100_03bf) && !sets_frame_pointer(0xd100_83ff));
    }
}
