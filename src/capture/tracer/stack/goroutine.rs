//! The stack that a thread of a Go program has left for the one that it is on.
//!
//! Go runs goroutines on stacks of their own, in its heap, and the scheduler, the collector and all
//! of C on the thread's (`g0`'s). Where a goroutine calls C, or the runtime in its own interest,
//! and where C calls back, the frames go on on the other one. Go keeps in each `g` the bounds of
//! its stack and the stack pointer with which it was left. They are found by what cannot be
//! mistaken: the bounds have the stack pointer between them, and what a `g` and its `m` say of each
//! other has to agree. Or by the `g` and the depth that asmcgocall has laid on the stack before it
//! called C.
//!
//! The offsets are those of `runtime/runtime2.go`, the same since Go 1.4: a part of them is known
//! to the assembler. That what is found is where the stack goes on, `unwind` checks by the call
//! that must lie there.
//!
//! Where the register has the current `g`, that says where the goroutine's stack ends as well.
//!
//! Allocates nothing, and looks at a bounded number of words, for as long as there is time: it is
//! called while the thread is held.

use std::cell::Cell;
use std::mem;

use crate::model::RuntimeAddress;
use crate::proc::{Backing, Mapping, MemoryMap};
use crate::sys::memory::ProcessMemory;

/// A goroutine may use this much stack (`runtime/proc.go`, main).
const LARGEST: u64 = 1 << 30;
/// How many words that may point to a `g` are followed.
const MOST_LOOKS: usize = 32;
/// How often memory is read at most. It takes a microsecond each time, and a real `g` is found
/// after a few.
const MOST_READS: usize = 96;
/// How many words are looked at at either end of a stack. A call of C lies at the oldest one of the
/// thread's.
const MOST_WORDS: usize = 4096;
/// Words of an `m` in which the goroutine that runs on it is named: after the scheduler's, the one
/// for signals and the masks.
const M_WORDS: usize = 40;

/// What is known of a `g`.
#[derive(Clone, Copy)]
struct Goroutine {
    bounds: (u64, u64),
    /// The thread it runs on.
    m: u64,
    /// Where it left its stack.
    stack_pointer: u64,
}

/// A stack that was left, by its stack pointer, and where it ends if that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Left {
    pub(super) stack_pointer: u64,
    pub(super) end: Option<u64>,
}

impl Goroutine {
    const M: usize = 6;
    const STACK_POINTER: usize = 7;
    const WORDS: usize = 8;

    fn read(search: &Search<'_, impl Fn() -> bool>, at: u64) -> Option<Self> {
        let words: [u64; Self::WORDS] = search.words(at)?;
        let (low, high) = (words[0], words[1]);
        let is_stack =
            low > 0 && low % 8 == 0 && high.checked_sub(low).is_some_and(|size| (1..=LARGEST).contains(&size));
        is_stack.then_some(Self { bounds: (low, high), m: words[Self::M], stack_pointer: words[Self::STACK_POINTER] })
    }

    fn holds(&self, stack_pointer: u64) -> bool {
        // One whose stack was left empty points after it.
        self.bounds.0 < stack_pointer && stack_pointer <= self.bounds.1
    }
}

/// What is read of a process's memory, for as long as there is time, and no more often than is
/// allowed.
struct Search<'a, InTime> {
    memory: &'a ProcessMemory,
    in_time: InTime,
    reads: Cell<usize>,
}

impl<InTime: Fn() -> bool> Search<'_, InTime> {
    fn words<const N: usize>(&self, at: u64) -> Option<[u64; N]> {
        self.may_go_on().then_some(())?;
        self.reads.set(self.reads.get() + 1);
        let mut bytes = [[0; 8]; N];
        let room = bytes.as_flattened_mut();
        (self.memory.read(RuntimeAddress(at), room) == Ok(room.len())).then(|| bytes.map(u64::from_le_bytes))
    }

    fn may_go_on(&self) -> bool {
        self.reads.get() < MOST_READS && (self.in_time)()
    }
}

/// Where the stack of the goroutine ends that runs with this stack pointer, by what the register
/// holds. The scheduler's goes on after what Go knows of it.
pub(super) fn end(memory: &ProcessMemory, current: Option<u64>, stack_pointer: u64) -> Option<u64> {
    let at = current.filter(|at| at.is_multiple_of(8))?;
    let search = Search { memory, in_time: || true, reads: Cell::new(0) };
    let goroutine = Goroutine::read(&search, at).filter(|goroutine| goroutine.holds(stack_pointer))?;
    let [scheduler] = search.words(goroutine.m)?;
    (scheduler != at).then_some(goroutine.bounds.1)
}

/// The stack that was left for the one with this stack pointer; its bytes, from there
/// on, were copied. `current` is what the register holds in which Go's functions keep the current
/// `g`.
pub(super) fn left(
    map: &MemoryMap,
    memory: &ProcessMemory,
    current: Option<u64>,
    stack_pointer: u64,
    stack: &[u8],
    in_time: impl Fn() -> bool,
) -> Option<Left> {
    let search = Search { memory, in_time, reads: Cell::new(0) };
    let is_current = |at: u64| Goroutine::read(&search, at).filter(|goroutine| goroutine.holds(stack_pointer));
    if let Some(at) = current.filter(|at| at.is_multiple_of(8))
        && let Some(goroutine) = is_current(at)
    {
        return left_for(map, &search, at, &goroutine);
    }
    let copied = stack_pointer..stack_pointer.saturating_add(stack.len() as u64);
    let (stack, _) = stack.as_chunks::<8>();
    let (newest, others) = stack.split_at(stack.len().min(MOST_WORDS));
    let oldest = &others[others.len().saturating_sub(MOST_WORDS)..];
    let mut looked_at = [0; MOST_LOOKS];
    let mut looks = 0;
    let mut before = 0;
    for word in newest.iter().chain(oldest).map(|bytes| u64::from_le_bytes(*bytes)) {
        let depth = mem::replace(&mut before, word);
        if copied.contains(&word) || !word.is_multiple_of(8) {
            continue;
        }
        // What was in vain is so again, but for a depth that is laid down beside it.
        let is_known = looked_at[..looks].contains(&word);
        if is_known && !is_depth(depth) || !is_known && !may_be_goroutine(map, word) {
            continue;
        }
        if !search.may_go_on() {
            break;
        }
        if !is_known {
            *looked_at.get_mut(looks)? = word;
            looks += 1;
        }
        let found = Goroutine::read(&search, word);
        // Where the register is unknown, an `m`, which begins with its scheduler's `g`, is as good.
        let (at, found) = match found {
            None if current.is_none() => match search.words(word) {
                Some([scheduler]) => (scheduler, is_current(scheduler).filter(|scheduler| scheduler.m == word)),
                None => continue,
            },
            found => (word, found),
        };
        let Some(goroutine) = found else {
            continue;
        };
        if !is_known
            && goroutine.holds(stack_pointer)
            && let Some(left) = left_for(map, &search, at, &goroutine)
        {
            return Some(left);
        }
        let end = goroutine.bounds.1;
        if is_depth(depth) && goroutine.holds(end.wrapping_sub(depth)) {
            return Some(Left { stack_pointer: end - depth, end: Some(end) });
        }
    }
    None
}

/// Whether a `g` may lie there: in the heap or, where it is the first thread's own, among the
/// program's variables.
fn may_be_goroutine(map: &MemoryMap, at: u64) -> bool {
    let is_data = |mapping: &Mapping| {
        matches!(mapping.backing, Backing::Anonymous | Backing::File { .. })
            && !mapping.executable
            && !mapping.forbidden
    };
    at.is_multiple_of(8) && map.find(RuntimeAddress(at)).is_some_and(is_data)
}

fn is_depth(word: u64) -> bool {
    (1..=LARGEST).contains(&word) && word.is_multiple_of(8)
}

/// What was left for the stack of this `g`, which is the current one.
fn left_for(map: &MemoryMap, search: &Search<'_, impl Fn() -> bool>, at: u64, current: &Goroutine) -> Option<Left> {
    let m: [u64; M_WORDS] = search.words(current.m)?;
    let scheduler = Goroutine::read(search, m[0]).filter(|scheduler| scheduler.m == current.m)?;
    if m[0] != at {
        // What C has below the scheduler's frames lies beyond the bounds that Go knows.
        let Goroutine { stack_pointer, .. } = scheduler;
        return scheduler.holds(stack_pointer).then_some(Left { stack_pointer, end: None });
    }
    // The thread-local variable, which has the current one, may be among them.
    let is_new = |place: usize| !m[..place].contains(&m[place]) && may_be_goroutine(map, m[place]);
    (1..M_WORDS).filter(|place| is_new(*place)).find_map(|place| {
        let goroutine = Goroutine::read(search, m[place])?;
        let Goroutine { stack_pointer, bounds: (_, end), m } = goroutine;
        // The one for signals is never left.
        let is_left = m == current.m && goroutine.holds(stack_pointer);
        is_left.then_some(Left { stack_pointer, end: Some(end) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tid;

    /// A `g` as Go lays it out, of the `m` at that address.
    fn goroutine(bounds: (u64, u64), m: u64, stack_pointer: u64) -> Box<[u64]> {
        let mut words = vec![0; Goroutine::WORDS];
        (words[0], words[1], words[Goroutine::M], words[Goroutine::STACK_POINTER]) =
            (bounds.0, bounds.1, m, stack_pointer);
        words.into()
    }

    fn address(of: &[u64]) -> u64 {
        of.as_ptr().addr() as u64
    }

    #[test]
    fn the_other_stack_is_found_from_either_and_by_what_was_laid_down_for_a_call_of_c() {
        let mut m = vec![0; M_WORDS];
        let scheduler = goroutine((0x20000, 0x30000), address(&m), 0x2f000);
        let for_signals = goroutine((0x40000, 0x50000), address(&m), 0);
        let current = goroutine((0x1000, 0x9000), address(&m), 0x8000);
        (m[0], m[10], m[17], m[24]) =
            (address(&scheduler), address(&for_signals), address(&scheduler), address(&current));
        let text = std::fs::read("/proc/self/maps").expect("this process has a map");
        let map = MemoryMap::parse(&text).expect("well-formed");
        // This process's own memory.
        let memory = ProcessMemory::open(Tid(nix::unistd::gettid().as_raw()));
        let left = |register, stack_pointer, words: &[u64]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            left(&map, &memory, register, stack_pointer, &bytes, || true)
        };
        let goroutines = Some(Left { stack_pointer: 0x8000, end: Some(0x9000) });
        let threads = Some(Left { stack_pointer: 0x2f000, end: None });
        assert_eq!(left(Some(address(&scheduler)), 0x2e000, &[]), goroutines);
        assert_eq!(left(Some(address(&current)), 0x5000, &[]), threads);
        assert_eq!(left(None, 0x5000, &[7, address(&current)]), threads);
        // In C both registers and the scheduler's `g` may be out of sight.
        let called = Some(Left { stack_pointer: 0x9000 - 0x1800, end: Some(0x9000) });
        assert_eq!(left(Some(1), 0x2e000, &[7, 0x1800, address(&current)]), called);
        assert_eq!(left(None, 0x2e000, &[7, 0x1801, address(&current)]), None);
        assert_eq!(left(None, 0x2e000, &[7, 0x8000, address(&current)]), None);
        // One of another thread is not followed.
        m[24] = 0;
        assert_eq!(left(Some(address(&scheduler)), 0x2e000, &[]), None);
        let stranger = goroutine((0x20000, 0x30000), address(&current), 0x2f000);
        assert_eq!(left(Some(address(&stranger)), 0x2e000, &[]), None);
    }

    /// A stack full of pointers to what looks like a `g` kept its thread held for milliseconds.
    #[test]
    fn a_stack_full_of_forged_goroutines_is_not_read_for_long() {
        let stranger = goroutine((8, 4096), 1, 0);
        let mut ms: Vec<Vec<u64>> = (0..1000).map(|_| vec![address(&stranger); M_WORDS]).collect();
        let forged: Vec<_> = ms.iter().map(|m| goroutine((0x1000, 0x9000), address(m), 0)).collect();
        for (m, forged) in ms.iter_mut().zip(&forged) {
            m[0] = address(forged);
        }
        let text = std::fs::read("/proc/self/maps").expect("this process has a map");
        let map = MemoryMap::parse(&text).expect("well-formed");
        let memory = ProcessMemory::open(Tid(nix::unistd::gettid().as_raw()));
        let stack: Vec<u8> = forged.iter().cycle().take(1 << 20).flat_map(|one| address(one).to_le_bytes()).collect();
        let asked = Cell::new(0);
        let search = |most: usize| {
            asked.set(0);
            left(&map, &memory, None, 0x5000, &stack, || {
                asked.set(asked.get() + 1);
                asked.get() <= most
            })
        };
        assert_eq!(search(usize::MAX), None);
        assert!((MOST_LOOKS..2 * MOST_READS).contains(&asked.get()), "{} times", asked.get());
        // When the time is up it ends at once.
        assert_eq!(search(10), None);
        assert!(asked.get() < 20, "{} times", asked.get());
    }
}
