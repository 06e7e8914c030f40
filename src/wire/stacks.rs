//! Stacks of a snapshot that is read: each is put together once, for all threads that have it and
//! for as long as one has it.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use super::convert::walk_end_of;
use super::tables::Rows;
use super::{Error, pb};
use crate::model::{CodeAddress, FileAddress, FoundBy, Frame, Gap, ModuleIndex, Place, RuntimeAddress, Stack};

/// The stacks since the last whole snapshot, as far as the last one had them.
#[derive(Default)]
pub(super) struct Stacks {
    /// The modules of the current snapshot, by their rows.
    modules: Vec<u32>,
    places: HashMap<u32, ModuleIndex>,
    /// By their rows: those of the snapshot before, and those of the current one.
    before: HashMap<u32, Arc<Stack>>,
    now: HashMap<u32, Arc<Stack>>,
}

impl Stacks {
    /// What is asked for from now on is of a snapshot with these modules.
    pub(super) fn begin(&mut self, modules: &[u32]) {
        let now = mem::take(&mut self.now);
        if self.modules == modules {
            self.before = now;
            return;
        }
        // The file numbers modules through all snapshots, the model within one.
        self.places = modules.iter().zip(0..).map(|(number, index)| (*number, ModuleIndex(index))).collect();
        self.modules = modules.to_vec();
        self.before.clear();
    }

    pub(super) fn of(&mut self, row: u32, rows: &Rows) -> Result<Arc<Stack>, Error> {
        if let Some(stack) = self.now.get(&row) {
            return Ok(stack.clone());
        }
        let stack = match self.before.remove(&row) {
            Some(stack) => stack,
            None => Arc::new(self.decode(row, rows)?),
        };
        self.now.insert(row, stack.clone());
        Ok(stack)
    }

    fn decode(&self, row: u32, rows: &Rows) -> Result<Stack, Error> {
        let stack = rows.stack(row)?;
        let frames = stack.frames.iter().map(|number| frame(rows.frame(*number)?, &self.places));
        let frames = frames.collect::<Result<Vec<_>, _>>()?;
        Ok(Stack { gap: gap(&stack.message, &frames), frames, end: walk_end_of(&stack.message)? })
    }
}

fn frame(frame: &pb::Frame, places: &HashMap<u32, ModuleIndex>) -> Result<Frame, Error> {
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
        Ok(pb::FoundBy::Unspecified) | Err(_) => FoundBy::Unknown,
    };
    let code = if frame.is_return_address { CodeAddress::Return(place) } else { CodeAddress::Pc(place) };
    Ok(Frame::new(code, found))
}

/// A gap after more frames than there are lies after the last one.
fn gap(stack: &pb::Stack, frames: &[Frame]) -> Option<Gap> {
    let after = frames.len().min(stack.gap_after as usize);
    (stack.gap_after > 0 || stack.gap_frames > 0 || stack.gap_bytes > 0).then_some(Gap {
        after,
        frames: stack.gap_frames,
        bytes: stack.gap_bytes,
    })
}
