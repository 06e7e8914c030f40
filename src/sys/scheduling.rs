//! The calling thread's scheduling class, for the time in which it holds somebody else's thread.
//!
//! A tracer that is preempted while it holds a thread makes that thread wait for it. In the class
//! SCHED_FIFO only another such thread can preempt it. It never polls for long in that class: what
//! it waits for may need its CPU.

/// The calling thread is in the class SCHED_FIFO until this is dropped.
pub struct Urgent(());

impl Urgent {
    /// None where that is not permitted (it takes CAP_SYS_NICE or RLIMIT_RTPRIO; sched(7)).
    pub fn enter() -> Option<Self> {
        set(libc::SCHED_FIFO, 1).then_some(Self(()))
    }

    /// Takes the calling thread out of the class that it has from the thread that started it.
    pub fn leave() {
        set(libc::SCHED_OTHER, 0);
    }

    /// The calling thread stays in its class for the rest of its life, which is about to end.
    pub fn for_good(self) {
        std::mem::forget(self);
    }
}

impl Drop for Urgent {
    fn drop(&mut self) {
        Self::leave();
    }
}

fn set(policy: libc::c_int, priority: libc::c_int) -> bool {
    let parameters = libc::sched_param { sched_priority: priority };
    // SAFETY: thread 0 is the calling one, and the kernel copies the parameters.
    unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) == 0 }
}
