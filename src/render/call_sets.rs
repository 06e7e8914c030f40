//! Flags, sets and arrays of blocked calls, as strace(1) writes them: of signals, operations on
//! semaphores, futexes.
//!
//! Promises: what comes from a target is read by its length only; text is bounded by the bytes that
//! were copied.

use std::fmt::Write;

/// Bits by their names, with what is left of them; 0 if there are none.
pub(super) fn flags(value: u64, names: &[(u64, &str)]) -> String {
    flags_or(value, names, "0")
}

/// The same; `none` if there are none.
pub(super) fn flags_or(value: u64, names: &[(u64, &str)], none: &str) -> String {
    let mut left = value & 0xffff_ffff;
    let mut text = String::new();
    for (bit, name) in names {
        if left & bit != 0 {
            left &= !bit;
            text.push_str(if text.is_empty() { "" } else { "|" });
            text.push_str(name);
        }
    }
    if left != 0 {
        text.push_str(if text.is_empty() { "" } else { "|" });
        // Writing to a string does not fail.
        let _ = write!(text, "{left:#x}");
    }
    if text.is_empty() { none.into() } else { text }
}

/// A set of signals, the first in the lowest bit. Where more than two thirds are in it, those that
/// are not are written.
pub(super) fn signals(set: u64) -> String {
    const SIGNALS: u32 = 64;
    let is_inverted = set.count_ones() >= SIGNALS * 2 / 3;
    let written = if is_inverted { !set } else { set };
    let names: Vec<String> = (1..=SIGNALS).filter(|number| written >> (number - 1) & 1 != 0).map(signal).collect();
    format!("{}[{}]", if is_inverted { "~" } else { "" }, names.join(" "))
}

/// signal(7), without `SIG`; real-time signals as the kernel numbers them.
fn signal(number: u32) -> String {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    match (NAMES.get(number.wrapping_sub(1) as usize), number) {
        (Some(name), _) => (*name).into(),
        (None, 32) => "RTMIN".into(),
        (None, number) => format!("RT_{}", number.saturating_sub(32)),
    }
}

/// An array of `struct sembuf`: semop(2).
pub(super) fn semaphores(bytes: &[u8]) -> String {
    const FLAGS: [(u64, &str); 2] = [(0o4000, "IPC_NOWAIT"), (0x1000, "SEM_UNDO")];
    let (entries, _) = bytes.as_chunks::<6>();
    let entry = |[a, b, c, d, e, f]: &[u8; 6]| {
        let (number, operation) = (u16::from_le_bytes([*a, *b]), i16::from_le_bytes([*c, *d]));
        let flags = flags(u64::from(u16::from_le_bytes([*e, *f])), &FLAGS);
        format!("{{sem_num={number}, sem_op={operation}, sem_flg={flags}}}")
    };
    format!("[{}]", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
}

/// An array of `struct futex_waitv`: futex_waitv(2).
pub(super) fn futexes(bytes: &[u8]) -> String {
    const FLAGS: [(u64, &str); 2] = [(2, "FUTEX_32"), (128, "FUTEX_PRIVATE_FLAG")];
    let (entries, _) = bytes.as_chunks::<24>();
    let entry = |bytes: &[u8; 24]| {
        let (words, _) = bytes.as_chunks::<8>();
        let [value, address, last] = [0, 1, 2].map(|at| words.get(at).map_or(0, |word| u64::from_le_bytes(*word)));
        let value = if value == 0 { "0".into() } else { format!("{value:#x}") };
        let flags = flags(last & u64::from(u32::MAX), &FLAGS);
        let reserved = if last >> 32 == 0 { String::new() } else { format!(", __reserved={:#x}", last >> 32) };
        format!("{{val={value}, uaddr={address:#x}, flags={flags}{reserved}}}")
    };
    format!("[{}]", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// strace cannot be asked: semop(2) does not go on after strace has attached itself.
    #[test]
    fn operations_on_semaphores_have_their_fields() {
        let one = [3_u16.to_le_bytes(), (-1_i16).to_le_bytes(), 0x1800_u16.to_le_bytes()].concat();
        assert_eq!(semaphores(&one), "[{sem_num=3, sem_op=-1, sem_flg=IPC_NOWAIT|SEM_UNDO}]");
    }

    #[test]
    fn sets_are_written_as_strace_does() {
        assert_eq!(signals(0), "[]");
        assert_eq!(signals(1 << 9 | 1 << 31 | 1 << 39), "[USR1 RTMIN RT_8]");
        assert_eq!(signals(!(1 << 8 | 1 << 18)), "~[KILL STOP]");
    }
}
