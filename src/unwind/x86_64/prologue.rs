//! How much stack a function takes when it begins, read from its first instructions.
//!
//! Call frame information stops saying where the stack pointer is once a frame pointer is set up.
//! Compilers reserve the rest of the frame right after that (`push %rbp; mov %rsp,%rbp; push %rbx;
//! sub $N,%rsp`) and give it back only at the end. So it is the least distance between the stack
//! pointer at any call and the frame pointer; more only where the function takes stack as it goes,
//! for alloca or for arguments. Reading ends at the first instruction that is not known: what was
//! found so far is still true. Promises nothing about code that no compiler made.

/// As many bytes of a function as are looked at.
pub(super) const LONGEST: usize = 96;

/// What an instruction of a prologue does.
enum PrologueStep {
    SetsFramePointer,
    /// Pushes a register that is kept for the caller.
    Saves,
    Reserves(u32),
    /// Touches a page of what was reserved.
    Probes,
    Nothing,
}

/// Bytes between the frame pointer and the stack pointer after the prologue, at least. None where
/// it makes no frame pointer.
pub(super) fn reserved(code: &[u8]) -> Option<u64> {
    let mut rest = code;
    let (mut saved, mut reserved) = (None, 0_u64);
    let mut ends_reserving = false;
    while let Some((length, step)) = decode(rest) {
        match (step, &mut saved) {
            (PrologueStep::SetsFramePointer, None) => saved = Some(0_u64),
            (PrologueStep::Saves, Some(saved)) if reserved == 0 => *saved += 8,
            (PrologueStep::Reserves(bytes), Some(_)) if !ends_reserving => reserved += u64::from(bytes),
            // What is taken later may be given back before the end.
            (PrologueStep::Nothing, Some(_)) => ends_reserving = reserved > 0,
            (PrologueStep::Saves | PrologueStep::Nothing, None) | (PrologueStep::Probes, _) => {}
            _ => break,
        }
        // The last instruction that is looked at may be cut off.
        let Some(next) = rest.get(length..) else {
            break;
        };
        rest = next;
    }
    // What was reserved may only have been to call another function with arguments on the stack.
    saved.map(|saved| saved + if passes_arguments(rest) { 0 } else { reserved })
}

/// The first instruction, if it is one that compilers put into prologues.
fn decode(code: &[u8]) -> Option<(usize, PrologueStep)> {
    Some(match *code {
        // endbr64
        [0xf3, 0x0f, 0x1e, 0xfa, ..] => (4, PrologueStep::Nothing),
        // mov %rsp,%rbp
        [0x48, 0x89, 0xe5, ..] => (3, PrologueStep::SetsFramePointer),
        // push %rbx, push %rbp; push %r12 to %r15, and %r10, by which realigned frames find their
        // arguments
        [0x53 | 0x55, ..] => (1, PrologueStep::Saves),
        [0x41, 0x52 | 0x54..=0x57, ..] => (2, PrologueStep::Saves),
        // sub $N,%rsp, for which add $-128,%rsp is shorter than sub $128,%rsp
        [0x48, 0x83, 0xec, size @ 0..=0x7f, ..] => (4, PrologueStep::Reserves(size.into())),
        [0x48, 0x81, 0xec, a, b, c, d @ 0..=0x7f, ..] => (7, PrologueStep::Reserves(u32::from_le_bytes([a, b, c, d]))),
        [0x48, 0x83, 0xc4, 0x80, ..] => (4, PrologueStep::Reserves(128)),
        // orq $0,(%rsp) touches each page of a large frame; for a very large one there is a loop,
        // which begins with lea -N(%rsp),%r11 and goes on with sub, or, cmp %r11,%rsp and jne
        [0x48, 0x83, 0x0c, 0x24, 0, ..] => (5, PrologueStep::Probes),
        [0x4c, 0x8d, 0x9c, 0x24, a, b, c, d @ 0x80..=0xff, ref around @ ..] if around.starts_with(&PROBES) => {
            (8 + PROBES.len(), PrologueStep::Reserves(i32::from_le_bytes([a, b, c, d]).unsigned_abs()))
        }
        // A realigned frame: lea 8(%rsp),%r10; and $-N,%rsp; push -8(%r10)
        [0x4c, 0x8d, 0x54, 0x24, 8, ..] => (5, PrologueStep::Nothing),
        [0x48, 0x83, 0xe4, 0x80..=0xff, ..] => (4, PrologueStep::Nothing),
        [0x41, 0xff, 0x72, 0xf8, ..] => (4, PrologueStep::Nothing),
        _ => (unrelated(code)?, PrologueStep::Nothing),
    })
}

/// The length of the first instruction if it computes something in other registers than %rsp and
/// %rbp: optimizing compilers put such ones in between. Jumps and calls are not among them, since
/// what follows may be run another time or not at all.
fn unrelated(code: &[u8]) -> Option<usize> {
    const WIDE: u8 = 8;
    let prefix = code.first().copied().filter(|byte| byte & 0xf0 == 0x40).unwrap_or(0);
    let start = usize::from(prefix != 0);
    let opcode = *code.get(start)?;
    if let 0xb8..=0xbf = opcode {
        // mov of a constant: %rsp and %rbp would be 4 and 5.
        let is_frame = prefix & 1 == 0 && matches!(opcode & 7, 4 | 5);
        return (!is_frame).then_some(start + if prefix & WIDE == 0 { 5 } else { 9 });
    }
    // How long the opcode is, how many bytes of constant follow, and whether the operand's middle
    // bits name a register.
    let (length, constant, names_register) = match (opcode, code.get(start + 1)?) {
        // add, or, and, sub, xor, cmp, test, movslq, mov, lea
        (0x01 | 0x03 | 0x09 | 0x0b | 0x21 | 0x23 | 0x29 | 0x2b | 0x31 | 0x33 | 0x39 | 0x3b, _) => (1, 0, true),
        (0x63 | 0x84 | 0x85 | 0x88 | 0x89 | 0x8b | 0x8d, _) => (1, 0, true),
        // imul by a constant, and of two registers; movzx and movsx
        (0x69, _) => (1, 4, true),
        (0x6b, _) => (1, 1, true),
        (0x0f, 0xaf | 0xb6 | 0xb7 | 0xbe | 0xbf) => (2, 0, true),
        // arithmetic with a constant; shifts; mov of a constant
        (0x81 | 0xc7, _) => (1, 4, false),
        (0x83 | 0xc0 | 0xc1 | 0xc6, _) => (1, 1, false),
        (0xd1 | 0xd3, _) => (1, 0, false),
        _ => return None,
    };
    let operand = start + length;
    let byte = *code.get(operand)?;
    let (mode, middle, base) = (byte >> 6, byte >> 3 & 7, byte & 7);
    let is_frame = |number: u8, extended: bool| !extended && matches!(number, 4 | 5);
    if names_register && is_frame(middle, prefix & 4 != 0) || mode == 3 && is_frame(base, prefix & 1 != 0) {
        return None;
    }
    let scaled = usize::from(mode != 3 && base == 4);
    let has_no_base = mode == 0 && (base == 5 || scaled == 1 && *code.get(operand + 1)? & 7 == 5);
    let displacement = match mode {
        0 if has_no_base => 4,
        1 => 1,
        2 => 4,
        _ => 0,
    };
    Some(operand + 1 + scaled + displacement + constant)
}

/// sub $4096,%rsp; orq $0,(%rsp); cmp %r11,%rsp; jne back to the first.
const PROBES: [u8; 17] = [0x48, 0x81, 0xec, 0, 0x10, 0, 0, 0x48, 0x83, 0x0c, 0x24, 0, 0x4c, 0x39, 0xdc, 0x75, 0xef];

/// Whether the first instruction pushes something, or copies the stack pointer as the place to put
/// something.
fn passes_arguments(code: &[u8]) -> bool {
    match *code {
        [0x50..=0x57 | 0x68 | 0x6a, ..] | [0x41, 0x50..=0x57, ..] | [0x48, 0x89, 0xe0..=0xe7, ..] => true,
        [0xff, operand, ..] | [0x41, 0xff, operand, ..] => operand >> 3 & 7 == 6,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compilers_begin_functions_with_is_understood() {
        // endbr64; push %rbp; mov %rsp,%rbp; sub $0x20,%rsp; mov %edi,-0x14(%rbp)
        let gcc = [0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x20, 0x89, 0x7d, 0xec];
        assert_eq!(reserved(&gcc), Some(0x20));
        // push %rbp; mov %rsp,%rbp; push %r12; mov %rdi,%r12; push %rbx; sub $0x1018,%rsp; xor
        // %eax,%eax; ret
        let saves = [
            0x55, 0x48, 0x89, 0xe5, 0x41, 0x54, 0x49, 0x89, 0xfc, 0x53, 0x48, 0x81, 0xec, 0x18, 0x10, 0, 0, 0x31, 0xc0,
            0xc3,
        ];
        assert_eq!(reserved(&saves), Some(0x1018 + 16));
        // lea 8(%rsp),%r10; and $-32,%rsp; push -8(%r10); push %rbp; mov %rsp,%rbp; push %r10; sub
        // $0x28,%rsp
        let realigned = [
            0x4c, 0x8d, 0x54, 0x24, 8, 0x48, 0x83, 0xe4, 0xe0, 0x41, 0xff, 0x72, 0xf8, 0x55, 0x48, 0x89, 0xe5, 0x41,
            0x52, 0x48, 0x83, 0xec, 0x28,
        ];
        assert_eq!(reserved(&realigned), Some(0x28 + 8));
    }

    #[test]
    fn what_optimizing_compilers_put_in_between_is_passed_over() {
        // endbr64; push %rbp; movslq %esi,%rsi; mov %rsp,%rbp; sub $0x4000,%rsp; movb
        // $1,-0x4000(%rbp,%rsi,1); call *%rdi
        let indexed = [
            0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x63, 0xf6, 0x48, 0x89, 0xe5, 0x48, 0x81, 0xec, 0, 0x40, 0, 0, 0xc6,
            0x84, 0x35, 0, 0xc0, 0xff, 0xff, 1, 0xff, 0xd7,
        ];
        assert_eq!(reserved(&indexed), Some(0x4000));
        // push %rbp; imul $0x51eb851f,%rax,%rax; sar $0x1f,%edx; mov %rsp,%rbp; push %rbx; mov
        // %rdi,%rbx; mov $0xc,%edi; lea 0(,%rax,8),%edx; mov 0x10(%rdi),%r12; sub $8,%rsp; sub
        // %eax,%esi; jne
        let divided = [
            0x55, 0x48, 0x69, 0xc0, 0x1f, 0x85, 0xeb, 0x51, 0xc1, 0xfa, 0x1f, 0x48, 0x89, 0xe5, 0x53, 0x48, 0x89, 0xfb,
            0xbf, 0xc, 0, 0, 0, 0x8d, 0x14, 0xc5, 0, 0, 0, 0, 0x4c, 0x8b, 0x67, 0x10, 0x48, 0x83, 0xec, 8, 0x29, 0xc6,
            0x75, 0,
        ];
        assert_eq!(reserved(&divided), Some(16));
        // mov %rdi,%rsp; lea 8(%rsp),%rbp; mov $1,%esp; add %rax,%rbp: these are what it is about.
        let others: [&[u8]; 4] =
            [&[0x48, 0x89, 0xfc, 0], &[0x48, 0x8d, 0x6c, 0x24, 8], &[0xbc, 1, 0, 0, 0], &[0x48, 0x01, 0xc5, 0]];
        for other in others {
            assert_eq!(unrelated(other), None, "{other:x?}");
        }
    }

    #[test]
    fn pages_that_are_probed_are_counted_once() {
        let mut code = vec![0x55, 0x48, 0x89, 0xe5, 0x4c, 0x8d, 0x9c, 0x24, 0, 0, 0xff, 0xff];
        code.extend(PROBES);
        code.extend([0x48, 0x83, 0xec, 0x10, 0xc3]);
        assert_eq!(reserved(&code), Some(0x1_0010));
        // Unrolled: sub $4096; or; sub $16.
        let unrolled = [
            0x55, 0x48, 0x89, 0xe5, 0x48, 0x81, 0xec, 0, 0x10, 0, 0, 0x48, 0x83, 0x0c, 0x24, 0, 0x48, 0x83, 0xec, 0x10,
            0xc3,
        ];
        assert_eq!(reserved(&unrolled), Some(0x1010));
    }

    #[test]
    fn what_may_be_given_back_before_the_end_is_not_counted() {
        // push %rbp; mov %rsp,%rbp; sub $8,%rsp; push $7
        assert_eq!(reserved(&[0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 8, 0x6a, 7]), Some(0));
        // push %rbp; mov %rsp,%rbp; push %rbx; sub $8,%rsp; push %rbx
        assert_eq!(reserved(&[0x55, 0x48, 0x89, 0xe5, 0x53, 0x48, 0x83, 0xec, 8, 0x53]), Some(8));
        // push %rbp; mov %rsp,%rbp; sub $0x50,%rsp; mov %rsp,%rax
        assert_eq!(reserved(&[0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x50, 0x48, 0x89, 0xe0]), Some(0));
        // push %rbp; mov %rsp,%rbp; sub $0x20,%rsp; mov %edi,-0x14(%rbp); sub $0x50,%rsp; ret
        let twice = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x20, 0x89, 0x7d, 0xec, 0x48, 0x83, 0xec, 0x50, 0xc3];
        assert_eq!(reserved(&twice), Some(0x20));
        // push %rbp; mov %rsp,%rbp; push %rax: some compilers align the stack so, but it may be an
        // argument.
        assert_eq!(reserved(&[0x55, 0x48, 0x89, 0xe5, 0x50]), Some(0));
    }

    #[test]
    fn other_code_reserves_nothing() {
        // sub $0x20,%rsp; call: no frame pointer.
        assert_eq!(reserved(&[0x48, 0x83, 0xec, 0x20, 0xe8, 0, 0, 0, 0]), None);
        assert_eq!(reserved(&[]), None);
        for first in 0..=u8::MAX {
            for length in 0..LONGEST {
                assert_eq!(reserved(&vec![first; length]), None);
            }
        }
    }
}
