//! The plan: for each thread the least intrusive method that yields what is asked for.
//!
//! A thread that sleeps where a stop would disturb it, or cannot arrive, is read in place.
//! Everything else is held, alone and for some microseconds. `--stop none` reads everything in
//! place, and `--stop all` holds whatever can be held.

use std::hint;
use std::time::Duration;

use super::blocked;
use super::draft::{Draft, Entered, Planned};
use super::in_place::{self, NotRead};
use super::stack::Owner;
use super::syscalls;
use crate::capture::protocol::{ContextRecord, StackRecord};
use crate::model::{Acquired, Reason, StopMode, ThreadState, ThreadStatus, Tid};
use crate::proc::{self, BlockedCall, RunCount, ThreadDir};
use crate::sys::arena::TracerStep;
use crate::sys::clock::Instant;

/// How often a thread is looked at before it is taken for one that runs, or that cannot be read in
/// place.
const LOOKS: usize = 5;
/// The time between two looks: a thread that only wakes up to go back to sleep has done so.
const PAUSE: Duration = Duration::from_micros(20);

/// Where a thread's registers come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Method {
    /// It is stopped, and ptrace gives them.
    Hold,
    /// It sleeps, and /proc gives those with which it entered the kernel.
    InPlace,
}

/// What is known of how a thread takes being held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StopHistory {
    None,
    /// It was asked to stop and did not in time: it is read in place as soon as it sleeps again.
    DidNotStop,
}

/// What is to become of a thread.
pub(super) enum Plan {
    /// It has been dealt with: read in place, or found to be out of reach.
    Done,
    Hold(Planned),
    /// It was to be held and has been read in place instead, because threads do not stop in time.
    ReadInstead(Planned),
    /// It goes on running, or waiting for a CPU, where threads do not stop in time: it is to be
    /// held when its turn comes.
    Runs(Planned),
    /// It is on its way out of a call that a stop would disturb, or may be, and only waits for a
    /// CPU: it is to be looked at again later, and if that comes to nothing is lost for this
    /// reason.
    Later(Planned, Reason),
}

/// Reads what /proc says of a thread, and the thread itself if it is one to be read in place.
pub(super) fn plan(tid: Tid, history: StopHistory, draft: &mut Draft<'_>) -> Plan {
    draft.log.arena.progress_page().step(TracerStep::ReadingProc, tid.0);
    let (thread, mut planned) = match read_status(tid, draft) {
        Ok(found) => found,
        Err(proc::Error::Gone) => {
            draft.log.notice(tid, Reason::ThreadGone);
            return Plan::Done;
        }
        Err(error) => {
            draft
                .log
                .notice(tid, Reason::Refused { what: format!("reading its status ({error})"), errno: libc::EACCES });
            return Plan::Done;
        }
    };
    if matches!(planned.status.state, ThreadState::Zombie | ThreadState::Dead) {
        draft.lost(&planned, Reason::Exited);
        return Plan::Done;
    }
    if planned.status.worker.is_some() {
        // There is no user half of it to look at, and what the kernel says of it has been read.
        draft.captured(&planned, Acquired::ReadInPlace, ContextRecord::Nothing, None, StackRecord::default(), None);
        return Plan::Done;
    }
    let cannot_stop = syscalls::cannot_be_stopped(&planned.status);
    let stop = match history {
        StopHistory::None => draft.progress.stop,
        StopHistory::DidNotStop => StopMode::None,
    };
    if stop == StopMode::All && !cannot_stop {
        return Plan::Hold(planned);
    }
    let mut not_read = NotRead::Runs;
    let mut run = None;
    for number in 0..LOOKS {
        if number > 0 {
            pause();
        }
        let call = match blocked::blocked_call(draft, &thread, tid) {
            Ok(call) => call,
            Err(proc::Error::Gone) => {
                draft.lost(&planned, Reason::ThreadGone);
                return Plan::Done;
            }
            Err(_) if stop == StopMode::None || cannot_stop => {
                not_read = NotRead::Refused;
                break;
            }
            Err(_) => {
                draft.log.note_unknown_calls();
                return Plan::Hold(planned);
            }
        };
        let made = call.map(ContextRecord::Blocked);
        let made = made.and_then(|context| blocked::of_blocked(draft, &planned, &thread, &context));
        planned.entered = call.zip(made).map(|(blocked, call)| Entered { blocked, call }).or(planned.entered);
        let blocked = call.map(|blocked| BlockedCall { call: made, ..blocked });
        let chosen = match choose(stop, &planned.status, blocked.as_ref()) {
            // The kernel would look at the word again, and the thread would go on that hangs.
            Some(Method::Hold) if stop != StopMode::All && blocked::is_wakeup_lost(draft, made) => {
                Some(Method::InPlace)
            }
            chosen => chosen,
        };
        match chosen {
            // One that runs right now may be about to sleep where it should not be disturbed.
            Some(Method::Hold) => return Plan::Hold(planned),
            None => run = run.or_else(|| Some(Run::observe(&thread, draft))),
            Some(Method::InPlace) => match in_place::read(&planned, &thread, draft) {
                Ok(())
                    if stop != draft.progress.stop
                        && choose(draft.progress.stop, &planned.status, call.as_ref()) == Some(Method::Hold) =>
                {
                    return Plan::ReadInstead(planned);
                }
                Ok(()) => return Plan::Done,
                Err(NotRead::Runs) => {}
                Err(other) => {
                    not_read = other;
                    break;
                }
            },
        }
    }
    let reason = in_place::loss(&planned, not_read, draft.progress.stop);
    match (not_read, stop) {
        (NotRead::Runs, StopMode::OneAtATime) if run.as_ref().is_some_and(|run| run.goes_on(&thread, draft)) => {
            Plan::Hold(planned)
        }
        (NotRead::Runs, StopMode::None)
            if draft.progress.stop != StopMode::None
                && !cannot_stop
                && run.as_ref().is_some_and(|run| run.goes_on(&thread, draft)) =>
        {
            Plan::Runs(planned)
        }
        (NotRead::Runs, _) => Plan::Later(planned, reason),
        _ => {
            draft.lost(&planned, reason);
            Plan::Done
        }
    }
}

/// What was seen of a thread that runs, or waits for a CPU.
struct Run {
    count: Option<RunCount>,
    /// Whether, as far as is known, it is not on its way out of a call that a stop would disturb:
    /// the kernel has a stack to show of a thread that is not on a CPU, and in it the call that it
    /// was in when it was woken, or preempted.
    may_be_stopped: bool,
}

impl Run {
    fn observe(thread: &ThreadDir, draft: &Draft<'_>) -> Self {
        let (wait, _) = thread.kernel_wait(draft.progress.kernel_stacks);
        Self {
            count: thread.run_count().ok().flatten(),
            may_be_stopped: !syscalls::may_be_returning_from_interruptible_call(&wait),
        }
    }

    /// Whether the thread has been running since, without a pause, and may be stopped. One that has
    /// just been given a CPU may be about to sleep again.
    fn goes_on(&self, thread: &ThreadDir, draft: &Draft<'_>) -> bool {
        let now = Self::observe(thread, draft);
        let runs = matches!(thread.blocked_call(), Ok(None));
        runs && self.may_be_stopped && now.may_be_stopped && self.count == now.count
    }
}

/// The way to look at a thread in this state, which sleeps in this call; None for one that runs
/// where it is too early to say.
fn choose(stop: StopMode, status: &ThreadStatus, blocked: Option<&BlockedCall>) -> Option<Method> {
    match (stop, status.state, blocked) {
        (StopMode::None, _, None) => None,
        (StopMode::None, ..) => Some(Method::InPlace),
        _ if syscalls::cannot_be_stopped(status) => Some(Method::InPlace),
        (StopMode::All, ..) => Some(Method::Hold),
        (StopMode::OneAtATime, _, None) => None,
        // Stopped by job control: letting go of it would make it run for a moment, into the same
        // stop again.
        (StopMode::OneAtATime, ThreadState::Stopped, _) => Some(Method::InPlace),
        (StopMode::OneAtATime, _, Some(BlockedCall { call: Some(call), .. }))
            if !syscalls::restarts_after_stop(call) =>
        {
            Some(Method::InPlace)
        }
        // It sleeps where a stop goes unnoticed, or in no call at all: in a page fault.
        (StopMode::OneAtATime, ..) => Some(Method::Hold),
    }
}

fn read_status(tid: Tid, draft: &mut Draft<'_>) -> Result<(ThreadDir, Planned), proc::Error> {
    let thread = draft.view.process.thread(tid)?;
    let mut status = thread.status()?;
    let (wait, permitted) = thread.kernel_wait(draft.progress.kernel_stacks);
    status.wait = wait.into();
    // What is not permitted for one is not permitted for any.
    draft.progress.kernel_stacks &= !matches!(permitted, Err(proc::Error::NotPermitted));
    let owner = match tid == draft.view.process.pid().main_thread() {
        true => Owner::MainThread,
        false => Owner::OtherThread,
    };
    // The kernel makes its workers beside a program's threads. Before Linux 5.17 the flag of one of
    // them had another meaning.
    status.worker = status.worker.filter(|_| owner == Owner::OtherThread);
    Ok((thread, Planned { tid, status, owner, entered: None }))
}

/// A thread that was asked to stop and did not: it is no longer asked, and is read in place if it
/// sleeps. False if that did not work either.
pub(super) fn read_instead(planned: &Planned, draft: &mut Draft<'_>) -> bool {
    let Ok(thread) = draft.view.process.thread(planned.tid) else {
        return false;
    };
    (0..LOOKS).any(|number| {
        if number > 0 {
            pause();
        }
        in_place::read(planned, &thread, draft).is_ok()
    })
}

/// What may be done with a thread at this moment that is to be held.
pub(super) enum Now {
    Hold,
    /// It sleeps where a stop would disturb it, or is on its way out of such a call.
    ReadInPlace,
    Gone,
}

/// Looks once more at a thread that was planned to be held some time ago.
pub(super) fn now(planned: &Planned, draft: &Draft<'_>) -> Now {
    let Ok(thread) = draft.view.process.thread(planned.tid) else {
        return Now::Gone;
    };
    match thread.blocked_call() {
        Ok(Some(call)) if choose(draft.progress.stop, &planned.status, Some(&call)) != Some(Method::Hold) => {
            Now::ReadInPlace
        }
        Err(proc::Error::Gone) => Now::Gone,
        Ok(None) if draft.progress.stop != StopMode::All && !Run::observe(&thread, draft).may_be_stopped => {
            Now::ReadInPlace
        }
        _ => Now::Hold,
    }
}

/// Plans the threads of a snapshot that is to hold them together; those that are not to be held are
/// dealt with at once.
pub(super) fn plan_all(draft: &mut Draft<'_>, tids: Vec<Tid>) -> Vec<Planned> {
    let mut planned = Vec::with_capacity(tids.len());
    for tid in tids {
        match plan(tid, StopHistory::None, draft) {
            Plan::Done | Plan::ReadInstead(_) => {}
            Plan::Hold(thread) | Plan::Runs(thread) => planned.push(thread),
            // It was uninterruptible when it was looked at first, and has woken up since.
            Plan::Later(thread, reason) => draft.lost(&thread, reason),
        }
    }
    planned
}

fn pause() {
    let begun = Instant::now();
    while begun.elapsed() < PAUSE {
        hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{KernelWait, RuntimeAddress, Scheduling, StartTime, SystemCall};

    fn status(state: ThreadState, channel: Option<&str>) -> ThreadStatus {
        ThreadStatus {
            start: StartTime(0),
            name: String::new(),
            state,
            scheduling: Scheduling::default(),
            signals: None,
            worker: None,
            wait: KernelWait { channel: channel.map(str::to_owned), stack: None }.into(),
        }
    }

    fn blocked(number: libc::c_long) -> BlockedCall {
        let number = u32::try_from(number).expect("a call's number");
        let call = Some(SystemCall::new(number, [0; 6]));
        BlockedCall { call, stack_pointer: RuntimeAddress(0), program_counter: RuntimeAddress(0) }
    }

    #[test]
    fn a_call_that_a_stop_would_end_is_read_in_place() {
        let epoll = blocked(libc::SYS_epoll_wait);
        assert_eq!(
            choose(StopMode::OneAtATime, &status(ThreadState::Sleeping, None), Some(&epoll)),
            Some(Method::InPlace)
        );
        let futex = blocked(libc::SYS_futex);
        assert_eq!(
            choose(StopMode::OneAtATime, &status(ThreadState::Sleeping, None), Some(&futex)),
            Some(Method::Hold)
        );
        assert_eq!(choose(StopMode::None, &status(ThreadState::Sleeping, None), Some(&futex)), Some(Method::InPlace));
    }

    #[test]
    fn uninterruptible_sleep_is_never_stopped() {
        for stop in [StopMode::None, StopMode::OneAtATime, StopMode::All] {
            let futex = blocked(libc::SYS_futex);
            let unstoppable = status(ThreadState::Uninterruptible, None);
            assert_eq!(choose(stop, &unstoppable, Some(&futex)), Some(Method::InPlace));
            // It shows as sleeping, and stops only once its page has come.
            let faulting = status(ThreadState::Sleeping, Some("handle_userfault"));
            assert_eq!(choose(stop, &faulting, Some(&futex)), Some(Method::InPlace));
        }
    }

    #[test]
    fn a_running_thread_is_held_only_once_that_is_sure() {
        let running = status(ThreadState::Running, None);
        assert_eq!(choose(StopMode::OneAtATime, &running, None), None);
        assert_eq!(choose(StopMode::None, &running, None), None);
        assert_eq!(choose(StopMode::All, &running, None), Some(Method::Hold));
    }
}
