//! Holding one thread: seize, interrupt, poll for the stop, read registers, let go.
//!
//! PTRACE_SEIZE does not stop a thread and sends it no signal; PTRACE_INTERRUPT does the first
//! without the second. A signal that happens to arrive at the same moment is reported instead of
//! the stop that was asked for, and must be handed back when the thread is let go. nix's wrappers
//! know only signals with names, so waiting and detaching call libc.

use std::mem::{self, MaybeUninit};
use std::ptr;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};

use crate::model::{Abi, RegisterFile, Registers, SpecialRegister, SpecialRegisters, Tid, X86_64Register};

/// A signal's number that was on its way to a thread when it stopped; 0 when there was none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PendingSignal(i32);

impl PendingSignal {
    /// No signal was on its way.
    pub const NONE: Self = Self(0);
}

/// What one look at a thread that was asked to stop found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// It has not stopped.
    NotYet,
    /// It is held until `release`, which must be given the signal.
    Stopped(PendingSignal),
    /// It has ended.
    Gone,
}

/// The registers as the kernel keeps them for a stopped thread, not yet interpreted: taken while a
/// thread is held.
#[derive(Clone, Copy)]
pub struct RawRegisters(libc::user_regs_struct);

/// Why registers could not be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegisterError {
    /// The kernel refused the request.
    Kernel(Errno),
    /// The kernel filled in the smaller set of a 32-bit thread.
    ThirtyTwoBit,
}

/// Becomes the thread's tracer without stopping it.
///
/// Errors: ESRCH when it is gone, EPERM when it may not be traced, is being traced already, or is
/// ending.
pub fn seize(tid: Tid) -> Result<(), Errno> {
    ptrace::seize(raw(tid), Options::empty())
}

/// Asks a seized thread to stop. It does so when it next leaves the kernel, or at once when it
/// sleeps interruptibly.
pub fn interrupt(tid: Tid) -> Result<(), Errno> {
    ptrace::interrupt(raw(tid))
}

/// Looks whether a thread has stopped, and does not wait for it.
///
/// The stop is looked at and not collected (WNOWAIT): the kernel keeps a signal that was on its way
/// as the stop's status, and would lose it if it had been collected and hangsnap died before
/// handing it back.
pub fn poll(tid: Tid) -> Wait {
    look(tid, libc::WNOHANG)
}

/// The same, but sleeps until there is something to see or a signal arrives; `NotYet` says that one
/// did.
pub fn sleep_until_stopped(tid: Tid) -> Wait {
    look(tid, 0)
}

fn look(tid: Tid, blocking: libc::c_int) -> Wait {
    match libc::id_t::try_from(tid.0) {
        Ok(id) => look_at(libc::P_PID, id, blocking).map_or(Wait::Gone, |(_, wait)| wait),
        Err(_) => Wait::Gone,
    }
}

/// Looks whether any tracee of the calling thread has stopped or ended, and which. None when it has
/// no tracees.
pub fn poll_any() -> Option<(Tid, Wait)> {
    look_at(libc::P_ALL, 0, libc::WNOHANG | libc::__WNOTHREAD)
}

/// The same, but sleeps until one has, or a signal arrives.
pub fn sleep_until_any_stopped() -> Option<(Tid, Wait)> {
    look_at(libc::P_ALL, 0, libc::__WNOTHREAD)
}

/// None when there is no such tracee (any more).
fn look_at(kind: libc::idtype_t, id: libc::id_t, blocking: libc::c_int) -> Option<(Tid, Wait)> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT | libc::__WALL | blocking;
    let no_usage = ptr::null_mut::<libc::rusage>();
    // Not by the C library's function, which prepares at each call for the thread to be cancelled:
    // it is called in a loop.
    // SAFETY: `info` is a valid place for a siginfo_t, and waitid writes nothing else.
    let result = unsafe { libc::syscall(libc::SYS_waitid, kind, id, info.as_mut_ptr(), options, no_usage) };
    if result == -1 {
        // ECHILD says that the thread has no tracer any more.
        return (Errno::last() == Errno::EINTR).then_some((Tid(0), Wait::NotYet));
    }
    // SAFETY: it was zeroed, which is valid, and waitid fills it in or leaves it alone.
    let info = unsafe { info.assume_init() };
    // SAFETY: these fields of the union are what waitid fills in; zeroes where nothing has
    // happened.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let wait = match (pid, info.si_code) {
        (0, _) => Wait::NotYet,
        (_, libc::CLD_TRAPPED | libc::CLD_STOPPED) => Wait::Stopped(signal_to_hand_back(status)),
        _ => {
            libc::id_t::try_from(pid).into_iter().for_each(collect);
            Wait::Gone
        }
    };
    Some((Tid(pid), wait))
}

/// Collects a tracee that has ended, which the kernel reports to its tracer before any other; one
/// that has not ended is left alone. Any thread of the tracer's process may do it.
///
/// It looks before it collects: waitid reports a tracee's stop whether or not it was asked for
/// stops (waitid(2) does not say so; kernel/exit.c, wait_task_stopped), and collecting one loses
/// the signal that comes with it.
pub fn reap_if_exited(tid: Tid) {
    // For a tracee that has ended this collects it on the way.
    let _: Wait = poll(tid);
}

fn collect(id: libc::id_t) {
    let options = libc::WEXITED | libc::WNOHANG | libc::__WALL;
    // SAFETY: a null pointer asks for no information, and nothing else is written (waitid(2)).
    unsafe { libc::waitid(libc::P_PID, id, ptr::null_mut(), options) };
}

/// A stop with an event above its signal is ptrace's own (our interrupt, or a group stop that stays
/// in force by itself); one without is a signal on its way to the thread (ptrace(2), "PTRACE_EVENT
/// stops").
fn signal_to_hand_back(status: i32) -> PendingSignal {
    if status >> 8 == 0 { PendingSignal(status) } else { PendingSignal::NONE }
}

/// The registers of a held thread.
pub fn registers(tid: Tid) -> Result<RawRegisters, RegisterError> {
    let mut registers = MaybeUninit::<libc::user_regs_struct>::zeroed();
    let size = mem::size_of::<libc::user_regs_struct>();
    // SAFETY: it is a valid place for as many bytes.
    let length = unsafe { register_set(tid, libc::NT_PRSTATUS, registers.as_mut_ptr().cast(), size) };
    if length.map_err(RegisterError::Kernel)? != size {
        return Err(RegisterError::ThirtyTwoBit);
    }
    // SAFETY: the kernel filled in all of it, as the length says; and zeroes would be valid
    // integers too.
    Ok(RawRegisters(unsafe { registers.assume_init() }))
}

/// The size of the x87 and SSE registers as FXSAVE lays them out.
pub const FLOATING_POINT_SIZE: usize = 512;

/// Copies the x87 and SSE registers of a held thread into a buffer of that size and returns how
/// much of it was filled.
pub fn floating_point(tid: Tid, buffer: &mut [u8; FLOATING_POINT_SIZE]) -> Result<usize, Errno> {
    // SAFETY: the buffer is a valid place for as many bytes.
    unsafe { register_set(tid, libc::NT_PRFPREG, buffer.as_mut_ptr().cast(), buffer.len()) }
}

/// Copies a set of registers of a held thread and returns how many bytes the kernel filled.
///
/// # Safety
/// `to` is a valid place for `size` bytes, and any of them may be written.
unsafe fn register_set(tid: Tid, set: libc::c_int, to: *mut libc::c_void, size: usize) -> Result<usize, Errno> {
    let mut iov = libc::iovec { iov_base: to, iov_len: size };
    // SAFETY: the iovec describes a valid place, as the caller promises, and the kernel writes at
    // most iov_len bytes.
    let result = unsafe {
        libc::ptrace(
            libc::PTRACE_GETREGSET,
            tid.0,
            ptr::without_provenance_mut::<libc::c_void>(set as usize),
            &raw mut iov,
        )
    };
    Errno::result(result).map(|_| iov.iov_len)
}

/// Lets a held thread go, with the signal that was on its way to it.
///
/// Errors: ESRCH when the thread is not stopped: a running tracee cannot be let go, only outlived.
pub fn release(tid: Tid, signal: PendingSignal) -> Result<(), Errno> {
    // SAFETY: PTRACE_DETACH takes its two arguments as plain numbers and touches no memory of ours.
    let result = unsafe {
        libc::ptrace(
            libc::PTRACE_DETACH,
            tid.0,
            ptr::null_mut::<libc::c_void>(),
            ptr::without_provenance_mut::<libc::c_void>(signal.0 as usize),
        )
    };
    Errno::result(result).map(drop)
}

fn raw(tid: Tid) -> nix::unistd::Pid {
    nix::unistd::Pid::from_raw(tid.0)
}

impl RawRegisters {
    /// The value of each register, in the order of the kernel's structure, to hand to another
    /// process.
    pub fn words(&self) -> [u64; 27] {
        let r = &self.0;
        [
            r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx, r.r11, r.r10, r.r9, r.r8, r.rax, r.rcx, r.rdx, r.rsi, r.rdi,
            r.orig_rax, r.rip, r.cs, r.eflags, r.rsp, r.ss, r.fs_base, r.gs_base, r.ds, r.es, r.fs, r.gs,
        ]
    }

    /// What `words` made.
    pub fn from_words(words: [u64; 27]) -> Self {
        let [
            r15,
            r14,
            r13,
            r12,
            rbp,
            rbx,
            r11,
            r10,
            r9,
            r8,
            rax,
            rcx,
            rdx,
            rsi,
            rdi,
            orig_rax,
            rip,
            cs,
            eflags,
            rsp,
            ss,
            fs_base,
            gs_base,
            ds,
            es,
            fs,
            gs,
        ] = words;
        Self(libc::user_regs_struct {
            r15,
            r14,
            r13,
            r12,
            rbp,
            rbx,
            r11,
            r10,
            r9,
            r8,
            rax,
            rcx,
            rdx,
            rsi,
            rdi,
            orig_rax,
            rip,
            cs,
            eflags,
            rsp,
            ss,
            fs_base,
            gs_base,
            ds,
            es,
            fs,
            gs,
        })
    }

    /// Whether the thread was taken out of the system call it is in and the call will return EINTR,
    /// or be ended by what happens next. (A call that the kernel will begin again has another,
    /// internal number here.)
    pub fn was_interrupted(&self) -> bool {
        self.system_call_number().is_some() && self.0.rax.cast_signed() == -i64::from(libc::EINTR)
    }

    /// RSP.
    pub fn stack_pointer(&self) -> u64 {
        self.0.rsp
    }

    /// RIP.
    pub fn instruction_pointer(&self) -> u64 {
        self.0.rip
    }

    /// In a glibc or musl thread it points at the thread's descriptor, which lies above its stack.
    pub fn fs_base(&self) -> u64 {
        self.0.fs_base
    }

    /// Where Go's functions keep the current `g` (Go's internal ABI), and everybody else whatever
    /// they like.
    pub fn goroutine(&self) -> u64 {
        self.0.r14
    }

    /// The number of the system call that the thread entered last and has not returned from to user
    /// code; None in user code.
    pub fn system_call_number(&self) -> Option<u32> {
        u32::try_from(self.0.orig_rax.cast_signed()).ok()
    }

    /// The argument registers of a system call made by this convention.
    pub fn arguments(&self, abi: Abi) -> [u64; 6] {
        let r = &self.0;
        match abi {
            Abi::X86_64 => [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9],
            Abi::I386 => [r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp],
        }
    }

    /// All of them by name.
    pub fn interpret(&self) -> Registers {
        let r = &self.0;
        let mut general = RegisterFile::default();
        for (register, value) in X86_64Register::ALL.into_iter().zip([
            r.rax, r.rdx, r.rcx, r.rbx, r.rsi, r.rdi, r.rbp, r.rsp, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14,
            r.r15, r.rip,
        ]) {
            general.set(register, value);
        }
        let special = SpecialRegister::ALL.map(|register| match register {
            SpecialRegister::Eflags => r.eflags,
            SpecialRegister::FsBase => r.fs_base,
            SpecialRegister::GsBase => r.gs_base,
            SpecialRegister::Cs => r.cs,
            SpecialRegister::Ss => r.ss,
            SpecialRegister::Ds => r.ds,
            SpecialRegister::Es => r.es,
            SpecialRegister::Fs => r.fs,
            SpecialRegister::Gs => r.gs,
        });
        Registers { general, special: Some(SpecialRegisters(special)), floating: None }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::thread;

    use super::*;

    /// How a sleeping child ends whose tracer stops it with a signal on its way, does this, and
    /// dies without letting go.
    fn end_of_a_child(after_the_stop: impl FnOnce(Tid) + Send + 'static) -> Option<i32> {
        let mut sleeper = Command::new("sleep").arg("60").spawn().expect("sleep can be started");
        let tid = Tid(i32::try_from(sleeper.id()).expect("a pid"));
        let tracer = thread::spawn(move || {
            seize(tid).expect("a child can be seized");
            nix::sys::signal::kill(raw(tid), nix::sys::signal::Signal::SIGUSR1).expect("a child can be signalled");
            let stop = sleep_until_stopped(tid);
            after_the_stop(tid);
            stop
        });
        assert_eq!(tracer.join().ok(), Some(Wait::Stopped(PendingSignal(libc::SIGUSR1))));
        sleeper.wait().expect("it is our child").signal()
    }

    /// A tracer that died between the wait and the release took the signal with it.
    #[test]
    fn a_tracer_that_dies_with_a_signal_in_its_hands_does_not_lose_it() {
        assert_eq!(end_of_a_child(|_| {}), Some(libc::SIGUSR1));
    }

    /// Looking for tracees that have ended collected the stop of one that had not, and its signal
    /// was lost.
    #[test]
    fn looking_for_the_dead_does_not_take_a_signal_from_the_living() {
        assert_eq!(end_of_a_child(reap_if_exited), Some(libc::SIGUSR1));
    }
}
