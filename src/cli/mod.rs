//! The command line: arguments as typed, checked configuration, work, exit code. The only room that
//! knows clap.
//!
//! Exit codes: 0 when what was asked for was done (a closed pipe is the reader's right, and
//! counts); 1 when the recording has no such snapshot or thread, when `check` finds damage, or
//! `doctor` something that a snapshot would lack or disturb; 2 for everything else that went wrong,
//! with one line on standard error that says what and what would help (clap's few lines where the
//! options themselves make no sense).

mod arguments;
mod configuration;
mod demo;
mod demo_target;
mod doctor;
mod download;
mod man;
mod output;
mod patience;
mod progress;
mod service;
mod service_arguments;
mod why;

use std::env;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use anyhow::Context;
use clap::{CommandFactory, Parser};

use crate::capture::{self, TRACER_ARGUMENT, Tracer};
use crate::proc::has_idle_cpu;
use crate::process::{self, Target};
use crate::record::{self, RecordingPlan};
use crate::render::{self, Width};
use crate::sys::signals::{Termination, survive_file_size_limit};
use crate::view::{self, Extract, Format};
use arguments::{Arguments, Command, OVERVIEW};
use configuration::{Configuration, Job};
use output::{output, width};
use patience::Patience;
use progress::{Progress, Voice};

const NOT_THERE: u8 = 1;
const LIMITED: u8 = 1;
const DAMAGED: u8 = 1;
/// How many damaged places are reported in one line.
const TOLD: usize = 8;
const FAILED: u8 = 2;

/// Runs hangsnap as it was called.
pub fn main() -> ExitCode {
    if env::args_os().nth(1).is_some_and(|argument| argument == TRACER_ARGUMENT) {
        return capture::serve();
    }
    survive_file_size_limit();
    if env::args_os().nth(1).is_none() {
        // As of a call that lacks something: a script whose variable for the process is empty must
        // not pass for one that did its work.
        let _ = io::stderr().write_all(OVERVIEW.as_bytes());
        return ExitCode::from(FAILED);
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // clap writes help and complaints itself, in colour where there is a terminal.
        Err(error) => {
            let failed = error.use_stderr();
            return match error.print() {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(FAILED),
                _ if failed => ExitCode::from(FAILED),
                _ => ExitCode::SUCCESS,
            };
        }
    };
    match run(arguments) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // A message may quote what the user typed or what a target calls itself; it stays one
            // line all the same.
            let message = render::printable(&told(&error));
            // With standard error gone there is no place left to say it.
            let _ = writeln!(io::stderr(), "hangsnap: {message}");
            ExitCode::from(match error.downcast_ref::<view::Error>() {
                Some(
                    view::Error::NoSuchSnapshot { .. }
                    | view::Error::NothingThen { .. }
                    | view::Error::NoSuchThread { .. }
                    | view::Error::TooFewSnapshots { .. },
                ) => NOT_THERE,
                _ => FAILED,
            })
        }
    }
}

/// The error with its causes, leaving out those that the message before them has already.
fn told(error: &anyhow::Error) -> String {
    let mut message = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !message.contains(&cause) {
            message.push_str(": ");
            message.push_str(&cause);
        }
    }
    message
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io_error = match cause.downcast_ref::<record::Error>() {
            Some(record::Error::Output(error)) => Some(error),
            _ => match cause.downcast_ref::<view::Error>() {
                Some(view::Error::Output(error)) => Some(error),
                _ => cause.downcast_ref::<io::Error>(),
            },
        };
        io_error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Some(Command::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "hangsnap", &mut script);
            Ok(io::stdout().write_all(&script)?)
        }
        Some(Command::Man { all: Some(directory), .. }) => man::write_all(&Arguments::command(), &directory),
        Some(Command::Man { command, all: None }) => {
            let page = man::page(&Arguments::command(), command.as_deref())?;
            Ok(io::stdout().write_all(&page)?)
        }
        Some(Command::Doctor { pid, json }) => return doctor::run(pid.as_deref(), json),
        Some(Command::Demo) => demo::run(),
        Some(Command::DemoTarget) => demo_target::run(),
        Some(Command::List { path, json, wide }) => {
            let mut out = output();
            let _patience = Patience::about("reading the recordings");
            let failures = view::list(&mut out, &path, format(json, wide))?;
            finish(out, failures)
        }
        Some(Command::Check { path, repair }) => {
            let mut out = output();
            let _patience = Patience::about("reading the recordings");
            let is_whole = view::check(&mut out, &path, repair)?;
            finish(out, [])?;
            return Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::from(DAMAGED) });
        }
        Some(Command::Pin(arguments)) => {
            let (from, to) = configuration::check_range(&arguments.range)?;
            let mut out = output();
            let damage = view::pin(&mut out, &arguments.path, from.as_ref(), to.as_ref(), arguments.undo)?;
            finish(out, damage.into_iter().map(view::Error::Damaged))
        }
        Some(Command::Cut(arguments)) => {
            let (from, to) = configuration::check_range(&arguments.range)?;
            let extract = Extract { output: &arguments.output, redact: arguments.redact };
            let mut out = output();
            let _patience = Patience::about("reading the recording");
            let damage = view::cut(&mut out, &arguments.path, (from.as_ref(), to.as_ref()), &extract)?;
            finish(out, damage.into_iter().map(view::Error::Damaged))
        }
        Some(Command::Merge { paths, redact, output: file }) => {
            let mut out = output();
            let _patience = Patience::about("reading the recordings");
            let damage = view::merge(&mut out, &paths, &Extract { output: &file, redact })?;
            finish(out, damage.into_iter().map(view::Error::Damaged))
        }
        Some(Command::Scrub { path }) => {
            let mut out = output();
            let _patience = Patience::about("rewriting the recordings");
            let gone = view::scrub(&mut out, &path)?;
            finish(out, gone.into_iter().map(view::Error::Damaged))
        }
        Some(Command::Show(arguments)) => {
            let checked = configuration::Show::check(&arguments)?;
            let mut out = output();
            let _patience = Patience::about("reading the recording and debug information");
            let aside = view::show(
                &mut out,
                &arguments.file,
                &checked.at,
                &checked.finder,
                &checked.selection,
                format(arguments.print.json, arguments.print.wide),
            )?;
            finish_with(out, aside)
        }
        Some(Command::Bundle { path, with }) => {
            let _patience = Patience::about("reading the recording and the files on its stacks");
            let (added, missing) = record::bundle_recorded(&path, with.into())?;
            let mut out = output();
            writeln!(out, "{added} file{} added", if added == 1 { "" } else { "s" })?;
            for module in missing {
                writeln!(out, "{}: not found, neither in its process nor on this host", render::printable(&module))?;
            }
            finish(out, [])
        }
        Some(Command::Symbols(arguments)) => {
            let (at, finder) = configuration::check_symbols(&arguments)?;
            let mut out = output();
            let _patience = Patience::about("reading the recording and debug information");
            let format = format(arguments.json, true);
            let aside = view::symbols(&mut out, &arguments.file, at.as_ref(), &finder, format)?;
            finish_with(out, aside)
        }
        Some(Command::Why(arguments)) => return why::live(&arguments),
        Some(Command::Stuck(arguments)) => return why::recorded(&arguments),
        Some(Command::Diff(arguments)) => {
            let (compared, finder) = configuration::check_diff(&arguments)?;
            let mut out = output();
            let _patience = Patience::about("reading the recording and debug information");
            let aside = view::diff(
                &mut out,
                &arguments.file,
                &compared,
                &finder,
                format(arguments.print.json, arguments.print.wide),
            )?;
            finish_with(out, aside)
        }
        Some(Command::Run(arguments)) => return service::run(&arguments),
        Some(Command::CheckConfig { path }) => return service::check_config(&path),
        Some(Command::Status { socket, json }) => service::status(&socket.socket, json),
        Some(Command::Trigger { target, socket }) => {
            let question = target.map_or_else(|| "trigger".into(), |target| format!("trigger {target}"));
            service::order(&socket.socket, &question)
        }
        Some(Command::Pause(socket)) => service::order(&socket.socket, "pause"),
        Some(Command::Resume(socket)) => service::order(&socket.socket, "resume"),
        None => match configuration::flags_of_daemon(&arguments.sample)? {
            Some(flags) => return service::run_with(&flags),
            None => sample(configuration::check(arguments.sample)?),
        },
    }
    .map(|()| ExitCode::SUCCESS)
}

fn sample(configuration: Configuration) -> anyhow::Result<()> {
    let Configuration { targets, words, options, job } = configuration;
    let mut opened: Vec<Target> = Vec::new();
    let mut left_out = Vec::new();
    for wanted in &targets {
        let target = match Target::open(wanted, options.stop) {
            // That is no reason not to look at the others.
            Err(error @ process::Error::AlreadyTraced { .. }) if targets.len() > 1 => {
                left_out.push(error);
                continue;
            }
            opened => opened.map_err(|error| explain(error, &words))?,
        };
        // Named twice, by its id and its name perhaps, it is still one.
        if opened.iter().all(|other| other.pid() != target.pid()) {
            opened.push(target);
        }
    }
    let targets = opened;
    match left_out.pop() {
        Some(error) if targets.is_empty() => return Err(error.into()),
        last => left_out.extend(last),
    }
    let complete = match left_out.as_slice() {
        [] => Ok(()),
        errors => {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Err(anyhow::anyhow!("{}", lines.join("; ")))
        }
    };
    match job {
        Job::Print { selection, format, keep, finder } => {
            let mut out = output();
            let mut tracer = Tracer::new()?;
            // The target may want all of them.
            let may_read_ahead = has_idle_cpu();
            tracer.start_ahead();
            let _patience = Patience::about("reading debug information");
            for (number, target) in targets.iter().enumerate() {
                let mut finder = finder.below(target.directory.root());
                if may_read_ahead {
                    finder = finder.with_read_ahead(target.c_library());
                }
                let kept = record::once(target, &options, &mut tracer)?;
                if number + 1 == targets.len() {
                    tracer.end_ahead();
                }
                let snapshot = &kept.snapshot;
                view::ensure_selected(snapshot, &selection)?;
                if let Some(output) = &keep {
                    record::keep(output, &kept)?;
                }
                if number > 0 && format != Format::Json {
                    writeln!(out)?;
                }
                view::print(&mut out, snapshot, &finder, &selection, format)?;
            }
            finish(out, [])?;
            complete
        }
        Job::Record { interval, max_duty, count, length, output, policy } => {
            let termination = Termination::block().context("cannot block signals")?;
            let (sender, asked) = crossbeam_channel::bounded(1);
            thread::spawn(move || {
                if termination.wait().is_ok() {
                    // Fails only when the sampler has ended already.
                    let _ = sender.send(());
                    if termination.wait().is_ok() {
                        // Asked twice: what is stored is whole, so there is nothing to wait for.
                        std::process::exit(FAILED.into());
                    }
                }
            });
            for error in &left_out {
                // It may be hours until the recording ends, and says so once more.
                eprintln!("hangsnap: {error}");
            }
            let is_terminal = io::stdout().is_terminal();
            let voice = Voice { out: Box::new(io::stdout()), is_terminal, complaints: Box::new(io::stderr()) };
            let plan = RecordingPlan { targets, interval, options, max_duty, count, length, output, policy };
            let ready = || {
                // Without a service manager there is nothing to notify.
                let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
            };
            record::run(plan, Box::new(Progress::new(voice)), &asked, ready)?;
            complete
        }
    }
}

/// Why a process cannot be looked at; of a word that names none, that it names no command either.
fn explain(error: process::Error, words: &[String]) -> anyhow::Error {
    match error {
        process::Error::NoSuchProgram(word) if words.contains(&word) => {
            let file = match Path::new(&word).exists() {
                true => format!("; to read the file of that name: hangsnap show {word}"),
                false => String::new(),
            };
            anyhow::anyhow!(
                "`{word}` is neither a command of hangsnap nor a program that is running; `hangsnap --help` lists the \
                 commands, `ps -e` the processes{file}"
            )
        }
        error => error.into(),
    }
}

/// How to print, as it was asked for.
fn format(json: bool, wide: bool) -> Format {
    match (json, wide) {
        (true, _) => Format::Json,
        (false, true) => Format::Text(Width::ANY),
        (false, false) => Format::Text(width()),
    }
}

/// Writes what is left, and then what is to be said beside it.
fn finish_with(mut out: impl Write, aside: view::Aside) -> anyhow::Result<()> {
    out.flush()?;
    for remark in aside.remarks {
        // It was printed all the same.
        let _ = writeln!(io::stderr(), "hangsnap: {remark}");
    }
    finish(out, aside.damage.into_iter().map(view::Error::Damaged))
}

/// Writes what is left; what could not be read is an error although everything else was printed.
fn finish(mut out: impl Write, failures: impl IntoIterator<Item = view::Error>) -> anyhow::Result<()> {
    out.flush()?;
    let mut failures: Vec<view::Error> = failures.into_iter().collect();
    match failures.len() {
        0 => Ok(()),
        1 => Err(failures.remove(0).into()),
        _ => {
            let mut lines: Vec<String> = failures.iter().take(TOLD).map(ToString::to_string).collect();
            if failures.len() > TOLD {
                lines.push(format!("and {} more", failures.len() - TOLD));
            }
            anyhow::bail!("{}", lines.join("; "))
        }
    }
}

/// Whether a path is meant to be a directory, there or not yet there.
fn is_directory(path: &Path) -> bool {
    path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/")
}
