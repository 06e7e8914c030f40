//! The capture loop: every target has its own time, and what is urgent comes first.
//!
//! Promises: a trigger is served after at most the one sample that is being taken. What a target
//! does ends at most its own recording. The service manager's watchdog is fed by this loop and by
//! nothing else, so that a loop that hangs is restarted.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use sd_notify::NotifyState;

use super::aftermath::Aftermath;
use super::board::Board;
use super::cooldown::Cooldowns;
use super::log::{Level, Log};
use super::settings::Settings;
use super::storing::{Job, Storing};
use super::targets::Targets;
use super::watchers::Watchers;
use super::{Alarm, Message, Order, control, incidents, metrics};
use crate::capture::{self, Tracer};
use crate::sys::clock::timestamp;
use crate::sys::heap::keep_no_large_pieces;
use crate::sys::signals::{ServiceSignal, ServiceSignals};

/// How often each target is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Messages and jobs that may wait.
const MESSAGES: usize = 256;
const JOBS: usize = 64;
/// Incidents that may wait for their verdict.
const INCIDENTS: usize = 16;

/// Why the daemon cannot begin, or ended.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it is")]
pub enum Error {
    #[error(transparent)]
    Capture(#[from] capture::Error),
    #[error("cannot block signals: {0}")]
    Signals(std::io::Error),
    #[error("cannot make {}: {source}; name another directory with output", directory.display())]
    Directory { directory: std::path::PathBuf, source: std::io::Error },
    #[error("cannot listen at {what}: {source}")]
    Listen { what: String, source: std::io::Error },
    #[error("snapshots are no longer stored: the thread that did has ended")]
    Storing,
}

/// The capture loop.
struct Engine {
    settings: Arc<Settings>,
    targets: Targets,
    tracer: Tracer,
    cooldowns: Cooldowns,
    board: Board,
    log: Log,
    jobs: Sender<Job>,
    messages: Sender<Message>,
    watchers: Option<Watchers>,
    fed: Instant,
    has_ended: bool,
}

/// Runs until a signal ends it. `load` reads the settings again when a signal asks for that; its
/// errors are lines for the log.
pub fn run(settings: Settings, load: impl Fn() -> Result<Settings, Vec<String>>) -> Result<(), Error> {
    let signals = ServiceSignals::block().map_err(Error::Signals)?;
    keep_no_large_pieces();
    let (log, board) = (Log::new(), Board::default());
    let settings = Arc::new(settings);
    std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700)
        .create(&settings.directory)
        .map_err(|source| Error::Directory { directory: settings.directory.clone(), source })?;
    let tracer = Tracer::new()?;
    let (messages, inbox) = bounded(MESSAGES);
    listen(&settings, &board, &messages, &log)?;
    let (jobs, queue) = bounded(JOBS);
    let (incidents, closed) = bounded(INCIDENTS);
    let aftermath = Aftermath::new(settings.clone(), board.clone(), log.clone());
    let judge = thread::spawn(move || aftermath.run(&closed));
    let storing = Storing::new(settings.clone(), board.clone(), log.clone(), messages.clone(), incidents);
    let worker = thread::spawn(move || storing.run(&queue));
    let sender = messages.clone();
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            if sender.send(Message::Signal(signal)).is_err() {
                break;
            }
        }
    });
    let mut engine = Engine {
        targets: Targets::new(log.clone(), board.clone(), jobs.clone()),
        cooldowns: Cooldowns::load(&settings.directory),
        settings,
        tracer,
        board,
        log,
        jobs,
        messages,
        watchers: None,
        fed: Instant::now(),
        has_ended: false,
    };
    engine.watchers = Some(Watchers::start(&engine.settings, &engine.messages, &engine.log));
    // Without a service manager nothing waits for it.
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let ended = engine.run(&inbox, &load);
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    engine.end_all();
    drop(engine);
    // What was taken is stored, and what was seen is judged, before the end.
    drop(inbox);
    let stored = worker.join();
    let judged = judge.join();
    match (stored, judged) {
        (Ok(()), Ok(())) => ended,
        (Err(panic), _) | (_, Err(panic)) => std::panic::resume_unwind(panic),
    }
}

fn listen(settings: &Settings, board: &Board, messages: &Sender<Message>, log: &Log) -> Result<(), Error> {
    let failed = |what: String| move |source| Error::Listen { what, source };
    if let Some(path) = &settings.socket {
        control::serve(path, board.clone(), messages.clone()).map_err(failed(path.display().to_string()))?;
    }
    if let Some(address) = settings.metrics_listen {
        metrics::serve(address, board.clone()).map_err(failed(address.to_string()))?;
    }
    if let Some(file) = &settings.metrics_file {
        metrics::write_to(file.clone(), board.clone(), log.clone());
    }
    Ok(())
}

impl Engine {
    fn run(
        &mut self,
        inbox: &Receiver<Message>,
        load: &impl Fn() -> Result<Settings, Vec<String>>,
    ) -> Result<(), Error> {
        let mut look = Instant::now() + LOOK;
        while !self.has_ended {
            self.feed_watchdog();
            if !self.targets.is_stored() {
                return Err(Error::Storing);
            }
            while let Ok(message) = inbox.try_recv() {
                self.take(message, load);
            }
            let now = Instant::now();
            if now >= look {
                look = now + LOOK;
                self.look(now);
                continue;
            }
            if let Some(target) = self.targets.due(now) {
                self.sample(target);
                continue;
            }
            let next = self.targets.next_due().unwrap_or(look).min(look);
            if let Ok(message) = inbox.recv_timeout(next.saturating_duration_since(now)) {
                self.take(message, load);
            }
        }
        Ok(())
    }

    fn take(&mut self, message: Message, load: &impl Fn() -> Result<Settings, Vec<String>>) {
        match message {
            Message::Scan(scan) => self.targets.take_scan(&scan, &self.settings),
            Message::Alarm(alarm) => {
                self.alarm(alarm);
            }
            Message::Signal(ServiceSignal::End) => self.has_ended = true,
            Message::Signal(ServiceSignal::Reload) => self.reload(load),
            Message::Signal(ServiceSignal::Trigger) => {
                self.alarm(asked("SIGUSR1 asked for it".into(), None));
            }
            Message::Control(order, reply) => {
                let answer = match order {
                    Order::Trigger(word) => match self.alarm(asked("asked for".into(), word.clone())) {
                        0 => format!(
                            "error: no target is called {}",
                            word.as_deref().unwrap_or("anything; none is there")
                        ),
                        count => format!("ok: an incident of {count} target{}", if count == 1 { "" } else { "s" }),
                    },
                    Order::Pause => self.pause(true),
                    Order::Resume => self.pause(false),
                };
                // A client that went away needs no answer.
                let _ = reply.send(answer);
            }
        }
    }

    fn pause(&mut self, paused: bool) -> String {
        self.board.lock().is_paused = paused;
        self.targets.pause(paused);
        let text = if paused { "paused: no samples are taken until `hangsnap resume`" } else { "resumed" };
        self.log.say(Level::Notice, text);
        format!("ok: {text}")
    }

    /// Looks at all targets: which triggers fire, and which have ended.
    fn look(&mut self, now: Instant) {
        for (target, fired) in self.targets.look(&self.settings.triggers, now) {
            for (trigger, reason) in fired {
                let target = Some(target);
                self.alarm(Alarm { trigger: Some(trigger), target, selector: None, reason, raised: now });
            }
        }
    }

    /// Begins an incident of each target that the alarm is for, and takes the first samples. How
    /// many there are.
    fn alarm(&mut self, alarm: Alarm) -> usize {
        let mut begun = Vec::new();
        for target in self.targets.meant_by(&alarm, &self.settings) {
            if self.begin_incident(target, &alarm) {
                begun.push(target);
            }
        }
        let said: Vec<String> = begun.iter().filter_map(|target| self.describe_incident(*target)).collect();
        begun.iter().for_each(|target| self.sample(*target));
        // Only now: neither the disk nor whatever reads the log delays the samples.
        said.iter().for_each(|text| self.log.say(Level::Warning, text));
        if !begun.is_empty()
            && let Err(error) = self.cooldowns.save()
        {
            let text = format!("cannot keep when triggers have fired: {error}; they may fire again after a restart");
            self.log.repeated(Level::Warning, "cooldowns", &text);
        }
        begun.len()
    }

    fn describe_incident(&mut self, target: u64) -> Option<String> {
        let incident = &self.targets.get(target)?.ongoing.as_ref()?.incident;
        let (name, pid) = (&incident.process.name, incident.process.id.pid);
        Some(format!("{name} ({pid}), of {}: {}: {}", incident.label, incident.trigger, incident.reason))
    }

    fn begin_incident(&mut self, target: u64, alarm: &Alarm) -> bool {
        let trigger = alarm.trigger.and_then(|number| self.settings.triggers.get(number));
        if alarm.trigger.is_some() && trigger.is_none() {
            // It fired before the settings changed.
            return false;
        }
        let Some(watched) = self.targets.get(target).filter(|watched| watched.ongoing.is_none()) else { return false };
        if !incidents::may_begin(watched, trigger, &mut self.cooldowns, &self.log) {
            return false;
        }
        let ongoing = incidents::begin(target, watched, alarm, trigger, timestamp());
        self.board.incident(target, &ongoing.incident.trigger);
        watched.ongoing = Some(ongoing);
        true
    }

    /// Takes one sample of a target, and says when the next is due.
    fn sample(&mut self, target: u64) {
        let interval = self.settings.interval;
        let Some(watched) = self.targets.get(target) else { return };
        let is_of_incident = watched.ongoing.is_some();
        watched.schedule(interval, Instant::now());
        if self.jobs.is_full() {
            self.board.skipped(target);
            return;
        }
        match watched.stream.take(&mut self.tracer) {
            Ok(Some((taken, events))) => {
                let last = watched.count_sample();
                self.targets.hand_over(Job::Sample { target, taken, events, is_of_incident });
                if let Some(incident) = last {
                    self.targets.hand_over(Job::Incident(Box::new(incident)));
                }
            }
            Ok(None) => self.targets.ended(target, &self.settings),
            Err(error) => {
                // A program that changes its user can put itself out of reach.
                let text = format!("{}: cannot be looked at any more: {error}", watched.label);
                self.log.repeated(Level::Warning, &format!("lost {}", watched.label), &text);
                self.targets.end(target);
            }
        }
    }

    fn reload(&mut self, load: &impl Fn() -> Result<Settings, Vec<String>>) {
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            let _ = sd_notify::notify(&[NotifyState::Reloading, now]);
        }
        match load() {
            Err(problems) => {
                problems.iter().for_each(|problem| self.log.say(Level::Error, problem));
                self.log.say(Level::Error, "the settings are as they were; `hangsnap check-config` checks the file");
            }
            Ok(settings) => {
                let old = std::mem::replace(&mut self.settings, Arc::new(settings));
                let new = &self.settings;
                if (&old.socket, old.metrics_listen, &old.metrics_file, &old.directory)
                    != (&new.socket, new.metrics_listen, &new.metrics_file, &new.directory)
                {
                    let text = "output, socket, metrics-listen and metrics-file change when the daemon is restarted";
                    self.log.say(Level::Warning, text);
                }
                // Those of the old end before those of the new begin.
                self.watchers = None;
                self.targets.reload(&old, new);
                self.targets.hand_over(Job::Settings(new.clone()));
                self.watchers = Some(Watchers::start(new, &self.messages, &self.log));
                self.log.say(Level::Notice, "the settings were read again");
            }
        }
        let _ = sd_notify::notify(&[NotifyState::Ready]);
    }

    fn feed_watchdog(&mut self) {
        if let Some(limit) = sd_notify::watchdog_enabled()
            && self.fed.elapsed() >= (limit / 4).min(LOOK)
        {
            self.fed = Instant::now();
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
        }
    }

    fn end_all(&mut self) {
        self.watchers = None;
        self.targets.end_all();
    }
}

fn asked(reason: String, selector: Option<String>) -> Alarm {
    Alarm { trigger: None, target: None, selector, reason, raised: Instant::now() }
}
