//! An allocator that counts how often it is called while a thread is held. For tests: only builds
//! with the feature `fault-points` have it.
//!
//! It hands everything to the system's allocator as it is. It counts calls of threads that have
//! said that they hold others (`Watched`), and no others: what another thread of the tracer does
//! meanwhile delays no target. Counting neither allocates nor locks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

/// For `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting;

static HOLDS: AtomicU64 = AtomicU64::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// While it exists, calls of this thread to the allocator are counted.
#[derive(Debug)]
pub struct Watched {
    /// It belongs to its thread.
    _not_send: PhantomData<*const ()>,
}

impl Watched {
    /// Begins to count.
    pub fn begin() -> Self {
        HOLDS.fetch_add(1, Ordering::Relaxed);
        IS_WATCHED.set(true);
        Self { _not_send: PhantomData }
    }

    /// Ends it.
    pub fn end(self) {}
}

impl Drop for Watched {
    fn drop(&mut self) {
        IS_WATCHED.set(false);
    }
}

/// How often a `Watched` was begun in this process, and how often the allocator was called while
/// one existed.
pub fn counts() -> (u64, u64) {
    (HOLDS.load(Ordering::Relaxed), CALLS.load(Ordering::Relaxed))
}

fn count() {
    // A thread that is ending may have no flag any more, and holds nothing.
    if IS_WATCHED.try_with(Cell::get).unwrap_or(false) {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: it hands every call to the system's allocator as it is; counting neither allocates nor
// panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count();
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
