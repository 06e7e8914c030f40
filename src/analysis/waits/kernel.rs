//! Waits in system calls other than futex(2): for descriptors, file locks, children, time, signals,
//! disks; and threads that may not run at all.

use std::time::Duration;

use super::{Calls, Holder, Kind, Limit, Resource, Scene, Wait, Who};
use crate::model::{
    Descriptor, Detail, FileLock, MemoryOf, Pid, Socket, SystemCall, Task, Thread, ThreadState, Timestamp, WaitFacts,
};

/// Processes that are named for one wait; any of several may end it.
const MOST_HOLDERS: usize = 16;

/// Why a thread does not run although it is not waiting for anything of its own.
pub(super) fn not_allowed_to_run(scene: &Scene<'_>, thread: &Thread) -> Option<Wait> {
    let channel = thread.status.wait.channel.as_deref().unwrap_or("");
    if matches!(channel, "do_freezer_trap" | "__refrigerator") || scene.facts().frozen.is_some() {
        let group = scene.facts().frozen.as_deref().unwrap_or("its control group");
        return Some(Wait::for_what(Resource::named(Kind::Freezer, format!("the thaw of {group}"))));
    }
    let tracer = scene.facts().tracer.as_ref();
    match thread.status.state {
        ThreadState::Stopped => Some(Wait::for_what(Resource::named(Kind::Stop, "SIGCONT"))),
        ThreadState::Traced => {
            let name =
                tracer.map_or("its tracer".into(), |tracer| format!("its tracer {} ({})", tracer.name, tracer.pid));
            let mut wait = Wait::for_what(Resource::named(Kind::Tracer, name));
            wait.holders.extend(tracer.map(process));
            Some(wait)
        }
        _ => None,
    }
}

/// What a thread waits for in this call.
pub(super) fn read(scene: &Scene<'_>, thread: &Thread, calls: &Calls<'_>, call: SystemCall) -> Wait {
    let name = call.name().unwrap_or("");
    let arguments = call.abi.values(call.arguments);
    let facts = scene.facts();
    let channel = thread.status.wait.channel.as_deref().unwrap_or("");
    if channel.contains("fuse") || channel == "request_wait_answer" {
        return fuse(facts, thread);
    }
    let milliseconds = |number: usize| (arguments[number] as u32).cast_signed() >= 0;
    match name {
        "nanosleep" | "clock_nanosleep" => Wait::for_what(Resource::named(Kind::Time, "a time")).timed(true),
        "restart_syscall" => Wait::for_what(Resource::named(Kind::Call, name)),
        "epoll_wait" | "epoll_pwait" => descriptors(facts, thread, name, &arguments).timed(milliseconds(3)),
        "epoll_pwait2" => descriptors(facts, thread, name, &arguments).timed(arguments[3] != 0),
        "poll" => descriptors(facts, thread, name, &arguments).timed(milliseconds(2)),
        "ppoll" => descriptors(facts, thread, name, &arguments).timed(arguments[2] != 0),
        "select" | "pselect6" => descriptors(facts, thread, name, &arguments).timed(arguments[4] != 0),
        "pause" | "rt_sigsuspend" => Wait::for_what(Resource::named(Kind::Signal, "a signal")),
        "rt_sigtimedwait" => Wait::for_what(Resource::named(Kind::Signal, "a signal")).timed(arguments[2] != 0),
        "wait4" | "waitid" => child(facts, &call, arguments),
        "vfork" | "clone" | "clone3" => child(facts, &call, [u64::MAX; 6]),
        "flock" | "fcntl" => file_lock(scene, thread, arguments[0]),
        "accept" | "accept4" => {
            Wait { is_private: false, ..Wait::for_what(Resource::named(Kind::Connections, "connections")) }
        }
        "open" | "openat" | "openat2" => open(thread, channel),
        "read" | "readv" | "pread64" | "preadv" | "recvfrom" | "recvmsg" | "recvmmsg" | "splice"
        | "copy_file_range" => descriptor(facts, thread, arguments[0], false),
        "write" | "writev" | "pwrite64" | "pwritev" | "sendto" | "sendmsg" | "sendmmsg" | "sendfile" => {
            descriptor(facts, thread, arguments[0], true)
        }
        "io_uring_enter" => Wait::for_what(Resource::named(Kind::Call, "completions of its io_uring")),
        "connect" => descriptor(facts, thread, arguments[0], true),
        _ if thread.status.state == ThreadState::Uninterruptible => disk(thread),
        _ => {
            let own = calls.own().map_or("", |own| own.name());
            let name = if name.is_empty() { own } else { name };
            Wait::for_what(Resource::named(Kind::Call, name))
        }
    }
}

fn process(task: &Task) -> Holder {
    let Task { pid, name, .. } = task;
    Holder::proved(Who::Elsewhere { pid: *pid, tid: pid.main_thread(), name: name.clone() })
}

/// The path that was copied with the call.
fn path(thread: &Thread) -> Option<String> {
    let piece = thread.memory.iter().find(|piece| matches!(piece.what, MemoryOf::Path(_)))?;
    let end = piece.bytes.iter().position(|byte| *byte == 0).unwrap_or(piece.bytes.len());
    Some(crate::model::text_of(&piece.bytes[..end]))
}

fn disk(thread: &Thread) -> Wait {
    let channel = thread.status.wait.channel.as_deref().unwrap_or("the kernel");
    Wait::for_what(Resource::named(Kind::Disk, format!("a disk or the kernel, in {channel}")))
}

fn fuse(facts: &WaitFacts, thread: &Thread) -> Wait {
    let path = path(thread);
    let is_under = |mount: &&crate::model::FuseMount| {
        path.as_ref().is_none_or(|path| path.starts_with(&mount.path)) && mount.waiting > 0
    };
    let mount = facts.fuse.iter().find(is_under).or(facts.fuse.first());
    let place = path.clone().or(mount.map(|mount| mount.path.clone()));
    let name = match place {
        Some(place) => format!("the server of the FUSE file system at {place}"),
        None => "the server of a FUSE file system".into(),
    };
    let mut wait = Wait::for_what(Resource::named(Kind::Fuse, name));
    if let Some([server]) = mount.map(|mount| mount.servers.as_slice()) {
        wait.holders.push(Holder { proof: super::Proof::Inferred, ..process(server) });
    }
    wait
}

fn child(facts: &WaitFacts, call: &SystemCall, arguments: [u64; 6]) -> Wait {
    // waitid(2): P_PID is 1, and its id comes second.
    let wanted = match call.name() {
        Some("waitid") if arguments[0] == 1 => Some((arguments[1] as u32).cast_signed()),
        Some("wait4") => Some((arguments[0] as u32).cast_signed()).filter(|pid| *pid > 0),
        _ => None,
    };
    let running = |task: &&Task| !matches!(task.state, ThreadState::Zombie | ThreadState::Dead);
    let is_wanted = |task: &&Task| wanted.is_none_or(|pid| task.pid == Pid(pid));
    // A child whose id is another's here is not distinguished from its siblings.
    let exact = facts.children.iter().any(|task| is_wanted(&task));
    let children: Vec<&Task> = facts.children.iter().filter(|task| !exact || is_wanted(task)).filter(running).collect();
    let name = match children.as_slice() {
        [] => "a child".to_owned(),
        [only] => format!("the child {} ({})", only.name, only.pid),
        several => format!("any of {} children", several.len()),
    };
    let mut wait = Wait::for_what(Resource::named(Kind::Child, name));
    wait.holders.extend(children.into_iter().take(MOST_HOLDERS).map(process));
    wait
}

/// A lock of a file; /proc/locks says which by the process that waits.
fn file_lock(scene: &Scene<'_>, thread: &Thread, number: u64) -> Wait {
    let facts = scene.facts();
    let waiting = [thread.tid.0, scene.snapshot.process.id.pid.0];
    let is_waited_for = |lock: &&FileLock| lock.waiters.iter().any(|waiter| waiting.contains(&waiter.0));
    let file = target(facts, number);
    let is_of_file = |lock: &&FileLock| lock.path.is_some() && lock.path.as_deref() == file;
    let lock = facts.file_locks.iter().filter(is_waited_for).find(is_of_file);
    let lock = lock.or_else(|| facts.file_locks.iter().find(is_waited_for));
    let path = file.map(str::to_owned).or_else(|| lock.and_then(|lock| lock.path.clone()));
    let name = path.unwrap_or_else(|| format!("the file of descriptor {number}"));
    let mut wait = Wait::for_what(Resource::named(Kind::FileLock, format!("the lock of {name}")));
    wait.holders.extend(lock.and_then(|lock| lock.holder.as_ref()).map(process));
    wait
}

fn target(facts: &WaitFacts, number: u64) -> Option<&str> {
    facts.descriptor(i32::try_from(number).ok()?).map(|descriptor| descriptor.target.as_str())
}

fn open(thread: &Thread, channel: &str) -> Wait {
    let path = path(thread).unwrap_or_else(|| "a file".into());
    match channel.contains("wait_for_partner") || channel.contains("fifo_open") {
        true => Wait::for_what(Resource::named(Kind::Pipe, format!("another process that opens the FIFO {path}"))),
        false if thread.status.state == ThreadState::Uninterruptible => disk(thread),
        false => Wait::for_what(Resource::named(Kind::File, path)),
    }
}

/// Any of several descriptors.
fn descriptors(facts: &WaitFacts, thread: &Thread, name: &str, arguments: &[u64; 6]) -> Wait {
    let numbers = waited_for(facts, thread, name, arguments);
    let found: Vec<&Descriptor> = numbers.iter().filter_map(|number| facts.descriptor(*number)).collect();
    // One alone is a wait for just this.
    if let ([number], [_]) = (numbers.as_slice(), found.as_slice())
        && !name.starts_with("epoll")
    {
        return descriptor(facts, thread, u64::try_from(*number).unwrap_or(u64::MAX), false);
    }
    let text = match numbers.len() {
        0 => "events".to_owned(),
        count => format!("events of {count} descriptors"),
    };
    Wait::for_what(Resource::named(Kind::Descriptors, text))
}

/// The descriptors of a poll, of a select, or those in an epoll set.
fn waited_for(facts: &WaitFacts, thread: &Thread, name: &str, arguments: &[u64; 6]) -> Vec<i32> {
    if name.starts_with("epoll") {
        return match i32::try_from(arguments[0]).ok().and_then(|set| facts.descriptor(set)) {
            Some(Descriptor { detail: Detail::Epoll(members), .. }) => members.clone(),
            _ => Vec::new(),
        };
    }
    thread.polled()
}

/// Data from a descriptor, or room in it.
fn descriptor(facts: &WaitFacts, thread: &Thread, number: u64, is_writing: bool) -> Wait {
    let found = i32::try_from(number as u32).ok().and_then(|number| facts.descriptor(number));
    let Some(descriptor) = found else {
        let kind = if thread.status.state == ThreadState::Uninterruptible { Kind::Disk } else { Kind::File };
        return Wait::for_what(Resource::named(kind, format!("descriptor {number}")));
    };
    let (kind, others, is_listening) = match &descriptor.detail {
        Detail::Pipe { others, .. } => (Kind::Pipe, others.as_slice(), false),
        Detail::Socket(Socket { others, state, .. }) => (Kind::Socket, others.as_slice(), *state == LISTENING),
        Detail::Process(_) => (Kind::Child, &[][..], false),
        Detail::Timer(_) => (Kind::Time, &[][..], false),
        _ if thread.status.state == ThreadState::Uninterruptible => (Kind::Disk, &[][..], false),
        _ => (Kind::File, &[][..], false),
    };
    if is_listening {
        return Wait::for_what(Resource::named(Kind::Connections, "connections"));
    }
    let what = if is_writing { "room in" } else { "data from" };
    let name = match &descriptor.detail {
        Detail::Socket(socket) if !socket.peer.is_empty() => format!("{what} {} {}", socket.protocol, socket.peer),
        _ => format!("{what} {}", descriptor.target),
    };
    let name = match others {
        [] => name,
        [one] => format!("{name} of {} ({})", one.name, one.pid),
        several => format!("{name} of {} processes", several.len()),
    };
    let mut wait = Wait::for_what(Resource::named(kind, name));
    wait.is_writing = is_writing;
    wait.limit = Limit::Never;
    wait.holders.extend(others.iter().take(MOST_HOLDERS).map(process));
    wait
}

/// TCP_LISTEN of the kernel's net/tcp_states.h.
const LISTENING: u8 = 10;

/// How long a thread asked to sleep, from this moment on where it named an end; None where it does
/// not sleep, or that was not copied. nanosleep(2), clock_nanosleep(2).
pub fn time_asked(thread: &Thread, now: Timestamp) -> Option<Duration> {
    const ABSOLUTE: u64 = 1;
    const REALTIME: u64 = 0;
    let call = thread.system_call?;
    let (argument, end_of) = match call.name()? {
        "nanosleep" => (0, None),
        "clock_nanosleep" => (2, (call.arguments[1] & ABSOLUTE != 0).then_some(call.arguments[0])),
        _ => return None,
    };
    let bytes = &thread.memory.iter().find(|piece| piece.what == MemoryOf::Argument(argument))?.bytes;
    let long = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let asked = Duration::new(long(0)?, u32::try_from(long(8)?).ok().filter(|ns| *ns < 1_000_000_000)?);
    let now_ns = match end_of {
        None => 0,
        Some(REALTIME) => now.realtime_ns.unsigned_abs(),
        Some(_) => now.monotonic_ns,
    };
    Some(asked.saturating_sub(Duration::from_nanos(now_ns)))
}
