//! A system call that a thread is blocked in, with what its arguments mean: descriptors by what
//! they are, flags by name, structures and paths that were copied with it. As strace(1) would write
//! it.
//!
//! Promises: nothing is invented. What was not copied stays a number, and what is foreign is
//! escaped.

use std::fmt::Write;

use super::call_sets::{self, flags, flags_or};
use super::system_call;
use super::value::Foreign;
use crate::model::{Abi, Descriptor, Detail, MemoryOf, Socket, SystemCall, Thread, ThreadState, WaitFacts, selected};

/// Entries of a poll that are written.
const MOST_POLLED: usize = 8;

/// What a thread is doing: its state, and the call that it is in.
///
/// The state is read a moment before the call. A thread that was found running, and then in a call
/// that does nothing but wait, began to wait or woke up in between: it did not run in that call.
pub(super) fn state(thread: &Thread, facts: &WaitFacts) -> String {
    let mut described = thread.status.state.name().to_owned();
    if let Some(worker) = thread.status.worker {
        let _ = write!(described, ", {}", worker.describe());
    }
    if let Some(call) = text(thread, facts) {
        let only_waits = thread.system_call.is_some_and(|call| call.only_waits());
        let how = match thread.status.state {
            ThreadState::Running if only_waits => ", on its way into or out of",
            _ => " in",
        };
        let _ = write!(described, "{how} {call}");
    }
    described
}

/// The call of a thread, if it is in one.
pub(super) fn text(thread: &Thread, facts: &WaitFacts) -> Option<String> {
    let call = thread.system_call?;
    let plain = system_call::text(call);
    if call.abi != Abi::X86_64 {
        return Some(plain);
    }
    let reading = Reading { thread, facts, call };
    let name = call.name().unwrap_or("");
    let text = match name {
        "flock" => reading.call(&[reading.descriptor(0), flags(call.arguments[1], &LOCKS)]),
        "fcntl" => reading.fcntl(&plain),
        "wait4" => reading.call(&[
            (call.arguments[0] as u32).cast_signed().to_string(),
            pointer(call.arguments[1]),
            flags(call.arguments[2] & 0xffff_ffff, &WAITS),
            pointer(call.arguments[3]),
        ]),
        "waitid" => reading.call(&[
            name_of(call.arguments[0], &["P_ALL", "P_PID", "P_PGID", "P_PIDFD"]),
            (call.arguments[1] as u32).cast_signed().to_string(),
            pointer(call.arguments[2]),
            flags(call.arguments[3] & 0xffff_ffff, &WAITIDS),
            pointer(call.arguments[4]),
        ]),
        "open" => reading.call(&[reading.path(0), flags_or(call.arguments[1], &OPENS, "O_RDONLY")]),
        "openat" => {
            reading.call(&[reading.directory(), reading.path(1), flags_or(call.arguments[2], &OPENS, "O_RDONLY")])
        }
        "poll" | "ppoll" => reading.with_first(&plain, reading.polled()),
        "select" | "pselect6" => reading.select(name == "pselect6"),
        "rt_sigsuspend" => reading.call(&[reading.signals(0), call.arguments[1].to_string()]),
        "rt_sigtimedwait" => reading.call(&[
            reading.signals(0),
            pointer(call.arguments[1]),
            reading.time_or_pointer(2),
            call.arguments[3].to_string(),
        ]),
        "semop" | "semtimedop" => reading.semaphores(name == "semtimedop"),
        "futex_waitv" => reading.futexes(),
        "recvfrom" | "sendto" => reading.message(),
        "nanosleep" => reading.with_first(&plain, reading.time(0)),
        "clock_nanosleep" => reading.time(2).map(|time| plain.replacen(&format!("{:#x}", call.arguments[2]), &time, 1)),
        _ if call.is_on_descriptor() => reading.with_first(&plain, Some(reading.descriptor(0))),
        _ => None,
    };
    Some(text.unwrap_or(plain))
}

/// flock(2), wait4(2), waitid(2), open(2), poll(2).
const LOCKS: [(u64, &str); 4] = [(1, "LOCK_SH"), (2, "LOCK_EX"), (4, "LOCK_NB"), (8, "LOCK_UN")];
const WAITS: [(u64, &str); 6] = [
    (1, "WNOHANG"),
    (2, "WUNTRACED"),
    (8, "WCONTINUED"),
    (0x2000_0000, "__WNOTHREAD"),
    (0x8000_0000, "__WCLONE"),
    (0x4000_0000, "__WALL"),
];
const WAITIDS: [(u64, &str); 8] = [
    (1, "WNOHANG"),
    (2, "WSTOPPED"),
    (4, "WEXITED"),
    (8, "WCONTINUED"),
    (0x100_0000, "WNOWAIT"),
    (0x2000_0000, "__WNOTHREAD"),
    (0x8000_0000, "__WCLONE"),
    (0x4000_0000, "__WALL"),
];
const OPENS: [(u64, &str); 13] = [
    (0o1, "O_WRONLY"),
    (0o2, "O_RDWR"),
    (0o100, "O_CREAT"),
    (0o200, "O_EXCL"),
    (0o400, "O_NOCTTY"),
    (0o1000, "O_TRUNC"),
    (0o2000, "O_APPEND"),
    (0o4000, "O_NONBLOCK"),
    (0o10000, "O_DSYNC"),
    (0o40000, "O_DIRECT"),
    (0o200_000, "O_DIRECTORY"),
    (0o400_000, "O_NOFOLLOW"),
    (0o2_000_000, "O_CLOEXEC"),
];
/// recv(2), send(2).
const MESSAGES: [(u64, &str); 12] = [
    (0x1, "MSG_OOB"),
    (0x2, "MSG_PEEK"),
    (0x4, "MSG_DONTROUTE"),
    (0x20, "MSG_TRUNC"),
    (0x40, "MSG_DONTWAIT"),
    (0x80, "MSG_EOR"),
    (0x100, "MSG_WAITALL"),
    (0x800, "MSG_CONFIRM"),
    (0x2000, "MSG_ERRQUEUE"),
    (0x4000, "MSG_NOSIGNAL"),
    (0x8000, "MSG_MORE"),
    (0x4000_0000, "MSG_CMSG_CLOEXEC"),
];
const EVENTS: [(u64, &str); 11] = [
    (0x1, "POLLIN"),
    (0x2, "POLLPRI"),
    (0x4, "POLLOUT"),
    (0x8, "POLLERR"),
    (0x10, "POLLHUP"),
    (0x20, "POLLNVAL"),
    (0x40, "POLLRDNORM"),
    (0x80, "POLLRDBAND"),
    (0x100, "POLLWRNORM"),
    (0x200, "POLLWRBAND"),
    (0x2000, "POLLRDHUP"),
];

struct Reading<'a> {
    thread: &'a Thread,
    facts: &'a WaitFacts,
    call: SystemCall,
}

impl Reading<'_> {
    fn call(&self, arguments: &[String]) -> Option<String> {
        Some(format!("{}({})", self.call.name()?, arguments.join(", ")))
    }

    /// The plain text with another first argument.
    fn with_first(&self, plain: &str, first: Option<String>) -> Option<String> {
        let (name, rest) = plain.split_once('(')?;
        let end = rest.find([',', ')'])?;
        Some(format!("{name}({}{}", first?, rest.get(end..)?))
    }

    fn descriptor(&self, argument: usize) -> String {
        self.number((self.call.arguments[argument] as u32).cast_signed())
    }

    fn number(&self, number: i32) -> String {
        match self.facts.descriptor(number) {
            Some(descriptor) => format!("{number}<{}>", Foreign(&label(descriptor))),
            None => number.to_string(),
        }
    }

    /// The directory below which a path is looked up.
    fn directory(&self) -> String {
        const AT_FDCWD: i32 = -100;
        match (self.call.arguments[0] as u32).cast_signed() {
            AT_FDCWD => "AT_FDCWD".into(),
            number => self.number(number),
        }
    }

    fn memory(&self, what: &MemoryOf) -> Option<&[u8]> {
        self.thread.memory.iter().find(|piece| piece.what == *what).map(|piece| &*piece.bytes)
    }

    fn path(&self, argument: u8) -> String {
        match self.memory(&MemoryOf::Path(argument)) {
            Some(bytes) => format!("\"{}\"", Foreign(&crate::model::text_of(bytes))),
            None => pointer(self.call.arguments[usize::from(argument)]),
        }
    }

    /// A `struct timespec`.
    fn time(&self, argument: u8) -> Option<String> {
        let bytes = self.memory(&MemoryOf::Argument(argument))?;
        let long = |at: usize| Some(i64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        Some(format!("{{tv_sec={}, tv_nsec={}}}", long(0)?, long(8)?))
    }

    fn time_or_pointer(&self, argument: u8) -> String {
        self.time(argument).unwrap_or_else(|| pointer(self.call.arguments[usize::from(argument)]))
    }

    fn signals(&self, argument: u8) -> String {
        let bytes = self.memory(&MemoryOf::Argument(argument)).and_then(|bytes| bytes.first_chunk());
        match bytes {
            Some(bytes) => call_sets::signals(u64::from_le_bytes(*bytes)),
            None => pointer(self.call.arguments[usize::from(argument)]),
        }
    }

    /// Three sets of descriptors; select(2) counts in microseconds, pselect6(2) has a set of
    /// signals.
    fn select(&self, is_pselect: bool) -> Option<String> {
        let [count, .., timeout, signals] = self.call.arguments;
        let set = |argument: u8| match self.memory(&MemoryOf::Argument(argument)) {
            Some(bytes) => {
                let numbers = selected(bytes, count);
                let all: Vec<String> = numbers.map(|number| self.number(number)).collect();
                format!("[{}]", all.join(" "))
            }
            None => pointer(self.call.arguments[usize::from(argument)]),
        };
        let mut arguments = vec![(count as u32).cast_signed().to_string(), set(1), set(2), set(3)];
        arguments.push(match is_pselect {
            true => self.time_or_pointer(4),
            false => self.time(4).map_or_else(|| pointer(timeout), |time| time.replace("tv_nsec", "tv_usec")),
        });
        arguments.extend(is_pselect.then(|| pointer(signals)));
        self.call(&arguments)
    }

    fn semaphores(&self, is_timed: bool) -> Option<String> {
        let [set, _, count, ..] = self.call.arguments;
        let operations = call_sets::semaphores(self.memory(&MemoryOf::Argument(1))?);
        let mut arguments = vec![(set as u32).cast_signed().to_string(), operations, count.to_string()];
        arguments.extend(is_timed.then(|| self.time_or_pointer(3)));
        self.call(&arguments)
    }

    fn futexes(&self) -> Option<String> {
        let [_, count, flags, _, clock, _] = self.call.arguments;
        let all = call_sets::futexes(self.memory(&MemoryOf::Argument(0))?);
        let clock = name_of(clock & u64::from(u32::MAX), &["CLOCK_REALTIME", "CLOCK_MONOTONIC"]);
        self.call(&[all, count.to_string(), format!("{flags}"), self.time_or_pointer(3), clock])
    }

    fn message(&self) -> Option<String> {
        let [_, buffer, length, bits, address, size] = self.call.arguments;
        let size = if size < 4096 { size.to_string() } else { pointer(size) };
        let size = if self.call.name() == Some("recvfrom") && size == "0" { "NULL".into() } else { size };
        let (length, bits) = (length.to_string(), flags(bits, &MESSAGES));
        self.call(&[self.descriptor(0), pointer(buffer), length, bits, pointer(address), size])
    }

    /// An array of `struct pollfd`.
    fn polled(&self) -> Option<String> {
        let bytes = self.memory(&MemoryOf::Argument(0))?;
        let (entries, _) = bytes.as_chunks::<8>();
        let entry = |[a, b, c, d, low, high, ..]: &[u8; 8]| {
            let events = u64::from(u16::from_le_bytes([*low, *high]));
            let number = self.number(i32::from_le_bytes([*a, *b, *c, *d]));
            format!("{{fd={number}, events={}}}", flags(events, &EVENTS))
        };
        let mut text = entries.iter().take(MOST_POLLED).map(entry).collect::<Vec<_>>().join(", ");
        if entries.len() > MOST_POLLED {
            text.push_str(", ..");
        }
        Some(format!("[{text}]"))
    }

    fn fcntl(&self, plain: &str) -> Option<String> {
        let command = match self.call.arguments[1] {
            5 => "F_GETLK",
            6 => "F_SETLK",
            7 => "F_SETLKW",
            37 => "F_OFD_SETLK",
            38 => "F_OFD_SETLKW",
            1024 => "F_SETLEASE",
            _ => return self.with_first(plain, Some(self.descriptor(0))),
        };
        self.call(&[self.descriptor(0), command.into(), pointer(self.call.arguments[2])])
    }
}

/// What a descriptor is, as strace writes it between its angle brackets.
fn label(descriptor: &Descriptor) -> String {
    match &descriptor.detail {
        Detail::Socket(Socket { protocol, local, peer, .. }) if !local.is_empty() && protocol != "unix" => {
            let protocol = protocol.to_uppercase();
            let is_unconnected = peer.is_empty() || peer.starts_with("0.0.0.0:") || peer.starts_with("[::]:0");
            match is_unconnected {
                true => format!("{protocol}:[{local}]"),
                false => format!("{protocol}:[{local}->{peer}]"),
            }
        }
        _ => descriptor.target.clone(),
    }
}

fn pointer(value: u64) -> String {
    if value == 0 { "NULL".into() } else { format!("{value:#x}") }
}

fn name_of(value: u64, names: &[&str]) -> String {
    let name = usize::try_from(value).ok().and_then(|value| names.get(value));
    name.map_or_else(|| value.to_string(), |name| (*name).to_owned())
}
