//! Messages to model.

use std::collections::HashMap;
use std::time::Duration;

use prost::Message;

use super::{Error, Record, notice, pb};
use crate::model::{
    Bias, BuildId, CodeAddress, FileAddress, FloatingPoint, FoundBy, Frame, Gap, GeneratedCode, Hold, KernelWait,
    MemoryOf, MemoryPiece, Module, ModuleIndex, Pid, Place, Policy, Process, ProcessId, Recording, Register,
    RegisterName, Registers, RuntimeAddress, Scheduling, SignalSet, SignalSets, Snapshot, SpecialRegisters, Stack,
    StartTime, StopMode, SystemCall, Thread, ThreadState, ThreadStatus, Tid, Timestamp, WalkEnd,
};

/// Frames of all threads of one snapshot together: ten thousand threads of a thousand frames. Stacks are stored once and
/// referred to, so a small file could otherwise ask for any number.
const MAX_FRAMES: usize = 10_000_000;

/// Reads the records of one file, in order, and keeps the tables they bring.
#[derive(Default)]
pub struct Decoder {
    strings: Vec<String>,
    modules: Vec<Module>,
    frames: Vec<pb::Frame>,
    stacks: Vec<pb::Stack>,
}

impl Decoder {
    pub fn record(&mut self, payload: &[u8]) -> Result<Record, Error> {
        Ok(match pb::Record::decode(payload)?.kind {
            Some(pb::record::Kind::Recording(message)) => Record::Recording(recording(message)),
            Some(pb::record::Kind::Snapshot(message)) => Record::Snapshot(Box::new(self.snapshot(message)?)),
            None => Record::Unknown,
        })
    }

    fn snapshot(&mut self, message: pb::Snapshot) -> Result<Snapshot, Error> {
        self.add(message.tables.unwrap_or_default())?;
        let frames = message
            .threads
            .iter()
            .map(|thread| self.stacks.get(thread.stack as usize).map_or(0, |stack| stack.frames.len()));
        if frames.sum::<usize>() > MAX_FRAMES {
            return Err(Error::Unknown("the number of its frames"));
        }
        let process = message.process.ok_or(Error::Unknown("the process"))?;
        let modules: Vec<Module> = message
            .modules
            .iter()
            .map(|number| self.modules.get(*number as usize).cloned().ok_or(Error::Dangling("a module")))
            .collect::<Result<_, _>>()?;
        // The file numbers modules through all snapshots, the model within one.
        let places: HashMap<u32, ModuleIndex> =
            message.modules.iter().zip(0..).map(|(number, index)| (*number, ModuleIndex(index))).collect();
        Ok(Snapshot {
            number: message.number,
            taken: Timestamp { realtime_ns: message.realtime_ns, monotonic_ns: message.monotonic_ns },
            process: Process {
                id: ProcessId { pid: Pid(process.pid), start: StartTime(process.start_ticks) },
                inner_pid: process.inner_pid,
                name: self.string(process.name)?,
                executable: self.string(process.executable)?,
                command: process.command.iter().map(|number| self.string(*number)).collect::<Result<_, _>>()?,
            },
            stop: stop_mode(message.stop)?,
            window: Duration::from_nanos(message.window_ns),
            took: Duration::from_nanos(message.took_ns),
            modules,
            threads: message
                .threads
                .into_iter()
                .map(|thread| self.thread(thread, &places))
                .collect::<Result<_, _>>()?,
            memory: message.memory.into_iter().map(memory).collect::<Result<_, _>>()?,
            generated: message.generated.iter().map(|code| self.generated(code)).collect::<Result<_, _>>()?,
            notices: message
                .notices
                .into_iter()
                .map(|lost| notice::decode(lost, |number| self.string(number)))
                .collect::<Result<_, _>>()?,
        })
    }

    fn add(&mut self, tables: pb::Tables) -> Result<(), Error> {
        let rows_before = [tables.strings_before, tables.modules_before, tables.frames_before, tables.stacks_before];
        if rows_before == [0; 4] && !tables.strings.is_empty() {
            *self = Self::default();
        }
        let complete = |before: u32, rows: usize| before as usize == rows;
        if !complete(tables.strings_before, self.strings.len())
            || !complete(tables.modules_before, self.modules.len())
            || !complete(tables.frames_before, self.frames.len())
            || !complete(tables.stacks_before, self.stacks.len())
        {
            return Err(Error::Dangling("rows of the tables"));
        }
        self.strings.extend(tables.strings);
        for module in tables.modules {
            let module = Module {
                path: self.string(module.path)?,
                build_id: (!module.build_id.is_empty()).then_some(BuildId(module.build_id)),
                bias: Bias(module.bias),
                range: RuntimeAddress(module.start)..RuntimeAddress(module.end),
                image: (!module.image.is_empty()).then(|| module.image.into()),
            };
            self.modules.push(module);
        }
        self.frames.extend(tables.frames);
        self.stacks.extend(tables.stacks);
        Ok(())
    }

    fn string(&self, number: u32) -> Result<String, Error> {
        self.strings.get(number as usize).cloned().ok_or(Error::Dangling("a string"))
    }

    fn generated(&self, code: &pb::GeneratedCode) -> Result<GeneratedCode, Error> {
        let range = RuntimeAddress(code.start)..RuntimeAddress(code.end);
        Ok(GeneratedCode { address: RuntimeAddress(code.address), range, name: self.string(code.name)? })
    }

    fn thread(&self, thread: pb::Thread, places: &HashMap<u32, ModuleIndex>) -> Result<Thread, Error> {
        let stack = self.stacks.get(thread.stack as usize).ok_or(Error::Dangling("a stack"))?;
        let frames = stack
            .frames
            .iter()
            .map(|number| {
                let frame = self.frames.get(*number as usize).ok_or(Error::Dangling("a frame"))?;
                decode_frame(frame, places)
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Thread {
            tid: Tid(thread.tid),
            status: self.status(&thread)?,
            hold: match thread.held_ns_plus_one.checked_sub(1) {
                Some(time) => Hold::Held(Duration::from_nanos(time)),
                None if thread.in_place => Hold::InPlace,
                None => Hold::NotCaptured,
            },
            system_call: thread.system_call.map(system_call).transpose()?,
            registers: registers(&thread.registers.unwrap_or_default())?,
            stack: Stack { gap: gap(stack, &frames), frames, end: walk_end(stack)? },
            memory: thread.memory.into_iter().map(memory).collect::<Result<_, _>>()?,
        })
    }

    fn status(&self, thread: &pb::Thread) -> Result<ThreadStatus, Error> {
        let state = char::from_u32(thread.state).map(ThreadState::from_letter);
        let channel = thread.wait_channel_plus_one.checked_sub(1).map(|number| self.string(number)).transpose()?;
        let stack = thread.kernel_stack_known.then(|| {
            thread.kernel_stack.iter().map(|number| self.string(*number)).collect::<Result<Vec<String>, Error>>()
        });
        Ok(ThreadStatus {
            start: StartTime(thread.start_ticks),
            name: self.string(thread.name)?,
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
            wait: KernelWait { channel, stack: stack.transpose()? },
        })
    }
}

fn recording(message: pb::Recording) -> Recording {
    let pb::Recording { version, host, kernel, boot_id, machine, interval_ns } = message;
    let interval = (interval_ns != 0).then(|| Duration::from_nanos(interval_ns));
    Recording { version, host, kernel, boot_id, machine, interval }
}

fn decode_frame(frame: &pb::Frame, places: &HashMap<u32, ModuleIndex>) -> Result<Frame, Error> {
    let place = match frame.module_plus_one.checked_sub(1) {
        Some(number) => Place::InModule {
            module: *places.get(&number).ok_or(Error::Dangling("a module"))?,
            address: FileAddress(frame.address),
        },
        None => Place::Outside(RuntimeAddress(frame.address)),
    };
    let found = match pb::FoundBy::try_from(frame.found_by) {
        Ok(pb::FoundBy::Context) => FoundBy::Context,
        Ok(pb::FoundBy::Cfi) => FoundBy::Cfi,
        Ok(pb::FoundBy::SignalFrame) => FoundBy::SignalFrame,
        Ok(pb::FoundBy::FramePointer) => FoundBy::FramePointer,
        Ok(pb::FoundBy::Inferred) => FoundBy::Inferred,
        Ok(pb::FoundBy::Guess) => FoundBy::Guess,
        Ok(pb::FoundBy::Unspecified) | Err(_) => {
            return Err(Error::Unknown("how a frame was found"));
        }
    };
    let code = if frame.is_return_address { CodeAddress::Return(place) } else { CodeAddress::Pc(place) };
    Ok(Frame { code, found })
}

pub(super) fn stop_mode(number: i32) -> Result<StopMode, Error> {
    match pb::StopMode::try_from(number) {
        Ok(pb::StopMode::None) => Ok(StopMode::None),
        Ok(pb::StopMode::OneAtATime) => Ok(StopMode::OneAtATime),
        Ok(pb::StopMode::All) => Ok(StopMode::All),
        Ok(pb::StopMode::Unspecified) | Err(_) => Err(Error::Unknown("the stop mode")),
    }
}

fn memory(message: pb::Memory) -> Result<MemoryPiece, Error> {
    use pb::memory::What;
    let argument = |number: u32| u8::try_from(number).map_err(|_| Error::Unknown("an argument of a system call"));
    let what = match message.what.ok_or(Error::Unknown("why memory was copied"))? {
        What::Futex(_) => MemoryOf::Futex,
        What::Argument(number) => MemoryOf::Argument(argument(number)?),
        What::Path(number) => MemoryOf::Path(argument(number)?),
        What::Asked(text) => MemoryOf::Asked(text),
    };
    Ok(MemoryPiece { address: RuntimeAddress(message.address), bytes: message.bytes.into(), what })
}

pub(super) fn system_call(message: pb::SystemCall) -> Result<SystemCall, Error> {
    let arguments = message.arguments.try_into().map_err(|_| Error::Unknown("the arguments of a system call"))?;
    Ok(SystemCall { number: message.number, arguments })
}

fn registers(message: &pb::Registers) -> Result<Registers, Error> {
    let mut registers = Registers::default();
    let known = Register::ALL.into_iter().filter(|register| message.known & 1 << *register as u8 != 0);
    if known.clone().count() != message.values.len() {
        return Err(Error::Unknown("the value of a register"));
    }
    for (register, value) in known.zip(&message.values) {
        registers.general.set(register, *value);
    }
    if !message.special.is_empty() {
        let special = message.special.as_slice().try_into().map_err(|_| Error::Unknown("a special register"))?;
        registers.special = Some(SpecialRegisters(special));
    }
    if !message.floating_point.is_empty() {
        registers.floating = Some(FloatingPoint(message.floating_point.as_slice().into()));
    }
    Ok(registers)
}

/// A gap behind more frames than there are lies behind the last one.
fn gap(stack: &pb::Stack, frames: &[Frame]) -> Option<Gap> {
    let after = frames.len().min(stack.gap_after as usize);
    (stack.gap_frames > 0 || stack.gap_bytes > 0).then_some(Gap {
        after,
        frames: stack.gap_frames,
        bytes: stack.gap_bytes,
    })
}

fn walk_end(stack: &pb::Stack) -> Result<WalkEnd, Error> {
    let at = RuntimeAddress(stack.end_address);
    Ok(match pb::WalkEnd::try_from(stack.end) {
        Ok(pb::WalkEnd::Root) => WalkEnd::Root,
        Ok(pb::WalkEnd::NotCaptured) => WalkEnd::NotCaptured,
        Ok(pb::WalkEnd::MemoryNotCopied) => WalkEnd::MemoryNotCopied(at),
        Ok(pb::WalkEnd::UnknownRegister) => WalkEnd::UnknownRegister(
            u16::try_from(stack.end_register)
                .ok()
                .and_then(Register::from_dwarf)
                .ok_or(Error::Unknown("the register that ended a walk"))?
                .into(),
        ),
        Ok(pb::WalkEnd::NoUnwindInfo) => WalkEnd::NoUnwindInfo(at),
        Ok(pb::WalkEnd::BadUnwindInfo) => WalkEnd::BadUnwindInfo(at),
        Ok(pb::WalkEnd::BadReturnAddress) => WalkEnd::BadReturnAddress(at),
        Ok(pb::WalkEnd::NoProgress) => WalkEnd::NoProgress,
        Ok(pb::WalkEnd::TooManyFrames) => WalkEnd::TooManyFrames,
        Ok(pb::WalkEnd::Unspecified) | Err(_) => return Err(Error::Unknown("why a walk ended")),
    })
}
