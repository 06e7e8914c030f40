//! Threads parked in the standard library's waits, below closures, generic functions and trait
//! objects.
//!
//! `stacks N` starts N - 1 threads besides the main one. Each is named KIND-DEPTH: below it there
//! are DEPTH calls of `descend`, and then what KIND stands for, which ends in `wait_in_KIND`.
//! `ready` is printed once each has announced itself and sleeps in the kernel.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Barrier, Condvar, Mutex, OnceLock, RwLock};
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

static ARRIVED: AtomicUsize = AtomicUsize::new(0);
/// Something to do after a call, so that it does not become a jump.
static AFTER_CALL: AtomicUsize = AtomicUsize::new(0);
static HELD: Mutex<u32> = Mutex::new(0);
static WRITE_HELD: RwLock<u32> = RwLock::new(0);

fn arrive() {
    ARRIVED.fetch_add(1, Ordering::SeqCst);
}

fn after_call() {
    AFTER_CALL.fetch_add(1, Ordering::SeqCst);
}

#[inline(never)]
fn wait_in_mutex() {
    arrive();
    *HELD.lock().expect("no thread panics") += 1;
}

#[inline(never)]
fn wait_in_rwlock() {
    arrive();
    black_box(*WRITE_HELD.read().expect("no thread panics"));
}

#[inline(never)]
fn wait_in_condvar() {
    static MUTEX: Mutex<bool> = Mutex::new(false);
    static CONDVAR: Condvar = Condvar::new();
    let guard = MUTEX.lock().expect("no thread panics");
    arrive();
    drop(CONDVAR.wait_while(guard, |open| !*open));
    after_call();
}

#[inline(never)]
fn wait_in_recv() {
    let (sender, receiver): (_, Receiver<Vec<u8>>) = mpsc::channel();
    arrive();
    black_box(receiver.recv().ok());
    drop(sender);
}

#[inline(never)]
fn wait_in_sleep() {
    arrive();
    thread::sleep(Duration::from_secs(1_000_000));
    after_call();
}

#[inline(never)]
fn wait_in_park() {
    arrive();
    loop {
        thread::park();
    }
}

#[inline(never)]
fn wait_in_barrier() {
    static BARRIER: OnceLock<Barrier> = OnceLock::new();
    arrive();
    BARRIER.get_or_init(|| Barrier::new(100_000)).wait();
    after_call();
}

#[inline(never)]
fn wait_in_scope() {
    thread::scope(|scope| {
        // The scope's own thread is one of the process's: it is counted in `main`.
        let inner = Builder::new().name("park-0".into()).spawn_scoped(scope, wait_in_park);
        arrive();
        inner.expect("a thread").join().expect("it does not panic");
        after_call();
    });
    after_call();
}

#[inline(never)]
fn each<T, F: Fn(&T) -> usize>(values: &[T], f: F) -> usize {
    values.iter().map(|value| f(value) + black_box(1)).sum()
}

#[inline(never)]
fn wait_in_closure() {
    let seen: BTreeMap<&str, u32> = [("one", 1)].into_iter().collect();
    let sum = each(&["a", "b"], |text| {
        let inner = || {
            wait_in_mutex();
            seen.len() + text.len()
        };
        black_box(inner())
    });
    black_box(sum);
}

trait Shape {
    fn area(&self, scale: usize) -> usize;
    #[inline]
    fn twice(&self, scale: usize) -> usize {
        self.area(scale) + self.area(scale + 1)
    }
}

struct Square<T>(T);

impl<T: Copy + Into<u64>> Shape for Square<T> {
    #[inline(never)]
    fn area(&self, scale: usize) -> usize {
        wait_in_condvar();
        after_call();
        usize::try_from(self.0.into()).unwrap_or(0) * scale
    }
}

#[inline(never)]
fn wait_in_trait() {
    let shape: Box<dyn Shape> = black_box(Box::new(Square(3_u32)));
    black_box(shape.twice(2));
}

#[inline(never)]
fn wait_in_sort() {
    let mut values = [3, 1, 2];
    values.sort_by(|left, right| {
        wait_in_park();
        left.cmp(right)
    });
    black_box(values);
}

type Kind = (&'static str, fn());

const KINDS: [Kind; 11] = [
    ("park", wait_in_park),
    ("mutex", wait_in_mutex),
    ("condvar", wait_in_condvar),
    ("recv", wait_in_recv),
    ("sleep", wait_in_sleep),
    ("closure", wait_in_closure),
    ("trait", wait_in_trait),
    ("sort", wait_in_sort),
    ("scope", wait_in_scope),
    ("rwlock", wait_in_rwlock),
    ("barrier", wait_in_barrier),
];

#[inline(never)]
fn descend(wait: fn(), depth: usize) {
    if depth == 0 {
        wait();
    } else {
        descend(wait, black_box(depth - 1));
    }
    after_call();
}

/// Whether every thread but this one sleeps.
fn all_sleep() -> bool {
    let own = fs::read_link("/proc/thread-self").expect("a thread's own directory");
    let tasks = fs::read_dir("/proc/self/task").expect("the threads' directories");
    tasks.map(|task| task.expect("a thread").path()).filter(|task| task.file_name() != own.file_name()).all(|task| {
        let text = fs::read_to_string(task.join("stat")).expect("a thread's state");
        text.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S"))
    })
}

fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(10) - 1;
    let _held = HELD.lock().expect("no thread panics");
    let _write_held = WRITE_HELD.write().expect("no thread panics");
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    let (mut made, mut started) = (0, 0);
    while made < count {
        // A scope needs a second thread; where there is no place for it another kind has to do.
        let (name, wait) = match KINDS[started % KINDS.len()] {
            ("scope", _) if made + 2 > count => KINDS[0],
            kind => kind,
        };
        made += if name == "scope" { 2 } else { 1 };
        let depth = 1 + started * 7 % 23;
        started += 1;
        let builder = Builder::new().name(format!("{name}-{depth}"));
        threads.push(builder.spawn(move || descend(wait, depth - 1)).expect("a thread"));
    }
    while ARRIVED.load(Ordering::SeqCst) < count || !all_sleep() {
        thread::yield_now();
    }
    println!("ready");
    threads.swap_remove(0).join().expect("it does not panic");
}
