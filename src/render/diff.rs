//! A comparison as text: what moved first, then what came and went, then what stands still and
//! since when: what has not run before what was only found in the same place.

use std::collections::HashMap;
use std::io::{self, Write};

use super::blocked_call;
use super::style::{FAINT, FUNCTION, HEADING, THREAD, WARNING};
use super::value::{Foreign, duration, moment, source, time};
use super::why::changed_groups;
use super::width::{FrameText, Label, Width, Wrapped, chain};
use crate::analysis::verdict::Judgement;
use crate::analysis::{Change, Comparison, Sameness, Streak, ThreadChange};
use crate::model::{Frame, Function, Moment, Place, Snapshot, Stack, Thread, Timestamp, WalkEnd};
use crate::symbols::Names;

/// Groups of threads that are listed because there are more or fewer of them.
const MOST_GROUPS: usize = 8;

/// Writes a comparison.
pub fn diff(
    out: &mut dyn Write,
    comparison: &Comparison<'_>,
    judgements: [&Judgement; 2],
    names: &Names,
    width: Width,
) -> io::Result<()> {
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
    let not_run = |change: &Change<'_>| matches!(change, Change::Same { sameness: Sameness::NotRun(_), .. });
    let count = |is: fn(&Change<'_>) -> bool| changes.iter().filter(|change| is(&change.change)).count();
    writeln!(
        out,
        "{} moved, {} the same ({} have not run), {} new, {} gone, {} not seen in one of them",
        count(|change| matches!(change, Change::Moved { .. })),
        count(|change| matches!(change, Change::Same { .. })),
        count(not_run),
        count(|change| matches!(change, Change::New(_))),
        count(|change| matches!(change, Change::Gone(_))),
        count(|change| matches!(change, Change::Unseen(_))),
    )?;
    let [earlier, later] = judgements;
    for (now, then, doing) in changed_groups(earlier, later).iter().take(MOST_GROUPS) {
        writeln!(out, "  {now} (before {then}) {}", Foreign(doing))?;
    }
    let mut changes: Vec<&ThreadChange<'_>> = changes.iter().collect();
    // Within a kind the order of ids stays.
    changes.sort_by_key(|change| match change.change {
        Change::Moved { .. } => 0,
        Change::New(_) => 1,
        Change::Gone(_) => 2,
        Change::Unseen(_) => 3,
        Change::Same { sameness: Sameness::NotRun(_), .. } => 4,
        Change::Same { sameness: Sameness::Found { .. }, .. } => 5,
    });
    for change in &changes {
        match change.change {
            Change::Moved { before: was_thread, after: thread, was, is, common } => {
                begin(out, thread, "moved")?;
                writeln!(out)?;
                let [was, is] = [(*before, was), (*after, is)]
                    .map(|(snapshot, frame)| frame.map_or_else(Vec::new, |frame| calls(snapshot, frame, names)));
                let inlined = common_calls(&was, &is);
                let outermost = thread.stack.frames.iter().rev().take(common);
                let common = outermost.map(|frame| names.of(after, frame).len().max(1)).sum::<usize>() + inlined;
                let outside = match common {
                    0 => "no frame in common".into(),
                    1 => "below the outermost frame, which is the same".into(),
                    common => format!("below the {common} outermost frames, which are the same"),
                };
                writeln!(out, "    {FAINT}{outside}{FAINT:#}")?;
                place(out, "was in", was.get(inlined), width)?;
                place(out, "is in ", is.get(inlined), width)?;
                whereabouts(out, "then", before, was_thread, names, width)?;
                whereabouts(out, "now ", after, thread, names, width)?;
            }
            Change::Same { .. } => {}
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

/// What threads have in common that are shown together: their stack, since when and in how many
/// snapshots they have it and could not be seen, since when they have not run, and whether they
/// were held.
type Alike<'a> = (&'a Stack, Timestamp, u64, u64, Option<Moment>, bool);

/// Threads that have not moved, with one stack and one history.
struct Standing<'a> {
    threads: Vec<&'a Thread>,
    streak: Streak,
    /// None if they have run, or may have.
    not_run_since: Option<Moment>,
    /// How often the one that ran least has run, and the one that ran most, if that is known of
    /// all.
    ran: Option<(u64, u64)>,
}

impl Standing<'_> {
    /// What it means that they are the same.
    fn describe(&self, after: &Snapshot) -> String {
        let held = if self.streak.was_held { " (being held counts)" } else { "" };
        match (self.not_run_since, self.ran) {
            (Some(since), _) => format!("has not run since {}", moment(since, after.taken.realtime_ns)),
            (None, None | Some((_, 0))) => "found in the same place".into(),
            (None, Some((1, 1))) => format!("found in the same place, but ran once{held}"),
            (None, Some((least, most))) if least == most => {
                format!("found in the same place, but ran {most} times{held}")
            }
            (None, Some((least, most))) => format!("found in the same place, but ran {least} to {most} times{held}"),
        }
    }
}

/// The threads that have not moved, those with one stack and one history together.
fn standing_still(
    out: &mut dyn Write,
    after: &Snapshot,
    changes: &[&ThreadChange<'_>],
    names: &Names,
    width: Width,
) -> io::Result<()> {
    let mut groups: Vec<Standing<'_>> = Vec::new();
    let mut known: HashMap<Alike<'_>, usize> = HashMap::new();
    for change in changes {
        let Change::Same { thread, streak, sameness } = change.change else {
            continue;
        };
        let (not_run_since, ran) = match sameness {
            Sameness::NotRun(since) => (Some(since), None),
            Sameness::Found { ran } => (None, ran),
        };
        let key = (&*thread.stack, streak.since, streak.samples, streak.unseen, not_run_since, streak.was_held);
        let group = *known.entry(key).or_insert_with(|| {
            let ran = ran.map(|ran| (ran, ran));
            groups.push(Standing { threads: Vec::new(), streak, not_run_since, ran });
            groups.len() - 1
        });
        let group = &mut groups[group];
        group.threads.push(thread);
        group.ran = group.ran.zip(ran).map(|((least, most), ran)| (least.min(ran), most.max(ran)));
    }
    for group in &groups {
        let Some(first) = group.threads.first() else { continue };
        let (what, lasting) = (group.describe(after), lasting(after, first, group.streak));
        if group.threads.len() == 1 {
            begin(out, first, &format!("{what}; the same {lasting}"))?;
            writeln!(out)?;
        } else {
            let count = group.threads.len();
            writeln!(
                out,
                "\n{HEADING}{count} threads with the same stack{HEADING:#}, each {what}; the same {lasting}"
            )?;
            for thread in &group.threads {
                write!(out, "  {THREAD}thread {} \"{}\"{THREAD:#}", thread.tid, Foreign(&thread.status.name))?;
                waiting(out, after, thread)?;
            }
        }
        write!(out, "    in   ")?;
        innermost(out, after, first, names, width)?;
        if group.threads.len() == 1 {
            write!(out, "       ")?;
            waiting(out, after, first)?;
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

/// Where a thread is or was: the innermost functions, callees first, after a word of `INDENT`
/// columns.
fn innermost(out: &mut dyn Write, snapshot: &Snapshot, thread: &Thread, names: &Names, width: Width) -> io::Result<()> {
    const FUNCTIONS: usize = 4;
    const INDENT: usize = 9;
    let frames = &thread.stack.frames;
    let mut calls = frames.iter().flat_map(|frame| calls(snapshot, frame, names).into_iter().rev());
    let mut found: Vec<Label> = calls.by_ref().take(FUNCTIONS).map(|call| call.label).collect();
    if calls.next().is_some() {
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
fn waiting(out: &mut dyn Write, snapshot: &Snapshot, thread: &Thread) -> io::Result<()> {
    writeln!(out, "  {}", blocked_call::state(thread, &snapshot.wait_facts))
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
    waiting(out, snapshot, thread)
}

/// A function on a stack, inlined or not, and the line that it is in.
#[derive(PartialEq)]
struct Call {
    label: Label,
    source: Option<(String, String)>,
}

/// The functions that a frame stands for: the one whose code it is, and those that were inlined
/// into it, callers first.
fn calls(snapshot: &Snapshot, frame: &Frame, names: &Names) -> Vec<Call> {
    let unnamed = || match (snapshot.module_of(frame), frame.place()) {
        (Some(module), Place::InModule { address, .. }) => format!("{}+{address}", Foreign(module.name())),
        (_, Place::Outside(address)) => format!("{address}, in no file"),
        (None, Place::InModule { address, .. }) => format!("{address} of an unknown file"),
    };
    let call = |function: &Function| Call {
        label: match &function.name {
            Some(name) => Label { text: Foreign(name).to_string(), is_name: true },
            None => Label { text: unnamed(), is_name: false },
        },
        source: function
            .file
            .as_ref()
            .zip(function.line)
            .map(|(file, line)| (source(file).to_string(), format!(":{line}"))),
    };
    match names.of(snapshot, frame) {
        [] => vec![call(&Function::default())],
        functions => functions.iter().rev().map(call).collect(),
    }
}

/// How many calls two frames that differ have in common: the callers of an inlined function in
/// which they do. At least one is left of each, for what differs is shown.
fn common_calls(was: &[Call], is: &[Call]) -> usize {
    let same = was.iter().zip(is).take_while(|(was, is)| was == is).count();
    same.min(was.len().saturating_sub(1)).min(is.len().saturating_sub(1))
}

fn styled(label: &Label) -> String {
    let Label { text, is_name } = label;
    if *is_name { format!("{FUNCTION}{text}{FUNCTION:#}") } else { text.clone() }
}

/// Writes a function and its line, for the calls in which two stacks part.
fn place(out: &mut dyn Write, word: &str, call: Option<&Call>, width: Width) -> io::Result<()> {
    let lead = format!("    {word} ");
    let Some(Call { label: Label { text, is_name }, source }) = call else {
        return writeln!(out, "{lead}nothing further in");
    };
    let (name, rest) = if *is_name { (text.clone(), String::new()) } else { (String::new(), text.clone()) };
    let text = FrameText { lead: lead.len(), name, source: source.clone(), rest, ..FrameText::default() }.fit(width);
    let label = Label { text: text.name.clone(), is_name: *is_name };
    writeln!(out, "{lead}{}{}", if *is_name { styled(&label) } else { String::new() }, text.place())
}
