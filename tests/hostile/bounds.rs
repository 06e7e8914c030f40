//! What a case may cost: time on a CPU, memory, and nothing else. A case that does not end ends the
//! whole test program, having said which it was.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::process::abort;
use std::sync::Mutex;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::support::{PATIENCE, thread_time};

/// The longest that hostile input of some kilobytes may take, on a CPU of its own. Most take a
/// thousandth.
pub const MOST_TIME: Duration = Duration::from_millis(1500);
/// Memory that it may take whatever its size: an unwinder's tables, the tables of a file.
pub const MOST_MEMORY: usize = 24 << 20;
/// And this many times its size: a compressed section may be believed to hold 64 times as much.
pub const MOST_GROWTH: usize = 64;

/// Counts what each thread has allocated and not given back.
struct Counting;

thread_local! {
    /// Now, and at most since the count was last begun. What one thread allocates and another frees
    /// makes them negative.
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: isize) {
    // While a thread ends it may have no count any more.
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        let now = now.wrapping_add(bytes);
        held.set((now, most.max(now)));
    });
}

// SAFETY: it hands every call to the system's allocator as it is; counting neither allocates nor
// panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are there for a while when it has to move.
        count(size.cast_signed());
        count(-layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What something cost.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    pub time: Duration,
    pub memory: usize,
}

impl Cost {
    /// What this costs the thread that runs it.
    pub fn of(work: impl FnOnce()) -> Self {
        let (before, _) = HELD.get();
        HELD.set((before, before));
        let begun = thread_time();
        work();
        let time = thread_time() - begun;
        let (_, most) = HELD.get();
        Self { time, memory: most.wrapping_sub(before).unsigned_abs() }
    }

    pub fn most(self, other: Self) -> Self {
        Self { time: self.time.max(other.time), memory: self.memory.max(other.memory) }
    }

    /// Panics if it was too much for an input of this size.
    pub fn check(self, size: usize) {
        assert!(self.time <= MOST_TIME, "it took {:?}", self.time);
        let most = MOST_MEMORY + MOST_GROWTH * size;
        assert!(self.memory <= most, "it took {} bytes of memory, with {size} bytes of input", self.memory);
    }
}

/// Watches that cases end.
pub struct Watch {
    begun: Mutex<Sender<String>>,
}

impl Watch {
    pub fn new() -> Self {
        let (begun, cases) = channel::<String>();
        thread::spawn(move || {
            let Ok(mut case) = cases.recv() else { return };
            loop {
                case = match cases.recv_timeout(PATIENCE) {
                    Ok(next) => next,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        eprintln!("{case} does not end");
                        abort();
                    }
                };
            }
        });
        Self { begun: Mutex::new(begun) }
    }

    /// Another case begins.
    pub fn begin(&self, case: String) {
        // It listens for as long as there is somebody to talk.
        let _ = self.begun.lock().expect("nobody panics with it").send(case);
    }
}
