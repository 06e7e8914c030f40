//! What the daemon knows of itself and of its targets, for `hangsnap status` and for metrics.
//!
//! Sums are kept for each selector, not for each process: so their number does not grow as
//! processes come and go, and they never fall. Everything kept is bounded.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::model::{Notice, Process, Snapshot};

/// Upper bounds of the buckets of holds, in microseconds.
pub(super) const BOUNDS_US: [u64; 8] = [10, 25, 50, 100, 250, 1000, 5000, 10_000];
/// Incidents that `status` lists.
const INCIDENTS: usize = 16;

/// What is known of one process that is looked at.
pub(super) struct Row {
    /// Its selector, as the user wrote it.
    pub label: String,
    /// What it is.
    pub process: Process,
    since: Instant,
    recording: Option<String>,
    snapshots: u64,
    last: Option<Instant>,
    threads: usize,
    longest_hold: Duration,
    held: Duration,
    losses: u64,
    skipped: u64,
    stuck: Option<String>,
    /// Threads of the last snapshot by state.
    pub states: BTreeMap<&'static str, u64>,
    /// Stuck threads by kind, of the last verdict.
    pub stuck_threads: BTreeMap<String, u64>,
}

/// What has happened to all processes of one selector.
#[derive(Clone, Default)]
pub(super) struct Sums {
    /// Snapshots that were taken.
    pub snapshots: u64,
    /// Holds by bucket; the last is of those above all bounds.
    pub holds: [u64; BOUNDS_US.len() + 1],
    /// All holds together.
    pub held: Duration,
    /// Losses by reason.
    pub losses: BTreeMap<String, u64>,
    /// Bytes that were stored.
    pub bytes: u64,
    /// Samples that were not taken, or not stored.
    pub skipped: u64,
    /// Incidents by trigger.
    pub incidents: BTreeMap<String, u64>,
}

/// All of it.
#[derive(Default)]
pub(super) struct State {
    /// By the number of the target.
    pub rows: BTreeMap<u64, Row>,
    /// By selector.
    pub sums: BTreeMap<String, Sums>,
    /// Whether nothing is sampled for now.
    pub is_paused: bool,
    /// Processes that are meant and not looked at, because there are too many.
    pub left_out: usize,
    incidents: VecDeque<Value>,
}

/// Shared by the threads of the daemon.
#[derive(Clone, Default)]
pub(super) struct Board(Arc<Mutex<State>>);

impl Board {
    /// All of it, for as long as no other thread needs it.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process is looked at from now on.
    pub(super) fn begin(&self, target: u64, label: &str, process: &Process) {
        let row = Row {
            label: label.into(),
            process: process.clone(),
            since: Instant::now(),
            recording: None,
            snapshots: 0,
            last: None,
            threads: 0,
            longest_hold: Duration::ZERO,
            held: Duration::ZERO,
            losses: 0,
            skipped: 0,
            stuck: None,
            states: BTreeMap::new(),
            stuck_threads: BTreeMap::new(),
        };
        self.lock().rows.insert(target, row);
    }

    /// It is no longer.
    pub(super) fn end(&self, target: u64) {
        self.lock().rows.remove(&target);
    }

    /// A snapshot was taken of it.
    pub(super) fn snapshot(&self, target: u64, snapshot: &Snapshot) {
        let mut state = self.lock();
        let State { rows, sums, .. } = &mut *state;
        let Some(row) = rows.get_mut(&target) else { return };
        row.process = snapshot.process.clone();
        row.snapshots += 1;
        row.last = Some(Instant::now());
        row.threads = snapshot.threads.len();
        row.longest_hold = row.longest_hold.max(snapshot.longest_hold());
        row.held += snapshot.longest_hold();
        row.states.clear();
        let sums = sums.entry(row.label.clone()).or_default();
        sums.snapshots += 1;
        for thread in &snapshot.threads {
            *row.states.entry(thread.status.state.name()).or_default() += 1;
            if let Some(hold) = thread.acquired.time() {
                let us = u64::try_from(hold.as_micros()).unwrap_or(u64::MAX);
                let bucket = BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(BOUNDS_US.len());
                sums.holds[bucket] += 1;
                sums.held += hold;
            }
        }
        for loss in snapshot.losses() {
            row.losses += 1;
            *sums.losses.entry(reason(loss)).or_default() += 1;
        }
    }

    /// A snapshot of it was stored in this recording.
    pub(super) fn stored(&self, target: u64, recording: &str, bytes: u64) {
        let mut state = self.lock();
        let State { rows, sums, .. } = &mut *state;
        let Some(row) = rows.get_mut(&target) else { return };
        row.recording.get_or_insert_with(|| recording.into());
        sums.entry(row.label.clone()).or_default().bytes += bytes;
    }

    /// A sample of it was not taken, or not stored.
    pub(super) fn skipped(&self, target: u64) {
        let mut state = self.lock();
        let State { rows, sums, .. } = &mut *state;
        let Some(row) = rows.get_mut(&target) else { return };
        row.skipped += 1;
        sums.entry(row.label.clone()).or_default().skipped += 1;
    }

    /// An incident of it has begun.
    pub(super) fn incident(&self, target: u64, trigger: &str) {
        let mut state = self.lock();
        let State { rows, sums, .. } = &mut *state;
        let Some(row) = rows.get(&target) else { return };
        *sums.entry(row.label.clone()).or_default().incidents.entry(trigger.into()).or_default() += 1;
    }

    /// The verdict on it: the first line, and how many threads are stuck of each kind.
    pub(super) fn verdict(&self, target: u64, line: &str, stuck: BTreeMap<String, u64>, incident: Value) {
        let mut state = self.lock();
        if let Some(row) = state.rows.get_mut(&target) {
            row.stuck = (!stuck.is_empty()).then(|| line.into());
            row.stuck_threads = stuck;
        }
        if state.incidents.len() == INCIDENTS {
            state.incidents.pop_front();
        }
        state.incidents.push_back(incident);
    }

    /// For `hangsnap status`.
    pub(super) fn json(&self) -> Value {
        let state = self.lock();
        let targets = state.rows.values().map(|row| {
            let watched = row.since.elapsed();
            json!({
                "target": row.label,
                "pid": row.process.id.pid.0,
                "inner_pid": row.process.inner_pid,
                "name": row.process.name,
                "recording": row.recording,
                "snapshots": row.snapshots,
                "threads": row.threads,
                "last_sample_ago_s": row.last.map(|last| last.elapsed().as_secs_f64()),
                "longest_hold_us": u64::try_from(row.longest_hold.as_micros()).unwrap_or(u64::MAX),
                "duty_ppm": (row.held.as_secs_f64() / watched.as_secs_f64().max(0.001) * 1e6).round(),
                "losses": row.losses,
                "skipped": row.skipped,
                "stuck": row.stuck,
            })
        });
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "now": SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            "paused": state.is_paused,
            "left_out": state.left_out,
            "targets": targets.collect::<Vec<_>>(),
            "incidents": state.incidents,
        })
    }
}

/// What kind of loss it is, in small letters: `stack_truncated`.
fn reason(notice: &Notice) -> String {
    let name = format!("{:?}", notice.reason);
    let name = name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let mut words = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push('_');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}
