//! Threads and processes by their ids: what they are called, whether they are still there.

use std::fs;

use super::Reading;
use crate::model::{Pid, StartTime, Task, ThreadState, Tid, text_of};

/// The process or thread of this id, as hangsnap's own PID namespace counts, with its process.
pub(super) fn task(tid: i32) -> Option<(Tid, Task)> {
    // One of the kernel's own threads owns no lock of a program's, and their ids are small numbers,
    // as other words are.
    let pid = field(tid, "Tgid:").filter(|_| field(tid, "Kthread:") != Some(1))?;
    let (name, state, start) = stat(tid)?;
    Some((Tid(tid), Task { pid: Pid(pid), name, state, start }))
}

/// The process of this id.
pub(super) fn process(pid: i32) -> Option<Task> {
    let (name, state, start) = stat(pid)?;
    Some(Task { pid: Pid(pid), name, state, start })
}

/// `comm`, the state and the start time: proc_pid_stat(5). The name may have anything in it.
fn stat(tid: i32) -> Option<(String, ThreadState, StartTime)> {
    const STATE: usize = 0;
    const START: usize = 19;
    let bytes = fs::read(format!("/proc/{tid}/stat")).ok()?;
    let (open, close) = (bytes.iter().position(|byte| *byte == b'(')?, bytes.iter().rposition(|byte| *byte == b')')?);
    let name = text_of(bytes.get(open + 1..close)?);
    let rest = String::from_utf8_lossy(bytes.get(close + 1..)?);
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let state = ThreadState::from_letter(fields.get(STATE)?.chars().next()?);
    Some((name, state, StartTime(fields.get(START)?.parse().ok()?)))
}

/// A number in /proc/TID/status.
fn field(tid: i32, name: &str) -> Option<i32> {
    let status = fs::read(format!("/proc/{tid}/status")).ok()?;
    let text = String::from_utf8_lossy(&status);
    text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok()
}

/// The ids that the threads have in the process's own namespace, where they are others there.
pub(super) fn inner_tids(reading: &Reading<'_>) -> Vec<(i32, Tid)> {
    if reading.process.inner_pid == reading.process.id.pid.0 {
        return Vec::new();
    }
    let inner = |tid: Tid| Some((inner_id(&reading.path(&format!("task/{tid}/status")))?, tid));
    let mut found = Vec::new();
    for thread in reading.threads {
        if reading.is_over() {
            break;
        }
        found.extend(inner(thread.tid));
    }
    found
}

/// The id in the innermost namespace, by this file of /proc.
pub(super) fn inner_id(status: &str) -> Option<i32> {
    let status = fs::read(status).ok()?;
    let text = String::from_utf8_lossy(&status);
    let ids = text.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    ids.split_ascii_whitespace().next_back()?.parse().ok()
}

pub(super) fn tracer(reading: &Reading<'_>) -> Option<Task> {
    let traced = reading.threads.iter().find(|thread| thread.status.state == ThreadState::Traced)?;
    let (_, task) = task(field(traced.tid.0, "TracerPid:").filter(|tid| *tid > 0)?)?;
    process(task.pid.0)
}

pub(super) fn parent(reading: &Reading<'_>) -> Option<Task> {
    process(field(reading.process.id.pid.0, "PPid:").filter(|pid| *pid > 0)?)
}
