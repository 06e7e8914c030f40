//! Stacks as a walker reports them, and hangsnap's own.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{hangsnap, succeed};

/// One frame on the stack, with the functions that were inlined there.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// The instruction pointer. A peer does not always print it.
    pub address: Option<u64>,
    /// Innermost first, as the walker writes them; None where it has no name.
    pub functions: Vec<Option<String>>,
    /// Whether the walker says that the kernel laid this frame for a signal handler.
    pub is_signal: bool,
    /// The position that the walker gives to the frame's innermost function.
    pub number: usize,
}

/// The frames of each thread, innermost first.
pub type Stacks = BTreeMap<i32, Vec<Frame>>;

/// Where in which file a frame's code lies.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Code {
    pub module: String,
    pub build_id: Option<String>,
    /// An address inside the instruction, so that it belongs to the function even after its last
    /// call.
    pub inside: u64,
}

/// What hangsnap alone says of a thread.
#[derive(Clone, Debug)]
pub struct Seen {
    pub name: String,
    pub incomplete: Option<String>,
    /// After how many frames others are missing, if some are.
    pub gap: Option<usize>,
    /// For each frame.
    pub code: Vec<Option<Code>>,
}

/// More threads than are late in all snapshots of a test taken together.
const AGAIN: usize = 1000;

/// A snapshot of hangsnap's.
pub struct Snapshot {
    pub stacks: Stacks,
    pub threads: BTreeMap<i32, Seen>,
    /// How many threads had to be asked for again.
    pub again: usize,
}

impl Snapshot {
    /// Takes one.
    ///
    /// hangsnap lets a thread go that does not stop in time, and says so; on a machine that has
    /// other things to do that happens. Such a thread is asked for again, alone: it stands where it
    /// stood.
    pub fn take(pid: &str) -> Self {
        Self::take_with(pid, &[])
    }

    /// Takes one with these options, too.
    pub fn take_with(pid: &str, options: &[&str]) -> Self {
        let mut snapshot = Self { stacks: BTreeMap::new(), threads: BTreeMap::new(), again: 0 };
        let mut late = snapshot.add(&[&["--pid", pid, "--json"], options].concat());
        while let Some(tid) = late.pop() {
            snapshot.again += 1;
            assert!(snapshot.again < AGAIN, "hangsnap does not get hold of thread {tid} of {pid}");
            let alone = ["--pid", pid, "--json", "--thread", &tid.to_string()];
            late.extend(snapshot.add(&[&alone, options].concat()));
        }
        snapshot
    }

    /// Adds what hangsnap sees, and returns the threads that were too late.
    fn add(&mut self, arguments: &[&str]) -> Vec<i64> {
        let text = succeed(hangsnap().args(arguments));
        let document: Value = serde_json::from_str(&text).expect("hangsnap prints JSON");
        let mut threads = Vec::new();
        for thread in array(&document["threads"]) {
            let tid = thread["tid"].as_i64().expect("a thread has an id");
            threads.push(tid);
            let tid = i32::try_from(tid).expect("an id is small");
            let frames = array(&thread["frames"]);
            self.stacks.insert(tid, read_frames(frames));
            let seen = Seen {
                name: thread["name"].as_str().expect("a thread has a name").to_owned(),
                incomplete: thread["incomplete"].as_str().map(str::to_owned),
                gap: thread["gap"]["after"].as_u64().and_then(|after| usize::try_from(after).ok()),
                code: frames.iter().map(code).collect(),
            };
            self.threads.insert(tid, seen);
        }
        let is_late =
            |notice: &&Value| notice["text"].as_str().is_some_and(|text| text.starts_with("did not stop within"));
        let late = array(&document["notices"]).iter().filter(is_late).filter_map(|notice| notice["tid"].as_i64());
        late.filter(|tid| threads.contains(tid)).collect()
    }
}

fn read_frames(values: &[Value]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut number = 0;
    for value in values {
        let mut functions: Vec<_> =
            array(&value["functions"]).iter().map(|function| function["name"].as_str().map(str::to_owned)).collect();
        if functions.is_empty() {
            functions.push(None);
        }
        // What was interrupted is found by the frame that the kernel laid: the one before it.
        if value["found_by"] == "signal-frame"
            && let Some(handler) = frames.last_mut()
        {
            handler.is_signal = true;
        }
        let count = functions.len();
        frames.push(Frame { address: Some(hexadecimal(&value["address"])), functions, is_signal: false, number });
        number += count;
    }
    frames
}

fn code(frame: &Value) -> Option<Code> {
    let back = u64::from(frame["is_return_address"] == true);
    Some(Code {
        module: frame["module"].as_str()?.to_owned(),
        build_id: frame["build_id"].as_str().map(str::to_owned),
        inside: hexadecimal(&frame["file_address"]) - back,
    })
}

fn array(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn hexadecimal(value: &Value) -> u64 {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x")).expect("an address in hexadecimal");
    u64::from_str_radix(digits, 16).expect("hexadecimal digits")
}
