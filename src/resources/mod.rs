//! What the threads of a process wait for, read from outside of it: descriptors and who has their
//! other ends, file locks, children, owners of locks in other processes, and when threads ran last.
//!
//! Promises: nothing of the process is held, and nothing is opened by a path that it chose: links
//! are read, and files of /proc. Only what a thread waits for is looked up. How much is read, and
//! for how long, is bounded; what could not be read is said. An epoll set is read only where
//! reading it delays no thread: while the only thread that waits in it sleeps, and if the process
//! has few descriptors (the kernel lists it with the set's mutex locked). Interprets nothing: which
//! word is an owner is for the reader that knows the function that waits.

mod children;
mod descriptors;
mod file_locks;
mod freezer;
mod fuse;
mod last_ran;
mod locks;
mod open_files;
mod postgres;
mod sockets;
mod tasks;

use std::time::{Duration, Instant};

use crate::model::{Process, RuntimeAddress, Thread, ThreadState, Unread, WaitFacts};

pub use last_ran::{RawLastRan, last_ran, not_run_since};
pub use locks::{Locks, StackCopy, lock_addresses, references};

/// After this time nothing more is begun to be read for one snapshot.
const PATIENCE: Duration = Duration::from_millis(250);

/// A reading of one process, with the time that is left for it.
struct Reading<'a> {
    process: &'a Process,
    threads: &'a [Thread],
    begun: Instant,
    unread: Vec<Unread>,
}

impl Reading<'_> {
    fn is_over(&self) -> bool {
        self.begun.elapsed() > PATIENCE
    }

    /// Notes that something could not be read, once for each source.
    fn unread(&mut self, what: &str, why: impl Into<String>) {
        if self.unread.iter().all(|source| source.what != what) {
            self.unread.push(Unread { what: what.into(), why: why.into() });
        }
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.process.id.pid)
    }

    /// The names of the calls that threads are blocked in.
    fn is_any_in(&self, names: &[&str]) -> bool {
        let name = |thread: &Thread| thread.system_call.and_then(|call| call.name());
        self.threads.iter().filter_map(name).any(|name| names.contains(&name))
    }

    /// Whether a thread sleeps in a function of the kernel whose name has one of these parts.
    fn sleeps_in(&self, parts: &[&str]) -> bool {
        let mut channels = self.threads.iter().filter_map(|thread| thread.status.wait.channel.as_deref());
        channels.any(|channel| parts.iter().any(|part| channel.contains(part)))
    }
}

/// Reads the facts about these threads. `read` copies memory of the process, all of what is asked
/// for or nothing. `before` are the facts as they were when none of the threads had run yet that
/// has not run since: what only the process itself changes is taken from there. `my_proc` is where
/// a backend of PostgreSQL has its variable of this name. When threads ran last and what stacks
/// refer to is the caller's to add.
pub fn facts(
    process: &Process,
    threads: &[Thread],
    before: &WaitFacts,
    is_at_rest: bool,
    my_proc: Option<RuntimeAddress>,
    read: impl Fn(RuntimeAddress, &mut [u8]) -> bool,
) -> WaitFacts {
    let mut reading = Reading { process, threads, begun: Instant::now(), unread: Vec::new() };
    let mut facts = match is_at_rest {
        true => WaitFacts {
            inner_tids: before.inner_tids.clone(),
            thread_pointers: before.thread_pointers.clone(),
            descriptors: before.descriptors.clone(),
            ..WaitFacts::default()
        },
        false => WaitFacts {
            inner_tids: tasks::inner_tids(&reading),
            thread_pointers: locks::thread_pointers(&reading, &read),
            descriptors: descriptors::read(&mut reading, before),
            ..WaitFacts::default()
        },
    };
    facts.owners = locks::owners(&mut reading, &facts);
    if threads.iter().any(|thread| thread.status.state == ThreadState::Traced) {
        facts.tracer = tasks::tracer(&reading);
    }
    if !facts.owners.is_empty() {
        facts.parent = tasks::parent(&reading);
    }
    facts.file_locks = file_locks::read(&mut reading, &facts.descriptors);
    facts.children = children::read(&mut reading);
    facts.frozen = freezer::frozen(&reading);
    facts.fuse = fuse::read(&mut reading);
    if let Some(my_proc) = my_proc {
        facts.database_locks = postgres::locks(&mut reading, my_proc, &read);
    }
    if reading.is_over() {
        reading.unread("some of what threads wait for", "it would have taken too long");
    }
    facts.unread = reading.unread;
    facts
}
