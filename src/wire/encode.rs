//! Model to messages.

use std::collections::HashMap;
use std::hash::Hash;

use prost::Message;

use super::{notice, pb};
use crate::model::{
    CodeAddress, FoundBy, Frame, Gap, GeneratedCode, Hold, MemoryOf, MemoryPiece, Module, Place, Recording, Registers,
    Snapshot, Stack, StopMode, SystemCall, Thread, ThreadStatus, WalkEnd,
};

/// Rows that were given numbers, and those of them that the current record brings.
struct Table<K, M> {
    numbers: HashMap<K, u32>,
    fresh: Vec<M>,
}

impl<K: Eq + Hash, M> Table<K, M> {
    fn new() -> Self {
        Self { numbers: HashMap::new(), fresh: Vec::new() }
    }

    fn number(&mut self, key: K, row: impl FnOnce() -> M) -> u32 {
        // More rows than 2^32 do not fit in memory.
        let next = u32::try_from(self.numbers.len()).unwrap_or(u32::MAX);
        *self.numbers.entry(key).or_insert_with(|| {
            self.fresh.push(row());
            next
        })
    }

    /// How many rows came before this record's, and this record's.
    fn take(&mut self) -> (u32, Vec<M>) {
        let fresh = std::mem::take(&mut self.fresh);
        (u32::try_from(self.numbers.len() - fresh.len()).unwrap_or(u32::MAX), fresh)
    }
}

/// Turns what is to be stored in one file into records, remembering what the file already has, until little of it is of
/// use.
pub struct Encoder {
    strings: Table<String, String>,
    modules: Table<Module, pb::Module>,
    frames: Table<(u32, u64, bool, FoundBy), pb::Frame>,
    stacks: Table<(Vec<u32>, Option<Gap>, WalkEnd), pb::Stack>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self { strings: Table::new(), modules: Table::new(), frames: Table::new(), stacks: Table::new() }
    }
}

impl Encoder {
    pub fn recording(&mut self, recording: &Recording) -> Vec<u8> {
        let Recording { version, host, kernel, boot_id, machine, interval } = recording;
        let message = pb::Recording {
            version: version.clone(),
            host: host.clone(),
            kernel: kernel.clone(),
            boot_id: boot_id.clone(),
            machine: machine.clone(),
            interval_ns: interval.map_or(0, nanoseconds),
        };
        pb::Record { kind: Some(pb::record::Kind::Recording(message)) }.encode_to_vec()
    }

    pub fn snapshot(&mut self, snapshot: &Snapshot) -> Vec<u8> {
        // A process that has executed a program has everything elsewhere: what is remembered would never be used again,
        // and one that executes for ever would make it grow for ever.
        let fresh = snapshot.modules.iter().filter(|module| !self.modules.numbers.contains_key(module)).count();
        if 2 * fresh >= snapshot.modules.len().max(1) {
            *self = Self::default();
        }
        let modules: Vec<u32> = snapshot.modules.iter().map(|module| self.module(module)).collect();
        let process = &snapshot.process;
        let process = pb::Process {
            pid: process.id.pid.0,
            start_ticks: process.id.start.0,
            inner_pid: process.inner_pid,
            name: self.string(&process.name),
            executable: self.string(&process.executable),
            command: process.command.iter().map(|word| self.string(word)).collect(),
        };
        let threads = snapshot.threads.iter().map(|thread| self.thread(thread, &modules)).collect();
        let generated = snapshot.generated.iter().map(|code| self.generated(code)).collect();
        let notices = snapshot.notices.iter().map(|lost| notice::encode(lost, |path| self.string(path))).collect();
        let (strings_before, strings) = self.strings.take();
        let (modules_before, new_modules) = self.modules.take();
        let (frames_before, frames) = self.frames.take();
        let (stacks_before, stacks) = self.stacks.take();
        let message = pb::Snapshot {
            number: snapshot.number,
            realtime_ns: snapshot.taken.realtime_ns,
            monotonic_ns: snapshot.taken.monotonic_ns,
            process: Some(process),
            stop: stop_mode(snapshot.stop).into(),
            window_ns: nanoseconds(snapshot.window),
            tables: Some(pb::Tables {
                strings_before,
                strings,
                modules_before,
                modules: new_modules,
                frames_before,
                frames,
                stacks_before,
                stacks,
            }),
            modules,
            threads,
            notices,
            took_ns: nanoseconds(snapshot.took),
            memory: snapshot.memory.iter().map(memory).collect(),
            generated,
        };
        pb::Record { kind: Some(pb::record::Kind::Snapshot(message)) }.encode_to_vec()
    }

    fn string(&mut self, text: &str) -> u32 {
        if let Some(number) = self.strings.numbers.get(text) {
            return *number;
        }
        self.strings.number(text.to_owned(), || text.to_owned())
    }

    fn module(&mut self, module: &Module) -> u32 {
        let path = self.string(&module.path);
        self.modules.number(module.clone(), || pb::Module {
            path,
            build_id: module.build_id.as_ref().map(|id| id.0.clone()).unwrap_or_default(),
            bias: module.bias.0,
            start: module.range.start.0,
            end: module.range.end.0,
            image: module.image.as_deref().unwrap_or_default().to_vec(),
        })
    }

    fn generated(&mut self, code: &GeneratedCode) -> pb::GeneratedCode {
        let GeneratedCode { address, range, name } = code;
        pb::GeneratedCode { address: address.0, start: range.start.0, end: range.end.0, name: self.string(name) }
    }

    fn thread(&mut self, thread: &Thread, modules: &[u32]) -> pb::Thread {
        let plus_one = |value: Option<u64>| value.map_or(0, |value| value.saturating_add(1));
        let ThreadStatus { start, name, state, scheduling, signals, wait } = &thread.status;
        pb::Thread {
            tid: thread.tid.0,
            start_ticks: start.0,
            name: self.string(name),
            state: state.letter().into(),
            cpu_ns_plus_one: plus_one(scheduling.cpu_ns),
            held_ns_plus_one: plus_one(thread.hold.time().map(nanoseconds)),
            system_call: thread.system_call.map(system_call),
            registers: Some(registers(&thread.registers)),
            stack: self.stack(&thread.stack, modules),
            in_place: thread.hold == Hold::InPlace,
            run_queue_wait_ns_plus_one: plus_one(scheduling.run_queue_wait_ns),
            voluntary_switches_plus_one: plus_one(scheduling.voluntary_switches),
            involuntary_switches_plus_one: plus_one(scheduling.involuntary_switches),
            last_cpu_plus_one: scheduling.last_cpu.map_or(0, |cpu| cpu.saturating_add(1)),
            policy_plus_one: scheduling.policy.map_or(0, |policy| policy.number().saturating_add(1)),
            signals: signals.map(|sets| pb::Signals {
                blocked: sets.blocked.0,
                ignored: sets.ignored.0,
                caught: sets.caught.0,
                pending: sets.pending.0,
                process_pending: sets.process_pending.0,
            }),
            wait_channel_plus_one: wait.channel.as_ref().map_or(0, |name| self.string(name) + 1),
            kernel_stack: wait.stack.iter().flatten().map(|frame| self.string(frame)).collect(),
            kernel_stack_known: wait.stack.is_some(),
            memory: thread.memory.iter().map(memory).collect(),
        }
    }

    fn stack(&mut self, stack: &Stack, modules: &[u32]) -> u32 {
        let frames: Vec<u32> = stack.frames.iter().map(|frame| self.frame(frame, modules)).collect();
        self.stacks.number((frames.clone(), stack.gap, stack.end), || {
            let (end, end_address, end_register) = walk_end(stack.end);
            let Gap { after, frames: gap_frames, bytes: gap_bytes } = stack.gap.unwrap_or_default();
            let gap_after = u32::try_from(after).unwrap_or(u32::MAX);
            pb::Stack { frames, end: end.into(), end_address, end_register, gap_after, gap_frames, gap_bytes }
        })
    }

    fn frame(&mut self, frame: &Frame, modules: &[u32]) -> u32 {
        let (module_plus_one, address) = match frame.code.exact() {
            // A frame's module is one of its snapshot's; were it not, its address would be all that is known.
            Place::InModule { module, address } => {
                (modules.get(module.0 as usize).map_or(0, |number| number + 1), address.0)
            }
            Place::Outside(address) => (0, address.0),
        };
        let is_return_address = matches!(frame.code, CodeAddress::Return(_));
        self.frames.number((module_plus_one, address, is_return_address, frame.found), || pb::Frame {
            module_plus_one,
            address,
            is_return_address,
            found_by: match frame.found {
                FoundBy::Context => pb::FoundBy::Context,
                FoundBy::Cfi => pb::FoundBy::Cfi,
                FoundBy::SignalFrame => pb::FoundBy::SignalFrame,
                FoundBy::FramePointer => pb::FoundBy::FramePointer,
                FoundBy::Inferred => pb::FoundBy::Inferred,
                FoundBy::Guess => pb::FoundBy::Guess,
            }
            .into(),
        })
    }
}

fn registers(registers: &Registers) -> pb::Registers {
    let mut message = pb::Registers::default();
    for (register, value) in registers.general.iter() {
        message.known |= 1 << register as u8;
        message.values.push(value);
    }
    message.special = registers.special.map(|special| special.0.to_vec()).unwrap_or_default();
    message.floating_point = registers.floating.as_ref().map(|floating| floating.0.to_vec()).unwrap_or_default();
    message
}

pub(super) fn stop_mode(stop: StopMode) -> pb::StopMode {
    match stop {
        StopMode::None => pb::StopMode::None,
        StopMode::OneAtATime => pb::StopMode::OneAtATime,
        StopMode::All => pb::StopMode::All,
    }
}

pub(super) fn system_call(call: SystemCall) -> pb::SystemCall {
    pb::SystemCall { number: call.number, arguments: call.arguments.to_vec() }
}

fn memory(piece: &MemoryPiece) -> pb::Memory {
    use pb::memory::What;
    pb::Memory {
        address: piece.address.0,
        bytes: piece.bytes.to_vec(),
        what: Some(match &piece.what {
            MemoryOf::Futex => What::Futex(pb::Nothing {}),
            MemoryOf::Argument(number) => What::Argument((*number).into()),
            MemoryOf::Path(number) => What::Path((*number).into()),
            MemoryOf::Asked(text) => What::Asked(text.clone()),
        }),
    }
}

fn walk_end(end: WalkEnd) -> (pb::WalkEnd, u64, u32) {
    match end {
        WalkEnd::Root => (pb::WalkEnd::Root, 0, 0),
        WalkEnd::NotCaptured => (pb::WalkEnd::NotCaptured, 0, 0),
        WalkEnd::MemoryNotCopied(at) => (pb::WalkEnd::MemoryNotCopied, at.0, 0),
        WalkEnd::UnknownRegister(register) => (pb::WalkEnd::UnknownRegister, 0, register.number().into()),
        WalkEnd::NoUnwindInfo(at) => (pb::WalkEnd::NoUnwindInfo, at.0, 0),
        WalkEnd::BadUnwindInfo(at) => (pb::WalkEnd::BadUnwindInfo, at.0, 0),
        WalkEnd::BadReturnAddress(at) => (pb::WalkEnd::BadReturnAddress, at.0, 0),
        WalkEnd::NoProgress => (pb::WalkEnd::NoProgress, 0, 0),
        WalkEnd::TooManyFrames => (pb::WalkEnd::TooManyFrames, 0, 0),
    }
}

fn nanoseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
