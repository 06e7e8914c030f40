//! In how many snapshots of a recording the stack of a row is right.
//!
//! It is when the walk reached the outermost frame without guessing, and ends in the row's own
//! function, called by what began the thread. Which thread must be in which function is the
//! victim's word, not hangsnap's.

use std::collections::HashMap;
use std::path::Path;

use hangsnap::model::{FoundBy, Snapshot, Thread, WalkEnd};
use hangsnap::store::Reader;
use hangsnap::symbols::{Finder, Names};

/// The stacks of one thread.
#[derive(Clone, Debug, Default)]
pub struct Right {
    /// How many of them are right.
    pub count: u64,
    /// One that is not.
    pub wrong: Option<String>,
}

/// The different stacks that each thread was seen with, and how often.
#[derive(Default)]
pub struct Shares {
    snapshots: u64,
    seen: HashMap<i32, HashMap<String, u64>>,
}

impl Shares {
    pub fn snapshots(&self) -> u64 {
        self.snapshots
    }

    /// Adds every snapshot of a recording, and returns how many there are.
    pub fn add(&mut self, file: &Path) -> u64 {
        let mut reader = Reader::open(file).expect("the recording is there");
        let mut snapshots: Vec<Snapshot> = Vec::new();
        while let Some(next) = reader.next_snapshot().expect("the recording can be read") {
            snapshots.push(next.expect("the recording is whole"));
        }
        let names = Names::resolve(&Finder::new(Vec::new()), &snapshots);
        for snapshot in &snapshots {
            for thread in &snapshot.threads {
                let stacks = self.seen.entry(thread.tid.0).or_default();
                *stacks.entry(describe(snapshot, thread, &names)).or_default() += 1;
            }
        }
        let count = snapshots.len() as u64;
        self.snapshots += count;
        count
    }

    /// The stacks of the thread that runs this row.
    pub fn of(&self, tid: i32, row: &str) -> Right {
        let mut right = Right::default();
        let wanted = format!(" row_{row} enter ");
        for (stack, count) in self.seen.get(&tid).into_iter().flatten() {
            if stack.contains(&wanted) && stack.ends_with(OUTERMOST) {
                right.count += count;
            } else {
                right.wrong = Some(stack.clone());
            }
        }
        right
    }
}

/// How a stack ends that was walked to its end.
const OUTERMOST: &str = "(outermost)";

/// The functions of a stack, innermost first, each between spaces, and how it ends.
fn describe(snapshot: &Snapshot, thread: &Thread, names: &Names) -> String {
    let mut text = String::from(" ");
    for frame in &thread.stack.frames {
        let functions = names.of(snapshot, frame);
        // The last one is the function whose code it is; others were inlined into it.
        let name = functions.last().and_then(|function| function.name.as_deref());
        text.push_str(if frame.found() == FoundBy::Guess { "(guess)" } else { name.unwrap_or("??") });
        text.push(' ');
    }
    match thread.stack.end {
        WalkEnd::Root => text.push_str(OUTERMOST),
        end => text.push_str(&end.describe()),
    }
    text
}
