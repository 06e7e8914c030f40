//! Waits in the middle of something: a statement that a server executes, an event that a loop
//! serves.
//!
//! A thread that sleeps there has work, whatever it sleeps in: it is not idle. Promises: says so
//! only by functions that are on the thread's stack for nothing else. Does not accuse, and names no
//! holder: locks of databases lie in structures of their own, and who has them only the database
//! can say.

use super::Calls;

enum Name {
    /// Exactly, without what libraries put around it.
    Is(&'static str),
    /// With its path, as of C++, up to its parameters.
    Begins(&'static str),
}
use Name::{Begins, Is};

/// Functions in which a server waits for one of its own locks, each with what is to be said.
const LOCKS: [(Name, &str); 6] = [
    (Is("ProcSleep"), "amid a statement, for a lock of PostgreSQL (pg_blocking_pids() knows whose)"),
    (Is("LWLockAcquire"), "amid a statement, for a lightweight lock of PostgreSQL"),
    (Is("LWLockAcquireOrWait"), "amid a statement, for a lightweight lock of PostgreSQL"),
    (Begins("MDL_wait::timed_wait("), "amid a statement, for a metadata lock (SHOW FULL PROCESSLIST)"),
    (Begins("lock_wait("), "amid a statement, for a row lock of InnoDB (information_schema.innodb_lock_waits)"),
    (Begins("lock_wait_suspend_thread("), "amid a statement, for a row lock of InnoDB (sys.innodb_lock_waits)"),
];

/// Functions that call others for each event, and wait in nothing but `POLLS` for the next.
const LOOPS: [&str; 9] = [
    "aeMain",
    "aeProcessEvents",
    "uv_run",
    "event_base_loop",
    "ev_run",
    "g_main_loop_run",
    "g_main_context_iteration",
    "ngx_process_events_and_timers",
    "sd_event_loop",
];
const POLLS: [&str; 9] = [
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "io_uring_enter",
    "restart_syscall",
];

const EVENT: &str = "amid an event: its event loop serves no other";

/// What a thread that is in this system call is in the middle of.
pub(super) fn of(calls: &Calls<'_>, system_call: Option<&str>) -> Option<&'static str> {
    let lock = calls.innermost().find_map(|call| {
        let is = |name: &Name| match name {
            Is(name) => call.plain() == *name,
            Begins(start) => call.name().starts_with(start),
        };
        LOCKS.iter().find(|(name, _)| is(name)).map(|(_, what)| *what)
    });
    let polls = system_call.is_none_or(|name| POLLS.contains(&name));
    lock.or_else(|| (!polls && calls.iter().any(|call| LOOPS.contains(&call.plain()))).then_some(EVENT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::waits::Call;
    use crate::model::Function;

    fn amid(names: &[&str], system_call: &str) -> Option<&'static str> {
        let function = |name: &&str| Function { name: Some((*name).into()), file: None, line: None };
        let functions: Vec<Function> = names.iter().map(function).collect();
        let call = |(frame, function)| Call { function, frame, module: "/usr/bin/server" };
        of(&Calls::made_of(functions.iter().enumerate().map(call).collect()), Some(system_call))
    }

    #[test]
    fn a_loop_that_waits_for_its_next_event_is_amid_nothing() {
        assert_eq!(amid(&["epoll_wait", "aeMain", "main"], "epoll_wait"), None);
        assert_eq!(amid(&["nanosleep", "sleep", "main"], "clock_nanosleep"), None);
        assert_eq!(amid(&["nanosleep", "debugCommand", "aeMain", "main"], "clock_nanosleep"), Some(EVENT));
    }

    #[test]
    fn a_statement_that_waits_for_a_lock_is_known_whatever_it_sleeps_in() {
        let backend = ["epoll_wait", "WaitEventSetWait", "ProcSleep", "heap_update", "PostgresMain"];
        assert!(amid(&backend, "epoll_wait").is_some_and(|amid| amid.contains("PostgreSQL")));
        let idle = ["epoll_wait", "WaitEventSetWait", "secure_read", "PostgresMain"];
        assert_eq!(amid(&idle, "epoll_wait"), None);
        let connection = ["pthread_cond_timedwait", "MDL_wait::timed_wait(MDL_context_owner*, timespec*)"];
        assert!(amid(&connection, "futex").is_some_and(|amid| amid.contains("metadata")));
        assert_eq!(amid(&["futex", "lock_waiter"], "futex"), None);
    }
}
