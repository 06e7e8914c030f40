//! Whether a thread has run: two of its files in /proc, kept open and read again.
//!
//! To read a file that is open costs a quarter of what it costs to open, read and close it. The
//! kernel keeps a page for each.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::{Error, ThreadDir};

/// More than either file holds.
const BUFFER: usize = 1024;

/// A thread as it was at one moment: how often it had been given a CPU, its name, its state, its
/// signals and how it is scheduled.
pub struct Watch {
    stat: File,
    /// `stat` up to the state, and from the field after what the process has of memory.
    begins: Box<[u8]>,
    ends: Box<[u8]>,
    schedstat: File,
    /// All of it: the time on a CPU, the time spent waiting for one, and how often one was given.
    told: Box<[u8]>,
}

impl Watch {
    /// None where the kernel keeps no account of when a thread runs.
    pub fn new(thread: &ThreadDir) -> Result<Option<Self>, Error> {
        let (stat, schedstat) = (thread.open_file("stat")?, thread.open_file("schedstat")?);
        let mut buffer = [0; BUFFER];
        let told: Box<[u8]> = read(&schedstat, &mut buffer)?.into();
        let text = read(&stat, &mut buffer)?;
        let counts = !told.is_empty() && !told.ends_with(b" 0\n");
        let Some((begins, ends)) = lasting(text).filter(|_| counts) else {
            return Ok(None);
        };
        let (begins, ends) = (begins.into(), ends.into());
        Ok(Some(Self { stat, begins, ends, schedstat, told }))
    }

    /// Whether the thread has not been given a CPU since, and has the name, state, signals but
    /// real-time ones, and scheduling that it had: one that has been woken, and waits for a CPU,
    /// has another state. One that has ended has nothing, even if its id was given out again.
    pub fn is_unchanged(&self) -> bool {
        let mut buffer = [0; BUFFER];
        read(&self.schedstat, &mut buffer).is_ok_and(|text| *text == *self.told)
            && read(&self.stat, &mut buffer)
                .is_ok_and(|text| lasting(text).is_some_and(|lasting| lasting == (&self.begins, &self.ends)))
    }
}

/// The parts of `stat` that are the thread's own: between them is what the process has, used and
/// counts of.
fn lasting(text: &[u8]) -> Option<(&[u8], &[u8])> {
    const STATE: usize = 3;
    const RSSLIM: usize = 25;
    let name_ends = text.iter().rposition(|&byte| byte == b')')?;
    let (begins, rest) = text.split_at_checked(name_ends + 3)?;
    let (behind, _) = rest.iter().enumerate().filter(|(_, byte)| **byte == b' ').nth(RSSLIM - STATE - 1)?;
    Some((begins, &rest[behind..]))
}

fn read<'b>(file: &File, buffer: &'b mut [u8; BUFFER]) -> Result<&'b [u8], Error> {
    let length = file.read_at(buffer, 0)?;
    Ok(&buffer[..length])
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::model::{Pid, Tid};
    use crate::proc::ProcDir;

    /// A thread that waits for a message, and its directory.
    fn waiting() -> (mpsc::Sender<()>, thread::JoinHandle<()>, ThreadDir) {
        let (sender, receiver) = mpsc::channel();
        let (told, tid) = mpsc::channel();
        let waits = thread::spawn(move || {
            told.send(nix::unistd::gettid()).expect("somebody asks");
            while receiver.recv().is_ok() {}
        });
        let tid = Tid(tid.recv().expect("it says so").as_raw());
        let process = ProcDir::open(Pid(nix::unistd::getpid().as_raw())).expect("this process");
        (sender, waits, process.thread(tid).expect("the thread"))
    }

    fn settled(thread: &ThreadDir) -> Watch {
        let begun = Instant::now();
        loop {
            let watch = Watch::new(thread).expect("readable").expect("this kernel counts");
            if watch.begins.ends_with(b"S")
                && thread.blocked_call().expect("readable").is_some()
                && watch.is_unchanged()
            {
                return watch;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "it does not sleep");
        }
    }

    #[test]
    fn a_thread_that_sleeps_is_unchanged_and_one_that_has_run_is_not() {
        let (sender, waits, thread) = waiting();
        let watch = settled(&thread);
        assert!(watch.is_unchanged());
        sender.send(()).expect("it waits");
        let again = settled(&thread);
        assert!(!watch.is_unchanged() && again.is_unchanged());
        drop(sender);
        waits.join().expect("it ends");
        assert!(!again.is_unchanged(), "it has ended");
    }
}
