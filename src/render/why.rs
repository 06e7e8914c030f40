//! The answer in words: what is wrong, how that is known, the chain, and everybody else in a line
//! each group.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::time::Duration;

use super::style::{FAINT, HEADING, THREAD, WARNING};
use super::value::{Foreign, duration};
use super::width::{Width, Wrapped};
use crate::analysis::verdict::{Fault, Judgement, Level, Link, Party, State, ThreadVerdict, Verdict};
use crate::analysis::waits::Kind;
use crate::model::Pid;

/// Members of a chain that are named one by one.
const MOST_LINKS: usize = 8;
/// Verdicts that are printed; the rest are counted.
const MOST_VERDICTS: usize = 12;
/// Lines for groups of threads that no verdict is about.
const MOST_GROUPS: usize = 12;

/// Writes the answer.
pub fn why(out: &mut dyn Write, judgement: &Judgement, width: Width) -> io::Result<()> {
    let out: &mut dyn Write = &mut Wrapped::new(out, width);
    let Judgement { processes, verdicts, remarks, .. } = judgement;
    let several = processes.len() > 1;
    let answer = Answer { judgement, several };
    if verdicts.iter().all(|verdict| verdict.level != Level::Stuck) {
        writeln!(out, "{HEADING}{}{HEADING:#}", answer.nothing_stuck())?;
    }
    for verdict in verdicts.iter().take(MOST_VERDICTS) {
        answer.verdict(out, verdict)?;
    }
    if verdicts.len() > MOST_VERDICTS {
        writeln!(out, "and {} more", verdicts.len() - MOST_VERDICTS)?;
    }
    answer.others(out, "")?;
    for remark in remarks {
        writeln!(out, "{FAINT}{}{FAINT:#}", Foreign(remark))?;
    }
    for process in processes {
        let over = Duration::from_nanos(u64::try_from(process.to_ns.saturating_sub(process.from_ns)).unwrap_or(0));
        let samples = match process.samples {
            1 => "one sample".to_owned(),
            count => format!("{count} samples over {}", duration(over)),
        };
        let (name, pid) = (Foreign(&process.name), process.pid);
        writeln!(out, "{FAINT}{name} ({pid}), {samples}; every stack: hangsnap {pid}{FAINT:#}")?;
    }
    Ok(())
}

/// Writes the same in a line for each verdict and each group of threads, before the stacks of a
/// snapshot.
pub(super) fn summary(out: &mut dyn Write, judgement: &Judgement) -> io::Result<()> {
    let answer = Answer { judgement, several: false };
    for verdict in judgement.verdicts.iter().take(MOST_GROUPS) {
        write!(out, "  ")?;
        answer.first_line(out, verdict)?;
    }
    answer.others(out, "  ")
}

struct Answer<'a> {
    judgement: &'a Judgement,
    /// Whether threads have to be distinguished by their processes, too.
    several: bool,
}

impl Answer<'_> {
    fn nothing_stuck(&self) -> String {
        let threads = &self.judgement.threads;
        let count = |state: State| threads.iter().filter(|thread| thread.state == state).count();
        let states = [State::Progressing, State::Spinning, State::Waiting, State::Idle, State::Unknown];
        let parts = states.map(|state| (count(state), state.name()));
        let parts: Vec<String> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        let all = match parts.as_slice() {
            [] => "no threads".to_owned(),
            parts => format!("{} {}", parts.join(", "), if threads.len() == 1 { "thread" } else { "threads" }),
        };
        match self.judgement.verdicts.is_empty() {
            true => format!("Nothing is stuck as far as can be seen: {all}"),
            false => format!("Nothing is known to be stuck; what follows may be as it should: {all}"),
        }
    }

    fn party(&self, party: &Party) -> String {
        let name = Foreign(&party.name);
        match party.pid {
            None => format!("thread {}, which is gone", party.tid),
            Some(pid) if pid.main_thread() == party.tid => format!("{name} ({})", party.tid),
            Some(pid) if self.several || !self.is_looked_at(pid) => format!("{name} ({} of process {pid})", party.tid),
            Some(_) => format!("{name} ({})", party.tid),
        }
    }

    fn is_looked_at(&self, pid: Pid) -> bool {
        self.judgement.processes.iter().any(|process| process.pid == pid)
    }

    /// For how long it has lasted, as a clause.
    fn lasted(&self, verdict: &Verdict) -> Option<String> {
        let to = self.judgement.processes.iter().map(|process| process.to_ns).max()?;
        let ns = u64::try_from(to.saturating_sub(verdict.since_ns?)).ok()?;
        Some(duration(Duration::from_nanos(ns)))
    }

    fn verdict(&self, out: &mut dyn Write, verdict: &Verdict) -> io::Result<()> {
        let Verdict { fault, accused, chain, queued, .. } = verdict;
        self.first_line(out, verdict)?;
        // A thread that spins waits for nothing: where it does is in the first line.
        let links = if *fault == Fault::BusyLoop { &[][..] } else { chain };
        let alike = |one: &Link, other: &Link| {
            (&one.resource, &one.holder, &one.place) == (&other.resource, &other.holder, &other.place)
        };
        for group in links.chunk_by(alike).take(MOST_LINKS) {
            self.links(out, group)?;
        }
        let left: usize = links.chunk_by(alike).skip(MOST_LINKS).map(<[Link]>::len).sum();
        if left > 0 {
            writeln!(out, "  and {left} more")?;
        }
        if *queued > 0 && *fault != Fault::Convoy && *fault != Fault::Gil {
            writeln!(out, "  {queued} {} for {}", waiting(*queued), if accused.len() == 1 { "it" } else { "them" })?;
        }
        Ok(())
    }

    fn first_line(&self, out: &mut dyn Write, verdict: &Verdict) -> io::Result<()> {
        let Verdict { fault, proof, accused, because, .. } = verdict;
        let style = if verdict.level == Level::Stuck { WARNING } else { HEADING };
        write!(out, "{style}{}{style:#}, {}: ", title(*fault), proof.name())?;
        let lasted = self.lasted(verdict);
        match (fault, accused.as_slice(), lasted) {
            (Fault::Deadlock, members, Some(lasted)) if members.len() > 1 => {
                write!(out, "no member has run for {lasted}")?;
                if verdict.level != Level::Stuck {
                    write!(out, "; {}", Foreign(because))?;
                }
            }
            (_, [only], lasted) => {
                write!(out, "{THREAD}{}{THREAD:#}: {}", self.party(only), Foreign(because))?;
                if let Some(lasted) = lasted {
                    write!(out, ", for {lasted}")?;
                }
            }
            (_, several, lasted) => {
                write!(out, "{} threads: {}", several.len(), Foreign(because))?;
                if let Some(lasted) = lasted {
                    write!(out, ", for {lasted}")?;
                }
            }
        }
        writeln!(out)
    }

    /// Threads that wait for the same in the same place.
    fn links(&self, out: &mut dyn Write, links: &[Link]) -> io::Result<()> {
        let Some(link) = links.first() else { return Ok(()) };
        let waiter = self.party(&link.waiter);
        write!(out, "  {THREAD}{waiter}{THREAD:#} ")?;
        match links.len() {
            1 => write!(out, "waits")?,
            count => write!(out, "and {} more wait", count - 1)?,
        }
        let resource = link.resource.to_string();
        write!(out, " for {}", Foreign(&resource))?;
        if let Some(holder) = &link.holder {
            let holder = self.party(holder);
            // A join, a child and another end name it already.
            if !resource.contains(&holder) {
                let held = if link.resource.kind.is_lock() { "held by" } else { "from" };
                write!(out, ", {held} {THREAD}{holder}{THREAD:#}")?;
            }
        }
        if let Some(place) = &link.place {
            write!(out, ", in {}", Foreign(place))?;
        }
        writeln!(out)
    }

    /// Threads that no verdict is about, those that do the same together.
    fn others(&self, out: &mut dyn Write, indent: &str) -> io::Result<()> {
        let mut groups: BTreeMap<(State, String), Vec<&ThreadVerdict>> = BTreeMap::new();
        let verdicts = &self.judgement.verdicts;
        let accused = verdicts.iter().flat_map(|verdict| &verdict.accused);
        let waiting = verdicts.iter().flat_map(|verdict| &verdict.chain).map(|link| &link.waiter);
        let named: HashSet<&Party> = accused.chain(waiting).collect();
        for thread in &self.judgement.threads {
            if !named.contains(&thread.thread) {
                groups.entry((thread.state, doing(thread))).or_default().push(thread);
            }
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, threads)| std::cmp::Reverse(threads.len()));
        for ((state, does), threads) in groups.iter().take(MOST_GROUPS) {
            let does = Foreign(does);
            let (who, is, they_are) = match threads.as_slice() {
                [only] => (self.party(&only.thread), state_of_one(*state), String::new()),
                several => (format!("{} threads", several.len()), state_of_several(*state), " all".into()),
            };
            match state {
                // The clause says it.
                State::Waiting => {
                    let is = if threads.len() == 1 { "is" } else { "are" };
                    writeln!(out, "{indent}{who} {is} {does}")?;
                }
                _ => writeln!(out, "{indent}{who} {is}:{they_are} {does}")?,
            }
        }
        let left: usize = groups.iter().skip(MOST_GROUPS).map(|(_, threads)| threads.len()).sum();
        if left > 0 {
            writeln!(out, "{indent}{left} more threads in {} other places", groups.len() - MOST_GROUPS)?;
        }
        Ok(())
    }
}

fn waiting(count: usize) -> &'static str {
    if count == 1 { "thread waits" } else { "threads wait" }
}

fn state_of_one(state: State) -> &'static str {
    match state {
        State::Stuck => "is stuck",
        State::Spinning => "spins",
        State::Waiting => "is waiting",
        State::Progressing => "progresses",
        State::Idle => "is idle",
        State::Unknown => "may be idle or stuck",
    }
}

fn state_of_several(state: State) -> &'static str {
    match state {
        State::Stuck => "are stuck",
        State::Spinning => "spin",
        State::Waiting => "wait",
        State::Progressing => "progress",
        State::Idle => "are idle",
        State::Unknown => "may be idle or stuck",
    }
}

/// What a thread does, without what differs between threads that do the same: a clause without its
/// subject.
fn doing(thread: &ThreadVerdict) -> String {
    let place = thread.place.as_ref().map(|place| format!(" in {place}")).unwrap_or_default();
    let Some(wait) = &thread.wait else {
        return match thread.state {
            State::Unknown => format!("not known what for{place}"),
            _ => format!("in user code{place}"),
        };
    };
    let amid = wait.amid.map(|amid| format!(", {amid}")).unwrap_or_default();
    match (wait.resource.kind, wait.resource.address) {
        (Kind::Time, _) => format!("in a sleep{place}{amid}"),
        (Kind::Thread, _) => format!("waiting for the end of a thread{place}{amid}"),
        (kind, Some(_)) if !kind.is_lock() => format!("waiting for a {}{place}{amid}", kind.name()),
        _ => format!("waiting for {}{place}{amid}", wait.resource),
    }
}

/// Groups of threads that do the same, and have grown or shrunk: the count now and
/// then, and what they do. Those that changed most come first.
pub(super) fn changed_groups(before: &Judgement, after: &Judgement) -> Vec<(usize, usize, String)> {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for thread in &before.threads {
        counts.entry(kind_of_doing(thread)).or_default().1 += 1;
    }
    for thread in &after.threads {
        counts.entry(kind_of_doing(thread)).or_default().0 += 1;
    }
    let changed = counts.into_iter().filter(|(_, (now, then))| now != then);
    let mut changed: Vec<_> = changed.map(|(doing, (now, then))| (now, then, doing)).collect();
    changed.sort_by_key(|(now, then, _)| std::cmp::Reverse(now.abs_diff(*then)));
    changed
}

/// What a thread does, without addresses: these differ between processes.
fn kind_of_doing(thread: &ThreadVerdict) -> String {
    let place = thread.place.as_ref().map(|place| format!(" in {place}")).unwrap_or_default();
    match &thread.wait {
        None => format!("in user code{place}"),
        Some(wait) if wait.resource.kind == Kind::Time => format!("in a sleep{place}"),
        Some(wait) => format!("waiting for {}{place}", wait.resource.kind.with_article()),
    }
}

fn title(fault: Fault) -> &'static str {
    match fault {
        Fault::Deadlock => "DEADLOCK",
        Fault::SelfDeadlock => "SELF-DEADLOCK",
        Fault::AbandonedLock => "ABANDONED LOCK",
        Fault::LostWakeup => "LOST WAKE-UP",
        Fault::PoolExhausted => "POOL EXHAUSTED",
        Fault::Convoy => "CONVOY",
        Fault::Gil => "GIL KEPT",
        Fault::BusyLoop => "BUSY LOOP",
        Fault::Stopped => "STOPPED",
        Fault::Traced => "TRACED",
        Fault::Frozen => "FROZEN",
        Fault::Fuse => "FUSE SERVER SILENT",
        Fault::Disk => "WAITS FOR THE KERNEL",
        Fault::FileLock => "WAITS FOR A FILE LOCK",
        Fault::Peer => "WAITS FOR ITS PEER",
        Fault::Child => "WAITS FOR A CHILD",
    }
}
