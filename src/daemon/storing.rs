//! Assembles and stores what the capture loop has copied, and keeps the few snapshots before an
//! incident.
//!
//! Promises: a recording that cannot be written costs its snapshots and nothing else: that is said
//! once and counted, and the next snapshot is tried again. An incident's segments are pinned once
//! its last snapshot is stored.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::board::Board;
use super::incident::{Incident, StoredIncident};
use super::log::{Level, Log};
use super::settings::{Settings, Store};
use super::standing::Standing;
use super::trigger::Condition;
use super::{Alarm, Message};
use crate::model::{Process, Snapshot};
use crate::record::{Assembly, Event, Output, TakenSample, recording};
use crate::store::{self, Stored, Writer, file_name};

/// How many names of a new recording are tried.
const NAMES: i64 = 8;

/// What the capture loop hands over, about the target of this number.
pub(super) enum Job {
    /// A process is looked at from now on.
    Begin { target: u64, selector: usize, label: String },
    /// What was copied of it.
    Sample { target: u64, taken: TakenSample, events: Vec<Event>, is_of_incident: bool },
    /// The last sample of an incident has been handed over.
    Incident(Box<Incident>),
    /// It has ended, or is no longer looked at.
    End { target: u64 },
    /// Other settings hold from now on.
    Settings(Arc<Settings>),
}

struct Kept {
    selector: usize,
    label: String,
    process: Option<Process>,
    writer: Option<Writer>,
    /// Whether the writer has stored a snapshot.
    has_stored: bool,
    ring: VecDeque<Snapshot>,
    standing: Standing,
    /// The times of the snapshots of an incident, and the number of the last.
    incident: Option<(i64, i64, u64)>,
}

/// Stores the snapshots of all targets.
pub(super) struct Storing {
    pub(super) settings: Arc<Settings>,
    pub(super) board: Board,
    pub(super) log: Log,
    pub(super) messages: Sender<Message>,
    pub(super) incidents: Sender<StoredIncident>,
    assembly: Assembly,
    targets: HashMap<u64, Kept>,
}

impl Storing {
    pub(super) fn new(
        settings: Arc<Settings>,
        board: Board,
        log: Log,
        messages: Sender<Message>,
        incidents: Sender<StoredIncident>,
    ) -> Self {
        let assembly = Assembly::new(&settings.options);
        Self { settings, board, log, messages, incidents, assembly, targets: HashMap::new() }
    }

    /// Works off the queue until it is closed.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        for job in jobs {
            self.work(job);
        }
        let targets: Vec<u64> = self.targets.keys().copied().collect();
        targets.into_iter().for_each(|target| self.end(target));
    }

    fn work(&mut self, job: Job) {
        match job {
            Job::Begin { target, selector, label } => {
                let kept = Kept {
                    selector,
                    label,
                    process: None,
                    writer: None,
                    has_stored: false,
                    ring: VecDeque::new(),
                    standing: Standing::new(),
                    incident: None,
                };
                self.targets.insert(target, kept);
            }
            Job::Sample { target, taken, events, is_of_incident } => {
                let snapshot = self.assembly.snapshot(taken);
                self.tell(&snapshot, &events);
                self.keep(target, snapshot, is_of_incident);
            }
            Job::Incident(incident) => self.end_incident(*incident),
            Job::End { target } => self.end(target),
            Job::Settings(settings) => {
                if settings.options != self.settings.options {
                    self.assembly = Assembly::new(&settings.options);
                }
                self.settings = settings;
            }
        }
    }

    fn tell(&mut self, snapshot: &Snapshot, events: &[Event]) {
        let whose = format!("{} ({})", snapshot.process.name, snapshot.process.id.pid);
        for event in events {
            if let Event::Executed { executable, name } = event {
                self.assembly.forget_modules(&snapshot.process);
                let text = format!("{whose}: executed {executable}, calls itself {name}; recording goes on");
                self.log.say(Level::Info, &text);
            }
        }
    }

    fn keep(&mut self, target: u64, snapshot: Snapshot, is_of_incident: bool) {
        let Some(mut kept) = self.targets.remove(&target) else { return };
        let now = Instant::now();
        self.board.snapshot(target, &snapshot);
        kept.process = Some(snapshot.process.clone());
        kept.standing.add(&snapshot, now);
        self.raise(target, &kept, now);
        if is_of_incident || self.settings.store == Store::All {
            let before: Vec<Snapshot> = kept.ring.drain(..).collect();
            for snapshot in before.iter().chain([&snapshot]) {
                self.store(target, &mut kept, snapshot);
                if is_of_incident {
                    let (time, number) = (snapshot.taken.realtime_ns, snapshot.number);
                    let (first, _, _) = *kept.incident.get_or_insert((time, time, number));
                    kept.incident = Some((first, time, number));
                }
            }
        } else if self.settings.preroll > 0 {
            while kept.ring.len() >= self.settings.preroll {
                kept.ring.pop_front();
            }
            kept.ring.push_back(snapshot.clone());
        }
        self.assembly.remember(snapshot);
        self.targets.insert(target, kept);
    }

    fn store(&self, target: u64, kept: &mut Kept, snapshot: &Snapshot) {
        let whose = format!("{} ({})", snapshot.process.name, snapshot.process.id.pid);
        let key = format!("store {target}");
        let output = Output::Directory(self.settings.directory.clone());
        if kept.writer.is_none() {
            match self.create(snapshot) {
                Ok(mut writer) => {
                    writer.succeed(&output.earlier(&snapshot.process));
                    kept.writer = Some(writer);
                    kept.has_stored = false;
                }
                Err(error) => {
                    self.board.skipped(target);
                    return self.log.repeated(Level::Error, &key, &format!("{whose}: {error}"));
                }
            }
        }
        let Some(writer) = &mut kept.writer else { return };
        match writer.append(snapshot) {
            Ok(Stored::Yes { bytes, missing }) => {
                kept.has_stored = true;
                if missing > 0 {
                    self.log.is_over(&key);
                    let text = format!("{whose}: there is room again; {missing} snapshots found none and are lost");
                    self.log.say(Level::Notice, &text);
                }
                self.board.stored(target, &writer.path().display().to_string(), bytes);
            }
            Ok(Stored::NoRoom { why, .. }) => {
                self.board.skipped(target);
                let text = format!("{whose}: {why}; recording goes on when there is room");
                self.log.repeated(Level::Error, &key, &text);
            }
            Err(error) => {
                self.board.skipped(target);
                // The first snapshot of a recording found no room, or somebody has removed it.
                if let Some(writer) = kept.writer.take().filter(|_| !kept.has_stored) {
                    writer.discard();
                }
                self.log.repeated(Level::Error, &key, &format!("{whose}: {error}; the next snapshot is tried again"));
            }
        }
        if let Some(writer) = &mut kept.writer {
            for unsynced in writer.unsynced() {
                self.log.repeated(Level::Warning, &format!("sync {target}"), &format!("{whose}: {unsynced}"));
            }
        }
    }

    /// A recording of its own for the process. One that was begun in this same second, by a daemon
    /// that was killed, has its name already; then it is called by one of the next.
    fn create(&self, snapshot: &Snapshot) -> Result<Writer, store::Error> {
        let about = recording(Some(self.settings.interval));
        let begin = |later: i64| {
            let begun = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(later);
            let path = self.settings.directory.join(file_name(&snapshot.process, begun));
            Writer::create(&path, &about, self.settings.policy)
        };
        let mut begun = begin(0);
        for later in 1..NAMES {
            if !matches!(begun, Err(store::Error::Exists { .. })) {
                break;
            }
            begun = begin(later);
        }
        begun
    }

    /// Fires the triggers that look at snapshots.
    fn raise(&self, target: u64, kept: &Kept, now: Instant) {
        for (number, trigger) in self.settings.triggers.iter().enumerate() {
            if trigger.selector.is_some_and(|selector| selector != kept.selector) {
                continue;
            }
            let reason = match &trigger.condition {
                Condition::Blocked { lasting } => kept
                    .standing
                    .blocked(now, *lasting)
                    .map(|(tid, time)| format!("thread {tid} is in uninterruptible sleep for {}", seconds(time))),
                Condition::Hang { lasting } => kept
                    .standing
                    .same_stacks(now, *lasting)
                    .map(|time| format!("all stacks are the same for {}, which is unusual for it", seconds(time))),
                _ => None,
            };
            if let Some(reason) = reason {
                let alarm = Alarm { trigger: Some(number), target: Some(target), selector: None, reason, raised: now };
                // The capture loop is there for as long as the queue is.
                let _ = self.messages.try_send(Message::Alarm(alarm));
            }
        }
    }

    fn end_incident(&mut self, incident: Incident) {
        let Some(kept) = self.targets.get_mut(&incident.target) else { return };
        let Some((first, last, last_number)) = kept.incident.take() else { return };
        let Some(writer) = &kept.writer else {
            let text = format!("{}: the incident ({}) could not be stored", kept.label, incident.reason);
            return self.log.say(Level::Error, &text);
        };
        let recording = writer.path().to_path_buf();
        let stored = StoredIncident { incident, recording, last_number, times_ns: (first, last) };
        if self.incidents.try_send(stored).is_err() {
            self.log.repeated(Level::Warning, "verdicts", "too many incidents at once: no verdict is made on this one");
        }
    }

    fn end(&mut self, target: u64) {
        let Some(kept) = self.targets.remove(&target) else { return };
        if let Some(process) = &kept.process {
            self.assembly.forget(process);
        }
        if let Some(Err(error)) = kept.writer.map(Writer::finish) {
            self.log.say(Level::Warning, &format!("{}: {error}", kept.label));
        }
        for prefix in ["store", "sync"] {
            self.log.is_over(&format!("{prefix} {target}"));
        }
        self.board.end(target);
    }
}

/// A length of time for people.
pub(super) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
