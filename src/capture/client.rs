//! Asks a tracer for a snapshot, and watches over it.
//!
//! The kernel kills a tracer that holds a thread for too long; the client kills one that hangs in
//! anything else. Either way the target runs on, what had been copied is in the shared memory, and
//! another tracer goes on with what is left, without what the first one hung on.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::merge::{Collected, Death};
use super::protocol::{self, Answer, Assignment};
use super::tracer::TRACER_ARGUMENT;
use super::{CaptureRequest, Captured};
use crate::model::{Cause, Pid, StopMode, ThreadState};
use crate::proc::{self, ProcDir};
use crate::sys::arena::{ArenaReader, TracerProgress, TracerStep};
use crate::sys::clock::Instant;

/// How many tracers in a row may be lost without one more thread captured.
const MOST_IN_VAIN: u32 = 8;
/// How many tracers may be lost that were to hold threads and captured less than an eighth of those
/// that were left, and for how long any may be lost. After that nothing is held any more: what is
/// left is read in place.
const MOST_HOLDING: u32 = 4;
const LEAST_PART: usize = 8;
const LONGEST_HOLDING: Duration = Duration::from_secs(2);
/// How often to look whether the tracer hangs.
const LOOK: u16 = 5;
/// How long a step may take before the tracer is taken for one that hangs. Memory comes in
/// microseconds or does not come; the map of a hundred thousand mappings takes its time; a hold is
/// ended by the kernel, and this is for the case that it could not.
const MEMORY_LIMIT: Duration = Duration::from_millis(100);
const PROC_LIMIT: Duration = Duration::from_secs(2);
const AFTER_HOLD: Duration = Duration::from_millis(20);
/// How long one that has only been waiting for a CPU may take.
const GIVE_UP: Duration = Duration::from_secs(10);
/// How long a tracer that was killed may take to be gone.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it is")]
pub enum Error {
    #[error("{0}")]
    Process(#[from] proc::Error),
    #[error("cannot start a process to trace with: {0}")]
    Start(io::Error),
}

/// Takes snapshots by way of a process that traces. The process is started when it is first needed.
pub struct Tracer {
    program: PathBuf,
    arena: ArenaReader,
    running: Option<Running>,
    /// Whether a tracer was killed by a seccomp filter, as every other one would be that stops a
    /// thread.
    filtered: bool,
    /// Requests for a snapshot so far.
    asked: u64,
}

struct Running {
    child: Child,
    socket: UnixStream,
}

/// How a request ended.
enum End {
    Done(Answer),
    Died(Death),
}

impl Tracer {
    /// A tracer that is this program, executed again.
    pub fn new() -> Result<Self, Error> {
        Self::of_program("/proc/self/exe".into())
    }

    /// A tracer that is another program of this crate: a test's is not one itself.
    pub fn of_program(program: PathBuf) -> Result<Self, Error> {
        Ok(Self {
            program,
            arena: ArenaReader::create().map_err(Error::Start)?,
            running: None,
            filtered: false,
            asked: 0,
        })
    }

    /// Starts the process before it is needed, while its caller does something else. Should that
    /// fail, the first snapshot says so.
    pub fn start_ahead(&mut self) {
        if self.running.is_none() {
            self.running = Running::start(&self.program, &self.arena).ok();
        }
    }

    /// Ends the process when no more snapshots are needed, without waiting for it: this is dropped
    /// later. It holds nothing now.
    pub fn end_ahead(&mut self) {
        if let Some(running) = &mut self.running {
            // It fails only if the process has ended.
            let _ = running.child.kill();
        }
    }

    /// Takes one snapshot.
    ///
    /// Errors only if the process cannot be looked at at all; whatever is lost of a process that
    /// can is a notice.
    pub fn take(&mut self, process: &ProcDir, request: &CaptureRequest) -> Result<Captured, Error> {
        let begun = Instant::now();
        self.asked += 1;
        let mut assignment = Assignment {
            process: process.id()?,
            request: request.clone(),
            number: self.asked,
            done: Vec::new(),
            suspects: Vec::new(),
            read_memory: true,
            read_map: true,
        };
        let mut collected = Collected::new(self.asked, request.stop);
        if self.filtered && request.stop != StopMode::None {
            collected.stop_nothing(&mut assignment, Cause::Filter);
        }
        let (mut in_vain, mut holding) = (0, 0);
        while in_vain < MOST_IN_VAIN {
            self.arena.clear();
            let before = collected.known();
            let end = self.ask(&assignment)?;
            collected.add(&self.arena);
            match end {
                End::Done(Ok(())) => return Ok(collected.finish(begun, process)?),
                End::Done(Err(error)) => {
                    return match (error, collected.threads.is_empty()) {
                        // It ended while it was being looked at; what was copied before is still
                        // true.
                        (proc::Error::Gone, false) => Ok(collected.finish(begun, process)?),
                        (error, _) => Err(error.into()),
                    };
                }
                End::Died(death) => {
                    collected.go_on_without(self.arena.progress(), death, &mut assignment);
                    self.filtered |= death == Death::Filtered && assignment.request.stop == StopMode::None;
                    let gained = collected.known().saturating_sub(before);
                    in_vain = if gained > 0 { 0 } else { in_vain + 1 };
                    let all = process.threads().map_or(0, |tids| tids.len());
                    let is_little = gained == 0 || gained < all.saturating_sub(before) / LEAST_PART;
                    holding += u32::from(death == Death::Killed && is_little);
                    let is_holding = assignment.request.stop != StopMode::None;
                    if is_holding && (holding >= MOST_HOLDING || begun.elapsed() > LONGEST_HOLDING) {
                        // Those that read in place have as many attempts.
                        in_vain = 0;
                        collected.stop_nothing(&mut assignment, Cause::TracerKilled);
                    }
                }
            }
            assignment.done = collected.done();
        }
        collected.give_up(process, assignment.done);
        Ok(collected.finish(begun, process)?)
    }

    /// Sends a request, and waits until it is answered or has to be given up.
    fn ask(&mut self, assignment: &Assignment) -> Result<End, Error> {
        let running = match self.running.take() {
            Some(running) => running,
            None => Running::start(&self.program, &self.arena).map_err(Error::Start)?,
        };
        if protocol::send(&running.socket, assignment).is_err() {
            return running.end().map(End::Died);
        }
        loop {
            let answered = running.wait();
            let progress = self.arena.progress();
            let hangs = || progress.since.elapsed() > GIVE_UP || !running.waits_for_a_cpu();
            if !answered && is_overdue(progress, assignment.request.max_hold) && hangs() {
                return running.end().map(|_| End::Died(Death::Hung));
            }
            if answered {
                return match protocol::receive(&running.socket) {
                    Ok(Some(outcome)) => {
                        self.running = Some(running);
                        Ok(End::Done(outcome))
                    }
                    _ => running.end().map(End::Died),
                };
            }
        }
    }
}

fn is_overdue(progress: TracerProgress, max_hold: Duration) -> bool {
    let limit = match progress.step {
        TracerStep::ReadingMemory => MEMORY_LIMIT,
        TracerStep::Holding | TracerStep::ReadingHeld => max_hold + AFTER_HOLD,
        TracerStep::Between | TracerStep::ReadingProc => PROC_LIMIT,
    };
    progress.since.elapsed() > limit
}

impl Running {
    fn start(program: &PathBuf, arena: &ArenaReader) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let memory = arena.as_fd().try_clone_to_owned()?;
        let child = Command::new(program)
            .arg0("hangsnap")
            .arg(TRACER_ARGUMENT)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(memory))
            .spawn()?;
        Ok(Self { child, socket })
    }

    /// Waits a little. True when there is an answer, or the tracer has gone.
    fn wait(&self) -> bool {
        let mut socket = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut socket, PollTimeout::from(LOOK)) {
            Ok(ready) => ready > 0,
            Err(Errno::EINTR) => false,
            // It cannot be waited for; receiving from it says why.
            Err(_) => true,
        }
    }

    /// Whether the tracer only waits for its turn on a machine that is busy with others: then
    /// nothing hangs.
    fn waits_for_a_cpu(&self) -> bool {
        let runs = |process: &ProcDir| {
            let tids = process.threads().unwrap_or_default();
            tids.into_iter().any(|tid| {
                process.thread(tid).and_then(|thread| thread.state()).is_ok_and(|state| state == ThreadState::Running)
            })
        };
        let pid = i32::try_from(self.child.id()).map(Pid);
        pid.is_ok_and(|pid| ProcDir::open(pid).is_ok_and(|process| runs(&process)))
    }

    /// Kills the process, which lets go of all that it traces, and collects it. An error says that
    /// it had ended by itself, because it could not work.
    fn end(mut self) -> Result<Death, Error> {
        // It fails only if the process has ended.
        let _ = self.child.kill();
        match self.collect() {
            Some(status) if status.code().is_some_and(|code| code != 0) => {
                Err(Error::Start(io::Error::other("it cannot work, as it says above")))
            }
            Some(status) if status.signal() == Some(libc::SIGSYS) => Ok(Death::Filtered),
            _ => Ok(Death::Killed),
        }
    }

    /// Waits for the process's end, but not for ever.
    fn collect(&mut self) -> Option<ExitStatus> {
        let begun = Instant::now();
        while begun.elapsed() < LAST_WORDS {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_micros(200)),
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
        None
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // It holds nothing now, and nothing is left to be said.
            let _ = running.end();
        }
    }
}
