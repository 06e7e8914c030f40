//! One snapshot as text: threads with the same stack together, each with its state and what it
//! waits in.

use std::io::{self, Write};

use super::fold::is_runtime;
use super::locals::{self, OfThread};
use super::shorten::columns;
use super::style::{FAINT, FUNCTION, HEADING, THREAD, WARNING};
use super::symbols::lost_parts;
use super::value::{Foreign, duration, moment, source, time};
use super::width::{FrameText, Width, Wrapped};
use super::{blocked_call, details, why};
use crate::analysis::groups;
use crate::analysis::verdict::Judgement;
use crate::model::{Acquired, FoundBy, Frame, Module, Place, Snapshot, Stack, StopMode, Thread, ThreadState, WalkEnd};
use crate::symbols::{Function, Missing, Names, SourceLine, SourceLines, Stripped, Unused};
use crate::variables::{Locals, Wanted};

/// Frames at the same instruction, one calling the next, that are all shown.
const MOST_ALIKE: usize = 3;

/// What of a snapshot to show.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selection {
    /// Only threads of this id or name.
    pub thread: Option<String>,
    /// Each thread's registers.
    pub registers: bool,
    /// What is otherwise left out for brevity.
    pub verbose: bool,
    /// Frames of a language's runtime, too.
    pub all_frames: bool,
    /// The variables of each frame.
    pub locals: Option<Wanted>,
    /// Lines of source around each place.
    pub source: bool,
}

impl Selection {
    /// The threads it selects.
    pub fn threads<'a>(&'a self, snapshot: &'a Snapshot) -> Vec<&'a Thread> {
        match &self.thread {
            Some(wanted) => snapshot.threads_called(wanted).collect(),
            None => snapshot.threads.iter().collect(),
        }
    }
}

/// What was looked up for a snapshot.
#[derive(Clone, Copy)]
pub struct Lookups<'a> {
    /// Functions and places.
    pub names: &'a Names,
    /// What variables held.
    pub variables: &'a Locals,
    /// Where lines of source are to be had, if they are wanted.
    pub source: Option<&'a SourceLines>,
}

/// Writes a snapshot, with what can be said of all of it first.
pub fn show(
    out: &mut dyn Write,
    snapshot: &Snapshot,
    lookups: Lookups<'_>,
    selection: &Selection,
    summary: Option<&Judgement>,
    width: Width,
) -> io::Result<()> {
    let Lookups { names, variables, source } = lookups;
    let out: &mut dyn Write = &mut Wrapped::new(out, width);
    heading(out, snapshot)?;
    if let Some(judgement) = summary {
        why::summary(out, judgement)?;
    }
    let threads = selection.threads(snapshot);
    let mut are_unknown = false;
    if selection.registers || selection.verbose || selection.locals.is_some() {
        // These differ between threads with the same stack, so each is shown by itself.
        for thread in threads {
            writeln!(out)?;
            thread_line(out, snapshot, thread, "", selection.verbose)?;
            if selection.verbose {
                details::status(out, thread)?;
            }
            if selection.registers {
                details::registers(out, thread, width)?;
                are_unknown |= match thread.acquired {
                    Acquired::ReadInPlace => true,
                    // It may have been held then.
                    Acquired::UnchangedSince(_) => thread.registers.special.is_none(),
                    Acquired::Held(_) | Acquired::NotCaptured => false,
                };
            }
            details::memory(out, &thread.memory, selection.verbose, width)?;
            let locals = selection.locals.as_ref();
            let locals = locals.map(|wanted| OfThread { locals: variables, thread: thread.tid, frame: wanted.frame });
            let all_frames = selection.all_frames || locals.is_none();
            let detail = Detail { verbose: selection.verbose, all_frames, source, width, locals };
            stack(out, snapshot, thread, names, detail)?;
        }
    } else {
        for group in groups(threads) {
            writeln!(out)?;
            if let [thread] = group.threads[..] {
                thread_line(out, snapshot, thread, "", false)?;
                if thread.status.state == ThreadState::Uninterruptible || thread.status.worker.is_some() {
                    // Nothing else says what it waits for.
                    details::kernel_wait(out, &thread.status.wait)?;
                }
                details::memory(out, &thread.memory, false, width)?;
            } else {
                writeln!(out, "{HEADING}{} threads with the same stack{HEADING:#}", group.threads.len())?;
                for thread in &group.threads {
                    thread_line(out, snapshot, thread, "  ", false)?;
                    details::memory(out, &thread.memory, false, width)?;
                }
            }
            if let Some(thread) = group.threads.first() {
                stack(
                    out,
                    snapshot,
                    thread,
                    names,
                    Detail { verbose: false, all_frames: selection.all_frames, source, width, locals: None },
                )?;
            }
        }
    }
    if are_unknown {
        // Once, for what would help is the same for all of them.
        writeln!(
            out,
            "\n{FAINT}Of a thread that was read in place only the registers are known with which it entered the kernel; a snapshot taken \
             with --stop all holds it and has them all.{FAINT:#}"
        )?;
    }
    if variables.are_without_stack() {
        writeln!(
            out,
            "\n{FAINT}The bytes of stacks are not in this snapshot, and most variables with them; one taken with --locals or --keep stacks has \
             them.{FAINT:#}"
        )?;
    }
    for path in variables.paths_in_vain() {
        writeln!(out, "\n{WARNING}--locals={}: no frame has a variable of that name{WARNING:#}", Foreign(path))?;
    }
    if !snapshot.memory.is_empty() {
        writeln!(out, "\n{HEADING}Memory{HEADING:#}")?;
        details::memory(out, &snapshot.memory, true, width)?;
    }
    notices(out, snapshot, names)
}

fn heading(out: &mut dyn Write, snapshot: &Snapshot) -> io::Result<()> {
    let process = &snapshot.process;
    write!(out, "{HEADING}{} (pid {}){HEADING:#}", Foreign(&process.name), process.id.pid)?;
    if process.inner_pid != process.id.pid.0 {
        write!(out, ", {} in its own namespace", process.inner_pid)?;
    }
    let command = process.command.join(" ");
    writeln!(out, ": {}", Foreign(if command.is_empty() { &process.executable } else { &command }))?;
    let count = snapshot.threads.len();
    let threads = if count == 1 { "thread" } else { "threads" };
    let held = match snapshot.stop {
        _ if snapshot.longest_hold().is_zero() => "none held".to_owned(),
        StopMode::None => "none held".to_owned(),
        StopMode::OneAtATime => format!("held one at a time, none longer than {}", duration(snapshot.longest_hold())),
        StopMode::All => format!("all held at once, none longer than {}", duration(snapshot.longest_hold())),
    };
    writeln!(
        out,
        "snapshot {} at {}; {count} {threads}, {held}; {} in all",
        snapshot.number,
        time(snapshot.taken.realtime_ns),
        duration(snapshot.took),
    )
}

fn thread_line(
    out: &mut dyn Write,
    snapshot: &Snapshot,
    thread: &Thread,
    indent: &str,
    verbose: bool,
) -> io::Result<()> {
    write!(
        out,
        "{indent}{THREAD}thread {} \"{}\"{THREAD:#}  {}",
        thread.tid,
        Foreign(&thread.status.name),
        blocked_call::state(thread, &snapshot.wait_facts)
    )?;
    match thread.acquired {
        Acquired::UnchangedSince(since) => {
            let seen_ns = snapshot.taken.realtime_ns;
            write!(out, " {FAINT}(unchanged since {}){FAINT:#}", moment(since, seen_ns))?;
        }
        Acquired::ReadInPlace if verbose => write!(out, " {FAINT}(read in place){FAINT:#}")?,
        Acquired::ReadInPlace | Acquired::Held(_) | Acquired::NotCaptured => {}
    }
    writeln!(out)
}

fn stack(
    out: &mut dyn Write,
    snapshot: &Snapshot,
    thread: &Thread,
    names: &Names,
    detail: Detail<'_>,
) -> io::Result<()> {
    let Stack { frames, gap, end } = &*thread.stack;
    let (newest, oldest) = frames.split_at(gap.map_or(frames.len(), |gap| gap.after.min(frames.len())));
    let mut number = 0;
    frame_lines(out, snapshot, (newest, 0), names, detail, &mut number)?;
    if let Some(gap) = gap {
        writeln!(out, "    {FAINT}... {}{FAINT:#}", gap.describe())?;
        number += usize::try_from(gap.frames).unwrap_or(0);
    }
    frame_lines(out, snapshot, (oldest, newest.len()), names, detail, &mut number)?;
    if *end != WalkEnd::Root {
        writeln!(out, "    {WARNING}no further: {}{WARNING:#}", end.describe())?;
    }
    Ok(())
}

fn frame_lines(
    out: &mut dyn Write,
    snapshot: &Snapshot,
    (frames, first): (&[Frame], usize),
    names: &Names,
    detail: Detail<'_>,
    number: &mut usize,
) -> io::Result<()> {
    let mut folded = Folded::default();
    let mut index = first;
    for run in frames.chunk_by(|inner, outer| inner == outer) {
        // A recursion that has run away has thousands of frames that say nothing new.
        let shown = if run.len() > MOST_ALIKE { 1 } else { run.len() };
        for (frame, index) in run[..shown].iter().zip(index..) {
            let module = snapshot.module_of(frame);
            let functions = names.of(snapshot, frame);
            if functions.is_empty() {
                folded.end(out)?;
                frame_line(out, number, frame, module, &Function::default(), true, detail)?;
            }
            for (position, function) in functions.iter().enumerate() {
                // The last one is the function whose code it is; those before it were inlined into
                // it.
                let outermost = position + 1 == functions.len();
                if !detail.all_frames && is_runtime(function, folded.functions > 0) {
                    folded.functions += 1;
                    *number += 1;
                    continue;
                }
                folded.end(out)?;
                let is_shown = detail.locals.is_none_or(|locals| locals.frame.is_none_or(|wanted| wanted == *number));
                frame_line(out, number, frame, module, function, outermost, detail)?;
                let scope = detail.locals.filter(|_| is_shown);
                if let Some(scope) = scope.as_ref().and_then(|locals| locals.scope(index, position, functions.len())) {
                    locals::scope(out, scope)?;
                }
            }
        }
        index += run.len();
        let alike = (run.len() - shown) * names.of(snapshot, &run[0]).len().max(1);
        if alike > 0 {
            folded.end(out)?;
            writeln!(out, "    {FAINT}... {alike} more frames like this{FAINT:#}")?;
            *number += alike;
        }
    }
    folded.end(out)
}

/// Functions of a runtime that were left out since the last line.
#[derive(Default)]
struct Folded {
    functions: usize,
}

impl Folded {
    /// Writes how many there are, in a line of their own.
    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        match std::mem::take(&mut self.functions) {
            0 => Ok(()),
            1 => writeln!(out, "    {FAINT}..  1 frame of the runtime{FAINT:#}"),
            count => writeln!(out, "    {FAINT}..  {count} frames of the runtime{FAINT:#}"),
        }
    }
}

/// How much to say, and in how many columns.
#[derive(Clone, Copy)]
struct Detail<'a> {
    verbose: bool,
    all_frames: bool,
    /// Where lines of source are to be had, if they are wanted.
    source: Option<&'a SourceLines>,
    width: Width,
    locals: Option<OfThread<'a>>,
}

/// Writes a function of a frame: the one whose code it is, which is the outermost, or one that was
/// inlined into it.
fn frame_line(
    out: &mut dyn Write,
    number: &mut usize,
    frame: &Frame,
    module: Option<&Module>,
    function: &Function,
    outermost: bool,
    detail: Detail<'_>,
) -> io::Result<()> {
    let lead = format!("    #{:<2} ", *number);
    *number += 1;
    let how = match frame.found() {
        _ if !outermost => Some((FAINT, "inlined")),
        FoundBy::Context => detail.verbose.then_some((FAINT, "where it is")),
        FoundBy::Cfi => detail.verbose.then_some((FAINT, "by call frame information")),
        FoundBy::SignalFrame => Some((FAINT, "interrupted by a signal")),
        FoundBy::Inferred => Some((WARNING, "inferred")),
        FoundBy::FramePointer => Some((WARNING, "by frame pointer")),
        FoundBy::Guess => Some((WARNING, "a guess")),
        FoundBy::Unknown => Some((WARNING, "in a way that only a newer hangsnap knows")),
    };
    let place = frame.place();
    let rest = match (module, place) {
        (Some(module), Place::InModule { address, .. }) if function.name.is_none() => {
            format!(" in {}+{address}", Foreign(module.name()))
        }
        (Some(module), _) => format!(" in {}", Foreign(module.name())),
        (None, Place::Outside(address)) if function.name.is_some() => format!(" at {address}, made at run time"),
        (None, Place::Outside(address)) => format!(" at {address}, in no file"),
        (None, Place::InModule { address, .. }) => format!(" at {address} of an unknown file"),
    };
    let text = FrameText {
        lead: lead.len(),
        name: function.name.as_ref().map_or("??".into(), |name| Foreign(name).to_string()),
        marks: how.map_or(0, |(_, how)| columns(how) + " ()".len()),
        source: function.file.as_ref().map(|file| {
            let line = function.line.map(|line| format!(":{line}"));
            (source(file).to_string(), line.unwrap_or_default())
        }),
        // The file in which an inlined function is stands on the line of the one that it was
        // inlined into.
        is_repeated: !outermost && module.is_some() && function.name.is_some(),
        rest,
        ..FrameText::default()
    };
    let text = text.fit(detail.width);
    match &function.name {
        Some(_) => write!(out, "{lead}{FUNCTION}{}{FUNCTION:#}", text.name)?,
        None => write!(out, "{lead}{}", text.name)?,
    }
    if let Some((style, how)) = how {
        write!(out, " {style}({how}){style:#}")?;
    }
    writeln!(out, "{}", text.place())?;
    let lines = detail.source.zip(module).map(|(source, module)| source.around(module, function));
    for SourceLine { number, text, is_it } in lines.unwrap_or_default() {
        let text = text.replace('\t', "    ");
        match is_it {
            true => writeln!(out, "      {number:>7} > {}", Foreign(&text))?,
            false => writeln!(out, "      {FAINT}{number:>7}   {}{FAINT:#}", Foreign(&text))?,
        }
    }
    Ok(())
}

fn notices(out: &mut dyn Write, snapshot: &Snapshot, names: &Names) -> io::Result<()> {
    let missing: Vec<String> = names
        .missing()
        .iter()
        .map(|Missing { path, build_id, has_names }| {
            let whose = if *has_names { "not all of its functions have names" } else { "its functions have no names" };
            match build_id {
                Some(id) => format!("{path}: no file here has its build-id {id}, so {whose}"),
                None => format!("{path}: it has no build-id and is not here, so {whose}"),
            }
        })
        .collect();
    let lost: Vec<String> = snapshot.losses().map(ToString::to_string).chain(missing).collect();
    let stripped = names.stripped().iter().map(|Stripped { path, build_id, .. }| match build_id {
        Some(id) => format!(
            "{path}: no names, its file is stripped and no debug file with its build-id {id} is here; name one with --symbols"
        ),
        None => format!("{path}: no names, its file is stripped and has no build-id by which to find a debug file"),
    });
    let unused = names.unused().iter().map(|Unused { path, build_id }| {
        format!("--symbols {}: not used, no module on these stacks has its build-id {build_id}", path.display())
    });
    let others = snapshot.notices.iter().filter(|notice| !notice.is_loss()).map(ToString::to_string);
    let lost_parts = names.reports().iter().flat_map(lost_parts);
    let unchecked = names.reports().iter().filter(|module| module.files.iter().any(|file| file.is_unchecked));
    let unchecked = unchecked.map(|module| {
        format!("{}: it has no build-id; the names are those of the file that has its path now", module.path)
    });
    let others = others
        .chain(stripped)
        .chain(lost_parts)
        .chain(unchecked)
        .chain(unused)
        .chain(names.remarks().iter().cloned())
        .collect();
    for (heading, lines) in [("Not seen", lost), ("Notes", others)] {
        notice_lines(out, heading, lines)?;
    }
    Ok(())
}

fn notice_lines(out: &mut dyn Write, heading: &str, lines: Vec<String>) -> io::Result<()> {
    if !lines.is_empty() {
        writeln!(out, "\n{HEADING}{heading}{HEADING:#}")?;
    }
    for line in lines {
        writeln!(out, "  {WARNING}{}{WARNING:#}", Foreign(&line))?;
    }
    Ok(())
}
