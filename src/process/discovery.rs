//! Finds the processes that selectors mean, again and again, as they come and go.
//!
//! Promises: a process that is meant is found by the next scan, and one that executes another
//! program within half a minute of its start, too; what does so later is found within `ROUND`
//! scans. A scan lists /proc and looks closely at few processes, so that it costs microseconds for
//! each that is there and does nothing. No more processes are returned than `most`; the count of
//! the others is.
//!
//! Does not use the kernel's process connector: that wants CAP_NET_ADMIN, and only saves the second
//! until the next scan.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use super::selector::Selector;
use crate::model::{Pid, ProcessId};
use crate::proc::{Kin, kin_of};

/// So young a process may still be about to execute what it was started for.
const YOUNG: Duration = Duration::from_secs(30);
/// Each process that was not meant is looked at again once in this number of scans.
const ROUND: u32 = 16;
/// How many generations are followed from a process to its ancestors.
const GENERATIONS: usize = 64;

/// A process that is meant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Found {
    /// Which process.
    pub id: ProcessId,
    /// The number of the first selector that means it, or means one that it descends from.
    pub selector: usize,
}

/// What one scan has found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scan {
    /// The processes, by their ids.
    pub found: Vec<Found>,
    /// How many more there were than were asked for.
    pub left_out: usize,
}

struct Known {
    kin: Kin,
    since: Instant,
    selector: Option<usize>,
}

/// What is known of all processes.
#[derive(Default)]
pub struct Discovery {
    known: HashMap<Pid, Known>,
    turn: u32,
}

impl Discovery {
    /// Looks at what there is now, and returns at most this number of processes: those that were
    /// known before come first.
    pub fn scan(&mut self, selectors: &[Selector], most: usize) -> Scan {
        self.turn = self.turn.wrapping_add(1);
        let now = Instant::now();
        let pids: Vec<Pid> = fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Pid))
            .collect();
        let is_there: std::collections::HashSet<Pid> = pids.iter().copied().collect();
        self.known.retain(|pid, _| is_there.contains(pid));
        for pid in pids {
            let is_due = self.known.get(&pid).is_none_or(|known| {
                let turn = (pid.0.unsigned_abs().wrapping_add(self.turn)) % ROUND == 0;
                turn || known.selector.is_none() && now.duration_since(known.since) < YOUNG
            });
            if is_due {
                self.look(pid, selectors, now);
            }
        }
        self.meant(selectors, most)
    }

    fn look(&mut self, pid: Pid, selectors: &[Selector], now: Instant) {
        let Some(kin) = kin_of(pid) else {
            self.known.remove(&pid);
            return;
        };
        let before = self.known.get(&pid).filter(|known| known.kin.start == kin.start);
        // A process that was selected stays so, whatever it executes.
        let selector = before.and_then(|known| known.selector).or_else(|| {
            let is_eligible = !kin.is_of_kernel && !kin.has_ended;
            selectors.iter().position(|selector| is_eligible && selector.means(pid))
        });
        let since = before.map_or(now, |known| known.since);
        self.known.insert(pid, Known { kin, since, selector });
    }

    fn meant(&self, selectors: &[Selector], most: usize) -> Scan {
        let own = Pid(i32::try_from(std::process::id()).unwrap_or(0));
        let mut found: Vec<(Instant, Found)> = Vec::new();
        let any_children = selectors.iter().any(|selector| selector.with_children);
        for (pid, known) in &self.known {
            if known.selector.is_none() && !any_children {
                continue;
            }
            let ancestors = self.ancestors(*pid);
            if *pid == own || ancestors.contains(&own) || known.kin.is_of_kernel || known.kin.has_ended {
                continue;
            }
            let of_ancestor = || {
                let selector = ancestors.iter().find_map(|pid| self.known.get(pid)?.selector);
                selector.filter(|number| selectors.get(*number).is_some_and(|selector| selector.with_children))
            };
            if let Some(selector) = known.selector.or_else(of_ancestor) {
                let id = ProcessId { pid: *pid, start: known.kin.start };
                found.push((known.since, Found { id, selector }));
            }
        }
        found.sort_unstable_by_key(|(since, found)| (*since, found.id.pid));
        let left_out = found.len().saturating_sub(most);
        found.truncate(most);
        Scan { found: found.into_iter().map(|(_, found)| found).collect(), left_out }
    }

    /// The parent first. Each of them was there before its child, unless ids were used again.
    fn ancestors(&self, pid: Pid) -> Vec<Pid> {
        let mut ancestors = Vec::new();
        let mut at = pid;
        while let Some(known) = self.known.get(&at)
            && known.kin.parent.0 > 0
            && ancestors.len() < GENERATIONS
        {
            at = known.kin.parent;
            ancestors.push(at);
        }
        ancestors
    }
}
