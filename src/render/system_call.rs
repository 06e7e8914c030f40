//! A system call with its arguments, as strace would begin the line.

use std::fmt::Write;

use crate::model::SystemCall;

/// Arguments above this are more likely addresses or flags than counts and descriptors.
const DECIMAL_LIMIT: u64 = 100_000;

/// `name(arguments)`; all six arguments of a call whose parameters are not listed here.
pub(super) fn text(call: SystemCall) -> String {
    let Some(name) = call.name() else {
        return format!("system call {}({})", call.number, arguments(&call, 6));
    };
    format!("{name}({})", arguments(&call, arity(name)))
}

fn arguments(call: &SystemCall, count: usize) -> String {
    let mut text = String::new();
    for (position, value) in call.abi.values(call.arguments).into_iter().take(count).enumerate() {
        if position > 0 {
            text.push_str(", ");
        }
        let symbolic = match call.name() {
            Some("futex" | "futex_time64") if position == 1 => futex_operation(value),
            _ => None,
        };
        match symbolic {
            Some(symbol) => text.push_str(&symbol),
            None => number(value, &mut text),
        }
    }
    text
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

/// futex(2), linux/futex.h.
fn futex_operation(value: u64) -> Option<String> {
    const PRIVATE: u64 = 128;
    const CLOCK_REALTIME: u64 = 256;
    let name = match value & !(PRIVATE | CLOCK_REALTIME) {
        0 => "FUTEX_WAIT",
        1 => "FUTEX_WAKE",
        3 => "FUTEX_REQUEUE",
        4 => "FUTEX_CMP_REQUEUE",
        5 => "FUTEX_WAKE_OP",
        6 => "FUTEX_LOCK_PI",
        7 => "FUTEX_UNLOCK_PI",
        9 => "FUTEX_WAIT_BITSET",
        10 => "FUTEX_WAKE_BITSET",
        11 => "FUTEX_WAIT_REQUEUE_PI",
        13 => "FUTEX_LOCK_PI2",
        _ => return None,
    };
    let private = if value & PRIVATE != 0 { "_PRIVATE" } else { "" };
    let clock = if value & CLOCK_REALTIME != 0 { "|FUTEX_CLOCK_REALTIME" } else { "" };
    Some(format!("{name}{private}{clock}"))
}

/// How many arguments a call takes, for those that threads are usually found in (the manual pages, section 2).
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
        assert_eq!(call(202, [0x7000_1000, 0x80, 2, 0, 0, 0]), "futex(0x70001000, FUTEX_WAIT_PRIVATE, 2, 0, 0, 0)");
        assert_eq!(call(232, [5, 0x7f00_0000_0000, 64, 0xffff_ffff, 9, 9]), "epoll_wait(5, 0x7f0000000000, 64, -1)");
        assert_eq!(call(34, [1, 2, 3, 4, 5, 6]), "pause()");
        assert_eq!(call(100_000, [1, 2, 3, 4, 5, 6]), "system call 100000(1, 2, 3, 4, 5, 6)");
    }
}
