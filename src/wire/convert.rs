//! Small values of the model as messages, and messages as values: both directions beside each
//! other.
//!
//! Promises: a value that this version writes comes back as it was. A number that it does not know
//! is an error, or the value that stands for unknown ones where the model has one.

use std::time::Duration;

use super::{Error, pb};
use crate::model::{
    Abi, KernelWorker, Moment, Recording, Register, RuntimeAddress, SignalSets, StopMode, SystemCall, WalkEnd,
    X86_64Register,
};

impl From<&Recording> for pb::Recording {
    fn from(recording: &Recording) -> Self {
        let Recording { version, host, kernel, boot_id, machine, interval } = recording;
        Self {
            version: version.clone(),
            host: host.clone(),
            kernel: kernel.clone(),
            boot_id: boot_id.clone(),
            machine: machine.clone(),
            interval_ns: interval.map_or(0, nanoseconds),
        }
    }
}

pub(super) fn recording(message: pb::Recording) -> Recording {
    let pb::Recording { version, host, kernel, boot_id, machine, interval_ns } = message;
    let interval = (interval_ns != 0).then(|| Duration::from_nanos(interval_ns));
    Recording { version, host, kernel, boot_id, machine, interval }
}

impl From<StopMode> for pb::StopMode {
    fn from(stop: StopMode) -> Self {
        match stop {
            StopMode::None => Self::None,
            StopMode::OneAtATime => Self::OneAtATime,
            StopMode::All => Self::All,
        }
    }
}

pub(super) fn stop_mode(number: i32) -> Result<StopMode, Error> {
    match pb::StopMode::try_from(number) {
        Ok(pb::StopMode::None) => Ok(StopMode::None),
        Ok(pb::StopMode::OneAtATime) => Ok(StopMode::OneAtATime),
        Ok(pb::StopMode::All) => Ok(StopMode::All),
        Ok(pb::StopMode::Unspecified) | Err(_) => Err(Error::Unknown("the stop mode")),
    }
}

impl From<SystemCall> for pb::SystemCall {
    fn from(call: SystemCall) -> Self {
        Self { number: call.number, arguments: call.arguments.to_vec(), i386: call.abi == Abi::I386 }
    }
}

pub(super) fn system_call(message: &pb::SystemCall) -> Result<SystemCall, Error> {
    let arguments =
        message.arguments.as_slice().try_into().map_err(|_| Error::Unknown("the arguments of a system call"))?;
    let abi = if message.i386 { Abi::I386 } else { Abi::X86_64 };
    Ok(SystemCall { abi, number: message.number, arguments })
}

impl From<SignalSets> for pb::Signals {
    fn from(sets: SignalSets) -> Self {
        Self {
            blocked: sets.blocked.0,
            ignored: sets.ignored.0,
            caught: sets.caught.0,
            pending: sets.pending.0,
            process_pending: sets.process_pending.0,
        }
    }
}

impl From<Moment> for pb::Moment {
    fn from(Moment { number, realtime_ns }: Moment) -> Self {
        Self { number, realtime_ns }
    }
}

/// The snapshot that is referred to, if it is one.
pub(super) fn moment(told: pb::Moment) -> Option<Moment> {
    let pb::Moment { number, realtime_ns } = told;
    (number > 0).then_some(Moment { number, realtime_ns })
}

impl From<KernelWorker> for pb::KernelWorker {
    fn from(worker: KernelWorker) -> Self {
        match worker {
            KernelWorker::IoUring => Self::IoUring,
            KernelWorker::Other => Self::Other,
        }
    }
}

/// What a thread is a worker of. A kind that only a newer version knows is another.
pub(super) fn worker(number: i32) -> Option<KernelWorker> {
    match pb::KernelWorker::try_from(number) {
        Ok(pb::KernelWorker::Unspecified) => None,
        Ok(pb::KernelWorker::IoUring) => Some(KernelWorker::IoUring),
        Ok(pb::KernelWorker::Other) | Err(_) => Some(KernelWorker::Other),
    }
}

/// What a walk ended at, and the address or register that it is about.
pub(super) fn walk_end(end: WalkEnd) -> (pb::WalkEnd, u64, u32) {
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
        WalkEnd::Unknown => (pb::WalkEnd::Unspecified, 0, 0),
    }
}

pub(super) fn walk_end_of(stack: &pb::Stack) -> Result<WalkEnd, Error> {
    let at = RuntimeAddress(stack.end_address);
    Ok(match pb::WalkEnd::try_from(stack.end) {
        Ok(pb::WalkEnd::Root) => WalkEnd::Root,
        Ok(pb::WalkEnd::NotCaptured) => WalkEnd::NotCaptured,
        Ok(pb::WalkEnd::MemoryNotCopied) => WalkEnd::MemoryNotCopied(at),
        Ok(pb::WalkEnd::UnknownRegister) => WalkEnd::UnknownRegister(
            u16::try_from(stack.end_register)
                .ok()
                .and_then(X86_64Register::from_dwarf)
                .ok_or(Error::Unknown("the register that ended a walk"))?
                .into(),
        ),
        Ok(pb::WalkEnd::NoUnwindInfo) => WalkEnd::NoUnwindInfo(at),
        Ok(pb::WalkEnd::BadUnwindInfo) => WalkEnd::BadUnwindInfo(at),
        Ok(pb::WalkEnd::BadReturnAddress) => WalkEnd::BadReturnAddress(at),
        Ok(pb::WalkEnd::NoProgress) => WalkEnd::NoProgress,
        Ok(pb::WalkEnd::TooManyFrames) => WalkEnd::TooManyFrames,
        Ok(pb::WalkEnd::Unspecified) | Err(_) => WalkEnd::Unknown,
    })
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
