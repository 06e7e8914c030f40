//! Which system calls a stop disturbs.
//!
//! A stop takes a sleeping thread out of its system call. Some calls are then begun again by the
//! kernel as if nothing had happened; some return EINTR, or with less than they would have
//! transferred, or write to the caller's memory; and a file system in user space is informed that
//! its request was interrupted. So the calls are listed that are known to go on undisturbed
//! (measured one by one; tests/harmless/matrix.rs measures them again), and all others count as
//! disturbed.

use crate::model::{Abi, KernelWait, SystemCall, ThreadState, ThreadStatus};

/// Functions of the kernel in which a thread shows as sleeping interruptibly and yet does not stop
/// when it is asked to: it ignores the request, or spins, until what it waits for has come (Linux
/// 6.18: fs/fuse/dev.c, fs/userfaultfd.c).
const UNSTOPPABLE: [&str; 2] = ["request_wait_answer", "handle_userfault"];

/// Whether the kernel's stack of a thread that runs, and waits for a CPU, is one of a call that a
/// stop would disturb.
pub(super) fn may_be_returning_from_interruptible_call(wait: &KernelWait) -> bool {
    const CALL: &str = "do_syscall_64";
    const RESTARTING: [&str; 13] = [
        "flock",
        "futex",
        "futex_wait",
        "futex_waitv",
        "mq_timedreceive",
        "mq_timedsend",
        "msgrcv",
        "msgsnd",
        "pause",
        "poll",
        "rt_sigsuspend",
        "wait4",
        "waitid",
    ];
    let mut frames = wait.stack.iter().flatten();
    let is_in_a_call = frames.clone().any(|frame| frame.starts_with(CALL));
    let restarts = frames.any(|frame| {
        let name = frame.strip_prefix("__x64_sys_").and_then(|rest| rest.split('+').next());
        name.is_some_and(|name| RESTARTING.contains(&name))
    });
    is_in_a_call && !restarts
}

/// Whether a thread does not stop where it sleeps, so that it must not be asked to.
pub(super) fn cannot_be_stopped(status: &ThreadStatus) -> bool {
    let sleeps_in = |name: &&str| status.wait.channel.as_deref() == Some(*name);
    status.state == ThreadState::Uninterruptible || UNSTOPPABLE.iter().any(sleeps_in)
}

/// Whether a thread that sleeps in this call may be stopped without anybody noticing.
pub(super) fn restarts_after_stop(call: &SystemCall) -> bool {
    let argument = |number: usize| call.arguments[number];
    if call.abi != Abi::X86_64 {
        return false;
    }
    match libc::c_long::from(call.number) {
        libc::SYS_futex
        | libc::SYS_futex_waitv
        | SYS_FUTEX_WAIT
        | libc::SYS_poll
        | libc::SYS_pause
        | libc::SYS_rt_sigsuspend
        | libc::SYS_wait4
        | libc::SYS_waitid
        | libc::SYS_flock
        | libc::SYS_msgrcv
        | libc::SYS_msgsnd
        | libc::SYS_mq_timedreceive
        | libc::SYS_mq_timedsend => true,
        // Where the caller wants to know it, the kernel writes down the time that remains whenever
        // the sleep is interrupted.
        libc::SYS_nanosleep => argument(1) == 0,
        libc::SYS_clock_nanosleep => argument(3) == 0,
        libc::SYS_fcntl => matches!(i64::try_from(argument(1)), Ok(F_SETLKW | F_OFD_SETLKW)),
        _ => false,
    }
}

/// futex_wait(2) as a call of its own, since Linux 6.7; the libc crate does not list it yet.
const SYS_FUTEX_WAIT: libc::c_long = 455;
const F_SETLKW: i64 = libc::F_SETLKW as i64;
const F_OFD_SETLKW: i64 = libc::F_OFD_SETLKW as i64;

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: libc::c_long, arguments: [u64; 6]) -> SystemCall {
        SystemCall::new(u32::try_from(number).expect("a call's number"), arguments)
    }

    #[test]
    fn a_thread_that_waits_for_a_cpu_is_known_by_the_call_it_is_leaving() {
        let wait = |frames: &[&str]| KernelWait {
            channel: None,
            stack: Some(frames.iter().map(|frame| (*frame).to_owned()).collect()),
        };
        let leaving =
            |frame: &str| may_be_returning_from_interruptible_call(&wait(&[frame, "do_syscall_64+0x71/0x280"]));
        assert!(leaving("__x64_sys_epoll_wait+0x112/0x210"));
        assert!(!leaving("__x64_sys_futex+0x112/0x210"));
        assert!(!may_be_returning_from_interruptible_call(&wait(&["asm_sysvec_apic_timer_interrupt+0x1a/0x20"])));
        assert!(!may_be_returning_from_interruptible_call(&KernelWait::default()));
    }

    #[test]
    fn a_sleep_that_tells_what_remains_feels_a_stop() {
        assert!(restarts_after_stop(&call(libc::SYS_nanosleep, [0x1000, 0, 0, 0, 0, 0])));
        assert!(!restarts_after_stop(&call(libc::SYS_nanosleep, [0x1000, 0x1000, 0, 0, 0, 0])));
        assert!(!restarts_after_stop(&call(libc::SYS_clock_nanosleep, [0, 0, 0x1000, 0x1000, 0, 0])));
        // Nor does one that was interrupted before and goes by another number now.
        assert!(!restarts_after_stop(&call(libc::SYS_restart_syscall, [0; 6])));
    }

    #[test]
    fn waiting_for_a_lock_does_not_and_other_requests_of_fcntl_might() {
        assert!(restarts_after_stop(&call(libc::SYS_fcntl, [3, 7, 0x1000, 0, 0, 0])));
        assert!(!restarts_after_stop(&call(libc::SYS_fcntl, [3, 1024, 0, 0, 0, 0])));
        assert!(!restarts_after_stop(&call(libc::SYS_epoll_wait, [3, 0x1000, 8, u64::MAX, 0, 0])));
    }
}
