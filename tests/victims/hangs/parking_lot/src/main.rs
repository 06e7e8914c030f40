//! Two threads, each with one of parking_lot's mutexes, want the other's.
use std::fs;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

/// How many threads are past the point where they meet: the barrier where they do is a futex, too.
static PASSED: AtomicI32 = AtomicI32::new(0);
static TIDS: [AtomicI32; 2] = [const { AtomicI32::new(0) }; 2];

/// Waits until a thread has slept in futex(2) for some looks.
fn until_it_waits(tid: i32) {
    let (mut before, mut same) = (String::new(), 0);
    while same < 3 {
        let now = fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).unwrap_or_default();
        same = if now.starts_with("202 ") && now == before { same + 1 } else { 0 };
        before = now;
        thread::sleep(Duration::from_millis(2));
    }
}

fn main() {
    let locks = Arc::new([Mutex::new(0), Mutex::new(0)]);
    let both = Arc::new(Barrier::new(2));
    let workers = [0, 1].map(|number| {
        let (locks, both) = (locks.clone(), both.clone());
        let worker = thread::Builder::new().name(format!("worker-{number}"));
        let begun = worker.spawn(move || {
            let own = fs::read_link("/proc/thread-self").unwrap();
            TIDS[number].store(own.file_name().unwrap().to_str().unwrap().parse().unwrap(), SeqCst);
            let mut own = locks[number].lock();
            both.wait();
            PASSED.fetch_add(1, SeqCst);
            let mut other = locks[1 - number].lock();
            (*own, *other) = (*other, *own);
        });
        begun.unwrap()
    });
    thread::spawn(move || {
        while PASSED.load(SeqCst) < 2 {
            thread::sleep(Duration::from_millis(2));
        }
        println!("kind deadlock");
        for (tid, lock) in TIDS.iter().zip(&*locks) {
            while tid.load(SeqCst) == 0 {
                thread::sleep(Duration::from_millis(2));
            }
            until_it_waits(tid.load(SeqCst));
            // SAFETY: only its address is asked for.
            let raw = unsafe { lock.raw() };
            println!("accused {}\nresource mutex {raw:p}", tid.load(SeqCst));
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        println!("since {:.3}\nready", since.as_secs_f64());
    });
    for worker in workers {
        let _ = worker.join();
    }
}
