//! The program that `hangsnap demo` looks at: two transfers that take two locks in opposite order,
//! a thread that waits for both, one that waits for work, and one that works.

use std::io::Write;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long the pump does one thing before it does the next: no two looks half a second apart find
/// it at the same.
const STEP: Duration = Duration::from_millis(350);

type Account = Arc<Mutex<u64>>;

pub(super) fn run() -> anyhow::Result<()> {
    let (checking, savings): (Account, Account) = (Arc::default(), Arc::default());
    let both_hold_one = Arc::new(Barrier::new(3));
    start("transfer-out", {
        let (from, to, met) = (checking.clone(), savings.clone(), both_hold_one.clone());
        move || transfer(&from, &to, &met)
    })?;
    start("transfer-back", {
        let (from, to, met) = (savings.clone(), checking.clone(), both_hold_one.clone());
        move || transfer(&from, &to, &met)
    })?;
    both_hold_one.wait();
    start("auditor", move || audit(&checking, &savings))?;
    let (orders, queue) = mpsc::channel::<u64>();
    start("intake", move || take_orders(&queue))?;
    start("pump", pump)?;
    let mut out = std::io::stdout();
    writeln!(out, "ready")?;
    out.flush()?;
    // The process that started this ends it. Should that die, this must not go on.
    thread::sleep(Duration::from_secs(60));
    drop(orders);
    Ok(())
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name(name.into()).spawn(work).map(drop)
}

#[inline(never)]
fn transfer(from: &Mutex<u64>, to: &Mutex<u64>, both_hold_one: &Barrier) {
    if let Ok(mut source) = from.lock() {
        both_hold_one.wait();
        if let Ok(mut destination) = to.lock() {
            *source = source.wrapping_sub(1);
            *destination = destination.wrapping_add(1);
        }
    }
}

#[inline(never)]
fn audit(checking: &Mutex<u64>, savings: &Mutex<u64>) {
    let total = checking.lock().map(|checking| savings.lock().map_or(0, |savings| *checking + *savings));
    std::hint::black_box(total.unwrap_or(0));
}

#[inline(never)]
fn take_orders(queue: &Receiver<u64>) {
    while let Ok(order) = queue.recv() {
        std::hint::black_box(order);
    }
}

fn pump() {
    loop {
        draw();
        filter();
        pour();
    }
}

// What follows the call keeps the compiler from leaving these three out of the stack.
#[inline(never)]
fn draw() {
    work(1);
    std::hint::black_box(());
}

#[inline(never)]
fn filter() {
    work(2);
    std::hint::black_box(());
}

#[inline(never)]
fn pour() {
    work(3);
    std::hint::black_box(());
}

/// Sums and sleeps in turn until the step is over.
#[inline(never)]
fn work(seed: u64) {
    let begun = Instant::now();
    while begun.elapsed() < STEP {
        let sum = (0..1000).fold(seed, |sum, next| std::hint::black_box(sum.wrapping_mul(31).wrapping_add(next)));
        std::hint::black_box(sum);
        thread::sleep(Duration::from_millis(1));
    }
}
