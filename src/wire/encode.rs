//! Model to messages.

use std::sync::Arc;

use prost::Message;

use super::convert::nanoseconds;
use super::delta::{self, Counts, StoredThread};
use super::fields::{self, Fields};
use super::tables::Tables;
use super::{notice, packed, pb, summary, thread, wait_facts};
use crate::model::{Abi, GeneratedCode, ProcessId, Recording, Snapshot, Summary, Thread, WaitFacts};

/// Upper bound on consecutive delta records. Limits what one damaged record can lose, and how far a
/// seek must replay.
const WHOLE_EVERY: u32 = 64;

/// A snapshot as a record.
#[derive(Debug)]
pub struct Encoded {
    /// The record's bytes.
    pub payload: Vec<u8>,
    /// Whether it can be decoded without those before it.
    pub whole: bool,
    /// What it says of itself in front.
    pub summary: Summary,
}

/// Turns what is to be stored in one file into records, remembering what the file already has.
#[derive(Default)]
pub struct Encoder {
    tables: Tables,
    previous: Option<LastWritten>,
}

/// The snapshot before, as a reader knows it.
struct LastWritten {
    number: u64,
    /// Records since the last whole one.
    since_whole: u32,
    process: pb::Process,
    modules: Vec<u32>,
    wait_facts: Arc<WaitFacts>,
    /// In the order of their ids.
    #[expect(clippy::vec_box, reason = "each is a kilobyte, and is moved into the next sample's list by itself")]
    threads: Vec<Box<StoredThread>>,
}

impl Encoder {
    /// The record that a file begins with.
    pub fn recording(&mut self, recording: &Recording) -> Vec<u8> {
        packed::pack(fields::RECORDING, &pb::Recording::from(recording).encode_to_vec(), None)
    }

    /// Forgets what earlier records hold: the next snapshot will be whole.
    pub fn begin_anew(&mut self) {
        *self = Self::default();
    }

    /// The next snapshot as a record: whole, or as what has changed.
    pub fn snapshot(&mut self, snapshot: &Snapshot) -> Encoded {
        if !snapshot.threads.is_sorted_by(|one, next| one.tid < next.tid) {
            let mut ordered = snapshot.clone();
            ordered.threads.sort_by_key(|thread| thread.tid);
            ordered.threads.dedup_by_key(|thread| thread.tid);
            return self.snapshot(&ordered);
        }
        let ids = &snapshot.process.id;
        let not_run = self.not_run(snapshot);
        let previous = self.previous.take().filter(|previous| {
            // A process that has executed a program has everything elsewhere: nothing of what is
            // remembered is of use.
            let fresh = snapshot.modules.iter().filter(|module| !self.tables.has(module)).count();
            previous.since_whole + 1 < WHOLE_EVERY
                // That there are no modules any more has no words in a change.
                && (!snapshot.modules.is_empty() || previous.modules.is_empty())
                && 2 * fresh < snapshot.modules.len().max(1)
                && (previous.process.pid, previous.process.start_ticks) == (ids.pid.0, ids.start.0)
        });
        let whole = previous.is_none();
        let (kind, fields) = match previous {
            Some(previous) => (fields::CHANGE, self.change(snapshot, previous)),
            None => {
                self.begin_anew();
                (fields::SNAPSHOT, self.whole(snapshot))
            }
        };
        let summary = Summary { not_run, ..snapshot.into() };
        let payload = packed::pack(kind, &fields.into_bytes(), Some(summary::encode(summary.clone(), whole)));
        Encoded { payload, whole, summary }
    }

    /// How many threads have not run since the snapshot before. At the beginning of a segment only
    /// those count that say so themselves, and if there are none it is not known.
    fn not_run(&self, snapshot: &Snapshot) -> Option<usize> {
        let Some(previous) = &self.previous else {
            let count = snapshot.threads.iter().filter(|thread| thread.acquired.unchanged_since().is_some()).count();
            return (count > 0).then_some(count);
        };
        let ProcessId { pid, start } = snapshot.process.id;
        if (previous.process.pid, previous.process.start_ticks) != (pid.0, start.0) {
            return None;
        }
        let mut before = previous.threads.iter().peekable();
        let has_not_run = |thread: &&Thread| {
            while before.next_if(|old| old.base.thread.tid < thread.tid.0).is_some() {}
            let old = before.next_if(|old| old.base.thread.tid == thread.tid.0);
            match thread.acquired.unchanged_since() {
                Some(since) => since.number <= previous.number,
                None => old.is_some_and(|old| old.has_not_run_until(thread)),
            }
        };
        Some(snapshot.threads.iter().filter(has_not_run).count())
    }

    /// The fields of a `Snapshot`.
    fn whole(&mut self, snapshot: &Snapshot) -> Fields {
        let modules: Vec<u32> = snapshot.modules.iter().map(|module| self.tables.module(module)).collect();
        self.names(snapshot, &modules);
        let process = self.process(snapshot);
        let mut fields = Fields::default();
        let mut threads = Vec::<Box<StoredThread>>::with_capacity(snapshot.threads.len());
        for thread in &snapshot.threads {
            let mut message = pb::Thread::default();
            thread::count(thread, &mut message);
            let like = threads.last().map_or(0, |other| other.base.thread.stack);
            thread::fill(thread, &modules, like, &mut self.tables, &mut message);
            message.registers = Some((&thread.registers).into());
            fields.message(fields::THREADS, &message);
            threads.push(Box::new(StoredThread::new(message, thread)));
        }
        let rest = pb::Snapshot {
            number: snapshot.number,
            realtime_ns: snapshot.taken.realtime_ns,
            monotonic_ns: snapshot.taken.monotonic_ns,
            process: Some(process.clone()),
            stop: pb::StopMode::from(snapshot.stop).into(),
            window_ns: nanoseconds(snapshot.window),
            modules: modules.clone(),
            notices: self.notices(snapshot),
            took_ns: nanoseconds(snapshot.took),
            memory: snapshot.memory.iter().map(|piece| self.tables.memory(piece)).collect(),
            generated: snapshot.generated.iter().map(|code| self.generated(code)).collect(),
            wait_facts: (!snapshot.wait_facts.is_empty()).then(|| wait_facts::encode(&snapshot.wait_facts)),
            ..Default::default()
        };
        fields.all_of(&rest);
        fields.bytes(fields::TABLES, &self.tables.take());
        let wait_facts = snapshot.wait_facts.clone();
        self.previous =
            Some(LastWritten { number: snapshot.number, since_whole: 0, process, modules, wait_facts, threads });
        fields
    }

    /// The fields of a `Change`.
    fn change(&mut self, snapshot: &Snapshot, previous: LastWritten) -> Fields {
        let modules: Vec<u32> = snapshot.modules.iter().map(|module| self.tables.module(module)).collect();
        let same_modules = modules == previous.modules;
        self.names(snapshot, &modules);
        let process = self.process(snapshot);
        let mut fields = Fields::default();
        let mut gone = Vec::new();
        let mut counters = pb::Counters::default();
        let mut threads: Vec<Box<StoredThread>> = Vec::with_capacity(snapshot.threads.len());
        let mut before = previous.threads.into_iter().peekable();
        // Most of what is worked out of a thread serves only to find out what has changed, in the
        // room that is there.
        let (mut message, mut difference) = <(pb::Thread, pb::ThreadChange)>::default();
        for (thread, place) in snapshot.threads.iter().zip(0..) {
            while let Some(old) = before.next_if(|old| old.base.thread.tid < thread.tid.0) {
                gone.push(old.base.thread.tid);
            }
            let old = before.next_if(|old| old.base.thread.tid == thread.tid.0);
            thread::count(thread, &mut message);
            // That nothing is known of signals any more, or that its call is of the other
            // convention, has no words in a change.
            let is_i386 = thread.system_call.is_some_and(|call| call.abi == Abi::I386);
            let has_words = |old: &StoredThread| {
                (thread.status.signals.is_some() || old.base.thread.signals.is_none())
                    && delta::is_i386(&old.base.thread) == is_i386
            };
            let can_become = old.as_ref().is_some_and(|old| old.base.can_become(&message) && has_words(old));
            // The numbers of a frame's modules mean what they meant if the modules are the same.
            let is_still = can_become && same_modules && old.as_ref().is_some_and(|old| old.is_still(thread));
            if !is_still {
                let like = old.as_ref().or(threads.last()).map_or(0, |other| other.base.thread.stack);
                thread::fill(thread, &modules, like, &mut self.tables, &mut message);
            }
            threads.push(match old {
                Some(mut old) if can_become => {
                    tell_counts(old.base.count(&message), &mut counters);
                    if !is_still {
                        if old.base.tell_difference(&message, &thread.registers, place, &mut difference) {
                            fields.message(fields::CHANGED_THREADS, &difference);
                            old.base.apply(&mut difference);
                        }
                        old.become_like(thread);
                    }
                    old
                }
                _ => {
                    message.registers = Some((&thread.registers).into());
                    fields.message(fields::NEW_THREADS, &message);
                    Box::new(StoredThread::new(std::mem::take(&mut message), thread))
                }
            });
        }
        gone.extend(before.map(|old| old.base.thread.tid));
        let rest = pb::Change {
            number: snapshot.number,
            realtime_ns: snapshot.taken.realtime_ns,
            monotonic_ns: snapshot.taken.monotonic_ns,
            stop: pb::StopMode::from(snapshot.stop).into(),
            window_ns: nanoseconds(snapshot.window),
            took_ns: nanoseconds(snapshot.took),
            process: (process != previous.process).then(|| process.clone()),
            modules: if same_modules { Vec::new() } else { modules.clone() },
            notices: self.notices(snapshot),
            memory: snapshot.memory.iter().map(|piece| self.tables.memory(piece)).collect(),
            generated: snapshot.generated.iter().map(|code| self.generated(code)).collect(),
            gone,
            counters: Some(counters),
            after: previous.number,
            wait_facts: (snapshot.wait_facts != previous.wait_facts).then(|| {
                wait_facts::encode_change(&snapshot.wait_facts, &previous.wait_facts, |tid| {
                    let place = snapshot.threads.binary_search_by_key(&tid, |thread| thread.tid);
                    place.is_ok_and(|place| snapshot.threads[place].acquired.unchanged_since().is_some())
                })
            }),
            ..Default::default()
        };
        fields.all_of(&rest);
        fields.bytes(fields::TABLES, &self.tables.take());
        let since_whole = previous.since_whole + 1;
        let wait_facts = snapshot.wait_facts.clone();
        self.previous =
            Some(LastWritten { number: snapshot.number, since_whole, process, modules, wait_facts, threads });
        fields
    }

    fn process(&mut self, snapshot: &Snapshot) -> pb::Process {
        let process = &snapshot.process;
        pb::Process {
            pid: process.id.pid.0,
            start_ticks: process.id.start.0,
            inner_pid: process.inner_pid,
            name: self.tables.string(&process.name),
            executable: self.tables.string(&process.executable),
            command: process.command.iter().map(|word| self.tables.string(word)).collect(),
        }
    }

    fn notices(&mut self, snapshot: &Snapshot) -> Vec<pb::Notice> {
        snapshot.notices.iter().map(|lost| notice::encode(lost, |path| self.tables.string(path))).collect()
    }

    fn names(&mut self, snapshot: &Snapshot, modules: &[u32]) {
        snapshot.named.iter().for_each(|code| self.tables.name(code, modules));
    }

    fn generated(&mut self, code: &GeneratedCode) -> pb::GeneratedCode {
        let GeneratedCode { address, range, name } = code;
        pb::GeneratedCode { address: address.0, start: range.start.0, end: range.end.0, name: self.tables.string(name) }
    }
}

fn tell_counts(counts: Counts, counters: &mut pb::Counters) {
    let Counts { cpu, run_queue_wait, voluntary_switches, involuntary_switches, last_cpu_plus_one, hold } = counts;
    counters.cpu.push(cpu);
    counters.run_queue_wait.push(run_queue_wait);
    counters.voluntary_switches.push(voluntary_switches);
    counters.involuntary_switches.push(involuntary_switches);
    counters.last_cpu_plus_one.push(last_cpu_plus_one);
    counters.hold.push(hold);
}
