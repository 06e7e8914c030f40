//! A system call with its arguments, as strace would begin the line.

use std::fmt::Write;

use crate::model::SystemCall;

/// Arguments above this are more likely addresses or flags than counts and descriptors.
const DECIMAL_LIMIT: u64 = 100_000;

/// `name(arguments)`: those that the call has; all six of a call whose parameters are not listed
/// here. Of what an argument points to nothing is known here.
pub(super) fn text(call: SystemCall) -> String {
    let Some(name) = call.name() else {
        return format!("system call {}({})", call.number, numbers(&call, 6).join(", "));
    };
    let arguments = call.abi.values(call.arguments);
    let all = |count| numbers(&call, count);
    let with = |count, more: &[String]| all(count).into_iter().chain(more.iter().cloned()).collect();
    let arguments: Vec<String> = match name {
        "futex" | "futex_time64" => futex(&call),
        "poll" => with(2, &[milliseconds(arguments[2])]),
        "epoll_wait" => with(3, &[milliseconds(arguments[3])]),
        // Without a set of signals, its length says nothing.
        "epoll_pwait" if arguments[4] == 0 => with(3, &[milliseconds(arguments[3])]),
        "epoll_pwait" => with(3, &[milliseconds(arguments[3]), address(arguments[4]), address(arguments[5])]),
        "epoll_pwait2" if arguments[4] == 0 => with(3, &[pointed(arguments[3])]),
        "ppoll" if arguments[3] == 0 => with(2, &[pointed(arguments[2])]),
        // Where to write what remains, if that is wanted.
        "nanosleep" if arguments[1] == 0 => all(1),
        "clock_nanosleep" => clock_nanosleep(&call),
        name => all(arity(name)),
    };
    format!("{name}({})", arguments.join(", "))
}

fn numbers(call: &SystemCall, count: usize) -> Vec<String> {
    call.abi.values(call.arguments).into_iter().take(count).map(address).collect()
}

fn address(value: u64) -> String {
    let mut text = String::new();
    number(value, &mut text);
    text
}

/// The arguments that the operation of a futex call has: futex(2).
fn futex(call: &SystemCall) -> Vec<String> {
    let [word, operation, value, timeout, second, last] = call.abi.values(call.arguments);
    let Some(symbol) = futex_operation(operation) else { return numbers(call, 6) };
    let (word, symbol) = (address(word), symbol);
    let more = match operation & !(PRIVATE | CLOCK_REALTIME) {
        WAIT => vec![address(value), pointed(timeout)],
        WAIT_BITSET if last & u64::from(u32::MAX) == u64::from(u32::MAX) => vec![address(value), pointed(timeout)],
        WAIT_BITSET => vec![address(value), pointed(timeout), format!("{:#x}", last & u64::from(u32::MAX))],
        WAKE => vec![address(value)],
        WAKE_BITSET => vec![address(value), format!("{:#x}", last & u64::from(u32::MAX))],
        REQUEUE => vec![address(value), address(timeout), address(second)],
        CMP_REQUEUE | WAKE_OP => [value, timeout, second, last].map(address).into(),
        LOCK_PI | LOCK_PI2 => vec![pointed(timeout)],
        WAIT_REQUEUE_PI => vec![address(value), pointed(timeout), address(second)],
        // To unlock takes nothing else.
        _ => Vec::new(),
    };
    [word, symbol].into_iter().chain(more).collect()
}

/// Its clock by name; whether the time is one of the clock's or from now on; and where to write
/// what remains, if that is wanted.
fn clock_nanosleep(call: &SystemCall) -> Vec<String> {
    let [clock, flags, time, rest, ..] = call.abi.values(call.arguments);
    let clock = match clock {
        0 => "CLOCK_REALTIME".into(),
        1 => "CLOCK_MONOTONIC".into(),
        7 => "CLOCK_BOOTTIME".into(),
        11 => "CLOCK_TAI".into(),
        other => address(other),
    };
    let flags = if flags == 1 { "TIMER_ABSTIME".into() } else { address(flags) };
    let rest = (rest != 0).then(|| address(rest));
    [clock, flags, address(time)].into_iter().chain(rest).collect()
}

/// A timeout that an argument points to.
fn pointed(value: u64) -> String {
    if value == 0 { "no timeout".into() } else { format!("timeout at {value:#x}") }
}

/// A timeout in milliseconds: an int; a negative one is none.
fn milliseconds(value: u64) -> String {
    let Ok(all) = u32::try_from((value as u32).cast_signed()) else { return "no timeout".into() };
    let (hours, minutes) = (all / 3_600_000, all / 60_000 % 60);
    let (seconds, rest) = (all / 1000 % 60, all % 1000);
    let parts = [(hours, "h"), (minutes, "min"), (seconds, "s"), (rest, "ms")];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count} {unit}")).collect();
    if parts.is_empty() { "timeout 0".into() } else { format!("timeout {}", parts.join(" ")) }
}

fn number(value: u64, text: &mut String) {
    // Writing to a string does not fail.
    let _ = match value.cast_signed() {
        signed @ -4096..0 => write!(text, "{signed}"),
        _ if value < DECIMAL_LIMIT => write!(text, "{value}"),
        // A negative int in a register: the upper half is not part of it.
        _ if (0xffff_f000..=0xffff_ffff).contains(&value) => {
            write!(text, "{}", value.cast_signed() - (1 << 32))
        }
        _ => write!(text, "{value:#x}"),
    };
}

// futex(2), linux/futex.h.
const PRIVATE: u64 = 128;
const CLOCK_REALTIME: u64 = 256;
const WAIT: u64 = 0;
const WAKE: u64 = 1;
const REQUEUE: u64 = 3;
const CMP_REQUEUE: u64 = 4;
const WAKE_OP: u64 = 5;
const LOCK_PI: u64 = 6;
const UNLOCK_PI: u64 = 7;
const WAIT_BITSET: u64 = 9;
const WAKE_BITSET: u64 = 10;
const WAIT_REQUEUE_PI: u64 = 11;
const LOCK_PI2: u64 = 13;

fn futex_operation(value: u64) -> Option<String> {
    let name = match value & !(PRIVATE | CLOCK_REALTIME) {
        WAIT => "FUTEX_WAIT",
        WAKE => "FUTEX_WAKE",
        REQUEUE => "FUTEX_REQUEUE",
        CMP_REQUEUE => "FUTEX_CMP_REQUEUE",
        WAKE_OP => "FUTEX_WAKE_OP",
        LOCK_PI => "FUTEX_LOCK_PI",
        UNLOCK_PI => "FUTEX_UNLOCK_PI",
        WAIT_BITSET => "FUTEX_WAIT_BITSET",
        WAKE_BITSET => "FUTEX_WAKE_BITSET",
        WAIT_REQUEUE_PI => "FUTEX_WAIT_REQUEUE_PI",
        LOCK_PI2 => "FUTEX_LOCK_PI2",
        _ => return None,
    };
    let private = if value & PRIVATE != 0 { "_PRIVATE" } else { "" };
    let clock = if value & CLOCK_REALTIME != 0 { "|FUTEX_CLOCK_REALTIME" } else { "" };
    Some(format!("{name}{private}{clock}"))
}

/// How many arguments a call takes, for those that threads are usually found in (the manual pages,
/// section 2).
fn arity(name: &str) -> usize {
    match name {
        "pause" | "sched_yield" | "restart_syscall" | "fork" | "vfork" | "sync" | "getpid" => 0,
        "close" | "fsync" | "fdatasync" | "syncfs" | "exit" | "exit_group" | "brk" | "unlink" | "rmdir" | "chdir" => 1,
        "nanosleep" | "flock" | "munmap" | "rt_sigsuspend" | "listen" | "stat" | "lstat" | "fstat" | "fallocate"
        | "rename" | "mkdir" | "kill" | "futimesat" | "access" | "ftruncate" | "truncate" => 2,
        "read" | "write" | "readv" | "writev" | "poll" | "open" | "ioctl" | "fcntl" | "accept" | "connect"
        | "socket" | "sendmsg" | "recvmsg" | "semop" | "mprotect" | "madvise" | "lseek" | "execve" | "getdents64"
        | "msync" | "getrandom" | "openat2" | "mlock2" => 3,
        "epoll_wait" | "accept4" | "wait4" | "clock_nanosleep" | "pread64" | "pwrite64" | "openat" | "semtimedop"
        | "rt_sigtimedwait" | "sendfile" | "newfstatat" | "msgsnd" | "tgkill" | "fadvise64" | "socketpair"
        | "readlinkat" | "clone3" | "unlinkat" | "linkat" | "renameat2" => 4,
        "ppoll" | "select" | "waitid" | "recvmmsg" | "io_getevents" | "msgrcv" | "mq_timedreceive" | "mq_timedsend"
        | "preadv" | "pwritev" | "statx" | "clone" | "mremap" | "prctl" => 5,
        _ => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_that_threads_wait_in() {
        let call = |number, arguments| text(SystemCall::new(number, arguments));
        let futex = |operation, rest: [u64; 4]| {
            call(202, [0x7000_1000, operation, rest[0], rest[1], rest[2], rest[3]])
                .replace("futex(0x70001000, FUTEX_", "")
        };
        assert_eq!(futex(0x80, [2, 0, 7, 8]), "WAIT_PRIVATE, 2, no timeout)");
        assert_eq!(futex(0, [2, 0x7f00_0000_0000, 7, 8]), "WAIT, 2, timeout at 0x7f0000000000)");
        assert_eq!(futex(0x189, [0, 0, 0, 0xffff_ffff]), "WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME, 0, no timeout)");
        assert_eq!(futex(9, [1, 0, 0, 4]), "WAIT_BITSET, 1, no timeout, 0x4)");
        assert_eq!(futex(0x81, [1, 9, 9, 9]), "WAKE_PRIVATE, 1)");
        assert_eq!(futex(6, [9, 0, 9, 9]), "LOCK_PI, no timeout)");
        assert_eq!(futex(7, [9, 9, 9, 9]), "UNLOCK_PI)");
        assert_eq!(futex(4, [1, 2, 0x7000_2000, 3]), "CMP_REQUEUE, 1, 2, 0x70002000, 3)");
        assert_eq!(call(202, [0x7000_1000, 77, 2, 0, 0, 0]), "futex(0x70001000, 77, 2, 0, 0, 0)");
        let epoll = |timeout| {
            call(232, [5, 0x7f00_0000_0000, 64, timeout, 9, 9]).replace("epoll_wait(5, 0x7f0000000000, 64, ", "")
        };
        assert_eq!(epoll(0xffff_ffff), "no timeout)");
        assert_eq!(epoll(u64::MAX), "no timeout)");
        assert_eq!(epoll(0), "timeout 0)");
        assert_eq!(epoll(1500), "timeout 1 s 500 ms)");
        assert_eq!(epoll(3_600_000), "timeout 1 h)");
        assert_eq!(call(7, [0x7f00_0000_0000, 3, 250, 9, 9, 9]), "poll(0x7f0000000000, 3, timeout 250 ms)");
        assert_eq!(call(271, [0x7f00_0000_0000, 3, 0, 0, 8, 9]), "ppoll(0x7f0000000000, 3, no timeout)");
        assert_eq!(call(35, [0x7f00_0000_0000, 0, 9, 9, 9, 9]), "nanosleep(0x7f0000000000)");
        assert_eq!(
            call(35, [0x7f00_0000_0000, 0x7f00_0000_0010, 9, 9, 9, 9]),
            "nanosleep(0x7f0000000000, 0x7f0000000010)"
        );
        assert_eq!(call(230, [1, 0, 0x7f00_0000_0000, 0, 9, 9]), "clock_nanosleep(CLOCK_MONOTONIC, 0, 0x7f0000000000)");
        assert_eq!(
            call(230, [0, 1, 0x7f00_0000_0000, 0x7f00_0000_0010, 9, 9]),
            "clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, 0x7f0000000000, 0x7f0000000010)"
        );
        assert_eq!(call(34, [1, 2, 3, 4, 5, 6]), "pause()");
        assert_eq!(call(100_000, [1, 2, 3, 4, 5, 6]), "system call 100000(1, 2, 3, 4, 5, 6)");
    }
}
