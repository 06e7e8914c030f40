//! A comparison as text: what moved first, then what came and went, then what stands still and since when.

use std::io::{self, Write};

use super::style::{FAINT, FUNCTION, HEADING, THREAD, WARNING};
use super::system_call;
use super::value::{Foreign, duration, source, time};
use crate::analysis::{Change, Comparison, Streak, ThreadChange};
use crate::model::{Frame, Place, Snapshot, Thread};
use crate::symbols::Names;

/// Writes a comparison.
pub fn diff(out: &mut dyn Write, comparison: &Comparison<'_>, names: &Names) -> io::Result<()> {
    let Comparison { before, after, changes } = comparison;
    let process = &after.process;
    writeln!(out, "{HEADING}{} (pid {}){HEADING:#}", Foreign(&process.name), process.id.pid)?;
    writeln!(
        out,
        "from snapshot {} at {} to snapshot {} at {}, {} later",
        before.number,
        time(before.taken.realtime_ns),
        after.number,
        time(after.taken.realtime_ns),
        duration(after.taken.since(before.taken)),
    )?;
    if before.process.id != after.process.id {
        writeln!(out, "{WARNING}these are snapshots of two different processes{WARNING:#}")?;
    }
    let count = |is: fn(&Change<'_>) -> bool| changes.iter().filter(|change| is(&change.change)).count();
    writeln!(
        out,
        "{} moved, {} the same, {} new, {} gone, {} not seen in one of them",
        count(|change| matches!(change, Change::Moved { .. })),
        count(|change| matches!(change, Change::Same(..))),
        count(|change| matches!(change, Change::New(_))),
        count(|change| matches!(change, Change::Gone(_))),
        count(|change| matches!(change, Change::Unseen(_))),
    )?;
    let mut changes: Vec<&ThreadChange<'_>> = changes.iter().collect();
    // Within a kind the order of ids stays.
    changes.sort_by_key(|change| match change.change {
        Change::Moved { .. } => 0,
        Change::New(_) => 1,
        Change::Gone(_) => 2,
        Change::Unseen(_) => 3,
        Change::Same(..) => 4,
    });
    for change in changes {
        match change.change {
            Change::Moved { before: was_thread, after: thread, was, is, common } => {
                begin(out, thread, "moved")?;
                writeln!(out)?;
                let outside = match common {
                    0 => "no frame in common".into(),
                    common => format!("below the {common} outermost frames, which are the same"),
                };
                writeln!(out, "    {FAINT}{outside}{FAINT:#}")?;
                writeln!(out, "    was in {}", place(before, was, names))?;
                writeln!(out, "    is in  {}", place(after, is, names))?;
                innermost(out, before, was_thread, names, "then")?;
                innermost(out, after, thread, names, "now ")?;
            }
            Change::Same(thread, streak) => {
                begin(out, thread, "the same")?;
                write!(out, " {}", lasting(after, streak))?;
                writeln!(out)?;
                innermost(out, after, thread, names, "in  ")?;
            }
            Change::New(thread) => {
                begin(out, thread, "new")?;
                writeln!(out)?;
                innermost(out, after, thread, names, "in  ")?;
            }
            Change::Gone(thread) => {
                begin(out, thread, "gone")?;
                writeln!(out)?;
                innermost(out, before, thread, names, "was ")?;
            }
            Change::Unseen(thread) => {
                begin(out, thread, "not seen in one of the snapshots: nothing can be said")?;
                writeln!(out)?;
            }
        }
    }
    Ok(())
}

fn begin(out: &mut dyn Write, thread: &Thread, what: &str) -> io::Result<()> {
    write!(out, "\n{THREAD}thread {} \"{}\"{THREAD:#}  {what}", thread.tid, Foreign(&thread.name))
}

/// For how long a stack has been what it is.
fn lasting(after: &Snapshot, streak: Streak) -> String {
    let time = duration(after.taken.since(streak.since));
    let samples = if streak.samples == 1 { "1 snapshot".into() } else { format!("{} snapshots", streak.samples) };
    match streak.unseen {
        0 => format!("for {time}, in {samples}"),
        unseen => format!("for {time}, in {samples}; {unseen} others could not see it"),
    }
}

/// Where a thread is or was: the innermost functions, callees first, and the system call it sits in.
fn innermost(out: &mut dyn Write, snapshot: &Snapshot, thread: &Thread, names: &Names, word: &str) -> io::Result<()> {
    const FUNCTIONS: usize = 4;
    write!(out, "    {word} ")?;
    for (position, frame) in thread.stack.frames.iter().take(FUNCTIONS).enumerate() {
        if position > 0 {
            write!(out, " < ")?;
        }
        write!(out, "{}", function(snapshot, frame, names))?;
    }
    if thread.stack.frames.len() > FUNCTIONS {
        write!(out, " < ...")?;
    }
    write!(out, "\n         {}", thread.state.name())?;
    if let Some(call) = thread.system_call {
        write!(out, " in {}", system_call::text(call))?;
    }
    writeln!(out)
}

/// The function whose code a frame's is: what is inlined there differs from line to line.
fn function(snapshot: &Snapshot, frame: &Frame, names: &Names) -> String {
    let name = names.of(snapshot, frame).last().and_then(|function| function.name.as_ref());
    match (name, snapshot.module_of(frame), frame.code.exact()) {
        (Some(name), _, _) => format!("{FUNCTION}{}{FUNCTION:#}", Foreign(name)),
        (None, Some(module), Place::InModule { address, .. }) => format!("{}+{address}", Foreign(module.name())),
        (None, _, Place::Outside(address)) => format!("{address}, in no file"),
        (None, None, Place::InModule { address, .. }) => format!("{address} of an unknown file"),
    }
}

/// A function and its line, for the frames in which two stacks part.
fn place(snapshot: &Snapshot, frame: Option<&Frame>, names: &Names) -> String {
    let Some(frame) = frame else {
        return "nothing further in".into();
    };
    let line = names
        .of(snapshot, frame)
        .last()
        .and_then(|function| Some(format!(" at {}:{}", source(function.file.as_ref()?), function.line?)));
    format!("{}{}", function(snapshot, frame, names), line.unwrap_or_default())
}
