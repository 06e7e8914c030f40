//! A comparison as text: what moved first, then what came and went, then what stands still and since when.

use std::collections::HashMap;
use std::io::{self, Write};

use super::style::{FAINT, FUNCTION, HEADING, THREAD, WARNING};
use super::system_call;
use super::value::{Foreign, duration, source, time};
use super::width::{FrameText, Label, Width, Wrapped, chain};
use crate::analysis::{Change, Comparison, Streak, ThreadChange};
use crate::model::{Frame, Place, Snapshot, Stack, Thread, Timestamp, WalkEnd};
use crate::symbols::Names;

/// Writes a comparison.
pub fn diff(out: &mut dyn Write, comparison: &Comparison<'_>, names: &Names, width: Width) -> io::Result<()> {
    let out: &mut dyn Write = &mut Wrapped::new(out, width);
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
        writeln!(
            out,
            "{WARNING}these are snapshots of two different processes, whose threads are compared by name{WARNING:#}"
        )?;
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
    for change in &changes {
        match change.change {
            Change::Moved { before: was_thread, after: thread, was, is, common } => {
                begin(out, thread, "moved")?;
                writeln!(out)?;
                let outside = match common {
                    0 => "no frame in common".into(),
                    common => format!("below the {common} outermost frames, which are the same"),
                };
                writeln!(out, "    {FAINT}{outside}{FAINT:#}")?;
                place(out, "was in", before, was, names, width)?;
                place(out, "is in ", after, is, names, width)?;
                whereabouts(out, "then", before, was_thread, names, width)?;
                whereabouts(out, "now ", after, thread, names, width)?;
            }
            Change::Same(..) => {}
            Change::New(thread) => {
                begin(out, thread, "new")?;
                writeln!(out)?;
                whereabouts(out, "in  ", after, thread, names, width)?;
            }
            Change::Gone(thread) => {
                begin(out, thread, "gone")?;
                writeln!(out)?;
                whereabouts(out, "was ", before, thread, names, width)?;
            }
            Change::Unseen(thread) => {
                match thread.status.worker {
                    Some(worker) => {
                        let what = format!("{}: it has no stack of its own to compare", worker.describe());
                        begin(out, thread, &what)?;
                    }
                    None => begin(out, thread, "not seen in one of the snapshots: nothing can be said")?,
                }
                writeln!(out)?;
            }
        }
    }
    standing_still(out, after, &changes, names, width)
}

/// The threads that have not moved, those with one stack and one history together.
fn standing_still(
    out: &mut dyn Write,
    after: &Snapshot,
    changes: &[&ThreadChange<'_>],
    names: &Names,
    width: Width,
) -> io::Result<()> {
    let mut groups: Vec<(&Thread, Streak, Vec<&Thread>)> = Vec::new();
    let mut known: HashMap<(&Stack, Timestamp, u64, u64), usize> = HashMap::new();
    for change in changes {
        if let Change::Same(thread, streak) = change.change {
            let key = (&*thread.stack, streak.since, streak.samples, streak.unseen);
            let group = *known.entry(key).or_insert_with(|| {
                groups.push((thread, streak, Vec::new()));
                groups.len() - 1
            });
            groups[group].2.push(thread);
        }
    }
    for (first, streak, threads) in groups {
        if threads.len() == 1 {
            begin(out, first, "the same")?;
            writeln!(out, " {}", lasting(after, first, streak))?;
        } else {
            writeln!(
                out,
                "\n{HEADING}{} threads with the same stack{HEADING:#}, each the same {}",
                threads.len(),
                lasting(after, first, streak)
            )?;
            for thread in &threads {
                write!(out, "  {THREAD}thread {} \"{}\"{THREAD:#}", thread.tid, Foreign(&thread.status.name))?;
                waiting(out, thread)?;
            }
        }
        write!(out, "    in   ")?;
        innermost(out, after, first, names, width)?;
        if threads.len() == 1 {
            write!(out, "       ")?;
            waiting(out, first)?;
        }
    }
    Ok(())
}

fn begin(out: &mut dyn Write, thread: &Thread, what: &str) -> io::Result<()> {
    write!(out, "\n{THREAD}thread {} \"{}\"{THREAD:#}  {what}", thread.tid, Foreign(&thread.status.name))
}

/// For how long a stack has been what it is.
fn lasting(after: &Snapshot, thread: &Thread, streak: Streak) -> String {
    let time = duration(after.taken.since(streak.since));
    let samples = if streak.samples == 1 { "1 snapshot".into() } else { format!("{} snapshots", streak.samples) };
    // Callers that were not found may have changed.
    let known = match thread.stack.end {
        WalkEnd::Root => String::new(),
        end => format!(", as far as its stack is known ({})", end.describe()),
    };
    match streak.unseen {
        0 => format!("for {time}, in {samples}{known}"),
        unseen => format!("for {time}, in {samples}{known}; {unseen} others could not see it"),
    }
}

/// Where a thread is or was: the innermost functions, callees first, behind a word of `INDENT` columns.
fn innermost(out: &mut dyn Write, snapshot: &Snapshot, thread: &Thread, names: &Names, width: Width) -> io::Result<()> {
    const FUNCTIONS: usize = 4;
    const INDENT: usize = 9;
    let frames = &thread.stack.frames;
    let mut found: Vec<Label> = frames.iter().take(FUNCTIONS).map(|frame| function(snapshot, frame, names)).collect();
    if frames.len() > FUNCTIONS {
        found.push(Label { text: "...".into(), is_name: false });
    }
    for (position, line) in chain(found, " < ", INDENT, width).iter().enumerate() {
        if position > 0 {
            write!(out, " <\n{:INDENT$}", "")?;
        }
        write!(out, "{}", line.iter().map(styled).collect::<Vec<String>>().join(" < "))?;
    }
    writeln!(out)
}

/// A thread's state and the system call it sits in.
fn waiting(out: &mut dyn Write, thread: &Thread) -> io::Result<()> {
    write!(out, "  {}", thread.status.state.name())?;
    if let Some(call) = thread.system_call {
        write!(out, " in {}", system_call::text(call))?;
    }
    writeln!(out)
}

fn whereabouts(
    out: &mut dyn Write,
    word: &str,
    snapshot: &Snapshot,
    thread: &Thread,
    names: &Names,
    width: Width,
) -> io::Result<()> {
    write!(out, "    {word} ")?;
    innermost(out, snapshot, thread, names, width)?;
    write!(out, "       ")?;
    waiting(out, thread)
}

/// The function whose code a frame's is: what is inlined there differs from line to line.
fn function(snapshot: &Snapshot, frame: &Frame, names: &Names) -> Label {
    let name = names.of(snapshot, frame).last().and_then(|function| function.name.as_ref());
    let text = match (name, snapshot.module_of(frame), frame.place()) {
        (Some(name), _, _) => Foreign(name).to_string(),
        (None, Some(module), Place::InModule { address, .. }) => format!("{}+{address}", Foreign(module.name())),
        (None, _, Place::Outside(address)) => format!("{address}, in no file"),
        (None, None, Place::InModule { address, .. }) => format!("{address} of an unknown file"),
    };
    Label { text, is_name: name.is_some() }
}

fn styled(label: &Label) -> String {
    let Label { text, is_name } = label;
    if *is_name { format!("{FUNCTION}{text}{FUNCTION:#}") } else { text.clone() }
}

/// Writes a function and its line, for the frames in which two stacks part.
fn place(
    out: &mut dyn Write,
    word: &str,
    snapshot: &Snapshot,
    frame: Option<&Frame>,
    names: &Names,
    width: Width,
) -> io::Result<()> {
    let lead = format!("    {word} ");
    let Some(frame) = frame else {
        return writeln!(out, "{lead}nothing further in");
    };
    let Label { text, is_name } = function(snapshot, frame, names);
    let source = names
        .of(snapshot, frame)
        .last()
        .and_then(|function| Some((source(function.file.as_ref()?).to_string(), format!(":{}", function.line?))));
    let lead_columns = lead.len();
    let (name, rest) = if is_name { (text, String::new()) } else { (String::new(), text) };
    let text = FrameText { lead: lead_columns, name, source, rest, ..FrameText::default() }.fit(width);
    let label = Label { text: text.name.clone(), is_name };
    writeln!(out, "{lead}{}{}", if is_name { styled(&label) } else { String::new() }, text.place())
}
