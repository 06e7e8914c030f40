//! A system call that a thread is blocked in, with what its arguments mean: descriptors by what
//! they are, flags by name, structures and paths that were copied with it. As strace(1) would write
//! it.
//!
//! Promises: nothing is invented. What was not copied stays a number, and what is foreign is
//! escaped.

use std::fmt::Write;

use super::system_call;
use super::value::Foreign;
use crate::model::{Abi, Descriptor, Detail, MemoryOf, Socket, SystemCall, Thread, ThreadState, WaitFacts};

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

/// Bits by their names, with what is left of them; 0 if there are none.
fn flags(value: u64, names: &[(u64, &str)]) -> String {
    flags_or(value, names, "0")
}

fn flags_or(value: u64, names: &[(u64, &str)], none: &str) -> String {
    let mut left = value & 0xffff_ffff;
    let mut text = String::new();
    for (bit, name) in names {
        if left & bit != 0 {
            left &= !bit;
            text.push_str(if text.is_empty() { "" } else { "|" });
            text.push_str(name);
        }
    }
    if left != 0 {
        text.push_str(if text.is_empty() { "" } else { "|" });
        // Writing to a string does not fail.
        let _ = write!(text, "{left:#x}");
    }
    if text.is_empty() { none.into() } else { text }
}
