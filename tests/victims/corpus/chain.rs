//! Rust's chain: a closure, a generic function, a trait object, and a panic hook (`panic`) or a
//! plain wait.
//!
//! Rust has no way to ask for a return address, so it reports the names alone.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

static STILL_TO_COME: AtomicUsize = AtomicUsize::new(2);

trait Step {
    fn step(&self, depth: usize) -> usize;
}

struct Wide([usize; 40]);

impl Step for Wide {
    #[inline(never)]
    fn step(&self, depth: usize) -> usize {
        black_box(generic(black_box("text"), depth) + self.0[3])
    }
}

fn is_panicking() -> bool {
    std::env::args().nth(1).is_some_and(|kind| kind == "panic")
}

#[inline(never)]
fn leaf(inner: &str) -> usize {
    let tid = std::fs::read_link("/proc/thread-self").expect("a thread");
    let tid = tid.file_name().expect("an id").to_str().expect("digits").to_owned();
    let outer = if tid == std::process::id().to_string() { "run_main" } else { "run_thread" };
    println!("chain {tid} .. leaf {inner} generic step calls .. {outer} .. root");
    if STILL_TO_COME.fetch_sub(1, Ordering::SeqCst) == 1 {
        println!("ready");
    }
    loop {
        std::thread::park();
        black_box(());
    }
}

#[inline(never)]
fn generic<T: AsRef<str>>(text: T, depth: usize) -> usize {
    if is_panicking() {
        panics(black_box(depth));
    }
    black_box(leaf("") + text.as_ref().len())
}

#[inline(never)]
fn panics(depth: usize) -> ! {
    panic!("{depth}");
}

#[inline(never)]
fn on_panic() {
    black_box(leaf("on_panic .. panics"));
}

#[inline(never)]
fn calls(step: &dyn Step, depth: usize) -> usize {
    black_box(step.step(depth) + 1)
}

#[inline(never)]
fn run_thread() {
    let step: Box<dyn Step> = black_box(Box::new(Wide([1; 40])));
    black_box(calls(&*step, 3));
}

/// Programs of Rust's have a second function called main, which the C library calls; this one's
/// name is its own.
#[inline(never)]
fn run_main() {
    let step: Box<dyn Step> = black_box(Box::new(Wide([1; 40])));
    let inside = |depth| black_box(calls(&*step, black_box(depth)) + 1);
    black_box(inside(4));
}

fn main() {
    std::panic::set_hook(Box::new(|_| on_panic()));
    std::thread::spawn(run_thread);
    run_main();
    black_box(());
}
