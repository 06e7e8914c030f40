//! A thread's fields: its state, its frames, its registers, the memory copied with it.

use serde::Serialize;

use super::locals::{VariableFields, scope_fields};
use super::nanoseconds;
use crate::model::{
    Abi, Acquired, CodeAddress, FoundBy, Frame, Gap, KernelWorker, MemoryOf, MemoryPiece, Moment, Place, Policy,
    Snapshot, SpecialRegister, SystemCall, Thread, ThreadStatus, WalkEnd,
};
use crate::render::Selection;
use crate::render::blocked_call;
use crate::render::locals::OfThread;
use crate::symbols::Names;
use crate::variables::Locals;

#[derive(Serialize)]
pub(super) struct ThreadFields<'a> {
    tid: i32,
    name: &'a str,
    state: &'static str,
    /// What the kernel runs it for: `io_uring` or `other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_worker: Option<&'static str>,
    cpu_ns: Option<u64>,
    run_queue_wait_ns: Option<u64>,
    voluntary_switches: Option<u64>,
    involuntary_switches: Option<u64>,
    last_cpu: Option<u32>,
    scheduling: Option<&'static str>,
    /// `held`, `in-place` or `not-captured`. One that is unchanged is `in-place`, too, as it was
    /// before there was the next field.
    how: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unchanged_since: Option<MomentFields>,
    held_ns: Option<u64>,
    wait_channel: Option<&'a str>,
    kernel_stack: Option<&'a [String]>,
    signals: Option<SignalFields>,
    system_call: Option<CallFields>,
    frames: Vec<FrameFields<'a>>,
    gap: Option<GapFields>,
    /// Why there are no more frames; null when the outermost was reached.
    incomplete: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registers: Option<serde_json::Map<String, serde_json::Value>>,
    memory: Vec<MemoryFields<'a>>,
}

/// A snapshot that another one refers to.
#[derive(Serialize)]
pub(super) struct MomentFields {
    number: u64,
    realtime_ns: i64,
}

/// Each a list of names.
#[derive(Serialize)]
pub(super) struct SignalFields {
    blocked: Vec<String>,
    ignored: Vec<String>,
    caught: Vec<String>,
    pending: Vec<String>,
    process_pending: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct MemoryFields<'a> {
    address: String,
    /// Two hexadecimal digits a byte.
    bytes: String,
    what: String,
    /// For a path, the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Serialize)]
pub(super) struct CallFields {
    /// `i386` for a call by `int $0x80`.
    #[serde(skip_serializing_if = "Option::is_none")]
    abi: Option<&'static str>,
    number: u32,
    name: Option<&'static str>,
    arguments: [String; 6],
    text: String,
}

/// What was left out of a stack that is too long, after this many of its frames.
#[derive(Serialize)]
pub(super) struct GapFields {
    after: usize,
    frames: u64,
    bytes: u64,
}

#[derive(Serialize)]
pub(super) struct FrameFields<'a> {
    address: String,
    is_return_address: bool,
    found_by: &'static str,
    module: Option<&'a str>,
    build_id: Option<String>,
    file_address: Option<String>,
    functions: Vec<FunctionFields<'a>>,
}

#[derive(Serialize)]
pub(super) struct FunctionFields<'a> {
    name: Option<&'a str>,
    inlined: bool,
    file: Option<&'a str>,
    line: Option<u32>,
    /// The variables in scope, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    locals: Option<Vec<VariableFields<'a>>>,
}

pub(super) fn thread_fields<'a>(
    snapshot: &'a Snapshot,
    thread: &'a Thread,
    (names, variables): (&'a Names, &'a Locals),
    selection: &Selection,
) -> ThreadFields<'a> {
    let ThreadStatus { name, state, scheduling, signals, worker, wait, .. } = &thread.status;
    ThreadFields {
        tid: thread.tid.0,
        name,
        state: state.name(),
        kernel_worker: worker.map(|worker| match worker {
            KernelWorker::IoUring => "io_uring",
            KernelWorker::Other => "other",
        }),
        cpu_ns: scheduling.cpu_ns,
        run_queue_wait_ns: scheduling.run_queue_wait_ns,
        voluntary_switches: scheduling.voluntary_switches,
        involuntary_switches: scheduling.involuntary_switches,
        last_cpu: scheduling.last_cpu,
        scheduling: scheduling.policy.map(Policy::name),
        how: match thread.acquired {
            Acquired::Held(_) => "held",
            Acquired::ReadInPlace | Acquired::UnchangedSince(_) => "in-place",
            Acquired::NotCaptured => "not-captured",
        },
        unchanged_since: thread.acquired.unchanged_since().map(moment_fields),
        held_ns: thread.acquired.time().map(nanoseconds),
        wait_channel: wait.channel.as_deref(),
        kernel_stack: wait.stack.as_deref(),
        signals: signals.map(|sets| SignalFields {
            blocked: sets.blocked.names(),
            ignored: sets.ignored.names(),
            caught: sets.caught.names(),
            pending: sets.pending.names(),
            process_pending: sets.process_pending.names(),
        }),
        system_call: thread.system_call.map(|call| call_fields(call, snapshot, thread)),
        frames: frames_fields(snapshot, thread, (names, variables), selection),
        gap: thread.stack.gap.map(|Gap { after, frames, bytes }| GapFields { after, frames, bytes }),
        incomplete: (thread.stack.end != WalkEnd::Root).then(|| thread.stack.end.describe()),
        registers: selection.registers.then(|| register_fields(thread)),
        memory: thread.memory.iter().map(memory_fields).collect(),
    }
}

/// All frames, those with variables that were asked for.
fn frames_fields<'a>(
    snapshot: &'a Snapshot,
    thread: &'a Thread,
    (names, variables): (&'a Names, &'a Locals),
    selection: &Selection,
) -> Vec<FrameFields<'a>> {
    let wanted = selection.locals.as_ref();
    let locals = wanted.map(|wanted| OfThread { locals: variables, thread: thread.tid, frame: wanted.frame });
    let mut number = 0;
    let mut all = Vec::with_capacity(thread.stack.frames.len());
    for (index, frame) in thread.stack.frames.iter().enumerate() {
        let mut fields = frame_fields(snapshot, frame, names);
        let functions = fields.functions.len();
        for (position, function) in fields.functions.iter_mut().enumerate() {
            let shown = locals.filter(|locals| locals.frame.is_none_or(|wanted| wanted == number + position));
            function.locals =
                shown.map(|of| of.scope(index, position, functions).map(scope_fields).unwrap_or_default());
        }
        number += functions.max(1);
        all.push(fields);
    }
    all
}

pub(super) fn moment_fields(Moment { number, realtime_ns }: Moment) -> MomentFields {
    MomentFields { number, realtime_ns }
}

pub(super) fn memory_fields(piece: &MemoryPiece) -> MemoryFields<'_> {
    MemoryFields {
        address: hexadecimal(piece.address.0),
        bytes: piece.bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        what: piece.what.to_string(),
        text: matches!(piece.what, MemoryOf::Path(_)).then(|| String::from_utf8_lossy(&piece.bytes)),
    }
}

fn register_fields(thread: &Thread) -> serde_json::Map<String, serde_json::Value> {
    let general = thread.registers.general.iter().map(|(register, value)| (register.name(), value));
    let special = thread.registers.special.into_iter().flat_map(|special| {
        SpecialRegister::ALL.into_iter().map(move |register| (register.name(), special.get(register)))
    });
    let floating = thread.registers.floating.iter().flat_map(|floating| {
        let sse = floating.sse().enumerate().map(|(number, value)| (format!("xmm{number}"), format!("{value:#034x}")));
        sse.chain(floating.mxcsr().map(|value| ("mxcsr".to_owned(), hexadecimal(value.into()))))
    });
    let named = general.chain(special).map(|(name, value)| (name.to_owned(), hexadecimal(value)));
    named.chain(floating).map(|(name, value)| (name, value.into())).collect()
}

pub(super) fn call_fields(call: SystemCall, snapshot: &Snapshot, thread: &Thread) -> CallFields {
    CallFields {
        abi: (call.abi == Abi::I386).then_some("i386"),
        number: call.number,
        name: call.name(),
        arguments: call.abi.values(call.arguments).map(hexadecimal),
        text: blocked_call::text(thread, &snapshot.wait_facts).unwrap_or_default(),
    }
}

pub(super) fn frame_fields<'a>(snapshot: &'a Snapshot, frame: &Frame, names: &'a Names) -> FrameFields<'a> {
    let module = snapshot.module_of(frame);
    let (address, file_address) = match (frame.place(), module) {
        (Place::InModule { address, .. }, Some(module)) => (module.bias.to_runtime(address).0, Some(address.0)),
        (Place::InModule { address, .. }, None) => (address.0, Some(address.0)),
        (Place::Outside(address), _) => (address.0, None),
    };
    let functions = names.of(snapshot, frame);
    FrameFields {
        address: hexadecimal(address),
        is_return_address: matches!(frame.code(), CodeAddress::Return(_)),
        found_by: match frame.found() {
            FoundBy::Context => "context",
            FoundBy::Cfi => "cfi",
            FoundBy::SignalFrame => "signal-frame",
            FoundBy::Inferred => "inferred",
            FoundBy::FramePointer => "frame-pointer",
            FoundBy::Guess => "guess",
            FoundBy::Unknown => "unknown",
        },
        module: module.map(|module| module.path.as_str()),
        build_id: module.and_then(|module| module.build_id.as_ref()).map(ToString::to_string),
        file_address: file_address.map(hexadecimal),
        functions: functions
            .iter()
            .enumerate()
            .map(|(position, function)| FunctionFields {
                name: function.name.as_deref(),
                inlined: position + 1 < functions.len(),
                file: function.file.as_deref(),
                line: function.line,
                locals: None,
            })
            .collect(),
    }
}

fn hexadecimal(value: u64) -> String {
    format!("{value:#x}")
}
