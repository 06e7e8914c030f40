//! What a record says of itself, without unpacking it.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;

use super::convert::nanoseconds;
use super::{Error, pb};
use crate::model::{Pid, Summary, Timestamp};

/// A record as far as a list or a search needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Peeked {
    /// A snapshot.
    Snapshot {
        /// What a list says of it.
        summary: Summary,
        /// Whether it can be decoded without those before it.
        whole: bool,
    },
    /// A recording's description, a snapshot of a version that wrote no summaries, or of a kind
    /// that this one does not know.
    Other,
}

/// A record without what is in it, which is passed over and takes no memory.
#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(message, optional, tag = "3")]
    summary: Option<pb::Summary>,
}

/// Looks at a record without decoding its snapshot.
pub fn peek(payload: &[u8]) -> Result<Peeked, Error> {
    let Some(summary) = Label::decode(payload)?.summary else {
        return Ok(Peeked::Other);
    };
    Ok(Peeked::Snapshot { summary: decode(&summary, None), whole: summary.whole })
}

pub(super) fn encode(summary: Summary, whole: bool) -> pb::Summary {
    let Summary { number, taken, pid, program, threads, not_run, longest_hold, window, losses } = summary;
    pb::Summary {
        number,
        realtime_ns: taken.realtime_ns,
        monotonic_ns: taken.monotonic_ns,
        pid: pid.0,
        program: program.to_string(),
        threads: u32::try_from(threads).unwrap_or(u32::MAX),
        longest_hold_ns: nanoseconds(longest_hold),
        window_ns: nanoseconds(window),
        losses: u32::try_from(losses).unwrap_or(u32::MAX),
        whole,
        not_run_plus_one: not_run.map_or(0, |count| u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1)),
    }
}

/// With the program of the summary before, if it is the same one.
pub(super) fn decode(summary: &pb::Summary, before: Option<&Arc<str>>) -> Summary {
    let program = before.filter(|before| ***before == *summary.program);
    Summary {
        number: summary.number,
        taken: Timestamp { realtime_ns: summary.realtime_ns, monotonic_ns: summary.monotonic_ns },
        pid: Pid(summary.pid),
        program: program.cloned().unwrap_or_else(|| summary.program.as_str().into()),
        threads: summary.threads as usize,
        not_run: summary.not_run_plus_one.checked_sub(1).map(|count| count as usize),
        longest_hold: Duration::from_nanos(summary.longest_hold_ns),
        window: Duration::from_nanos(summary.window_ns),
        losses: summary.losses as usize,
    }
}
