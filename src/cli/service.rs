//! `run`, `check-config`, `status`, `trigger`, `pause` and `resume`: the daemon, and what is asked
//! of it.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{anyhow, bail};
use serde_json::Value;

use super::FAILED;
use super::output::output;
use super::service_arguments::{RunArguments, SelectionArguments};
use crate::daemon::{self, Entry, Problem, Settings};
use crate::model::Pid;
use crate::process::{Discovery, Wanted};
use crate::render::printable;

/// The most processes that are looked at once, one snapshot each.
const MOST: usize = 64;

/// Runs the daemon until it is ended.
pub(super) fn run(arguments: &RunArguments) -> anyhow::Result<ExitCode> {
    let flags = arguments.entries();
    let load = || load(arguments.config.as_deref(), &flags);
    match load() {
        Ok(settings) => {
            daemon::run(settings, load)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => Ok(complain(&problems)),
    }
}

/// Runs the daemon with these settings and no file.
pub(super) fn run_with(flags: &[Entry]) -> anyhow::Result<ExitCode> {
    let load = || load(None, flags);
    match load() {
        Ok(settings) => {
            daemon::run(settings, load)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => Ok(complain(&problems)),
    }
}

fn load(config: Option<&Path>, flags: &[Entry]) -> Result<Settings, Vec<String>> {
    match config {
        Some(path) => daemon::read(path, flags),
        None => Settings::from_entries(flags, &[])
            .map_err(|problems| problems.iter().map(|problem: &Problem| problem.message.clone()).collect()),
    }
}

fn complain(problems: &[String]) -> ExitCode {
    for problem in problems {
        eprintln!("hangsnap: {}", printable(problem));
    }
    ExitCode::from(FAILED)
}

/// Says what is wrong with a configuration.
pub(super) fn check_config(path: &Path) -> anyhow::Result<ExitCode> {
    match daemon::read(path, &[]) {
        Err(problems) => Ok(complain(&problems)),
        Ok(settings) => {
            let mut out = output();
            let plural = |count: usize| if count == 1 { "" } else { "s" };
            let (targets, triggers) = (settings.selectors.len(), settings.triggers.len());
            writeln!(
                out,
                "{}: can be used: {targets} target{}, {triggers} trigger{}",
                path.display(),
                plural(targets),
                plural(triggers)
            )?;
            out.flush()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Asks the daemon for something, and prints what it says.
pub(super) fn order(socket: &Path, question: &str) -> anyhow::Result<()> {
    let answer = asked(socket, question)?;
    let mut out = output();
    writeln!(out, "{}", printable(answer.strip_prefix("ok: ").unwrap_or(&answer)))?;
    Ok(out.flush()?)
}

fn asked(socket: &Path, question: &str) -> anyhow::Result<String> {
    daemon::ask(socket, question).map_err(|error| {
        let help = match error.raw_os_error() {
            Some(_) => {
                "; is the daemon running, with this socket? `hangsnap run --socket PATH`, `systemctl status hangsnap`"
            }
            None => "",
        };
        anyhow!("{}: {error}{help}", socket.display())
    })
}

/// Prints what the daemon looks at.
pub(super) fn status(socket: &Path, json: bool) -> anyhow::Result<()> {
    let answer = asked(socket, "status")?;
    let mut out = output();
    if json {
        writeln!(out, "{answer}")?;
        return Ok(out.flush()?);
    }
    let status: Value = serde_json::from_str(&answer)?;
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let targets = status["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let paused = if status["paused"] == true { ", paused" } else { "" };
    let left_out = match number(&status["left_out"]) {
        0 => String::new(),
        more => format!(", {more} more left out"),
    };
    let plural = if targets.len() == 1 { "" } else { "s" };
    writeln!(
        out,
        "hangsnap {} ({}): {} target{plural}{left_out}{paused}",
        text(&status["version"]),
        status["pid"],
        targets.len()
    )?;
    if !targets.is_empty() {
        writeln!(
            out,
            "{:<20} {:>8} {:>7} {:<16} {:>7} {:>9} {:>8} {:>9} {:>7} {:>6} {:>7}  stuck",
            "target", "pid", "inside", "name", "threads", "snapshots", "last", "held", "duty", "losses", "skipped"
        )?;
    }
    for row in targets {
        let last = row["last_sample_ago_s"].as_f64().map_or("-".into(), |ago| format!("{ago:.1} s"));
        let line = format!(
            "{:<20} {:>8} {:>7} {:<16} {:>7} {:>9} {last:>8} {:>6} us {:>6.3}% {:>6} {:>7}  {}",
            text(&row["target"]),
            number(&row["pid"]),
            number(&row["inner_pid"]),
            text(&row["name"]),
            number(&row["threads"]),
            number(&row["snapshots"]),
            number(&row["longest_hold_us"]),
            row["duty_ppm"].as_f64().unwrap_or(0.0) / 1e4,
            number(&row["losses"]),
            number(&row["skipped"]),
            text(&row["stuck"]),
        );
        writeln!(out, "{}", printable(&line))?;
    }
    for incident in status["incidents"].as_array().into_iter().flatten() {
        let line = format!(
            "incident of {} ({}): {}: {}; {}",
            text(&incident["target"]),
            number(&incident["pid"]),
            text(&incident["trigger"]),
            text(&incident["reason"]),
            text(&incident["verdict"]),
        );
        writeln!(out, "{}", printable(&line))?;
    }
    Ok(out.flush()?)
}

/// The processes that a selection means now.
pub(super) fn selected(selection: &SelectionArguments) -> anyhow::Result<Vec<Wanted>> {
    let entries = selection.entries();
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let settings = Settings::from_entries(&entries, &[]).map_err(|problems| {
        anyhow!("{}", problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("; "))
    })?;
    let scan = Discovery::default().scan(&settings.selectors, MOST);
    if scan.left_out > 0 {
        bail!("{} processes are meant; name fewer, or record them with --every", scan.found.len() + scan.left_out);
    }
    if scan.found.is_empty() {
        let words: Vec<String> = entries.iter().map(|entry| format!("--{} {}", entry.key, entry.value)).collect();
        bail!("no process that runs is meant by {}; `ps -e` lists the ones there are", words.join(" "));
    }
    Ok(scan.found.iter().map(|found| Wanted::Pid(Pid(found.id.pid.0))).collect())
}
