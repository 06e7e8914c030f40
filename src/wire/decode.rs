//! Messages to model.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::convert::{self, recording, stop_mode, system_call};
use super::delta::{BaseThread, Counts};
use super::pb::record::Kind;
use super::stacks::Stacks;
use super::tables::Rows;
use super::{Error, Record, bundle, notice, packed, pb, wait_facts};
use crate::model::{
    Acquired, FileAddress, Frame, GeneratedCode, KernelWait, ModuleIndex, NamedCode, Pid, Policy, Process, ProcessId,
    RuntimeAddress, Scheduling, SignalSet, SignalSets, Snapshot, StartTime, Thread, ThreadState, ThreadStatus, Tid,
    Timestamp, WaitFacts,
};

/// Frames of all threads of one snapshot together: ten thousand threads of a thousand frames.
/// Stacks are stored once and referred to, so a small file could otherwise ask for any number.
const MAX_FRAMES: usize = 10_000_000;

/// Bytes of memory of one snapshot: that of ten thousand threads with stacks of 64 KiB. Chunks are
/// stored once and referred to, too.
const MAX_MEMORY: usize = 640 << 20;

/// Reads the records of one file, in order, and keeps what later ones refer to.
#[derive(Default)]
pub struct Decoder {
    rows: Rows,
    stacks: Stacks,
    previous: Option<LastRead>,
    /// What the last thread of the current record waits for, with the rows that describe it.
    wait: Option<(WaitRows, Arc<KernelWait>)>,
}

/// The rows of a kernel's function and of its frames, where these are known.
type WaitRows = (u32, Option<Vec<u32>>);

/// The snapshot that was read last, as far as the next may refer to it.
struct LastRead {
    number: u64,
    process: pb::Process,
    modules: Vec<u32>,
    wait_facts: Arc<WaitFacts>,
    threads: Vec<BaseThread>,
}

/// What a record says of its own snapshot alone.
struct Own {
    taken: Timestamp,
    stop: i32,
    window_ns: u64,
    took_ns: u64,
    notices: Vec<pb::Notice>,
    memory: Vec<pb::Memory>,
    generated: Vec<pb::GeneratedCode>,
}

impl Decoder {
    /// Reads the next record of a file.
    pub fn record(&mut self, payload: &[u8]) -> Result<Record, Error> {
        let (own, previous) = match packed::unpack(payload)? {
            Some(Kind::Recording(message)) => return Ok(Record::Recording(recording(message))),
            Some(Kind::Snapshot(message)) => self.whole(message)?,
            Some(Kind::Change(message)) => self.change(message)?,
            Some(Kind::Bundled(message)) => return Ok(Record::Bundled(Box::new(bundle::decode(message)?))),
            Some(Kind::Packed(_)) | None => return Ok(Record::Unknown),
        };
        let snapshot = self.build(own, &previous)?;
        self.previous = Some(previous);
        Ok(Record::Snapshot(Box::new(snapshot)))
    }

    /// Takes in what later snapshots refer to, without building this one.
    pub fn pass(&mut self, payload: &[u8]) -> Result<(), Error> {
        let (_, previous) = match packed::unpack(payload)? {
            Some(Kind::Snapshot(message)) => self.whole(message)?,
            Some(Kind::Change(message)) => self.change(message)?,
            Some(Kind::Recording(_) | Kind::Packed(_) | Kind::Bundled(_)) | None => return Ok(()),
        };
        self.previous = Some(previous);
        Ok(())
    }

    fn add(&mut self, tables: Option<pb::Tables>) -> Result<(), Error> {
        if self.rows.add(tables.unwrap_or_default())? {
            self.stacks = Stacks::default();
        }
        Ok(())
    }

    fn whole(&mut self, message: pb::Snapshot) -> Result<(Own, LastRead), Error> {
        self.previous = None;
        self.add(message.tables)?;
        let own = Own {
            taken: Timestamp { realtime_ns: message.realtime_ns, monotonic_ns: message.monotonic_ns },
            stop: message.stop,
            window_ns: message.window_ns,
            took_ns: message.took_ns,
            notices: message.notices,
            memory: message.memory,
            generated: message.generated,
        };
        let previous = LastRead {
            number: message.number,
            process: message.process.ok_or(Error::Unknown("the process"))?,
            modules: message.modules,
            wait_facts: message.wait_facts.as_ref().map(wait_facts::decode).map(Arc::new).unwrap_or_default(),
            threads: message.threads.into_iter().map(BaseThread::new).collect::<Result<_, _>>()?,
        };
        in_order(&previous.threads)?;
        Ok((own, previous))
    }

    /// Works out a snapshot from the one before. What fails leaves nothing that a later one could
    /// be worked out from.
    fn change(&mut self, message: pb::Change) -> Result<(Own, LastRead), Error> {
        let previous = self.previous.take().filter(|previous| previous.number == message.after);
        let mut previous = previous.ok_or(Error::Dangling("the snapshot before"))?;
        self.add(message.tables)?;
        previous.number = message.number;
        previous.process = message.process.unwrap_or(previous.process);
        if !message.modules.is_empty() {
            previous.modules = message.modules;
        }
        let told: HashSet<i32> = message.gone.into_iter().chain(message.threads.iter().map(|new| new.tid)).collect();
        previous.threads.retain(|base| !told.contains(&base.thread.tid));
        add_counts(&mut previous.threads, &message.counters.unwrap_or_default())?;
        if !message.threads.is_empty() {
            let new: Vec<BaseThread> = message.threads.into_iter().map(BaseThread::new).collect::<Result<_, _>>()?;
            previous.threads.extend(new);
            previous.threads.sort_by_key(|base| base.thread.tid);
        }
        in_order(&previous.threads)?;
        for mut change in message.changed {
            let base = previous.threads.get_mut(change.place as usize).ok_or(Error::Dangling("a thread"))?;
            change.registers.as_ref().map_or(Ok(()), pb::RegisterChange::check)?;
            base.apply(&mut change);
        }
        if let Some(facts) = &message.wait_facts {
            let threads = &previous.threads;
            let is_unchanged = |tid: Tid| {
                let place = threads.binary_search_by_key(&tid.0, |base| base.thread.tid);
                place.is_ok_and(|place| threads[place].thread.unchanged_since.is_some())
            };
            previous.wait_facts = Arc::new(wait_facts::decode_change(facts, &previous.wait_facts, is_unchanged));
        }
        let own = Own {
            taken: Timestamp { realtime_ns: message.realtime_ns, monotonic_ns: message.monotonic_ns },
            stop: message.stop,
            window_ns: message.window_ns,
            took_ns: message.took_ns,
            notices: message.notices,
            memory: message.memory,
            generated: message.generated,
        };
        Ok((own, previous))
    }

    fn build(&mut self, own: Own, previous: &LastRead) -> Result<Snapshot, Error> {
        self.rows.begin();
        self.wait = None;
        let LastRead { number, process, modules, wait_facts, threads } = previous;
        let frames =
            threads.iter().map(|base| self.rows.stack(base.thread.stack).map_or(0, |stack| stack.frames.len()));
        let memory = own.memory.iter().chain(threads.iter().flat_map(|base| &base.thread.memory));
        if frames.sum::<usize>() > MAX_FRAMES || memory.map(|piece| self.rows.size(piece)).sum::<usize>() > MAX_MEMORY {
            return Err(Error::TooMuch);
        }
        self.stacks.begin(modules);
        let threads: Vec<Thread> = threads.iter().map(|base| self.thread(base)).collect::<Result<_, _>>()?;
        let named = self.named(modules, &threads)?;
        Ok(Snapshot {
            number: *number,
            taken: own.taken,
            process: Process {
                id: ProcessId { pid: Pid(process.pid), start: StartTime(process.start_ticks) },
                inner_pid: process.inner_pid,
                name: self.rows.string(process.name)?,
                executable: self.rows.string(process.executable)?,
                command: process.command.iter().map(|number| self.rows.string(*number)).collect::<Result<_, _>>()?,
            },
            stop: stop_mode(own.stop)?,
            window: Duration::from_nanos(own.window_ns),
            took: Duration::from_nanos(own.took_ns),
            modules: modules.iter().map(|number| self.rows.module(*number)).collect::<Result<_, _>>()?,
            threads,
            memory: own.memory.iter().map(|piece| self.rows.memory(piece)).collect::<Result<_, _>>()?,
            generated: own.generated.iter().map(|code| self.generated(code)).collect::<Result<_, _>>()?,
            named,
            wait_facts: wait_facts.clone(),
            notices: own
                .notices
                .into_iter()
                .map(|lost| notice::decode(lost, |number| self.rows.string(number)))
                .collect::<Result<_, _>>()?,
        })
    }

    /// What the tables say of the addresses of these stacks.
    fn named(&self, modules: &[u32], threads: &[Thread]) -> Result<Vec<NamedCode>, Error> {
        if !self.rows.has_names() {
            return Ok(Vec::new());
        }
        // Thousands of threads have a few stacks. Each is there once.
        let mut seen = HashSet::new();
        let stacks = threads.iter().map(|thread| &thread.stack).filter(|stack| seen.insert(Arc::as_ptr(stack)));
        let places: BTreeSet<(ModuleIndex, FileAddress)> =
            stacks.flat_map(|stack| stack.frames.iter().filter_map(Frame::inside)).collect();
        let named = places.into_iter().filter_map(|(module, address)| {
            let functions = self.rows.functions(*modules.get(module.0 as usize)?, address.0)?;
            Some(functions.map(|functions| NamedCode { module, address, functions }))
        });
        named.collect()
    }

    fn generated(&self, code: &pb::GeneratedCode) -> Result<GeneratedCode, Error> {
        let range = RuntimeAddress(code.start)..RuntimeAddress(code.end);
        Ok(GeneratedCode { address: RuntimeAddress(code.address), range, name: self.rows.string(code.name)? })
    }

    fn thread(&mut self, BaseThread { thread, registers }: &BaseThread) -> Result<Thread, Error> {
        Ok(Thread {
            tid: Tid(thread.tid),
            status: self.status(thread)?,
            acquired: match thread.held_ns_plus_one.checked_sub(1) {
                Some(time) => Acquired::Held(Duration::from_nanos(time)),
                None if thread.in_place => thread
                    .unchanged_since
                    .and_then(convert::moment)
                    .map_or(Acquired::ReadInPlace, Acquired::UnchangedSince),
                None => Acquired::NotCaptured,
            },
            system_call: thread.system_call.as_ref().map(system_call).transpose()?,
            registers: registers.to_model(),
            stack: self.stacks.of(thread.stack, &self.rows)?,
            memory: thread.memory.iter().map(|piece| self.rows.memory(piece)).collect::<Result<_, _>>()?,
        })
    }

    /// What it waits for, which is mostly what the thread before it does.
    fn wait(&mut self, thread: &pb::Thread) -> Result<Arc<KernelWait>, Error> {
        let frames = thread.kernel_stack_known.then_some(&thread.kernel_stack);
        if let Some(((channel_plus_one, known), wait)) = &self.wait
            && *channel_plus_one == thread.wait_channel_plus_one
            && known.as_ref() == frames
        {
            return Ok(wait.clone());
        }
        let channel = thread.wait_channel_plus_one.checked_sub(1).map(|number| self.rows.string(number)).transpose()?;
        let string = |number: &u32| self.rows.string(*number);
        let stack = frames.map(|frames| frames.iter().map(string).collect::<Result<_, _>>()).transpose()?;
        let wait = Arc::new(KernelWait { channel, stack });
        self.wait = Some(((thread.wait_channel_plus_one, frames.cloned()), wait.clone()));
        Ok(wait)
    }

    fn status(&mut self, thread: &pb::Thread) -> Result<ThreadStatus, Error> {
        let state = char::from_u32(thread.state).map(ThreadState::from_letter);
        Ok(ThreadStatus {
            start: StartTime(thread.start_ticks),
            name: self.rows.string(thread.name)?,
            state: state.ok_or(Error::Unknown("the state of a thread"))?,
            scheduling: Scheduling {
                cpu_ns: thread.cpu_ns_plus_one.checked_sub(1),
                run_queue_wait_ns: thread.run_queue_wait_ns_plus_one.checked_sub(1),
                voluntary_switches: thread.voluntary_switches_plus_one.checked_sub(1),
                involuntary_switches: thread.involuntary_switches_plus_one.checked_sub(1),
                last_cpu: thread.last_cpu_plus_one.checked_sub(1),
                policy: thread.policy_plus_one.checked_sub(1).map(Policy::from_number),
            },
            signals: thread.signals.map(|sets| SignalSets {
                blocked: SignalSet(sets.blocked),
                ignored: SignalSet(sets.ignored),
                caught: SignalSet(sets.caught),
                pending: SignalSet(sets.pending),
                process_pending: SignalSet(sets.process_pending),
            }),
            worker: convert::worker(thread.kernel_worker),
            wait: self.wait(thread)?,
        })
    }
}

/// Threads are in the order of their ids, each there once.
fn in_order(threads: &[BaseThread]) -> Result<(), Error> {
    match threads.is_sorted_by(|one, next| one.thread.tid < next.thread.tid) {
        true => Ok(()),
        false => Err(Error::Unknown("the order of its threads")),
    }
}

/// Adds what is counted to the threads that were there before; there is one number of each kind for
/// each of them.
fn add_counts(threads: &mut [BaseThread], counters: &pb::Counters) -> Result<(), Error> {
    let pb::Counters { cpu, run_queue_wait, voluntary_switches, involuntary_switches, last_cpu_plus_one, hold } =
        counters;
    let columns = [cpu.len(), run_queue_wait.len(), voluntary_switches.len(), involuntary_switches.len(), hold.len()];
    if columns.iter().any(|length| *length != threads.len()) || last_cpu_plus_one.len() != threads.len() {
        return Err(Error::Dangling("threads that it counts something of"));
    }
    for (place, base) in threads.iter_mut().enumerate() {
        base.add(Counts {
            cpu: cpu[place],
            run_queue_wait: run_queue_wait[place],
            voluntary_switches: voluntary_switches[place],
            involuntary_switches: involuntary_switches[place],
            last_cpu_plus_one: last_cpu_plus_one[place],
            hold: hold[place],
        });
    }
    Ok(())
}
