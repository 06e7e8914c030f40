//! Call frame instructions and DWARF expressions that no compiler would write (DWARF 5, 6.4.2 and
//! 2.5).

use super::random::Random;

const REMEMBER: u8 = 0x0a;
const RESTORE: u8 = 0x0b;

/// Some call frame instructions.
pub fn instructions(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(12) {
        instruction(random, &mut bytes);
    }
    if random.is_one_in(6) {
        // A stack of states that is never taken down, or taken down before it was built.
        let deep = random.below(300);
        bytes.extend(std::iter::repeat_n(random.pick(&[REMEMBER, RESTORE]), deep));
    }
    bytes
}

fn instruction(random: &mut Random, bytes: &mut Vec<u8>) {
    const WITHOUT_OPERANDS: [u8; 4] = [0x00, REMEMBER, RESTORE, 0x2d];
    const OF_ONE_NUMBER: [u8; 9] = [0x06, 0x07, 0x08, 0x0d, 0x0e, 0x13, 0x2e, 0x1f, 0x3f];
    const OF_TWO_NUMBERS: [u8; 8] = [0x05, 0x09, 0x0c, 0x11, 0x12, 0x14, 0x15, 0x2f];
    match random.below(10) {
        // Going on in the code: by a little, or by as much as there is.
        0 => bytes.push(0x40 | random.byte() & 0x3f),
        1 => {
            let (opcode, size) = random.pick(&[(0x01, 8), (0x02, 1), (0x03, 2), (0x04, 4)]);
            bytes.push(opcode);
            bytes.extend(&random.number().to_le_bytes()[..size]);
        }
        // A register's place, and its first one.
        2 | 3 => {
            bytes.push(0x80 | random.byte() & 0x1f);
            leb(random.pick(&[0, 1, 2, 3, 6, 1 << 40]), bytes);
        }
        4 => bytes.push(0xc0 | random.byte() & 0x3f),
        5 => bytes.push(random.pick(&WITHOUT_OPERANDS)),
        6 => {
            bytes.push(random.pick(&OF_ONE_NUMBER));
            leb(random.number(), bytes);
        }
        7 => {
            bytes.push(random.pick(&OF_TWO_NUMBERS));
            leb(random.below(20) as u64, bytes);
            leb(random.number(), bytes);
        }
        // The frame's address by an expression.
        8 => {
            bytes.push(0x0f);
            block(random, bytes);
        }
        // A register's place or value by one.
        _ => {
            bytes.push(random.pick(&[0x10, 0x16]));
            leb(random.pick(&[16, 16, 16, 7, 6, 3, 40]), bytes);
            block(random, bytes);
        }
    }
}

fn block(random: &mut Random, bytes: &mut Vec<u8>) {
    let expression = expression(random);
    // Some lie about their length.
    let length = if random.is_one_in(10) { random.number() } else { expression.len() as u64 };
    leb(length, bytes);
    bytes.extend(expression);
}

/// An expression.
pub fn expression(random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Something to work on: registers that point into the stack, and numbers.
    for _ in 0..random.below(4) {
        operation(random, &mut bytes);
    }
    match random.below(8) {
        // Back to the beginning, for ever: plainly, and with more on the stack each time.
        0 => jump(&mut bytes, 0x2f, 0),
        1 => {
            bytes.extend([0x31, 0x12]);
            jump(&mut bytes, 0x2f, 0);
        }
        // Back while there is something: the flag is always set.
        2 => {
            bytes.push(0x31);
            jump(&mut bytes, 0x28, 0);
        }
        // One word after another.
        3 => {
            bytes.push(0x77);
            bytes.push(0);
            bytes.extend(std::iter::repeat_n(0x06, random.below(1200)));
        }
        4 => bytes.extend(std::iter::repeat_n(0x12, random.below(1200))),
        // The smallest number divided by -1, by 0, and its absolute value.
        5 => {
            bytes.push(0x0e);
            bytes.extend(random.pick(&[i64::MIN as u64, 0, 1]).to_le_bytes());
            bytes.extend(random.pick(&[[0x09, 0xff], [0x09, 0x00]]));
            bytes.push(random.pick(&[0x1b, 0x1d, 0x19, 0x1e, 0x1c, 0x24, 0x25, 0x26]));
        }
        _ => {
            for _ in 0..random.below(16) {
                operation(random, &mut bytes);
            }
        }
    }
    bytes
}

fn jump(bytes: &mut Vec<u8>, opcode: u8, target: usize) {
    bytes.push(opcode);
    let after = bytes.len() + 2;
    bytes.extend((target as i16 - after as i16).to_le_bytes());
}

fn operation(random: &mut Random, bytes: &mut Vec<u8>) {
    match random.below(8) {
        // The stack pointer, the frame pointer, or any register, and some distance.
        0 | 1 => {
            let (any, far) = (random.byte() & 0x1f, random.number());
            bytes.push(0x70 + random.pick(&[7, 7, 6, 16, any]));
            leb(random.pick(&[0, 8, 16, 0x78, far]), bytes);
        }
        2 => bytes.push(0x30 + (random.byte() & 0x1f)),
        3 => {
            let (opcode, size) = random.pick(&[(0x03, 8), (0x08, 1), (0x0a, 2), (0x0c, 4), (0x0e, 8)]);
            bytes.push(opcode);
            bytes.extend(&random.number().to_le_bytes()[..size]);
        }
        4 => bytes.extend([0x94, random.pick(&[0, 1, 2, 4, 8, 3, 255])]),
        // Jumps to wherever.
        5 => {
            bytes.push(random.pick(&[0x28, 0x2f]));
            bytes.extend(&random.number().to_le_bytes()[..2]);
        }
        // Those of one operand byte or number; most mean nothing here.
        6 => {
            bytes.push(random.pick(&[0x10, 0x11, 0x15, 0x23, 0x50, 0x90, 0x93, 0x98, 0x9e, 0xa3, 0xa8]));
            leb(random.number(), bytes);
        }
        _ => bytes.push(random.byte()),
    }
}

fn leb(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
}
