//! Threads that may have to wait for something, so that the capture loop need not: the one that
//! looks for processes, and one for each probe and each heartbeat file.
//!
//! Each ends when other settings hold, at the latest when what it waits for has its deadline.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, TrySendError};

use super::log::{Level, Log};
use super::probe::Probe;
use super::settings::Settings;
use super::storing::seconds;
use super::trigger::Condition;
use super::{Alarm, Message};
use crate::process::Discovery;

/// From one scan of /proc to the next.
const SCAN: Duration = Duration::from_millis(500);
/// A stop is noticed within this time.
const PIECE: Duration = Duration::from_millis(50);
/// After this many attempts a probe that never succeeded is mentioned.
const NEVER: u32 = 15;

/// The threads for one set of settings; they end with it.
pub(super) struct Watchers(Arc<AtomicBool>);

impl Watchers {
    pub(super) fn start(settings: &Arc<Settings>, messages: &Sender<Message>, log: &Log) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        {
            let (settings, messages, ended) = (settings.clone(), messages.clone(), ended.clone());
            thread::spawn(move || {
                let mut discovery = Discovery::default();
                while !ended.load(Ordering::Relaxed) {
                    let scan = discovery.scan(&settings.selectors, settings.max_targets);
                    if let Err(TrySendError::Disconnected(_)) = messages.try_send(Message::Scan(scan)) {
                        break;
                    }
                    pause(SCAN, &ended);
                }
            });
        }
        for (number, trigger) in settings.triggers.iter().enumerate() {
            let alarm = move |reason| {
                Message::Alarm(Alarm {
                    trigger: Some(number),
                    target: None,
                    selector: None,
                    reason,
                    raised: Instant::now(),
                })
            };
            let (messages, ended, log, name) = (messages.clone(), ended.clone(), log.clone(), trigger.text.clone());
            match trigger.condition.clone() {
                Condition::Probe { probe, every, failures } => {
                    thread::spawn(move || {
                        ask(&probe, every, failures, &ended, (&name, &log), |why| {
                            let _ = messages.try_send(alarm(why));
                        });
                    });
                }
                Condition::Heartbeat { file, age } => {
                    thread::spawn(move || {
                        listen(&file, age, &ended, (&name, &log), |why| {
                            let _ = messages.try_send(alarm(why));
                        });
                    });
                }
                _ => {}
            }
        }
        Self(ended)
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks again and again. A service that has never answered is not there yet, and no incident.
fn ask(probe: &Probe, every: Duration, failures: u32, ended: &AtomicBool, whose: (&str, &Log), fire: impl Fn(String)) {
    let (mut has_answered, mut failed) = (false, 0);
    while !ended.load(Ordering::Relaxed) {
        match probe.ask() {
            Ok(()) => (has_answered, failed) = (true, 0),
            Err(why) => {
                failed += 1;
                if has_answered && failed >= failures {
                    fire(format!("{probe}: {why}"));
                } else if !has_answered && failed == NEVER {
                    let (name, log) = whose;
                    let text =
                        format!("{name}: {why}; it cannot fire before there was an answer: is the address right?");
                    log.say(Level::Warning, &text);
                }
            }
        }
        pause(every, ended);
    }
}

/// Looks whether a file is written, by this program's own clock: one that is set does not count. A
/// file that was never seen written is none yet.
fn listen(file: &Path, age: Duration, ended: &AtomicBool, whose: (&str, &Log), fire: impl Fn(String)) {
    let (mut last, mut fresh, mut looks) = (None, None, 0);
    while !ended.load(Ordering::Relaxed) {
        looks += 1;
        let written = fs::metadata(file).and_then(|metadata| metadata.modified()).ok();
        if last != written && written.is_some() && looks > 1 {
            fresh = Some(Instant::now());
        }
        last = written.or(last);
        match fresh.map(|fresh| fresh.elapsed()) {
            Some(old) if old >= age => fire(format!("{} was not written for {}", file.display(), seconds(old))),
            None if looks == NEVER => {
                let (name, log) = whose;
                let text = format!("{name}: the file is not written; it cannot fire before it was: is the path right?");
                log.say(Level::Warning, &text);
            }
            Some(_) | None => {}
        }
        pause((age / 20).clamp(PIECE, Duration::from_secs(1)), ended);
    }
}

fn pause(time: Duration, ended: &AtomicBool) {
    let until = Instant::now() + time;
    while !ended.load(Ordering::Relaxed) {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(PIECE));
    }
}
