//! Threads that wait as Rust's standard library waits, with timeouts that do not come while a test
//! runs.

use std::sync::{Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

fn main() {
    const HOUR: Duration = Duration::from_secs(3600);
    thread::spawn(|| thread::park_timeout(HOUR));
    thread::spawn(|| thread::sleep(HOUR));
    thread::spawn(|| {
        let (mutex, condition) = (Mutex::new(()), Condvar::new());
        let guard = mutex.lock().expect("nobody panics");
        drop(condition.wait_timeout(guard, HOUR));
    });
    let (_sender, receiver) = mpsc::channel::<()>();
    thread::spawn(move || receiver.recv_timeout(HOUR));
    println!("ready");
    thread::sleep(HOUR);
}
