//! The numbers of Go's table: of fixed size, lowest byte first, and of as many bytes as they need.

/// A number in groups of seven bits, lowest first, the last group without the eighth bit.
pub(super) fn variable(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    for group in 0..5 {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u32::from(byte & 0x7f).wrapping_shl(7 * group);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

pub(super) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

pub(super) fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    data.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}
