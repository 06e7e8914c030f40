//! The tracer's work: one snapshot, recorded piece by piece.
//!
//! The threads of the process are listed again until no new one shows up, because a thread may be
//! born while others are being looked at.

use std::collections::HashSet;
use std::time::Duration;

use super::draft::Draft;
use super::unchanged::{self, Sleepers};
use super::{all_stop, memory, one_at_a_time};
use crate::capture::protocol::{Assignment, TracerRecord};
use crate::model::{Cause, Reason, StopMode, Tid};
use crate::proc::{self, ProcDir};
use crate::sys::alarm::KillTimer;
use crate::sys::arena::{ArenaWriter, TracerStep};
use crate::sys::clock;
use crate::sys::memory::ProcessMemory;

/// How often the threads are listed again. A process that still makes new ones then gets a notice.
const MAX_SCANS: usize = 8;
/// What it takes at least to hold and copy one thread among many: seven system calls.
const LEAST_PER_THREAD: Duration = Duration::from_micros(8);

/// Takes one snapshot.
///
/// Errors only if the process cannot be looked at at all; whatever is lost of a process that can is
/// a notice.
pub(super) fn take(
    process: &ProcDir,
    assignment: &Assignment,
    arena: &mut ArenaWriter,
    kill_timer: &KillTimer,
    sleepers: &mut Sleepers,
) -> Result<(), proc::Error> {
    let access = ProcessMemory::open(process.memory_owner()?);
    let taken = clock::timestamp();
    let mut draft = Draft::new(process, assignment, &access, arena, kill_timer);
    draft.log.arena.room(draft.progress.stack_room);
    let mut watched = sleepers.take(assignment.process);
    draft.log.record(&TracerRecord::Begun(taken));
    let mut description = process.describe()?;
    draft.log.record(&TracerRecord::Process(description.clone()));
    if assignment.read_map {
        draft.log.arena.progress_page().step(TracerStep::ReadingProc, 0);
        draft.view.read_map(&mut draft.log)?;
    }
    if draft.view.memory.is_some() {
        // The first read of its memory is made while no thread is held: if it hangs, this process
        // is killed, and the next one does without.
        draft.log.arena.progress_page().step(TracerStep::ReadingMemory, 0);
        description.command = process.command()?;
        draft.log.record(&TracerRecord::Process(description));
        memory::of_process(&mut draft);
    }
    let mut seen: HashSet<Tid> = assignment.done.iter().copied().collect();
    for scan in 0.. {
        draft.log.arena.progress_page().step(TracerStep::ReadingProc, 0);
        let fresh: Vec<Tid> = match process.threads() {
            Ok(tids) => tids.into_iter().filter(|tid| seen.insert(*tid)).collect(),
            // It ended while it was being looked at; what was copied before is still true.
            Err(proc::Error::Gone) if scan > 0 => break,
            Err(error) => return Err(error),
        };
        if fresh.is_empty() {
            break;
        }
        if scan == MAX_SCANS {
            draft.log.notice_process(Reason::ThreadsStillAppearing);
            break;
        }
        if scan > 0 && assignment.read_map {
            // The stack of a thread that was born since lies in a mapping that was not there
            // before. Where the map cannot be read again the one before stands.
            let _ = draft.view.read_map(&mut draft.log);
        }
        let fresh = unchanged::emit_unchanged(&mut draft, &mut watched, fresh);
        if fresh.is_empty() {
            // None of them had run when it was looked at. Who is born of one that has begun to
            // since is the next snapshot's.
            break;
        }
        let together = draft.view.request.stop == StopMode::All && may_hold_together(&mut draft, fresh.len());
        if scan > 0 && together {
            for tid in &fresh {
                draft.log.notice(*tid, Reason::StoppedLate);
            }
        }
        match together {
            true => all_stop::capture(&mut draft, fresh),
            false => one_at_a_time::capture(&mut draft, fresh),
        }
    }
    watched.retain(|tid, _| seen.contains(tid));
    if draft.view.request.stop != StopMode::All {
        unchanged::watch_sleepers(&mut draft, &mut watched, assignment.number, sleepers.room());
    }
    sleepers.put(assignment.process, watched);
    match draft.log.full {
        true => Err(proc::Error::Other("it has more threads than fit into a snapshot".into())),
        false => Ok(()),
    }
}

/// Whether this many threads can be held together for no longer than may be.
fn may_hold_together(draft: &mut Draft<'_>, threads: usize) -> bool {
    let needed = LEAST_PER_THREAD.saturating_mul(u32::try_from(threads).unwrap_or(u32::MAX));
    let enough = needed <= draft.view.request.max_hold;
    if !enough {
        draft.log.notice_process(Reason::Degraded { to: StopMode::OneAtATime, cause: Cause::Hold });
    }
    enough
}
