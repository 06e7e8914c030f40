//! Metrics as text, over loopback or in a file: OpenMetrics where that is asked for, as Prometheus
//! does, and else the form before it, which is what node_exporter and promtool read.
//!
//! Promises: a scrape costs the capture loop nothing but a lock for microseconds. Clients are
//! served one after another, each for a second at most. Series are of selectors, so that processes
//! that come and go make no new ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::board::{BOUNDS_US, Board, State, Sums};
use super::files::replace_public;
use super::log::{Level, Log};
use crate::model::Pid;
use crate::proc::{ProcDir, vitals_of};

const PATIENCE: Duration = Duration::from_secs(1);
/// How often the file is written.
const REFRESH: Duration = Duration::from_secs(10);

/// What the text is like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Prometheus' own, version 0.0.4.
    Classic,
    /// OpenMetrics 1.0.
    Open,
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Serves metrics at this address until the process ends.
pub(super) fn serve(address: SocketAddr, board: Board) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    thread::spawn(move || {
        for client in listener.incoming() {
            match client {
                // A client that went away needs no answer.
                Ok(client) => drop(answer(client, &board)),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    });
    Ok(())
}

fn answer(mut client: TcpStream, board: &Board) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut request = [0; 4096];
    let read = client.read(&mut request)?;
    let request = &request[..read];
    let form = match request.windows(28).any(|part| part == b"application/openmetrics-text") {
        true => Form::Open,
        false => Form::Classic,
    };
    let (status, body) = match request.starts_with(b"GET /metrics ") {
        true => ("200 OK", text(&board.lock(), form)),
        false => ("404 Not Found", "ask for /metrics\n".into()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        form.content_type(),
        body.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body.as_bytes())
}

/// Writes metrics to this file again and again, for node_exporter's textfile collector.
pub(super) fn write_to(file: PathBuf, board: Board, log: Log) {
    thread::spawn(move || {
        loop {
            let metrics = text(&board.lock(), Form::Classic);
            match replace_public(&file, metrics.as_bytes()) {
                Ok(()) => log.is_over("metrics"),
                Err(error) => {
                    let text = format!("cannot write metrics to {}: {error}", file.display());
                    log.repeated(Level::Warning, "metrics", &text);
                }
            }
            thread::sleep(REFRESH);
        }
    });
}

/// The text that is being written.
struct Page {
    text: String,
    form: Form,
}

/// One family of metrics.
struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, unit: &str, help: &str) -> Family<'_> {
        // The older form calls a counter by the name of its only sample.
        let (suffix, has_unit) = match self.form {
            Form::Open => ("", !unit.is_empty()),
            Form::Classic => (if kind == "counter" { "_total" } else { "" }, false),
        };
        // Text grows without errors.
        let _ = writeln!(self.text, "# TYPE {name}{suffix} {kind}");
        if has_unit {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.text, "# HELP {name}{suffix} {help}");
        Family { page: self, name }
    }
}

impl Family<'_> {
    fn put(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.page.text, "{}{suffix}{labels} {value}", self.name);
    }
}

fn escaped(value: &str) -> String {
    super::log::printable(value).replace('\\', "\\\\").replace('"', "\\\"")
}

/// A family with one counter for each selector.
fn counter(page: &mut Page, state: &State, name: &'static str, unit: &str, help: &str, of: impl Fn(&Sums) -> u64) {
    let mut family = page.family(name, "counter", unit, help);
    for (target, sums) in &state.sums {
        family.put("_total", &[("target", target)], of(sums));
    }
}

fn text(state: &State, form: Form) -> String {
    let mut page = Page { text: String::new(), form };
    counter(&mut page, state, "hangsnap_snapshots", "", "Snapshots that were taken.", |sums| sums.snapshots);
    counter(&mut page, state, "hangsnap_skipped", "", "Samples that were not taken or not stored.", |sums| {
        sums.skipped
    });
    counter(&mut page, state, "hangsnap_stored_bytes", "bytes", "Bytes that were stored.", |sums| sums.bytes);
    let mut family = page.family("hangsnap_hold_seconds", "histogram", "seconds", "For how long threads were held.");
    for (target, sums) in &state.sums {
        let mut count = 0;
        for (number, held) in sums.holds.iter().enumerate() {
            count += held;
            let bound = BOUNDS_US.get(number).map_or("+Inf".into(), |us| format!("{:?}", *us as f64 / 1e6));
            family.put("_bucket", &[("target", target), ("le", &bound)], count);
        }
        family.put("_count", &[("target", target)], count);
        family.put("_sum", &[("target", target)], sums.held.as_secs_f64());
    }
    let mut family = page.family("hangsnap_losses", "counter", "", "What snapshots lack, by reason.");
    for (target, sums) in &state.sums {
        for (reason, count) in &sums.losses {
            family.put("_total", &[("target", target), ("reason", reason)], count);
        }
    }
    let mut family = page.family("hangsnap_incidents", "counter", "", "Incidents, by trigger.");
    for (target, sums) in &state.sums {
        for (trigger, count) in &sums.incidents {
            family.put("_total", &[("target", target), ("trigger", trigger)], count);
        }
    }
    let mut threads: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut stuck: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut targets: BTreeMap<&str, u64> = BTreeMap::new();
    for row in state.rows.values() {
        *targets.entry(&row.label).or_default() += 1;
        row.states.iter().for_each(|(name, count)| *threads.entry((&row.label, name)).or_default() += count);
        row.stuck_threads.iter().for_each(|(kind, count)| *stuck.entry((&row.label, kind)).or_default() += count);
    }
    let mut family = page.family("hangsnap_targets", "gauge", "", "Processes that are looked at.");
    targets.iter().for_each(|(target, count)| family.put("", &[("target", target)], count));
    let mut family = page.family("hangsnap_threads", "gauge", "", "Threads of the last snapshots, by state.");
    threads.iter().for_each(|((target, state), count)| family.put("", &[("target", target), ("state", state)], count));
    let help = "Threads that the last verdict accuses, by kind.";
    let mut family = page.family("hangsnap_stuck_threads", "gauge", "", help);
    stuck.iter().for_each(|((target, kind), count)| family.put("", &[("target", target), ("kind", kind)], count));
    let help = "Processes that are meant and not looked at, because there are too many.";
    page.family("hangsnap_targets_left_out", "gauge", "", help).put("", &[], state.left_out);
    let paused = u8::from(state.is_paused);
    page.family("hangsnap_paused", "gauge", "", "Whether no samples are taken for now.").put("", &[], paused);
    own(&mut page);
    if form == Form::Open {
        page.text.push_str("# EOF\n");
    }
    page.text
}

/// What hangsnap takes itself, the tracer included.
fn own(page: &mut Page) {
    let own = Pid(i32::try_from(std::process::id()).unwrap_or(0));
    let children = ProcDir::open(own).and_then(|directory| directory.children()).unwrap_or_default();
    let vitals: Vec<_> = children.iter().chain([&own]).filter_map(|pid| vitals_of(*pid)).collect();
    let cpu: f64 = vitals.iter().map(|vitals| vitals.cpu.as_secs_f64()).sum();
    let resident: u64 = vitals.iter().map(|vitals| vitals.resident).sum();
    let help = "CPU time of hangsnap and its tracer.";
    // A tracer that was killed takes its time with it; that counts as a reset.
    page.family("hangsnap_cpu_seconds", "counter", "seconds", help).put("_total", &[], cpu);
    let help = "Resident memory of hangsnap and its tracer.";
    page.family("hangsnap_resident_memory_bytes", "gauge", "bytes", help).put("", &[], resident);
}
