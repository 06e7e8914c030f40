//! Asking a tracer for a snapshot, and watching over it.
//!
//! The kernel kills the tracer when it holds a thread for too long; whoever waits for it here kills it when it hangs in
//! anything else. Either way the target runs on, what had been copied is in the shared memory, and another tracer goes on
//! with what is left, without what the first one hung on.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::protocol::{self, ContextRecord, MemoryRecord, Outcome, Record, Request, StackRecord, ThreadRecord};
use super::serve::TRACER_ARGUMENT;
use super::{Captured, CapturedThread, Context, Order, StackBytes};
use crate::model::{Bound, Hold, MemoryPiece, Notice, Process, Reason, StopMode, Subject, Tid, Timestamp};
use crate::proc::{self, MemoryMap, ProcDir};
use crate::sys::arena::{ArenaReader, Piece, Progress, Step};
use crate::sys::clock::{self, Instant};
use crate::sys::ptrace::RawRegisters;

/// How many tracers may be lost in one snapshot.
const MOST_TRACERS: usize = 8;
/// How often to look whether the tracer hangs.
const LOOK: u16 = 5;
/// How long a step may take before the tracer is taken for one that hangs. Memory comes in microseconds or does not come;
/// the map of a hundred thousand mappings takes its time; a hold is ended by the kernel, and this is for the case that it
/// could not.
const MEMORY_LIMIT: Duration = Duration::from_millis(100);
const PROC_LIMIT: Duration = Duration::from_secs(2);
const AFTER_HOLD: Duration = Duration::from_millis(20);
/// How long a tracer that was killed may take to be gone.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
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
}

struct Running {
    child: Child,
    socket: UnixStream,
}

/// How a request ended.
enum End {
    Done(Outcome),
    /// The tracer was killed, or died.
    Died,
}

impl Tracer {
    /// A tracer that is this program, executed again.
    pub fn new() -> Result<Self, Error> {
        Self::of_program("/proc/self/exe".into())
    }

    /// A tracer that is another program of this crate: a test's is not one itself.
    pub fn of_program(program: PathBuf) -> Result<Self, Error> {
        Ok(Self { program, arena: ArenaReader::create().map_err(Error::Start)?, running: None })
    }

    /// Takes one snapshot.
    ///
    /// Errors only if the process cannot be looked at at all; whatever is lost of a process that can is a notice.
    pub fn take(&mut self, process: &ProcDir, order: &Order) -> Result<Captured, Error> {
        let begun = Instant::now();
        let mut request = Request {
            process: process.id()?,
            order: order.clone(),
            done: Vec::new(),
            read_memory: true,
            read_map: true,
        };
        let mut collected = Collected::new(order.stop);
        for _ in 0..MOST_TRACERS {
            self.arena.clear();
            let end = self.ask(&request)?;
            collected.add(&self.arena);
            match end {
                End::Done(Ok(())) => return Ok(collected.finish(begun, process)?),
                End::Done(Err(error)) => {
                    return match (error, collected.threads.is_empty()) {
                        // It ended while it was being looked at; what was copied before is still true.
                        (proc::Error::Gone, false) => Ok(collected.finish(begun, process)?),
                        (error, _) => Err(error.into()),
                    };
                }
                End::Died => collected.go_on_without(self.arena.progress(), &mut request),
            }
            request.done = collected.done();
        }
        collected.give_up(process, request.done);
        Ok(collected.finish(begun, process)?)
    }

    /// Sends a request, and waits until it is answered or has to be given up.
    fn ask(&mut self, request: &Request) -> Result<End, Error> {
        let running = match self.running.take() {
            Some(running) => running,
            None => Running::start(&self.program, &self.arena).map_err(Error::Start)?,
        };
        if protocol::send(&running.socket, request).is_err() {
            running.end();
            return Ok(End::Died);
        }
        loop {
            let answered = running.wait();
            if !answered && is_overdue(self.arena.progress(), request.order.max_hold) {
                running.end();
                return Ok(End::Died);
            }
            if answered {
                return Ok(match protocol::receive(&running.socket) {
                    Ok(Some(outcome)) => {
                        self.running = Some(running);
                        End::Done(outcome)
                    }
                    _ => {
                        running.end();
                        End::Died
                    }
                });
            }
        }
    }
}

fn is_overdue(progress: Progress, max_hold: Duration) -> bool {
    let limit = match progress.step {
        Step::ReadingMemory => MEMORY_LIMIT,
        Step::Holding | Step::ReadingHeld => max_hold + AFTER_HOLD,
        Step::Between | Step::ReadingProc => PROC_LIMIT,
    };
    progress.since.elapsed() > limit
}

impl Running {
    fn start(program: &PathBuf, arena: &ArenaReader) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let memory = arena.as_fd().try_clone_to_owned()?;
        let child = Command::new(program)
            .arg(TRACER_ARGUMENT)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(memory))
            .spawn()?;
        Ok(Self { child, socket })
    }

    /// Waits a little. True when there is an answer, or nobody left to give one.
    fn wait(&self) -> bool {
        let mut socket = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut socket, PollTimeout::from(LOOK)) {
            Ok(ready) => ready > 0,
            Err(Errno::EINTR) => false,
            // It cannot be waited for; receiving from it tells why.
            Err(_) => true,
        }
    }

    /// Kills the process, which lets go of all that it traces, and collects it.
    fn end(mut self) {
        // It fails only if the process has ended.
        let _ = self.child.kill();
        let begun = Instant::now();
        while begun.elapsed() < LAST_WORDS && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if let Some(Running { mut child, socket }) = self.running.take() {
            // Without its socket it ends by itself, and holds nothing now.
            drop(socket);
            let _ = child.wait();
        }
    }
}

/// What has been heard of a snapshot so far, from one tracer or several.
struct Collected {
    stop: StopMode,
    taken: Option<Timestamp>,
    process: Option<Process>,
    map: MemoryMap,
    threads: BTreeMap<Tid, CapturedThread>,
    memory: Vec<MemoryPiece>,
    memory_is_readable: bool,
    notices: Vec<Notice>,
    window: Duration,
    /// The thread that the last tracer died over.
    suspect: Option<Tid>,
    /// Threads that are given up although nothing is known of them.
    given_up: Vec<Tid>,
}

impl Collected {
    fn new(stop: StopMode) -> Self {
        Self {
            stop,
            taken: None,
            process: None,
            map: MemoryMap::default(),
            threads: BTreeMap::new(),
            memory: Vec::new(),
            memory_is_readable: true,
            notices: Vec::new(),
            window: Duration::ZERO,
            suspect: None,
            given_up: Vec::new(),
        }
    }

    /// Takes what a tracer has logged out of the shared memory.
    fn add(&mut self, arena: &ArenaReader) {
        for record in arena.log() {
            match postcard::from_bytes(&record) {
                Ok(Record::Begun(taken)) => self.taken = self.taken.or(Some(taken)),
                Ok(Record::Process(process)) => self.process = Some(process),
                Ok(Record::Map(text)) => {
                    // A map that could not be parsed would have ended the snapshot in the tracer.
                    self.map = MemoryMap::parse(&arena.bytes(text).unwrap_or_default()).unwrap_or_default();
                }
                Ok(Record::Thread(thread)) => {
                    self.threads.insert(thread.tid, captured(*thread, arena));
                }
                Ok(Record::Memory(record)) => self.memory.extend(piece(record, arena)),
                Ok(Record::Notice(notice)) => self.notices.push(notice),
                // A tracer of this very program logs nothing else.
                Err(_) => {}
            }
        }
        self.window += arena.window();
    }

    fn done(&self) -> Vec<Tid> {
        let gone = self.notices.iter().filter_map(|notice| match notice {
            Notice { subject: Subject::Thread(tid), reason: Reason::ThreadGone } => Some(*tid),
            _ => None,
        });
        self.threads.keys().copied().chain(gone).chain(self.given_up.iter().copied()).collect()
    }

    /// The tracer is dead: changes the request so that the next one does not die of the same.
    fn go_on_without(&mut self, progress: Progress, request: &mut Request) {
        let tid = Tid(progress.tid);
        match progress.step {
            Step::ReadingMemory | Step::ReadingHeld if request.read_memory => {
                request.read_memory = false;
                self.memory_is_readable = false;
                self.notice(Subject::Process, Reason::MemoryBlocked);
            }
            Step::Holding if request.order.stop == StopMode::All => {
                request.order.stop = StopMode::OneAtATime;
                self.notice(Subject::Process, Reason::Degraded { to: StopMode::OneAtATime, bound: Bound::Hold });
            }
            Step::ReadingProc if tid.0 == 0 => request.read_map = false,
            // It may have been the tracer's own bad luck: the thread gets a second chance.
            _ if tid.0 != 0 && self.suspect.replace(tid) != Some(tid) => {}
            Step::Holding | Step::ReadingHeld if tid.0 != 0 => {
                let limit_us = u64::try_from(request.order.max_hold.as_micros()).unwrap_or(u64::MAX);
                self.notice(Subject::Thread(tid), Reason::HeldTooLong { limit_us });
                self.given_up.push(tid);
            }
            _ if tid.0 != 0 => {
                self.notice(Subject::Thread(tid), Reason::TracerDied);
                self.given_up.push(tid);
            }
            _ => {}
        }
    }

    /// So many tracers have died that no other is asked: what is left is lost.
    fn give_up(&mut self, process: &ProcDir, done: Vec<Tid>) {
        for tid in process.threads().unwrap_or_default() {
            if !done.contains(&tid) {
                self.notice(Subject::Thread(tid), Reason::TracerDied);
                self.given_up.push(tid);
            }
        }
    }

    fn notice(&mut self, subject: Subject, reason: Reason) {
        self.notices.push(Notice { subject, reason });
    }

    fn finish(mut self, begun: Instant, process: &ProcDir) -> Result<Captured, proc::Error> {
        for tid in std::mem::take(&mut self.given_up) {
            // What is lost is shown with what /proc says of it, unless it is gone.
            if let Ok(status) = process.thread(tid).and_then(|thread| thread.status()) {
                self.threads.entry(tid).or_insert_with(|| CapturedThread {
                    tid,
                    status,
                    hold: Hold::NotCaptured,
                    context: Context::Nothing,
                    stack: StackBytes::default(),
                    memory: Vec::new(),
                    floating_point: None,
                    code_before: None,
                });
            }
        }
        let process = match self.process {
            Some(process) => process,
            None => process.describe()?,
        };
        let degraded = self.notices.iter().find_map(|notice| match notice.reason {
            Reason::Degraded { to, .. } => Some(to),
            _ => None,
        });
        Ok(Captured {
            taken: self.taken.unwrap_or_else(clock::timestamp),
            process,
            window: self.window,
            took: begun.elapsed(),
            stop: degraded.unwrap_or(self.stop),
            map: self.map,
            threads: self.threads.into_values().collect(),
            memory: self.memory,
            memory_is_readable: self.memory_is_readable,
            notices: self.notices,
        })
    }
}

fn captured(record: ThreadRecord, arena: &ArenaReader) -> CapturedThread {
    let ThreadRecord { tid, status, hold, context, stack, memory, floating_point, code_before } = record;
    let StackRecord { start, bytes, left_out, own } = stack;
    let bytes_of = |piece: Piece| arena.bytes(piece).unwrap_or_default();
    CapturedThread {
        tid,
        status,
        hold,
        context: match context {
            ContextRecord::Full(words) => Context::Full(Box::new(RawRegisters::from_words(words))),
            ContextRecord::Blocked(blocked) => Context::Blocked(blocked),
            ContextRecord::Nothing => Context::Nothing,
        },
        stack: StackBytes {
            start,
            bytes: bytes_of(bytes),
            left_out,
            own: own.map(|(start, piece)| (start, bytes_of(piece))),
        },
        memory: memory.into_iter().filter_map(|record| piece(record, arena)).collect(),
        floating_point: floating_point.map(bytes_of),
        code_before,
    }
}

fn piece(record: MemoryRecord, arena: &ArenaReader) -> Option<MemoryPiece> {
    let MemoryRecord { address, bytes, what } = record;
    Some(MemoryPiece { address, bytes: arena.bytes(bytes)?, what })
}
