//! A thread's directory below /proc/PID/task.
//!
//! Each file is read with one call into a buffer on the stack: before every hold half a dozen of
//! them are read, for each of perhaps ten thousand threads. What a file does not say, or not in the
//! way it should, is None.

use std::fs::File;
use std::io::{BufRead, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::str;
use std::sync::Arc;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::{Error, TracerOf};
use crate::model::{
    KernelWait, KernelWorker, Pid, Policy, RuntimeAddress, Scheduling, SignalSet, SignalSets, StartTime, SystemCall,
    ThreadState, ThreadStatus, Tid, text_of,
};

/// More than any of these files holds: `status`, the longest, has some 1,500 bytes, and `stack` at
/// most 64 lines.
const BUFFER: usize = 8192;

/// What `status` calls the numbers of times that the thread gave its CPU up, and had it taken away.
const VOLUNTARY: &str = "voluntary_ctxt_switches:";
const INVOLUNTARY: &str = "nonvoluntary_ctxt_switches:";

/// The opened directory of one thread. Once the thread is gone every read fails, even if its id is
/// given out again.
pub struct ThreadDir {
    directory: OwnedFd,
}

/// Where a thread that is off the CPU entered the kernel: `syscall` in proc_pid_syscall(5). By
/// which convention its call was made is not in there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct BlockedCall {
    /// None when it is blocked for another reason, such as a page fault.
    pub call: Option<SystemCall>,
    /// Its stack pointer when it entered the kernel.
    pub stack_pointer: RuntimeAddress,
    /// Its instruction pointer when it entered the kernel.
    pub program_counter: RuntimeAddress,
}

/// What changes whenever a thread is given a CPU. Two equal counts prove that it was not in
/// between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunCount(u64);

impl ThreadDir {
    pub(super) fn open(tasks: &impl AsFd, tid: Tid) -> Result<Self, Error> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = openat(tasks, tid.0.to_string().as_str(), flags, Mode::empty())?;
        Ok(Self { directory })
    }

    /// What the kernel says of the thread, `wchan` and the kernel's stack aside.
    pub fn status(&self) -> Result<ThreadStatus, Error> {
        let mut buffer = [0; BUFFER];
        let mut status = parse_stat(self.read("stat", &mut buffer)?)?;
        if let Ok(schedstat) = self.read("schedstat", &mut buffer) {
            let mut fields = numbers(schedstat);
            status.scheduling.cpu_ns = fields.next();
            status.scheduling.run_queue_wait_ns = fields.next();
        }
        if let Ok(text) = self.read("status", &mut buffer) {
            add_accounts(text, &mut status);
        }
        Ok(status)
    }

    /// What the thread waits for in the kernel: with `stack` the kernel's frames, and the function
    /// it sleeps in, which is the innermost of them or else what `wchan` says. An error says that
    /// the frames are not permitted.
    pub fn kernel_wait(&self, stack: bool) -> (KernelWait, Result<(), Error>) {
        let mut buffer = [0; BUFFER];
        let refused = match stack.then(|| self.read("stack", &mut buffer)) {
            Some(Ok(text)) => {
                let frames = kernel_frames(text);
                // The scheduler's own functions are left out of both.
                let channel = frames.first().and_then(|frame| frame.split('+').next()).map(str::to_owned);
                return (KernelWait { channel, stack: Some(frames) }, Ok(()));
            }
            Some(Err(error)) => Err(error),
            None => Ok(()),
        };
        let channel = self.read("wchan", &mut buffer).ok().map(lossy).filter(|name| !name.is_empty() && name != "0");
        (KernelWait { channel, stack: None }, refused)
    }

    /// The scheduler's state alone.
    pub fn state(&self) -> Result<ThreadState, Error> {
        let mut buffer = [0; BUFFER];
        Ok(parse_stat(self.read("stat", &mut buffer)?)?.state)
    }

    /// None while the thread is running. One that has ended is gone, although its entry may be
    /// there for a moment: the kernel has freed its stack, and shows zeroes for what was on it.
    pub fn blocked_call(&self) -> Result<Option<BlockedCall>, Error> {
        const NONE: RuntimeAddress = RuntimeAddress(0);
        let mut buffer = [0; BUFFER];
        match parse_call(self.read("syscall", &mut buffer)?) {
            Some(BlockedCall { call: None, stack_pointer: NONE, program_counter: NONE }) => Err(Error::Gone),
            blocked => Ok(blocked),
        }
    }

    /// How often the thread has been given a CPU. None where the kernel keeps no such account;
    /// `schedstat` is all zeroes there, and a thread that was never given one has not begun to run.
    pub fn run_count(&self) -> Result<Option<RunCount>, Error> {
        let mut buffer = [0; BUFFER];
        if let Ok(schedstat) = self.read("schedstat", &mut buffer)
            && let Some(slices) = numbers(schedstat).nth(2).filter(|slices| *slices > 0)
        {
            return Ok(Some(RunCount(slices)));
        }
        let text = self.read("status", &mut buffer)?;
        // These count the other way, how often it was taken off, which proves as much of a thread
        // that is off both times.
        let sum = decimal(text, VOLUNTARY).zip(decimal(text, INVOLUNTARY));
        Ok(sum.map(|(voluntary, involuntary)| RunCount(voluntary.wrapping_add(involuntary))))
    }

    /// The process that traces this thread, if one does.
    pub fn tracer(&self) -> Result<Option<TracerOf>, Error> {
        let mut buffer = [0; BUFFER];
        let tracer = decimal(self.read("status", &mut buffer)?, "TracerPid:");
        Ok(tracer.and_then(|tid| i32::try_from(tid).ok()).and_then(TracerOf::from_status))
    }

    /// How much code is mapped into the process's memory, in KiB. It is another number when a
    /// module has been loaded or has gone, or another program was executed. None for a thread that
    /// has no memory any more.
    pub fn mapped_code(&self) -> Result<Option<u64>, Error> {
        let mut buffer = [0; BUFFER];
        let text = self.read("status", &mut buffer)?;
        let (program, libraries) = (decimal(text, "VmExe:"), decimal(text, "VmLib:"));
        Ok(program.zip(libraries).map(|(program, libraries)| program.saturating_add(libraries)))
    }

    pub(super) fn open_file(&self, name: &str) -> Result<File, Error> {
        open_file(&self.directory, name)
    }

    fn read<'b>(&self, name: &str, buffer: &'b mut [u8; BUFFER]) -> Result<&'b [u8], Error> {
        let length = self.open_file(name)?.read(buffer)?;
        Ok(&buffer[..length])
    }
}

/// The processes that this thread of those in `tasks` has started and that have not ended. Most
/// threads have started none, and then this is three system calls.
pub(super) fn children(tasks: &impl AsFd, tid: Tid) -> Result<Vec<Pid>, Error> {
    let mut file = open_file(tasks, &format!("{tid}/children"))?;
    let mut buffer = [0; BUFFER];
    let mut text = Vec::new();
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => text.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(numbers(&text).filter_map(|pid| i32::try_from(pid).ok().map(Pid)).collect())
}

fn open_file(directory: &impl AsFd, name: &str) -> Result<File, Error> {
    Ok(openat(directory, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?.into())
}

/// The state at which `stat` is about a thread; the name before it may hold anything, a parenthesis
/// too, what follows not.
fn parse_stat(text: &[u8]) -> Result<ThreadStatus, Error> {
    let malformed = || Error::Other("its `stat` is not as it should be".into());
    let (open, close) = (text.iter().position(|&byte| byte == b'('), text.iter().rposition(|&byte| byte == b')'));
    let (Some(open), Some(close)) = (open, close) else {
        return Err(malformed());
    };
    let name = text.get(open + 1..close).map(text_of).ok_or_else(malformed)?;
    // The first field after the name is the third.
    let mut fields = str::from_utf8(&text[close + 1..]).map_err(|_| malformed())?.split_ascii_whitespace();
    let state = fields.next().and_then(|word| word.chars().next()).ok_or_else(malformed)?;
    // Each is counted from after the one before.
    let flags = fields.nth(9 - 4).and_then(|word| word.parse().ok()).ok_or_else(malformed)?;
    let start = fields.nth(22 - 10).and_then(|word| word.parse().ok()).ok_or_else(malformed)?;
    let last_cpu = fields.nth(39 - 23).and_then(|word| word.parse().ok());
    let policy = fields.nth(41 - 40).and_then(|word| word.parse().ok()).map(Policy::from_number);
    let scheduling = Scheduling { last_cpu, policy, ..Scheduling::default() };
    Ok(ThreadStatus {
        start: StartTime(start),
        name,
        state: ThreadState::from_letter(state),
        scheduling,
        signals: None,
        worker: worker(flags),
        wait: Arc::default(),
    })
}

/// What the kernel runs a thread for, by its flags (linux/sched.h).
fn worker(flags: u32) -> Option<KernelWorker> {
    const PF_IO_WORKER: u32 = 0x10;
    /// Since Linux 6.4.
    const PF_USER_WORKER: u32 = 0x4000;
    match flags {
        flags if flags & PF_IO_WORKER != 0 => Some(KernelWorker::IoUring),
        flags if flags & PF_USER_WORKER != 0 => Some(KernelWorker::Other),
        _ => None,
    }
}

/// `running`, or `-1 SP PC`, or a call's number, six arguments, SP and PC.
fn parse_call(text: &[u8]) -> Option<BlockedCall> {
    let mut words = str::from_utf8(text).ok()?.split_ascii_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    let values: Vec<u64> =
        words.map(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok()).collect::<Option<_>>()?;
    let (call, stack_pointer, program_counter) = match values[..] {
        [a, b, c, d, e, f, sp, pc] => {
            let number = u32::try_from(number).ok()?;
            (Some(SystemCall::new(number, [a, b, c, d, e, f])), sp, pc)
        }
        [sp, pc] if number == -1 => (None, sp, pc),
        _ => return None,
    };
    Some(BlockedCall {
        call,
        stack_pointer: RuntimeAddress(stack_pointer),
        program_counter: RuntimeAddress(program_counter),
    })
}

/// `[<0>] futex_wait_queue+0x60/0x90`: the address is hidden from everybody nowadays.
fn kernel_frames(text: &[u8]) -> Vec<String> {
    let behind_the_address = |line: &str| match line.split_once(' ') {
        Some((address, frame)) if address.ends_with(']') => frame.trim().to_owned(),
        _ => line.trim().to_owned(),
    };
    String::from_utf8_lossy(text).lines().map(behind_the_address).collect()
}

/// What `status` says of signals and of how often the thread lost its CPU.
fn add_accounts(mut text: &[u8], status: &mut ThreadStatus) {
    // In this order the kernel writes them, so that one pass finds them all.
    let mut next = |name| {
        let (value, rest) = find(text, name)?;
        text = rest;
        Some(value)
    };
    let mut set = |name| u64::from_str_radix(next(name)?, 16).ok().map(SignalSet);
    let sets = ["SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:", "SigCgt:"].map(&mut set);
    if let [Some(pending), Some(process_pending), Some(blocked), Some(ignored), Some(caught)] = sets {
        status.signals = Some(SignalSets { blocked, ignored, caught, pending, process_pending });
    }
    let mut count = |name| next(name)?.parse().ok();
    status.scheduling.voluntary_switches = count(VOLUNTARY);
    status.scheduling.involuntary_switches = count(INVOLUNTARY);
}

/// What stands after a name at the beginning of a line of `status`, and the lines after that. The
/// thread's own name is on the first line, which cannot be mistaken: the kernel writes a line break
/// in it as an escape.
fn find<'t>(mut text: &'t [u8], name: &str) -> Option<(&'t str, &'t [u8])> {
    while !text.is_empty() {
        let line = text;
        // Of the ways to the next line the quickest: these files are read of every thread in every
        // sample.
        let length = text.skip_until(b'\n').ok()?;
        if let Some(value) = line[..length].strip_prefix(name.as_bytes()) {
            return Some((str::from_utf8(value).ok()?.trim(), text));
        }
    }
    None
}

fn decimal(text: &[u8], name: &str) -> Option<u64> {
    find(text, name)?.0.split_ascii_whitespace().next()?.parse().ok()
}

fn numbers(text: &[u8]) -> impl Iterator<Item = u64> + '_ {
    text.split(u8::is_ascii_whitespace).filter_map(|word| str::from_utf8(word).ok()?.parse().ok())
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_and_blanks() {
        let text = b"42 (a) R (b c) S 1 1 1 0 -1 4194368 117 0 0 0 0 0 0 0 20 0 1 0 4711 1 1 1 0 0 0 0 0 0 0 0 0 0 0 0 17 3 0 1 0";
        let status = parse_stat(text).expect("well-formed");
        assert_eq!((status.name.as_str(), status.state), ("a) R (b c", ThreadState::Sleeping));
        assert_eq!(status.start, StartTime(4711));
        assert_eq!(status.scheduling.last_cpu, Some(3));
        assert_eq!(status.scheduling.policy, Some(Policy::Fifo));
        assert!(parse_stat(b"42 (a S").is_err());
        assert!(parse_stat(b") (").is_err());
    }

    #[test]
    fn a_call_is_told_in_three_ways() {
        let blocked = parse_call(b"202 0x7f00 0x80 0x0 0x0 0x0 0xffffffff 0x7ffd10 0x7f8842\n").expect("a call");
        let call = SystemCall::new(202, [0x7f00, 0x80, 0, 0, 0, 0xffff_ffff]);
        assert_eq!(blocked.call, Some(call));
        assert_eq!(blocked.stack_pointer, RuntimeAddress(0x7ffd10));
        let outside = parse_call(b"-1 0x7ffd10 0x7f8842\n").expect("a fault");
        assert_eq!((outside.call, outside.program_counter), (None, RuntimeAddress(0x7f8842)));
        assert_eq!(parse_call(b"running\n"), None);
        assert_eq!(parse_call(b"202 0x1 0x2"), None);
    }

    #[test]
    fn what_status_says_is_found_whatever_it_does_not_say() {
        let stat = b"42 (a) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 0 20 0 1 0 4711";
        let text = "Name:\tSigPnd: 7\nTracerPid:\t9\nSigPnd:\t0000000000000001\nShdPnd:\t0000000000000002\n\
                    SigBlk:\t0000000000000004\nSigIgn:\t0000000000000008\nSigCgt:\t0000000000000010\n\
                    voluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t3\n";
        let told = |text: &str| {
            let mut status = parse_stat(stat).expect("well-formed");
            add_accounts(text.as_bytes(), &mut status);
            let Scheduling { voluntary_switches, involuntary_switches, .. } = status.scheduling;
            (status.signals, voluntary_switches, involuntary_switches)
        };
        let sets = SignalSets {
            pending: SignalSet(1),
            process_pending: SignalSet(2),
            blocked: SignalSet(4),
            ignored: SignalSet(8),
            caught: SignalSet(16),
        };
        assert_eq!(told(text), (Some(sets), Some(150), Some(3)));
        assert_eq!(told(&text.replace("SigIgn:", "SigNew:")), (None, Some(150), Some(3)));
        assert_eq!(told(&text.replace("\nvoluntary", "\nnot_voluntary")), (Some(sets), None, Some(3)));
        assert_eq!(decimal(text.as_bytes(), "TracerPid:"), Some(9));
    }

    #[test]
    fn a_frame_of_the_kernel_may_lie_in_a_module() {
        let text = b"[<0>] wait_for_ring+0x1f/0x40 [my driver]\n[<ffffffff81000000>] do_syscall_64+0x5b/0x1a0\n[<0>]\n";
        assert_eq!(kernel_frames(text), ["wait_for_ring+0x1f/0x40 [my driver]", "do_syscall_64+0x5b/0x1a0", "[<0>]"]);
    }

    /// It was read in place, with one frame at 0x0.
    #[test]
    fn a_thread_that_has_ended_is_gone_although_its_entry_is_there() {
        let mut child = std::process::Command::new("true").spawn().expect("true can be started");
        let task = format!("/proc/{0}/task/{0}", child.id());
        let thread = ThreadDir { directory: File::open(task).expect("it is not collected").into() };
        while thread.state() != Ok(ThreadState::Zombie) {
            std::thread::yield_now();
        }
        assert_eq!(thread.blocked_call(), Err(Error::Gone));
        child.wait().expect("it is our child");
    }

    #[test]
    fn this_thread_is_running_and_has_a_run_count() {
        let tasks = File::open("/proc/thread-self").expect("this thread");
        let thread = ThreadDir { directory: tasks.into() };
        let status = thread.status().expect("its status");
        assert_eq!(status.state, ThreadState::Running);
        assert!(status.signals.is_some() && status.scheduling.voluntary_switches.is_some());
        assert!(thread.run_count().expect("readable").is_some());
        // It is running, and so it is in the call that reads.
        let call = thread.blocked_call().expect("readable").and_then(|blocked| blocked.call);
        assert_eq!(call.map(|call| call.number), u32::try_from(libc::SYS_read).ok());
    }
}
