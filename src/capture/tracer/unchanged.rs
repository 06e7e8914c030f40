//! Threads that are unchanged: they have not run since an earlier snapshot, so nothing of what it
//! says is looked at again.
//!
//! Of a process that is recorded most threads sleep most of the time. One that was looked at is
//! looked at once more when the snapshot is done: if it sleeps in the same call, with the same
//! arguments, the same stack pointer and the same bytes on its stack, and no code was mapped or has
//! gone since the map was read, it is asleep there. As long as the kernel has not given it a CPU
//! since (`Watch`), a later snapshot says that and no more: it is neither held nor copied. Only the
//! memory around what it waits on, which others may have changed, is copied again. What others
//! write into its stack meanwhile is not seen.
//!
//! Promises: that a thread is unchanged is known by the count of its time slices and never by where
//! it seems to be; of a thread about which something was lost nothing is taken for granted; and the
//! caller has the snapshot that is referred to. Between being released and being found asleep a
//! thread may have returned and called again, to leave every byte of its stack as it was: then
//! callee-saved registers are those of the first call.

use std::collections::{HashMap, HashSet};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::draft::{Draft, Looked};
use super::{blocked, memory};
use crate::capture::protocol::{ContextRecord, StackRecord, TracerRecord, UnchangedRecord};
use crate::model::{
    ProcessId, RuntimeAddress, SignalSet, SignalSets, StopMode, SystemCall, ThreadState, ThreadStatus, Tid,
};
use crate::proc::{self, BlockedCall, ProcDir, ThreadDir, Watch};
use crate::sys::arena::TracerStep;
use crate::sys::ptrace::RawRegisters;

/// Threads of all processes together that are watched at most: each costs two descriptors, and two
/// pages of the kernel's memory.
const MOST_WATCHED: u64 = 4096;
/// Descriptors that are needed for everything else.
const OTHER_DESCRIPTORS: u64 = 64;
/// How many snapshots later /proc is read again of an unchanged thread: others may have sent it
/// real-time signals that it blocks.
const READ_AGAIN: u32 = 64;

/// The threads that are watched while they sleep, of each process that is recorded. They are lost
/// with the tracer; then all threads are looked at again.
pub(super) struct Sleepers {
    processes: HashMap<ProcessId, Watched>,
    /// How many there may be.
    most: usize,
}

/// Those of one process.
pub(super) type Watched = HashMap<Tid, Sleeper>;

/// A thread that is watched while it sleeps.
pub(super) struct Sleeper {
    watch: Watch,
    /// The snapshot that has all of it.
    stored_in: u64,
    /// In how many it has been unchanged since.
    times: u32,
    /// What /proc said of it when it was found asleep: being released has left its traces. None
    /// once that is recorded.
    status: Option<ThreadStatus>,
    of_all: Option<OfAll>,
    context: ContextRecord,
    system_call: Option<SystemCall>,
}

/// What /proc says of signals and is the same for all threads of a process: those sent to it that
/// no thread has taken, and which it ignores and handles. To change that need not wake any.
type OfAll = [SignalSet; 3];

impl Sleepers {
    /// Allows this process as many descriptors as it may have. Where that is not enough some
    /// threads are looked at again each time.
    pub(super) fn new() -> Self {
        let allowed = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, hard)| {
            let raised = hard.min(OTHER_DESCRIPTORS + 2 * MOST_WATCHED).max(soft);
            setrlimit(Resource::RLIMIT_NOFILE, raised, hard).map_or(soft, |()| raised)
        });
        let most = (allowed.saturating_sub(OTHER_DESCRIPTORS) / 2).min(MOST_WATCHED);
        Self { processes: HashMap::new(), most: usize::try_from(most).unwrap_or(0) }
    }

    /// Takes out those of a process that a snapshot is to be taken of. They are lost unless they
    /// are put back.
    pub(super) fn take(&mut self, process: ProcessId) -> Watched {
        if let Some(threads) = self.processes.remove(&process) {
            return threads;
        }
        self.forget_ended();
        Watched::default()
    }

    fn forget_ended(&mut self) {
        let is_there =
            |id: &ProcessId| ProcDir::open(id.pid).and_then(|process| process.id()).is_ok_and(|now| now == *id);
        self.processes.retain(|id, _| is_there(id));
    }

    /// How many there may be of the process whose threads were taken out.
    pub(super) fn room(&self) -> usize {
        self.most.saturating_sub(self.processes.values().map(HashMap::len).sum())
    }

    pub(super) fn put(&mut self, process: ProcessId, threads: Watched) {
        self.processes.insert(process, threads);
        if self.room() == 0 {
            self.forget_ended();
        }
    }
}

/// Records those threads that are unchanged, and returns the others.
pub(super) fn emit_unchanged(draft: &mut Draft<'_>, watched: &mut Watched, tids: Vec<Tid>) -> Vec<Tid> {
    let Some(after) = draft.view.request.after.filter(|_| draft.view.request.stop != StopMode::All) else {
        return tids;
    };
    let of_all = signals_of_all(draft);
    let mut is_unchanged = |tid: &Tid| {
        let is_same =
            |sleeper: &Sleeper| sleeper.stored_in <= after && sleeper.of_all == of_all && sleeper.watch.is_unchanged();
        watched.remove(tid).filter(is_same).map(|mut sleeper| {
            draft.log.arena.progress_page().step(TracerStep::ReadingProc, tid.0);
            // Not all in the same snapshot.
            let is_due = sleeper.times.wrapping_add(tid.0.cast_unsigned()) % READ_AGAIN == 0;
            let status = sleeper.status.take().or_else(|| is_due.then(|| status(draft, *tid)).flatten());
            let memory = memory::of_thread(draft, *tid, &sleeper.context, sleeper.system_call);
            draft.log.record(&TracerRecord::Unchanged(Box::new(UnchangedRecord { tid: *tid, status, memory })));
            sleeper.times = sleeper.times.wrapping_add(1);
            watched.insert(*tid, sleeper);
        })
    };
    tids.into_iter().filter(|tid| is_unchanged(tid).is_none()).collect()
}

/// Watches those threads captured in this snapshot that are asleep where they were, as long as
/// there is room for more.
pub(super) fn watch_sleepers(draft: &mut Draft<'_>, watched: &mut Watched, number: u64, room: usize) {
    let looked = std::mem::take(&mut draft.progress.looked);
    let lossy: HashSet<Tid> = std::mem::take(&mut draft.log.lossy);
    if looked.is_empty() || !draft.view.has_map_of_code() {
        // A stack that was walked by another map may lack frames. The next snapshot has a new one.
        return;
    }
    let of_all = signals_of_all(draft);
    for Looked { tid, context, system_call, stack } in looked {
        if watched.len() >= room {
            break;
        }
        draft.log.arena.progress_page().step(TracerStep::ReadingProc, tid.0);
        // What goes wrong here is no loss: the thread is looked at again the next time.
        if !lossy.contains(&tid)
            && let Ok(thread) = draft.view.process.thread(tid)
            && let Ok(Some((watch, status))) = watch_if_asleep(draft, tid, &thread, &context, &stack)
        {
            let status = Some(status);
            watched.insert(tid, Sleeper { watch, stored_in: number, times: 0, status, of_all, context, system_call });
        }
    }
}

/// What /proc says of a thread, what it waits for in the kernel too.
fn status(draft: &Draft<'_>, tid: Tid) -> Option<ThreadStatus> {
    let thread = draft.view.process.thread(tid).ok()?;
    let (wait, _) = thread.kernel_wait(draft.progress.kernel_stacks);
    Some(ThreadStatus { wait: wait.into(), ..thread.status().ok()? })
}

fn signals_of_all(draft: &Draft<'_>) -> Option<OfAll> {
    let main = draft.view.process.thread(draft.view.process.pid().main_thread()).ok()?;
    let SignalSets { process_pending, ignored, caught, .. } = main.status().ok()?.signals?;
    Some([process_pending, ignored, caught])
}

/// Watches a thread that is where it was when it was captured, and returns what /proc says of it.
/// None if it is not there.
fn watch_if_asleep(
    draft: &mut Draft<'_>,
    tid: Tid,
    thread: &ThreadDir,
    context: &ContextRecord,
    stack: &StackRecord,
) -> Result<Option<(Watch, ThreadStatus)>, proc::Error> {
    let Some(watch) = Watch::new(thread)? else {
        return Ok(None);
    };
    let is_there = blocked::blocked_call(draft, thread, tid)?.is_some_and(|blocked| {
        // A stack that has grown since the map was read was copied in part, or not at all.
        let is_copied = draft.view.map.find(blocked.stack_pointer).is_some() && stack.start <= blocked.stack_pointer.0;
        is_copied && is_in(&blocked, context)
    });
    let is_same = is_there && has_same_stack(draft, tid, stack);
    // What it waits for in the kernel may have been looked at before it was where it is. And
    // another tracer of a thread that it has stopped can change its registers, which takes no
    // CPU.
    let is_unchanged = |status: &ThreadStatus| is_same && status.state != ThreadState::Traced && watch.is_unchanged();
    let status = status(draft, tid).filter(is_unchanged);
    Ok(status.map(|status| (watch, status)))
}

/// Whether a thread that is blocked here is where it was when it had these registers.
fn is_in(blocked: &BlockedCall, context: &ContextRecord) -> bool {
    match context {
        ContextRecord::Blocked(before) => before == blocked,
        ContextRecord::Full(words) => {
            let registers = RawRegisters::from_words(*words);
            // A call that was interrupted by being held may go by another number when the kernel
            // has begun it again.
            let is_call = blocked.call.zip(registers.system_call_number()).is_some_and(|(call, number)| {
                (call.number == number || call.is_restart()) && call.arguments == registers.arguments(call.abi)
            });
            is_call
                && blocked.stack_pointer.0 == registers.stack_pointer()
                && blocked.program_counter.0 == registers.instruction_pointer()
        }
        ContextRecord::Nothing => false,
    }
}

/// Whether the bytes of the stack are those that were copied, which must be all there were to copy.
fn has_same_stack(draft: &mut Draft<'_>, tid: Tid, stack: &StackRecord) -> bool {
    let is_whole = stack.left_out == 0 && stack.pieces.length == 0;
    let Some(memory) = draft.view.memory.filter(|_| is_whole) else {
        return false;
    };
    draft.log.arena.progress_page().step(TracerStep::ReadingMemory, tid.0);
    let same = draft.log.arena.kept_beside_room(stack.bytes).is_some_and(|(kept, room)| {
        !kept.is_empty() && memory.read(RuntimeAddress(stack.start), room) == Ok(kept.len()) && kept == room
    });
    draft.log.arena.progress_page().step(TracerStep::ReadingProc, tid.0);
    same
}
