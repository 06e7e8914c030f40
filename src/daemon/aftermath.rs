//! What follows an incident: its segments are pinned, a verdict is made and written beside them,
//! and a command is run.
//!
//! Promises: the verdict is made by a process of its own, which reads the recording only, for a
//! bounded time: the capture loop does not wait for it, and what hostile debug information does to
//! it costs the verdict and no more. No more than `MOST` incidents are pinned:
//! the oldest is given free for the next, so that pins do not fill the disk.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::board::Board;
use super::files::replace;
use super::incident::StoredIncident;
use super::log::{Level, Log};
use super::settings::Settings;
use super::storing::seconds;
use crate::store;

/// Incidents that are pinned at one time.
const MOST: usize = 64;
/// For how long a verdict or a command may take.
const VERDICT: Duration = Duration::from_secs(60);
const COMMAND: Duration = Duration::from_secs(60);
/// What is kept of what they print.
const LONGEST: u64 = 1 << 20;
const FILE: &str = "incidents.json";
/// Lines of a verdict that go to the log.
const LINES: usize = 6;

#[derive(Clone, Serialize, Deserialize)]
struct Pinned {
    recording: PathBuf,
    verdict: PathBuf,
    first_ns: i64,
    last_ns: i64,
}

/// Works off incidents.
pub(super) struct Aftermath {
    settings: Arc<Settings>,
    board: Board,
    log: Log,
    pinned: VecDeque<Pinned>,
}

impl Aftermath {
    /// Goes on with what the last run has pinned in the directory of the settings.
    pub(super) fn new(settings: Arc<Settings>, board: Board, log: Log) -> Self {
        let text = fs::read(settings.directory.join(FILE)).ok();
        let pinned = text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { settings, board, log, pinned }
    }

    /// Until no more can come.
    pub(super) fn run(mut self, incidents: &Receiver<StoredIncident>) {
        for incident in incidents {
            self.work(&incident);
        }
    }

    fn work(&mut self, stored: &StoredIncident) {
        let StoredIncident { incident, recording, last_number, times_ns } = stored;
        let verdict_file = beside(recording, incident.at_ns);
        self.pin(Pinned {
            recording: recording.clone(),
            verdict: verdict_file.clone(),
            first_ns: times_ns.0,
            last_ns: times_ns.1,
        });
        let whose = format!("{} ({})", incident.process.name, incident.process.id.pid);
        let at = last_number.to_string();
        let stuck = |form: &str| {
            let mut command = Command::new("/proc/self/exe");
            command.arg("stuck").arg(recording).args(["--at", &at, form]);
            answer(command, VERDICT)
        };
        let text = stuck("--wide").unwrap_or_else(|error| format!("no verdict could be made: {error}\n"));
        let kinds = stuck("--json").ok().and_then(|text| serde_json::from_str(&text).ok());
        let kinds = kinds.map(|json| stuck_kinds(&json)).unwrap_or_default();
        let head = format!(
            "{}\n{whose}, of {}: {}\nfirst sample {} ms after that; snapshots up to {last_number} of {}\n",
            incident.trigger,
            incident.label,
            incident.reason,
            incident.latency.as_millis(),
            recording.display(),
        );
        let before = match incident.before.as_slice() {
            [] => String::new(),
            lines => format!("\nbefore that, a line a second:\n{}\n", lines.join("\n")),
        };
        if let Err(error) = replace(&verdict_file, format!("{head}\n{text}{before}").as_bytes()) {
            let text = format!("cannot write {}: {error}; is the disk full?", verdict_file.display());
            self.log.repeated(Level::Error, "verdict file", &text);
        }
        let level = if kinds.is_empty() { Level::Notice } else { Level::Error };
        text.lines().take(LINES).for_each(|line| self.log.say(level, &format!("{whose}: {line}")));
        let about = json!({
            "target": incident.label,
            "pid": incident.process.id.pid.0,
            "trigger": incident.trigger,
            "reason": incident.reason,
            "at_ns": incident.at_ns,
            "latency_ms": incident.latency.as_secs_f64() * 1e3,
            "recording": recording,
            "verdict": verdict_file,
            "answer": text.lines().next(),
        });
        self.board.verdict(incident.target, text.lines().next().unwrap_or_default(), kinds, about);
        if let Some(line) = &self.settings.exec {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", line, "hangsnap"]).arg(recording).arg(&verdict_file);
            command.env("HANGSNAP_RECORDING", recording).env("HANGSNAP_VERDICT", &verdict_file);
            command.env("HANGSNAP_PID", incident.process.id.pid.to_string()).env("HANGSNAP_REASON", &incident.reason);
            // It has no pipe: what it leaves running would keep that open.
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let ended = command.spawn().and_then(|mut child| await_end(&mut child, COMMAND));
            if let Err(error) = ended {
                self.log.repeated(Level::Warning, "exec", &format!("exec = \"{line}\": {error}"));
            }
        }
    }

    fn pin(&mut self, new: Pinned) {
        if let Err(error) = store::pin(&new.recording, &times(&new)) {
            self.log.repeated(Level::Warning, "pin", &error.to_string());
        }
        self.pinned.push_back(new);
        while self.pinned.len() > MOST {
            let Some(old) = self.pinned.pop_front() else { break };
            // It may be gone already; what others need of it is pinned again.
            let _ = store::unpin(&old.recording, &times(&old));
            let _ = fs::remove_file(&old.verdict);
            for other in self.pinned.iter().filter(|other| other.recording == old.recording) {
                let _ = store::pin(&other.recording, &times(other));
            }
        }
        let text = serde_json::to_vec(&self.pinned).unwrap_or_default();
        if let Err(error) = replace(&self.settings.directory.join(FILE), &text) {
            self.log.repeated(Level::Warning, "incidents", &format!("cannot write {FILE}: {error}; is the disk full?"));
        }
    }
}

fn times(pinned: &Pinned) -> std::ops::RangeInclusive<i128> {
    i128::from(pinned.first_ns)..=i128::from(pinned.last_ns)
}

/// `RECORDING` without its ending, and the time:
/// `nginx-22780-20261129T120000Z.20261129T121500Z.txt`.
fn beside(recording: &Path, at_ns: i64) -> PathBuf {
    let at = jiff::Timestamp::from_nanosecond(at_ns.into()).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC);
    recording.with_extension(format!("{}.txt", at.strftime("%Y%m%dT%H%M%SZ")))
}

/// How many threads are accused, by the kind of the verdict.
fn stuck_kinds(answer: &Value) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    for verdict in answer["verdicts"].as_array().into_iter().flatten().filter(|verdict| verdict["level"] == "stuck") {
        let kind = verdict["kind"].as_str().unwrap_or_default().to_owned();
        let accused = verdict["accused"].as_array().map_or(0, Vec::len);
        *kinds.entry(kind).or_default() += u64::try_from(accused).unwrap_or(0).max(1);
    }
    kinds
}

/// What a command prints, if it ends in time.
fn answer(mut command: Command, limit: Duration) -> io::Result<String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let pipe = child.stdout.take();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut pipe) = pipe {
            // What could be read until it ended is what there is.
            let _ = pipe.by_ref().take(LONGEST).read_to_end(&mut text);
            let _ = io::copy(&mut pipe, &mut io::sink());
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let status = await_end(&mut child, limit)?;
    let text = reader.join().unwrap_or_default();
    // `stuck` exits with 1 where something is stuck.
    match text.is_empty() {
        true => Err(io::Error::other(format!(
            "`hangsnap stuck` printed nothing ({status}); its snapshots may not be stored: is the disk full?"
        ))),
        false => Ok(text),
    }
}

fn await_end(child: &mut Child, limit: Duration) -> io::Result<ExitStatus> {
    let begun = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status),
            None if begun.elapsed() > limit => {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::other(format!("it was not done after {}, and was ended", seconds(limit))));
            }
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
}
