//! Locks and channels of Rust's standard library.
//!
//!   std abba        two threads, each with one Mutex, want the other's
//!   std reread      a thread reads an RwLock twice, and a writer has queued in between
//!   std receive     a thread receives from a channel whose only sender is its own
//!   std stdout      a thread sleeps with standard output locked, others print
use std::fs;
use std::io::Write;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, RwLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

const HOUR: Duration = Duration::from_secs(3600);
const FUTEX: &str = "202";
const CLOCK_NANOSLEEP: &str = "230";
/// How many threads are past the point where they meet: the barrier where they do is a futex, too.
static PASSED: AtomicI32 = AtomicI32::new(0);
static TIDS: [AtomicI32; 4] = [const { AtomicI32::new(0) }; 4];

fn say(text: &str) {
    // Not through std's standard output, which may be locked.
    let mut out = fs::OpenOptions::new().append(true).open("/proc/self/fd/1").unwrap();
    out.write_all(text.as_bytes()).unwrap();
}

fn start(number: usize, work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let begun = thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        let own = fs::read_link("/proc/thread-self").unwrap();
        TIDS[number].store(own.file_name().unwrap().to_str().unwrap().parse().unwrap(), SeqCst);
        work();
    });
    tid(number);
    begun.unwrap()
}

fn tid(number: usize) -> i32 {
    while TIDS[number].load(SeqCst) == 0 {
        thread::sleep(Duration::from_millis(2));
    }
    TIDS[number].load(SeqCst)
}

fn until_passed(count: i32) {
    while PASSED.load(SeqCst) < count {
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until a thread has slept in this call for some looks; returns the call's first argument.
fn until_in(tid: i32, call: &str) -> String {
    let (mut before, mut same) = (String::new(), 0);
    while same < 3 {
        let now = fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).unwrap();
        same = if now.split(' ').next() == Some(call) && now == before { same + 1 } else { 0 };
        before = now;
        thread::sleep(Duration::from_millis(2));
    }
    before.split(' ').nth(1).unwrap().to_owned()
}

/// One more thread that prints the truth, and is gone.
fn herald(truth: impl FnOnce() -> String + Send + 'static) {
    thread::spawn(move || {
        let truth = truth();
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        say(&format!("{truth}since {:.3}\nready\n", since.as_secs_f64()));
    });
}

fn abba() {
    let locks = Arc::new([Mutex::new(0), Mutex::new(0)]);
    let both = Arc::new(Barrier::new(2));
    herald(|| {
        until_passed(2);
        let words = [0, 1].map(|number| until_in(tid(number), FUTEX));
        let accused = format!("kind deadlock\naccused {}\naccused {}\n", tid(0), tid(1));
        format!("{accused}resource mutex {}\nresource mutex {}\n", words[0], words[1])
    });
    let workers = [0, 1].map(|number| {
        let (locks, both) = (locks.clone(), both.clone());
        start(number, move || {
            let mut own = locks[number].lock().unwrap();
            both.wait();
            PASSED.fetch_add(1, SeqCst);
            let mut other = locks[1 - number].lock().unwrap();
            (*own, *other) = (*other, *own);
        })
    });
    workers.into_iter().for_each(|worker| drop(worker.join()));
}

fn reread() {
    let lock = Arc::new(RwLock::new(0));
    herald(|| {
        until_in(tid(1), FUTEX);
        let word = until_in(tid(0), FUTEX);
        format!("kind deadlock\naccused {0}\naccused {1}\nholder {0}\nresource rwlock {word}\n", tid(0), tid(1))
    });
    let (reads, writes) = (lock.clone(), lock.clone());
    let reader = start(0, move || {
        let first = reads.read().unwrap();
        until_in(tid(1), FUTEX);
        let second = reads.read().unwrap();
        assert_eq!(*first, *second);
    });
    while lock.try_write().is_ok() {}
    start(1, move || *writes.write().unwrap() += 1);
    let _ = reader.join();
}

fn receive() {
    herald(|| {
        until_in(tid(0), FUTEX);
        format!("kind lost-wakeup\naccused {}\n", tid(0))
    });
    let worker = start(0, || {
        let (sender, receiver) = mpsc::channel::<u32>();
        let received = receiver.recv();
        drop((sender, received));
    });
    let _ = worker.join();
}

fn stdout() {
    herald(|| {
        (1..4).for_each(|number| drop(until_in(tid(number), FUTEX)));
        format!("kind convoy\naccused {0}\nholder {0}\nresource stdio-lock\n", tid(0))
    });
    let holder = start(0, || {
        let mut locked = std::io::stdout().lock();
        thread::sleep(HOUR);
        let _ = locked.flush();
    });
    until_in(tid(0), CLOCK_NANOSLEEP);
    (1..4).for_each(|number| drop(start(number, || println!("a line"))));
    let _ = holder.join();
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("abba") => abba(),
        Some("reread") => reread(),
        Some("receive") => receive(),
        _ => stdout(),
    }
}
