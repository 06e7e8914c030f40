//! The same as JSON, for scripts. README.md beside this documents the fields; they are only ever
//! added to.
//!
//! Addresses and registers are strings of hexadecimal digits, because most readers of JSON keep 53
//! bits of a number. Times are nanoseconds.

mod locals;
mod symbols;
mod thread;
mod verdict;

pub use symbols::symbols;
pub use verdict::verdict;

use std::cell::Cell;
use std::io::{self, Write};
use std::time::Duration;

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use super::list::ListedRecording;
use super::show::Selection;
use crate::analysis::{Change, Comparison, Sameness};
use crate::model::{Snapshot, StopMode, Subject, Summary};
use crate::symbols::Names;
use crate::variables::Locals;
use thread::{
    CallFields, FrameFields, MemoryFields, MomentFields, ThreadFields, call_fields, frame_fields, memory_fields,
    moment_fields, thread_fields,
};

#[derive(Serialize)]
struct SnapshotDocument<'a> {
    format: &'static str,
    #[serde(flatten)]
    snapshot: SnapshotFields<'a>,
    stop: &'static str,
    window_ns: u64,
    took_ns: u64,
    longest_hold_ns: u64,
    threads: Vec<ThreadFields<'a>>,
    memory: Vec<MemoryFields<'a>>,
    notices: Vec<NoticeFields>,
    files_not_found: Vec<FileFields<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files_without_names: Vec<FileFields<'a>>,
}

#[derive(Serialize)]
struct FileFields<'a> {
    path: &'a str,
    build_id: Option<String>,
}

#[derive(Serialize)]
struct SnapshotFields<'a> {
    number: u64,
    realtime_ns: i64,
    monotonic_ns: u64,
    pid: i32,
    inner_pid: i32,
    program: &'a str,
    executable: &'a str,
    command: &'a [String],
}

#[derive(Serialize)]
struct NoticeFields {
    tid: Option<i32>,
    module: Option<String>,
    text: String,
    /// Whether something is missing because of it.
    loss: bool,
}

#[derive(Serialize)]
struct DiffDocument<'a> {
    format: &'static str,
    before: SnapshotFields<'a>,
    after: SnapshotFields<'a>,
    threads: Vec<ChangeFields<'a>>,
}

#[derive(Serialize)]
struct ChangeFields<'a> {
    tid: i32,
    name: &'a str,
    change: &'static str,
    state: &'static str,
    system_call: Option<CallFields>,
    /// For a thread that is the same: for how long and in how many snapshots.
    same_for_ns: Option<u64>,
    same_in_snapshots: Option<u64>,
    unseen_in_snapshots: Option<u64>,
    /// Since which snapshot it has not run, if it has not since the earlier one; and else how often
    /// it has in the time above.
    not_run_since: Option<MomentFields>,
    ran: Option<u64>,
    /// Why its stack is not known to the outermost frame, so that what is the same is only its
    /// inner part.
    incomplete: Option<String>,
    /// For a thread that moved: the outermost frames that differ, and how many outside them agree.
    was: Option<FrameFields<'a>>,
    is: Option<FrameFields<'a>>,
    common_frames: Option<usize>,
}

#[derive(Serialize)]
struct ListDocument<'a, S: Serialize> {
    format: &'static str,
    file: &'a str,
    version: Option<&'a str>,
    host: Option<&'a str>,
    kernel: Option<&'a str>,
    boot_id: Option<&'a str>,
    interval_ns: Option<u64>,
    snapshots: S,
}

/// Snapshots that are written as they come.
struct Listed<I>(Cell<Option<I>>);

impl<I: Iterator<Item = Summary>> Serialize for Listed<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sequence = serializer.serialize_seq(None)?;
        for snapshot in self.0.take().into_iter().flatten() {
            sequence.serialize_element(&list_fields(&snapshot))?;
        }
        sequence.end()
    }
}

#[derive(Serialize)]
struct ListFields<'a> {
    number: u64,
    realtime_ns: i64,
    pid: i32,
    program: &'a str,
    threads: usize,
    /// How many have not run since the snapshot before.
    not_run: Option<usize>,
    longest_hold_ns: u64,
    window_ns: u64,
    losses: usize,
}

/// Writes a snapshot as one object on one line.
pub fn show(
    out: &mut dyn Write,
    snapshot: &Snapshot,
    names: &Names,
    variables: &Locals,
    selection: &Selection,
) -> io::Result<()> {
    let threads = selection.threads(snapshot);
    let document = SnapshotDocument {
        format: "hangsnap.snapshot/1",
        snapshot: snapshot_fields(snapshot),
        stop: match snapshot.stop {
            StopMode::None => "none",
            StopMode::OneAtATime => "one-at-a-time",
            StopMode::All => "all",
        },
        window_ns: nanoseconds(snapshot.window),
        took_ns: nanoseconds(snapshot.took),
        longest_hold_ns: nanoseconds(snapshot.longest_hold()),
        threads: threads
            .into_iter()
            .map(|thread| thread_fields(snapshot, thread, (names, variables), selection))
            .collect(),
        memory: snapshot.memory.iter().map(memory_fields).collect(),
        notices: snapshot
            .notices
            .iter()
            .map(|notice| NoticeFields {
                tid: if let Subject::Thread(tid) = &notice.subject { Some(tid.0) } else { None },
                module: if let Subject::Module(path) = &notice.subject { Some(path.clone()) } else { None },
                text: notice.reason.to_string(),
                loss: notice.is_loss(),
            })
            .collect(),
        files_not_found: names
            .missing()
            .iter()
            .map(|file| FileFields { path: &file.path, build_id: file.build_id.as_ref().map(ToString::to_string) })
            .collect(),
        files_without_names: names
            .stripped()
            .iter()
            .map(|file| FileFields { path: &file.path, build_id: file.build_id.as_ref().map(ToString::to_string) })
            .collect(),
    };
    line(out, &document)
}

/// Writes a comparison as one object on one line.
pub fn diff(out: &mut dyn Write, comparison: &Comparison<'_>, names: &Names) -> io::Result<()> {
    let threads = comparison.changes.iter().map(|change| change_fields(comparison, &change.change, names)).collect();
    let document = DiffDocument {
        format: "hangsnap.diff/1",
        before: snapshot_fields(comparison.before),
        after: snapshot_fields(comparison.after),
        threads,
    };
    line(out, &document)
}

/// Writes a recording's list as one object on one line.
pub fn list(out: &mut dyn Write, listed: &ListedRecording, snapshots: impl Iterator<Item = Summary>) -> io::Result<()> {
    let recording = listed.recording.as_ref();
    let document = ListDocument {
        format: "hangsnap.list/1",
        file: &listed.path,
        version: recording.map(|recording| recording.version.as_str()),
        host: recording.map(|recording| recording.host.as_str()),
        kernel: recording.map(|recording| recording.kernel.as_str()),
        boot_id: recording.map(|recording| recording.boot_id.as_str()),
        interval_ns: recording.and_then(|recording| recording.interval).map(nanoseconds),
        snapshots: Listed(Cell::new(Some(snapshots))),
    };
    line(out, &document)
}

fn list_fields(snapshot: &Summary) -> ListFields<'_> {
    ListFields {
        number: snapshot.number,
        realtime_ns: snapshot.taken.realtime_ns,
        pid: snapshot.pid.0,
        program: &snapshot.program,
        threads: snapshot.threads,
        not_run: snapshot.not_run,
        longest_hold_ns: nanoseconds(snapshot.longest_hold),
        window_ns: nanoseconds(snapshot.window),
        losses: snapshot.losses,
    }
}

fn line(out: &mut dyn Write, document: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, document)?;
    writeln!(out)
}

fn snapshot_fields(snapshot: &Snapshot) -> SnapshotFields<'_> {
    let process = &snapshot.process;
    SnapshotFields {
        number: snapshot.number,
        realtime_ns: snapshot.taken.realtime_ns,
        monotonic_ns: snapshot.taken.monotonic_ns,
        pid: process.id.pid.0,
        inner_pid: process.inner_pid,
        program: &process.name,
        executable: &process.executable,
        command: &process.command,
    }
}

fn change_fields<'a>(comparison: &Comparison<'a>, change: &Change<'a>, names: &'a Names) -> ChangeFields<'a> {
    let Comparison { before, after, .. } = comparison;
    let (word, thread) = match change {
        Change::Gone(thread) => ("gone", *thread),
        Change::New(thread) => ("new", *thread),
        Change::Same { thread, .. } => ("same", *thread),
        Change::Moved { after: thread, .. } => ("moved", *thread),
        Change::Unseen(thread) => ("unseen", *thread),
    };
    let (streak, sameness) = match change {
        Change::Same { streak, sameness, .. } => (Some(*streak), Some(*sameness)),
        _ => (None, None),
    };
    let (not_run_since, ran) = match sameness {
        Some(Sameness::NotRun(since)) => (Some(moment_fields(since)), Some(0)),
        Some(Sameness::Found { ran }) => (None, ran),
        None => (None, None),
    };
    let (was, is, common_frames) = match change {
        Change::Moved { was, is, common, .. } => (*was, *is, Some(*common)),
        _ => (None, None, None),
    };
    ChangeFields {
        tid: thread.tid.0,
        name: &thread.status.name,
        change: word,
        state: thread.status.state.name(),
        system_call: thread.system_call.map(|call| call_fields(call, after, thread)),
        same_for_ns: streak.map(|streak| nanoseconds(after.taken.since(streak.since))),
        same_in_snapshots: streak.map(|streak| streak.samples),
        unseen_in_snapshots: streak.map(|streak| streak.unseen),
        not_run_since,
        ran,
        incomplete: (thread.stack.end != crate::model::WalkEnd::Root).then(|| thread.stack.end.describe()),
        was: was.map(|frame| frame_fields(before, frame, names)),
        is: is.map(|frame| frame_fields(after, frame, names)),
        common_frames,
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
