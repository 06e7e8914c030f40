//! A futex wait: its word, what surrounds it, and the value that was expected. futex(2).

use crate::model::{Abi, MemoryOf, MemoryPiece, RuntimeAddress, SystemCall, Thread};

const PRIVATE: u64 = 128;
const CLOCK_REALTIME: u64 = 256;

/// A thread's wait in futex(2).
pub(super) struct Futex<'a> {
    pub(super) address: RuntimeAddress,
    /// The value that the word had when the thread went to sleep.
    pub(super) expected: u32,
    /// Whether the kernel itself hands the lock on (FUTEX_LOCK_PI).
    pub(super) is_pi: bool,
    /// Whether threads of this process alone can wake it.
    pub(super) is_private: bool,
    pub(super) is_timed: bool,
    memory: Option<&'a MemoryPiece>,
}

impl<'a> Futex<'a> {
    /// The wait of a thread that is in this call, if it is one.
    pub(super) fn of(thread: &'a Thread, call: SystemCall) -> Option<Self> {
        const WAIT: u64 = 0;
        const LOCK_PI: u64 = 6;
        const WAIT_BITSET: u64 = 9;
        const WAIT_REQUEUE_PI: u64 = 11;
        const LOCK_PI2: u64 = 13;
        let [address, operation, expected, timeout, ..] = call.abi.values(call.arguments);
        if !matches!(call.name(), Some("futex" | "futex_time64")) {
            return None;
        }
        let command = operation & !(PRIVATE | CLOCK_REALTIME);
        if !matches!(command, WAIT | LOCK_PI | WAIT_BITSET | WAIT_REQUEUE_PI | LOCK_PI2) {
            return None;
        }
        // Layouts of 32-bit libraries are others.
        let is_of = |piece: &&MemoryPiece| piece.what == MemoryOf::Futex && call.abi == Abi::X86_64;
        Some(Self {
            address: RuntimeAddress(address),
            expected: expected as u32,
            is_pi: matches!(command, LOCK_PI | LOCK_PI2),
            is_private: operation & PRIVATE != 0,
            is_timed: timeout != 0,
            memory: thread.memory.iter().find(is_of),
        })
    }

    fn bytes<const N: usize>(&self, offset: i64) -> Option<[u8; N]> {
        let piece = self.memory?;
        let wanted = self.address.0.checked_add_signed(offset)?;
        let from = usize::try_from(wanted.checked_sub(piece.address.0)?).ok()?;
        piece.bytes.get(from..from.checked_add(N)?)?.try_into().ok()
    }

    /// The 32-bit word this many bytes from the one that is waited on.
    pub(super) fn word(&self, offset: i64) -> Option<u32> {
        self.bytes(offset).map(u32::from_le_bytes)
    }

    pub(super) fn long(&self, offset: i64) -> Option<u64> {
        self.bytes(offset).map(u64::from_le_bytes)
    }

    /// The words of 64 bits around it.
    pub(super) fn longs(&self) -> impl Iterator<Item = u64> {
        let bytes = self.memory.map_or(&[][..], |piece| &piece.bytes);
        let skip = self.memory.map_or(0, |piece| (8 - piece.address.0 % 8) % 8) as usize;
        let (longs, _) = bytes.get(skip..).unwrap_or_default().as_chunks::<8>();
        longs.iter().map(|long| u64::from_le_bytes(*long))
    }

    /// Where the word of an object begins that has this one this many bytes after its beginning.
    pub(super) fn base(&self, offset: u64) -> RuntimeAddress {
        RuntimeAddress(self.address.0.saturating_sub(offset))
    }

    /// Whether the word has another value than the one for which the thread went to sleep. What the
    /// kernel itself hands on has no such value.
    pub(super) fn is_other(&self) -> bool {
        !self.is_pi && self.word(0).is_some_and(|word| word != self.expected)
    }
}
