//! Children of a process: `children` in proc_pid_task_children(5), of each thread.

use std::fs;

use super::{Reading, tasks};
use crate::model::{Task, ThreadState};

const MOST: usize = 256;

/// Those of a process with a thread that waits for a child.
pub(super) fn read(reading: &mut Reading<'_>) -> Vec<Task> {
    let waits = reading.is_any_in(&["wait4", "waitid"])
        || reading.threads.iter().any(|thread| {
            let name = thread.system_call.and_then(|call| call.name());
            thread.status.state == ThreadState::Uninterruptible && matches!(name, Some("vfork" | "clone" | "clone3"))
        });
    if !waits {
        return Vec::new();
    }
    let (mut found, mut is_read) = (Vec::new(), false);
    for thread in reading.threads {
        let Ok(text) = fs::read_to_string(reading.path(&format!("task/{}/children", thread.tid))) else { continue };
        is_read = true;
        let pids = text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
        found.extend(pids.filter_map(tasks::process));
        if found.len() > MOST || reading.is_over() {
            break;
        }
    }
    if !is_read {
        reading.unread("children", "this kernel has no /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN)");
    }
    found.sort_by_key(|child| child.pid);
    found.truncate(MOST);
    found
}
