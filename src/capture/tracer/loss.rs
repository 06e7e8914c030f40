//! What a refusal of the kernel means for a thread, found out after nothing is held any more.

use std::io;
use std::time::Duration;

use nix::errno::Errno;

use crate::model::{Reason, RuntimeAddress, ThreadState, Tid};
use crate::proc::{self, MemoryMap, ProcDir};
use crate::sys::ptrace::RegisterError;

/// Why threads are not held when there is no thread of ours to hold them.
pub(super) fn no_thread(error: &io::Error) -> Reason {
    Reason::Refused {
        what: "starting a thread to trace with".into(),
        errno: error.raw_os_error().unwrap_or(libc::EAGAIN),
    }
}

/// Why a thread could not be seized.
pub(super) fn not_seized(process: &ProcDir, tid: Tid, errno: Errno) -> Reason {
    if errno == Errno::ESRCH {
        return Reason::ThreadGone;
    }
    let Ok(thread) = process.thread(tid) else {
        return Reason::ThreadGone;
    };
    if let Ok(Some(tracer)) = thread.tracer() {
        if u32::try_from(tracer.pid.0) == Ok(std::process::id()) {
            // A thread of ours that waited for it in vain is still on its way out.
            return did_not_stop(Duration::ZERO);
        }
        return Reason::AlreadyTraced { tracer: tracer.pid, tracer_name: tracer.name };
    }
    match thread.state() {
        Ok(ThreadState::Zombie | ThreadState::Dead) | Err(proc::Error::Gone) => Reason::ThreadGone,
        _ => Reason::Refused { what: "seizing it".into(), errno: errno as i32 },
    }
}

pub(super) fn did_not_stop(waited: Duration) -> Reason {
    Reason::DidNotStop { waited_us: u64::try_from(waited.as_micros()).unwrap_or(u64::MAX) }
}

/// Why a thread was let go without being copied.
pub(super) fn held_too_long(limit: Duration) -> Reason {
    Reason::HeldTooLong { limit_us: u64::try_from(limit.as_micros()).unwrap_or(u64::MAX) }
}

/// Why a seized thread could not be asked to stop. ESRCH: it has ended since.
pub(super) fn not_interrupted(errno: Errno) -> Reason {
    match errno {
        Errno::ESRCH => Reason::ThreadGone,
        errno => Reason::Refused { what: "asking it to stop".into(), errno: errno as i32 },
    }
}

/// Why a held thread has no registers. ESRCH: it was killed while it was held.
pub(super) fn registers(error: RegisterError) -> Reason {
    match error {
        RegisterError::Kernel(Errno::ESRCH) => Reason::ThreadGone,
        RegisterError::Kernel(errno) => Reason::Refused { what: "reading its registers".into(), errno: errno as i32 },
        RegisterError::ThirtyTwoBit => {
            Reason::Refused { what: "reading the registers of 32-bit code".into(), errno: libc::EOPNOTSUPP }
        }
    }
}

/// Why a thread's stack could not be read.
pub(super) fn memory(errno: Errno, stack_pointer: RuntimeAddress, map: &MemoryMap) -> Reason {
    match errno {
        Errno::EFAULT | Errno::EIO if map.find(stack_pointer).is_none() => Reason::StackPointerWild(stack_pointer),
        _ => Reason::Refused { what: "reading its stack".into(), errno: errno as i32 },
    }
}
