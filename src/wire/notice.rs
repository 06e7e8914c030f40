//! Notices, both ways.

use super::pb::notice::Reason as Message;
use super::{Error, convert, pb};
use crate::model::{Cause, Notice, Pid, Reason, RuntimeAddress, Subject, Tid};

pub(super) fn encode(notice: &Notice, string: impl FnOnce(&str) -> u32) -> pb::Notice {
    let (tid, module_path_plus_one) = match &notice.subject {
        Subject::Process => (0, 0),
        Subject::Thread(tid) => (tid.0, 0),
        Subject::Module(path) => (0, string(path) + 1),
    };
    let reason = match &notice.reason {
        Reason::ThreadGone => Message::ThreadGone(pb::Nothing {}),
        Reason::Uninterruptible => Message::Uninterruptible(pb::Nothing {}),
        Reason::DidNotStop { waited_us } => Message::DidNotStop(pb::DidNotStop { waited_us: *waited_us }),
        Reason::AlreadyTraced { tracer, tracer_name } => {
            Message::AlreadyTraced(pb::AlreadyTraced { tracer_pid: tracer.0, tracer_name: tracer_name.clone() })
        }
        Reason::StoppedLate => Message::StoppedLate(pb::Nothing {}),
        Reason::Exited => Message::Exited(pb::Nothing {}),
        Reason::Refused { what, errno } => Message::Refused(pb::Refused { what: what.clone(), errno: *errno }),
        Reason::StackPointerWild(at) => Message::StackPointerWild(at.0),
        Reason::StackTruncated { copied } => Message::StackTruncated(*copied),
        Reason::FileReplaced => Message::FileReplaced(pb::Nothing {}),
        Reason::FileUnreadable { why } => Message::FileUnreadable(why.clone()),
        Reason::NamesUnreadable { why } => Message::NamesUnreadable(why.clone()),
        Reason::ThreadsStillAppearing => Message::ThreadsStillAppearing(pb::Nothing {}),
        Reason::Running => Message::Running(pb::Nothing {}),
        Reason::Unsteady => Message::Unsteady(pb::Nothing {}),
        Reason::Disturbed(call) => Message::Disturbed((*call).into()),
        Reason::CallUnknown => Message::CallUnknown(pb::Nothing {}),
        Reason::MemoryBlocked => Message::MemoryBlocked(pb::Nothing {}),
        Reason::MemoryGone => Message::MemoryGone(pb::Nothing {}),
        Reason::Executed => Message::Executed(pb::Nothing {}),
        Reason::Ended => Message::Ended(pb::Nothing {}),
        Reason::Degraded { to, cause } => {
            let cause = match cause {
                Cause::Hold => pb::degraded::Cause::Hold,
                Cause::Duty => pb::degraded::Cause::Duty,
                Cause::Filter => pb::degraded::Cause::Filter,
                Cause::TracerKilled => pb::degraded::Cause::TracerKilled,
            };
            Message::Degraded(pb::Degraded { to: pb::StopMode::from(*to).into(), cause: cause.into() })
        }
        Reason::HeldTooLong { limit_us } => Message::HeldTooLong(*limit_us),
        Reason::TracerDied => Message::TracerDied(pb::Nothing {}),
        Reason::CallRenamed => Message::CallRenamed(pb::Nothing {}),
        Reason::NotHeldInTime { threads } => Message::NotHeldInTime(*threads),
        Reason::Unknown => return pb::Notice { tid, module_path_plus_one, reason: None },
    };
    pb::Notice { tid, module_path_plus_one, reason: Some(reason) }
}

pub(super) fn decode(notice: pb::Notice, string: impl FnOnce(u32) -> Result<String, Error>) -> Result<Notice, Error> {
    let subject = match (notice.tid, notice.module_path_plus_one) {
        (0, 0) => Subject::Process,
        (0, path) => Subject::Module(string(path - 1)?),
        (tid, _) => Subject::Thread(Tid(tid)),
    };
    // A field that is not known is not there.
    let Some(reason) = notice.reason else {
        return Ok(Notice { subject, reason: Reason::Unknown });
    };
    let reason = match reason {
        Message::ThreadGone(_) => Reason::ThreadGone,
        Message::Uninterruptible(_) => Reason::Uninterruptible,
        Message::DidNotStop(message) => Reason::DidNotStop { waited_us: message.waited_us },
        Message::AlreadyTraced(message) => {
            Reason::AlreadyTraced { tracer: Pid(message.tracer_pid), tracer_name: message.tracer_name }
        }
        Message::StoppedLate(_) => Reason::StoppedLate,
        Message::Exited(_) => Reason::Exited,
        Message::Refused(message) => Reason::Refused { what: message.what, errno: message.errno },
        Message::StackPointerWild(at) => Reason::StackPointerWild(RuntimeAddress(at)),
        Message::StackTruncated(copied) => Reason::StackTruncated { copied },
        Message::FileReplaced(_) => Reason::FileReplaced,
        Message::FileUnreadable(why) => Reason::FileUnreadable { why },
        Message::NamesUnreadable(why) => Reason::NamesUnreadable { why },
        Message::ThreadsStillAppearing(_) => Reason::ThreadsStillAppearing,
        Message::Running(_) => Reason::Running,
        Message::Unsteady(_) => Reason::Unsteady,
        Message::Disturbed(call) => Reason::Disturbed(convert::system_call(&call)?),
        Message::CallUnknown(_) => Reason::CallUnknown,
        Message::MemoryBlocked(_) => Reason::MemoryBlocked,
        Message::MemoryGone(_) => Reason::MemoryGone,
        Message::Executed(_) => Reason::Executed,
        Message::Ended(_) => Reason::Ended,
        Message::Degraded(message) => Reason::Degraded {
            to: convert::stop_mode(message.to)?,
            cause: match pb::degraded::Cause::try_from(message.cause) {
                Ok(pb::degraded::Cause::Hold) => Cause::Hold,
                Ok(pb::degraded::Cause::Duty) => Cause::Duty,
                Ok(pb::degraded::Cause::Filter) => Cause::Filter,
                Ok(pb::degraded::Cause::TracerKilled) => Cause::TracerKilled,
                Err(_) => return Err(Error::Unknown("why less was stopped")),
            },
        },
        Message::HeldTooLong(limit_us) => Reason::HeldTooLong { limit_us },
        Message::TracerDied(_) => Reason::TracerDied,
        Message::CallRenamed(_) => Reason::CallRenamed,
        Message::NotHeldInTime(threads) => Reason::NotHeldInTime { threads },
    };
    Ok(Notice { subject, reason })
}
