//! hangsnap's stacks beside a peer's: what agrees, and each thing that does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::aliases::Aliases;
use super::names::{Agreement, agree};
use super::peers::Peer;
use super::stacks::{Code, Frame, Seen, Snapshot, Stacks};

/// One function that only one side has, or that both have differently.
#[derive(Debug)]
pub struct Disagreement {
    pub tid: i32,
    pub thread: String,
    /// The position in the stack of the side that has it, hangsnap's if both do.
    pub number: usize,
    pub address: Option<u64>,
    /// None where that side has no frame; `??` where it has no name.
    pub own: Option<String>,
    pub peer: Option<String>,
    pub reason: Option<String>,
}

/// The outcome for one target and one peer. What it counts are functions: as many frames as a
/// reader sees.
#[derive(Default, Debug)]
pub struct Outcome {
    pub frames: usize,
    pub agreeing: usize,
    /// Of those that agree, which do so only because one name lacks its scope, and how often:
    /// hangsnap's and the peer's.
    pub but_for_scope: BTreeMap<(String, String), usize>,
    /// Of those that agree, how many neither can name: the address is the same.
    pub unnamed: usize,
    /// Not counted among the frames, because they are on no stack: gdb adds the functions
    /// that a call site may have jumped through. Each is among the disagreements.
    pub guessed: usize,
    pub disagreements: Vec<Disagreement>,
}

impl Outcome {
    /// In hundredths of a percent.
    pub fn share(&self) -> usize {
        (self.agreeing * 10_000).checked_div(self.frames).unwrap_or_default()
    }
}

struct Comparison<'a> {
    memory: File,
    aliases: &'a mut Aliases,
    with_inlined: bool,
    outcome: Outcome,
}

/// Compares every thread. The peer must have seen the same threads.
pub fn compare(pid: &str, own: &Snapshot, peer: &Peer, aliases: &mut Aliases) -> Outcome {
    let threads = |stacks: &Stacks| stacks.keys().copied().collect::<BTreeSet<_>>();
    assert_eq!(threads(&own.stacks), threads(&peer.stacks), "hangsnap and {} see the same threads", peer.name);
    let memory = File::open(format!("/proc/{pid}/mem")).expect("the target's memory can be read");
    let with_inlined = peer.name == "gdb";
    let mut comparison = Comparison { memory, aliases, with_inlined, outcome: Outcome::default() };
    for (tid, mine) in &own.stacks {
        let (seen, theirs) = (&own.threads[tid], &peer.stacks[tid]);
        let pairs = align(mine, theirs, |mine, theirs| match theirs.address {
            Some(address) => mine.address == Some(address),
            // gdb prints no address of the kernel's frames, nor of one that stands at the beginning
            // of a line.
            None => mine.is_signal == theirs.is_signal,
        });
        let last = pairs.iter().rposition(|(own, _)| own.is_some());
        for (row, &(own_at, peer_at)) in pairs.iter().enumerate() {
            let code = own_at.and_then(|at| seen.code[at].as_ref());
            let found = comparison.frame(code, own_at.map(|at| &mine[at]), peer_at.map(|at| &theirs[at]));
            let ended = seen.incomplete.as_ref().filter(|_| last.is_none_or(|last| row > last));
            comparison.add(*tid, seen, ended, found);
        }
    }
    comparison.outcome
}

/// What is reported of a function that disagrees, before it is known in which thread.
struct Row {
    number: usize,
    address: Option<u64>,
    own: Option<String>,
    peer: Option<String>,
    is_guess: bool,
}

impl Comparison<'_> {
    fn add(&mut self, tid: i32, seen: &Seen, ended: Option<&String>, rows: Vec<Row>) {
        for Row { number, address, own, peer, is_guess } in rows {
            let reason = if is_guess {
                Some("gdb's guess: the address follows a jump, so nothing returns there".to_owned())
            } else {
                ended.map(|why| format!("hangsnap ends before it: {why}"))
            };
            let thread = seen.name.clone();
            self.outcome.disagreements.push(Disagreement { tid, thread, number, address, own, peer, reason });
        }
    }

    /// Compares a frame that one or both have, counts what agrees, and returns what does not.
    fn frame(&mut self, code: Option<&Code>, mine: Option<&Frame>, theirs: Option<&Frame>) -> Vec<Row> {
        let address = mine.or(theirs).and_then(|frame| frame.address);
        let both = mine.zip(theirs);
        if both.is_some_and(|(mine, theirs)| mine.is_signal && theirs.is_signal) {
            self.outcome.frames += 1;
            self.outcome.agreeing += 1;
            return Vec::new();
        }
        let is_guess = mine.is_none() && address.is_some_and(|address| self.follows_jump(address));
        let same_place = both.is_some_and(|(mine, theirs)| theirs.address.is_none() || theirs.address == mine.address);
        let (own, peer) = (self.functions(mine), self.functions(theirs));
        let mut same = |own: &Option<String>, peer: &Option<String>| match (own, peer) {
            (Some(own), Some(peer)) => {
                let is_alias = |code| self.aliases.are(code, own, peer);
                agree(own, peer).or_else(|| code.is_some_and(is_alias).then_some(Agreement::Name))
            }
            (None, None) => Some(Agreement::Unnamed),
            _ => None,
        };
        let pairs = align(&own, &peer, |own, peer| same_place && same(own, peer).is_some());
        let mut rows = Vec::new();
        for (own_at, peer_at) in pairs {
            let agreement = own_at.zip(peer_at).and_then(|(own_at, peer_at)| same(&own[own_at], &peer[peer_at]));
            match agreement.filter(|_| same_place) {
                Some(how) => {
                    self.outcome.agreeing += 1;
                    let names = own_at.and_then(|at| own[at].clone()).zip(peer_at.and_then(|at| peer[at].clone()));
                    if let (Agreement::ButForScope, Some(names)) = (how, names) {
                        *self.outcome.but_for_scope.entry(names).or_default() += 1;
                    }
                    self.outcome.unnamed += usize::from(how == Agreement::Unnamed);
                }
                None => {
                    let number = own_at.zip(mine).or(peer_at.zip(theirs)).map_or(0, |(at, frame)| frame.number + at);
                    let name = |name: &Option<String>| name.clone().unwrap_or_else(|| "??".into());
                    let (own, peer) = (own_at.map(|at| name(&own[at])), peer_at.map(|at| name(&peer[at])));
                    rows.push(Row { number, address, own, peer, is_guess });
                }
            }
            *(if is_guess { &mut self.outcome.guessed } else { &mut self.outcome.frames }) += 1;
        }
        rows
    }

    /// The functions of a frame that can be compared: eu-stack prints its symbol, not what was
    /// inlined there.
    fn functions(&self, frame: Option<&Frame>) -> Vec<Option<String>> {
        let functions = frame.map_or(&[][..], |frame| &frame.functions);
        let from = if self.with_inlined { 0 } else { functions.len().saturating_sub(1) };
        functions[from..].to_vec()
    }

    /// Whether the instruction before this address is a jump. A call would have left its return
    /// address.
    fn follows_jump(&self, address: u64) -> bool {
        let mut before = [0; 6];
        let Some(start) = address.checked_sub(before.len() as u64) else {
            return false;
        };
        if self.memory.read_exact_at(&mut before, start).is_err() {
            return false;
        }
        match before {
            // A call that a jump could be a part of.
            [_, 0xe8, ..] => false,
            // To a place far away, always or on a condition; to one that is near; to where a
            // register points.
            [_, 0xe9, ..] | [0x0f, 0x80..=0x8f, ..] => true,
            [.., 0xeb | 0x70..=0x7f, _] | [.., 0xff, 0xe0..=0xe7] => true,
            _ => false,
        }
    }
}

/// Pairs two lists so that as many as possible are the same, in order; the others stand alone or
/// beside each other.
fn align<T>(left: &[T], right: &[T], mut same: impl FnMut(&T, &T) -> bool) -> Vec<(Option<usize>, Option<usize>)> {
    // What it costs to pair what follows, from each position of both.
    let width = right.len() + 1;
    let mut costs = vec![0_usize; (left.len() + 1) * width];
    let mut equal = vec![false; left.len() * width];
    for i in (0..=left.len()).rev() {
        for j in (0..=right.len()).rev() {
            costs[i * width + j] = match (left.get(i), right.get(j)) {
                (Some(own), Some(peer)) => {
                    let is_same = same(own, peer);
                    equal[i * width + j] = is_same;
                    let pair = costs[(i + 1) * width + j + 1] + usize::from(!is_same);
                    let alone = costs[(i + 1) * width + j].min(costs[i * width + j + 1]) + 1;
                    pair.min(alone)
                }
                (Some(_), None) => costs[(i + 1) * width + j] + 1,
                (None, Some(_)) => costs[i * width + j + 1] + 1,
                (None, None) => 0,
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < left.len() || j < right.len() {
        let cost = costs[i * width + j];
        let both = i < left.len() && j < right.len();
        if both && cost == costs[(i + 1) * width + j + 1] + usize::from(!equal[i * width + j]) {
            pairs.push((Some(i), Some(j)));
            (i, j) = (i + 1, j + 1);
        } else if i < left.len() && cost == costs[(i + 1) * width + j] + 1 {
            pairs.push((Some(i), None));
            i += 1;
        } else {
            pairs.push((None, Some(j)));
            j += 1;
        }
    }
    pairs
}

#[test]
fn a_difference_of_any_kind_is_seen() {
    let frame = |number: usize, address: u64, names: &[&str]| {
        let functions = names.iter().map(|name| Some((*name).to_owned())).collect();
        Frame { address: Some(address), functions, is_signal: false, number }
    };
    let stack = || vec![frame(0, 16, &["inner"]), frame(1, 32, &["inlined", "middle"]), frame(3, 48, &["main"])];
    let pid = std::process::id().to_string();
    let outcome = |incomplete: Option<&str>, own: Vec<Frame>, peer: Vec<Frame>| {
        let code = vec![None; own.len()];
        let seen = Seen { name: "thread".into(), incomplete: incomplete.map(str::to_owned), gap: None, code };
        let own = Snapshot { stacks: [(1, own)].into(), threads: [(1, seen)].into(), again: 0 };
        let peer = Peer { name: "gdb", stacks: [(1, peer)].into(), complaints: Vec::new() };
        compare(&pid, &own, &peer, &mut Aliases::default())
    };
    let same = outcome(None, stack(), stack());
    assert_eq!((same.frames, same.agreeing, same.disagreements.len()), (4, 4, 0));
    type Change = fn(&mut Vec<Frame>);
    let changes: [(Change, usize); 6] = [
        (|peer| peer[0].functions[0] = Some("other".into()), 4),
        (|peer| peer[0].functions[0] = None, 4),
        (|peer| peer[2].address = Some(49), 4),
        (|peer| drop(peer.remove(0)), 4),
        (|peer| drop(peer[1].functions.remove(0)), 4),
        (|peer| peer.push(peer[2].clone()), 5),
    ];
    for (number, (change, frames)) in changes.into_iter().enumerate() {
        let mut changed = stack();
        change(&mut changed);
        for found in [outcome(None, stack(), changed.clone()), outcome(None, changed, stack())] {
            assert_eq!((found.frames, found.agreeing), (frames, frames - 1), "change {number}: {found:?}");
            assert_eq!(found.disagreements.len(), 1, "change {number}: {found:?}");
        }
    }
    let ended = outcome(Some("no rules"), vec![frame(0, 16, &["inner"])], stack());
    assert_eq!((ended.frames, ended.agreeing), (4, 1));
    assert!(ended.disagreements.iter().all(|one| one.reason.as_deref() == Some("hangsnap ends before it: no rules")));
}
