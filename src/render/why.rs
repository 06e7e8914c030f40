//! The answer in words: what is wrong, how that is known, the chain, and everybody else in a line each
//! group.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use super::style::{FAINT, HEADING, THREAD, WARNING};
use super::value::{Foreign, duration};
use super::width::{Width, Wrapped};
use crate::analysis::verdict::{Fault, Judgement, Level, Link, Party, State, ThreadVerdict, Verdict};
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
    answer.others(out)?;
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

struct Answer<'a> {
    judgement: &'a Judgement,
    /// Whether threads have to be told apart by their processes, too.
    several: bool,
}

impl Answer<'_> {
    fn nothing_stuck(&self) -> String {
        let threads = &self.judgement.threads;
        let count = |state: State| threads.iter().filter(|thread| thread.state == state).count();
        let (progressing, waiting, idle, unknown) =
            (count(State::Progressing), count(State::Waiting), count(State::Idle), count(State::Unknown));
        let parts = [(progressing, "progressing"), (waiting, "waiting"), (idle, "idle"), (unknown, "unknown")];
        let parts: Vec<String> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        let all = match parts.as_slice() {
            [] => "no threads".to_owned(),
            parts => format!("{} {}", parts.join(", "), if threads.len() == 1 { "thread" } else { "threads" }),
        };
        format!("Nothing is proved to be stuck: {all}")
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
        let Verdict { fault, proof, accused, chain, because, queued, .. } = verdict;
        let style = if verdict.level == Level::Stuck { WARNING } else { HEADING };
        write!(out, "{style}{}{style:#}, {}: ", title(*fault), proof.name())?;
        let lasted = self.lasted(verdict);
        match (fault, accused.as_slice(), lasted) {
            (Fault::Deadlock, members, Some(lasted)) if members.len() > 1 => {
                write!(out, "no member has run for {lasted}")?;
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
        writeln!(out)?;
        // A thread that spins waits for nothing: where it does is in the first line.
        for link in chain.iter().take(if *fault == Fault::BusyLoop { 0 } else { MOST_LINKS }) {
            self.link(out, link)?;
        }
        if chain.len() > MOST_LINKS {
            writeln!(out, "  and {} more", chain.len() - MOST_LINKS)?;
        }
        if *queued > 0 && *fault != Fault::Convoy && *fault != Fault::Gil {
            writeln!(out, "  {queued} {} for {}", waiting(*queued), if accused.len() == 1 { "it" } else { "them" })?;
        }
        Ok(())
    }

    fn link(&self, out: &mut dyn Write, link: &Link) -> io::Result<()> {
        let waiter = self.party(&link.waiter);
        let resource = link.resource.to_string();
        write!(out, "  {THREAD}{waiter}{THREAD:#} waits for {}", Foreign(&resource))?;
        if let Some(holder) = &link.holder {
            let holder = self.party(holder);
            // A join or a child names it already.
            if !resource.contains(&holder) {
                write!(out, ", held by {THREAD}{holder}{THREAD:#}")?;
            }
        }
        if let Some(place) = &link.place {
            write!(out, ", in {}", Foreign(place))?;
        }
        writeln!(out)
    }

    /// Threads that no verdict is about, those that do the same together.
    fn others(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut groups: BTreeMap<(State, String), Vec<&ThreadVerdict>> = BTreeMap::new();
        for thread in &self.judgement.threads {
            let is_named = self.judgement.verdicts.iter().any(|verdict| {
                let is_it = |party: &Party| *party == thread.thread;
                verdict.accused.iter().any(is_it) || verdict.chain.iter().any(|link| is_it(&link.waiter))
            });
            if !is_named {
                groups.entry((thread.state, doing(thread))).or_default().push(thread);
            }
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        groups.sort_by_key(|(_, threads)| std::cmp::Reverse(threads.len()));
        for ((state, doing), threads) in groups.iter().take(MOST_GROUPS) {
            match threads.as_slice() {
                [only] => writeln!(out, "{} {}: {}", self.party(&only.thread), state_of_one(*state), Foreign(doing))?,
                several => writeln!(out, "{} threads {}: {}", several.len(), state_of_several(*state), Foreign(doing))?,
            }
        }
        let left: usize = groups.iter().skip(MOST_GROUPS).map(|(_, threads)| threads.len()).sum();
        if left > 0 {
            writeln!(out, "{left} more threads in {} other places", groups.len() - MOST_GROUPS)?;
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
        State::Waiting => "waits",
        State::Progressing => "progresses",
        State::Idle => "is idle",
        State::Unknown => "is unknown",
    }
}

fn state_of_several(state: State) -> &'static str {
    match state {
        State::Stuck => "are stuck",
        State::Spinning => "spin",
        State::Waiting => "wait",
        State::Progressing => "progress",
        State::Idle => "are idle",
        State::Unknown => "are unknown",
    }
}

/// What a thread does, without what differs between threads that do the same.
fn doing(thread: &ThreadVerdict) -> String {
    let place = thread.place.as_ref().map(|place| format!(" in {place}")).unwrap_or_default();
    let wait = thread.wait.as_ref().map(|wait| match wait.resource.address {
        Some(_) if !wait.resource.kind.is_lock() => format!("waits for a {}", wait.resource.kind.name()),
        _ => format!("waits for {}", wait.resource),
    });
    let amid = thread.wait.as_ref().and_then(|wait| wait.amid).map(|amid| format!(", {amid}")).unwrap_or_default();
    match wait {
        Some(wait) => format!("{wait}{place}{amid}"),
        None if place.is_empty() => "runs".into(),
        None => format!("runs{place}"),
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
        Fault::File => "WAITS FOR A FILE",
    }
}
