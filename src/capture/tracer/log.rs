//! What the tracer writes down of a snapshot: records and notices, in the memory that it shares
//! with hangsnap.
//!
//! Promises: each record is complete or is not there, so that a reader of the log after the tracer
//! was killed finds all that was captured until then. It decides nothing: who calls it says what
//! was lost.

use std::collections::HashSet;
use std::mem;

use crate::capture::protocol::TracerRecord;
use crate::model::{Notice, Reason, Subject, Tid};
use crate::sys::arena::ArenaWriter;

/// The log of one snapshot.
pub(super) struct Log<'a> {
    pub(super) arena: &'a mut ArenaWriter,
    /// Threads that something was lost of in this snapshot.
    pub(super) lossy: HashSet<Tid>,
    /// Whether a record found no room.
    pub(super) full: bool,
    /// How many threads were read in place because they did not stop in time.
    not_held_in_time: u64,
    calls_are_unknown: bool,
    /// Where records are encoded.
    encoded: Vec<u8>,
}

impl<'a> Log<'a> {
    /// One that has nothing in it.
    pub(super) fn new(arena: &'a mut ArenaWriter) -> Self {
        Self {
            arena,
            lossy: HashSet::new(),
            full: false,
            not_held_in_time: 0,
            calls_are_unknown: false,
            encoded: Vec::new(),
        }
    }

    pub(super) fn record(&mut self, record: &TracerRecord<'_>) {
        // Everything that is recorded can be encoded; there is no map without a length and no error
        // of our own in it.
        let mut encoded = postcard::to_extend(record, mem::take(&mut self.encoded)).unwrap_or_default();
        self.full |= !self.arena.log(&encoded);
        encoded.clear();
        self.encoded = encoded;
    }

    pub(super) fn notice(&mut self, tid: Tid, reason: Reason) {
        self.lossy.insert(tid);
        self.record(&TracerRecord::Notice(Notice { subject: Subject::Thread(tid), reason }));
    }

    pub(super) fn notice_process(&mut self, reason: Reason) {
        self.record(&TracerRecord::Notice(Notice { subject: Subject::Process, reason }));
    }

    /// That calls may not be read is the same for all threads, and said once.
    pub(super) fn note_unknown_calls(&mut self) {
        if !self.calls_are_unknown {
            self.calls_are_unknown = true;
            self.notice_process(Reason::CallUnknown);
        }
    }

    /// Adds to the number of threads that were read in place because they did not stop in time.
    pub(super) fn note_not_held(&mut self, more: usize, fewer: usize) {
        let before = self.not_held_in_time;
        self.not_held_in_time = before.saturating_add(more as u64).saturating_sub(fewer as u64);
        if self.not_held_in_time != before {
            self.notice_process(Reason::NotHeldInTime { threads: self.not_held_in_time });
        }
    }
}
