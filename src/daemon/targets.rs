//! The processes that are looked at: which begin, which end, which are due.
//!
//! Promises: a process that is meant is looked at until it ends, whatever it executes; what goes on
//! after one that made itself a daemon is looked at in its place. One that cannot be looked at is
//! said once, and tried again. Programs that are started again and again use up their starts, which
//! grow in number each minute, so that recordings are bounded.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::Alarm;
use super::board::Board;
use super::log::{Level, Log};
use super::settings::Settings;
use super::storing::Job;
use super::trigger::Trigger;
use super::watched::Watched;
use crate::model::ProcessId;
use crate::proc::kin_of;
use crate::process::{Found, Scan, Target, Wanted};
use crate::record::{Event, Stream};

/// What could not be looked at is tried again after this time.
const AGAIN: Duration = Duration::from_secs(5);
/// After this time there is one more start for each selector.
const START: Duration = Duration::from_secs(60);

/// The starts that are left for processes of one selector.
struct Starts {
    left: u32,
    since: Instant,
}

/// The processes that are looked at, by number.
pub(super) struct Targets {
    log: Log,
    board: Board,
    jobs: Sender<Job>,
    watched: BTreeMap<u64, Watched>,
    known: HashSet<ProcessId>,
    refused: HashMap<ProcessId, Instant>,
    starts: HashMap<String, Starts>,
    last: u64,
    is_paused: bool,
    is_stored: bool,
}

impl Targets {
    pub(super) fn new(log: Log, board: Board, jobs: Sender<Job>) -> Self {
        Self {
            log,
            board,
            jobs,
            watched: BTreeMap::new(),
            known: HashSet::new(),
            refused: HashMap::new(),
            starts: HashMap::new(),
            last: 0,
            is_paused: false,
            is_stored: true,
        }
    }

    /// Hands a job over. It waits only where the disk is slow and there is more to hand over than a
    /// sample, for which room was looked for.
    pub(super) fn hand_over(&mut self, job: Job) {
        self.is_stored &= self.jobs.send(job).is_ok();
    }

    /// Whether what is handed over is still taken: the thread that stores may have panicked.
    pub(super) fn is_stored(&self) -> bool {
        self.is_stored
    }

    pub(super) fn get(&mut self, target: u64) -> Option<&mut Watched> {
        self.watched.get_mut(&target)
    }

    pub(super) fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// The target that is due first of those that are due; those of incidents before others.
    pub(super) fn due(&self, now: Instant) -> Option<u64> {
        let due = self.watched.iter().filter(|(_, watched)| self.may_sample(watched) && watched.due <= now);
        due.min_by_key(|(_, watched)| (watched.ongoing.is_none(), watched.due)).map(|(target, _)| *target)
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.watched.values().filter(|watched| self.may_sample(watched)).map(|watched| watched.due).min()
    }

    fn may_sample(&self, watched: &Watched) -> bool {
        !self.is_paused || watched.ongoing.is_some()
    }

    /// Begins with those that are new.
    pub(super) fn take_scan(&mut self, scan: &Scan, settings: &Settings) {
        self.board.lock().left_out = scan.left_out;
        match scan.left_out {
            0 => self.log.is_over("left out"),
            more => {
                let text = format!(
                    "{more} more processes are meant than max-targets = {}, and are not looked at; raise it, or name fewer",
                    settings.max_targets
                );
                self.log.repeated(Level::Warning, "left out", &text);
            }
        }
        let is_there: HashSet<ProcessId> = scan.found.iter().map(|found| found.id).collect();
        self.refused.retain(|id, _| is_there.contains(id));
        for found in &scan.found {
            if self.watched.len() < settings.max_targets {
                self.begin(*found, settings);
            }
        }
    }

    fn begin(&mut self, found: Found, settings: &Settings) {
        let Some(selector) = settings.selectors.get(found.selector) else { return };
        let waits = self.refused.get(&found.id).is_some_and(|at| at.elapsed() < AGAIN);
        if waits || self.known.contains(&found.id) {
            return;
        }
        let label = selector.label.clone();
        if !self.may_start(&label, settings) {
            let text = format!("{label}: is started again and again; not each of its processes is recorded");
            self.log.repeated(Level::Warning, &format!("starts {label}"), &text);
            self.refused.insert(found.id, Instant::now());
            return;
        }
        let target = Target::open(&Wanted::Pid(found.id.pid), settings.options.stop).map_err(|error| error.to_string());
        let stream = target.and_then(|target| {
            Stream::new(target, &settings.options, settings.max_duty).map_err(|error| error.to_string())
        });
        let stream = match stream {
            Ok(stream) if stream.target().process.id == found.id => stream,
            // It has ended, and its pid was given out again.
            Ok(_) => return,
            Err(error) => {
                self.refused.insert(found.id, Instant::now());
                if kin_of(found.id.pid).is_some_and(|kin| kin.start == found.id.start && !kin.has_ended) {
                    self.log.repeated(Level::Warning, &format!("open {label}"), &format!("{label}: {error}"));
                }
                return;
            }
        };
        self.last += 1;
        let process = &stream.target().process;
        let inner = match process.inner_pid == process.id.pid.0 {
            true => String::new(),
            false => format!(", {} inside", process.inner_pid),
        };
        self.log.say(Level::Info, &format!("{label}: {} ({}{inner}) is looked at", process.name, process.id.pid));
        self.board.begin(self.last, &label, process);
        self.hand_over(Job::Begin { target: self.last, selector: found.selector, label: label.clone() });
        self.known.insert(found.id);
        self.watched.insert(self.last, Watched::new(stream, found.selector, label, Instant::now()));
    }

    fn may_start(&mut self, label: &str, settings: &Settings) -> bool {
        let most = u32::try_from(settings.max_targets).unwrap_or(u32::MAX);
        let starts = self.starts.entry(label.into()).or_insert(Starts { left: most, since: Instant::now() });
        let more = u32::try_from(starts.since.elapsed().as_secs() / START.as_secs()).unwrap_or(u32::MAX);
        if more > 0 {
            starts.left = starts.left.saturating_add(more).min(most);
            starts.since = Instant::now();
        }
        let may = starts.left > 0;
        starts.left = starts.left.saturating_sub(1);
        may
    }

    /// The targets that an alarm is for.
    pub(super) fn meant_by(&self, alarm: &Alarm, settings: &Settings) -> Vec<u64> {
        let selector = alarm.trigger.and_then(|number| settings.triggers.get(number)?.selector);
        let is_meant = |target: u64, watched: &Watched| {
            let process = &watched.stream.target().process;
            let word = alarm.selector.as_ref();
            alarm.target.is_none_or(|wanted| wanted == target)
                && selector.is_none_or(|selector| selector == watched.selector)
                && word.is_none_or(|word| {
                    *word == watched.label || *word == process.name || *word == process.id.pid.to_string()
                })
        };
        self.watched.iter().filter(|(target, watched)| is_meant(**target, watched)).map(|(target, _)| *target).collect()
    }

    /// Looks at all of them: which triggers fire for each, and which have ended.
    pub(super) fn look(&mut self, triggers: &[Trigger], now: Instant) -> Vec<(u64, Vec<(usize, String)>)> {
        let mut fired = Vec::new();
        for (target, watched) in &mut self.watched {
            match watched.look(triggers, now) {
                Some(reasons) if !reasons.is_empty() => fired.push((*target, reasons)),
                Some(_) => {}
                // The next sample finds out, and who has come from it.
                None => watched.due = now,
            }
        }
        fired
    }

    /// A target has ended; those that have come from it take its place.
    pub(super) fn ended(&mut self, target: u64, settings: &Settings) {
        let Some(watched) = self.watched.get(&target) else { return };
        let (selector, label) = (watched.selector, watched.label.clone());
        let event = watched.stream.ended();
        let process = &watched.stream.target().process;
        let mut text = format!("{label}: {} ({}) has ended", process.name, process.id.pid);
        self.end(target);
        if let Event::Ended { successors } = event {
            for (pid, name) in successors {
                if let Some(kin) = kin_of(pid).filter(|kin| !kin.has_ended)
                    && self.watched.len() < settings.max_targets
                {
                    text.push_str(&format!("; {name} ({pid}) has come from it"));
                    self.begin(Found { id: ProcessId { pid, start: kin.start }, selector }, settings);
                }
            }
        }
        self.log.repeated(Level::Info, &format!("ended {label}"), &text);
    }

    /// Looks at a target no longer.
    pub(super) fn end(&mut self, target: u64) {
        let Some(mut watched) = self.watched.remove(&target) else { return };
        self.known.remove(&watched.id);
        if let Some(ongoing) = watched.ongoing.take() {
            self.hand_over(Job::Incident(Box::new(ongoing.incident)));
        }
        self.hand_over(Job::End { target });
    }

    pub(super) fn end_all(&mut self) {
        let targets: Vec<u64> = self.watched.keys().copied().collect();
        targets.into_iter().for_each(|target| self.end(target));
    }

    /// Other settings hold from now on. What is meant still goes on, without a gap.
    pub(super) fn reload(&mut self, old: &Settings, new: &Settings) {
        let is_same = old.options == new.options && old.max_duty == new.max_duty;
        let mut gone = Vec::new();
        for (target, watched) in &mut self.watched {
            watched.forget_triggers();
            match new.selectors.iter().position(|selector| selector.label == watched.label) {
                Some(selector) if is_same => watched.selector = selector,
                _ => gone.push(*target),
            }
        }
        gone.into_iter().for_each(|target| self.end(target));
        self.refused.clear();
        self.starts.clear();
    }
}
