//! Numbers, characters and truth values.

use gimli::DwAte;
use gimli::constants as dw;

use super::value::{Absent, Value};

/// As many low bits as this many bytes have.
pub(super) fn mask(size: u64) -> u128 {
    if size >= 16 { u128::MAX } else { (1 << (8 * size)) - 1 }
}

/// These bytes as a number.
pub(super) fn unsigned(bytes: &[u8]) -> u128 {
    bytes.iter().take(16).rev().fold(0, |value, byte| value << 8 | u128::from(*byte))
}

/// The same, where the highest bit is the sign.
pub(super) fn signed(bytes: &[u8]) -> i128 {
    let unused = 128 - 8 * bytes.len().clamp(1, 16) as u32;
    (unsigned(bytes) << unused).cast_signed() >> unused
}

/// What these bytes mean in a type of this encoding and name.
pub(super) fn scalar(encoding: DwAte, name: &str, bytes: &[u8]) -> Value {
    match encoding {
        dw::DW_ATE_boolean => match unsigned(bytes) {
            0 => Value::Bool(false),
            1 => Value::Bool(true),
            other => Value::Unsigned(other),
        },
        dw::DW_ATE_signed => Value::Signed(signed(bytes)),
        dw::DW_ATE_unsigned | dw::DW_ATE_address => Value::Unsigned(unsigned(bytes)),
        dw::DW_ATE_signed_char if bytes.len() == 1 => Value::Byte(bytes[0].cast_signed().into()),
        dw::DW_ATE_unsigned_char if bytes.len() == 1 => Value::Byte(bytes[0].into()),
        dw::DW_ATE_UTF => match u32::try_from(unsigned(bytes)) {
            Ok(code) if bytes.len() <= 4 => Value::Character(code),
            _ => Value::Absent(Absent::Unreadable),
        },
        dw::DW_ATE_float => match (bytes.len(), bytes) {
            (4, [a, b, c, d]) => Value::Float(format!("{}", f32::from_le_bytes([*a, *b, *c, *d]))),
            (8, _) => match bytes.first_chunk() {
                Some(chunk) => Value::Float(format!("{}", f64::from_le_bytes(*chunk))),
                None => Value::Absent(Absent::Unreadable),
            },
            _ => Value::Opaque(name.to_owned()),
        },
        _ => Value::Opaque(name.to_owned()),
    }
}
