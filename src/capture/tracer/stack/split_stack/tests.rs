use std::fs;
use std::os::unix::thread::JoinHandleExt;
use std::sync::mpsc;
use std::thread;

use super::*;

const WORDS: usize = PAGE as usize / 8;

/// Some pages of this process's memory, to forge segments in.
struct Pages {
    words: Vec<u64>,
    first: usize,
    map: MemoryMap,
    memory: ProcessMemory,
}

impl Pages {
    fn new(count: usize) -> Self {
        let words = vec![0; (count + 1) * WORDS];
        let first = words.as_ptr().addr().next_multiple_of(PAGE as usize) - words.as_ptr().addr();
        let text = fs::read("/proc/self/maps").expect("this process has a map");
        let map = MemoryMap::parse(&text).expect("well-formed");
        let memory = ProcessMemory::open(Tid(nix::unistd::gettid().as_raw()));
        Self { words, first: first / 8, map, memory }
    }

    fn address(&self, page: usize) -> u64 {
        self.words[self.first + page * WORDS..].as_ptr().addr() as u64
    }

    /// A header at a page, of a segment of two pages.
    fn lay(&mut self, page: usize, [previous, next, left_at]: [u64; 3]) {
        let at = self.first + page * WORDS;
        self.words[at..at + 4].copy_from_slice(&[previous, next, 2 * PAGE - HEADER, left_at]);
    }

    /// A descriptor in the first page, whose word lies after the header at another one.
    fn descriptor(&mut self, page: usize) -> u64 {
        self.words[self.first + GUARD as usize / 8] = self.address(page) + 3600;
        self.address(0)
    }

    fn headers(&self) -> Headers<'_, fn() -> bool> {
        Headers::new(&self.memory, || true)
    }

    fn holding(&self, stack_pointer: u64) -> Option<u64> {
        let segment = self.headers().holding(&self.map, self.address(0), stack_pointer);
        segment.map(|segment| segment.at)
    }
}

/// Three segments that follow one another, the newest at the lowest addresses.
fn three() -> (Pages, [u64; 3]) {
    let mut pages = Pages::new(7);
    let [newest, middle, oldest] = [1, 3, 5].map(|page| pages.address(page));
    pages.lay(5, [0, middle, 0x7000]);
    pages.lay(3, [oldest, newest, oldest + 0x1800]);
    pages.lay(1, [middle, 0, middle + 0x1900]);
    pages.descriptor(1);
    (pages, [newest, middle, oldest])
}

#[test]
fn segments_are_followed_to_the_stack_that_the_oldest_was_left_for() {
    let (pages, [newest, middle, oldest]) = three();
    let headers = pages.headers();
    let segment = headers.holding(&pages.map, pages.address(0), newest + 0x1000).expect("a segment");
    assert_eq!(segment.at, newest);
    let older = headers.older(&segment).expect("one before");
    assert_eq!((older.from, older.left().end), (middle + 0x1900 - 24, Some(middle + 2 * PAGE)));
    let older = headers.older(&older.segment.expect("a segment")).expect("one before");
    assert_eq!((older.from, older.left().end), (oldest + 0x1800 - 24, Some(oldest + 2 * PAGE)));
    let own = headers.older(&older.segment.expect("a segment"));
    assert_eq!(own, Some(Older { from: 0x7000 - 24, segment: None }));
}

#[test]
fn an_older_segment_and_one_that_is_just_entered_are_found() {
    let (mut pages, [newest, middle, oldest]) = three();
    assert_eq!(pages.holding(oldest + 0x1000), Some(oldest));
    pages.descriptor(3);
    assert_eq!(pages.holding(newest + 2 * PAGE), Some(newest));
    assert_eq!(pages.holding(middle + PAGE), Some(middle));
    // The word may be that of the thread's own stack, where no header lies.
    let nowhere = pages.address(4);
    pages.words[pages.first + GUARD as usize / 8] = nowhere;
    assert_eq!(pages.holding(oldest + 2 * PAGE - 32), Some(oldest));
    assert_eq!(pages.holding(oldest + PAGE + 8), None);
}

#[test]
fn one_read_tells_that_a_program_does_not_split_its_stacks() {
    let pages = Pages::new(1);
    let headers = pages.headers();
    assert_eq!(headers.holding(&pages.map, pages.address(0), pages.address(0) + 64), None);
    assert_eq!(headers.looks.get(), 1);
}

#[test]
fn a_header_that_lies_is_not_believed() {
    let lies: [fn(&mut Pages, [u64; 3]); 5] = [
        // The one before knows another.
        |pages, [_, middle, oldest]| pages.lay(5, [0, middle + PAGE, oldest]),
        |pages, [_, middle, _]| pages.lay(3, [middle, middle, 0x7000]),
        |pages, [_, middle, oldest]| pages.lay(3, [oldest, 0, middle + 0x1000]),
        |pages, [_, _, oldest]| pages.lay(3, [oldest, 0, 0x7001]),
        |pages, _| pages.words[pages.first + 3 * WORDS + 2] -= 8,
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let (mut pages, all) = three();
        let [_, middle, oldest] = all;
        pages.descriptor(3);
        assert_eq!(pages.holding(middle + PAGE), Some(middle));
        lie(&mut pages, all);
        assert_eq!(pages.holding(middle + PAGE), None, "lie {number}");
        assert_eq!(pages.holding(oldest - 8 - PAGE), None, "lie {number}");
    }
}

#[test]
fn segments_in_a_circle_are_not_followed_for_ever() {
    let (mut pages, [_, middle, oldest]) = three();
    pages.lay(3, [oldest, oldest, oldest + 0x1000]);
    pages.lay(5, [middle, middle, middle + 0x1000]);
    pages.descriptor(3);
    let headers = pages.headers();
    let first = headers.holding(&pages.map, pages.address(0), middle + PAGE).expect("they agree");
    let followed = std::iter::successors(headers.older(&first), |older| headers.older(&older.segment?));
    assert!(followed.count() <= MOST_LOOKS);
    // No thread holds this one. A thread that had jumped out of thousands was held until all had
    // been looked at, and lost.
    let headers = pages.headers();
    assert_eq!(headers.holding(&pages.map, pages.address(0), 0x7008), None);
    assert!((MOST_BACK..4 * MOST_BACK).contains(&headers.looks.get()), "{}", headers.looks.get());
}

#[test]
fn the_thread_pointer_is_told_of_a_thread_that_is_not_on_its_own_stack() {
    let pages = Pages::new(1);
    let (sender, receiver) = mpsc::channel();
    let (is_known, wait) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let here = std::ptr::from_ref(&sender).addr() as u64;
        sender.send((Tid(nix::unistd::gettid().as_raw()), here)).expect("somebody listens");
        // It stays until the channel is closed.
        wait.recv().unwrap_or_default();
    });
    let (tid, on_own_stack) = receiver.recv().expect("it sends");
    let text = fs::read("/proc/self/maps").expect("this process has a map");
    let map = MemoryMap::parse(&text).expect("well-formed");
    let pointer = |stack_pointer| thread_pointer(&map, &pages.memory, tid, Owner::OtherThread, stack_pointer);
    assert_eq!(pointer(pages.address(0)), Some(thread.as_pthread_t()));
    assert_eq!(pointer(on_own_stack), None);
    drop(is_known);
    thread.join().expect("it does not panic");
}

/// A segment that the kernel put right below the main thread's descriptor was taken for that
/// thread's own stack.
#[test]
fn the_main_thread_has_its_own_stack_nowhere_but_where_the_kernel_made_it() {
    let tid = Tid(nix::unistd::getpid().as_raw());
    let memory = ProcessMemory::open(tid);
    let text = fs::read("/proc/self/maps").expect("this process has a map");
    let map = MemoryMap::parse(&text).expect("well-formed");
    let descriptor = robust::robust_list_head(tid).expect("glibc has registered it") - 0x2e0;
    let own = map.iter().find(|mapping| mapping.backing == Backing::MainStack).expect("a stack");
    let pointer = |stack_pointer| thread_pointer(&map, &memory, tid, Owner::MainThread, stack_pointer);
    assert_eq!(pointer(descriptor - 64), Some(descriptor));
    assert_eq!(pointer(own.range.end.0 - 64), None);
}
