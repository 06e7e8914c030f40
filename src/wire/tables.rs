//! What is stored once and referred to by row numbers: the writer's side.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::encode::walk_end;
use super::fields::{self, Fields};
use super::pb;
use super::pb::memory::What;
use crate::model::{
    CodeAddress, FoundBy, Frame, Gap, KernelWait, MemoryOf, MemoryPiece, Module, Place, Stack, WalkEnd,
};

/// How many bytes of a stack are stored as one.
const CHUNK: u64 = 512;

/// Rows that were given numbers.
///
/// Frames of thousands of threads are looked up in each sample, which the standard library's hash takes five times as long for.
/// This one is seeded at random as well: a target that chooses its addresses cannot know which of them will collide.
struct Table<K> {
    numbers: HashMap<K, u32, RandomState>,
    /// How many rows came before those that the current record brings.
    before: u32,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { numbers: HashMap::default(), before: 0 }
    }
}

impl<K: Eq + Hash> Table<K> {
    /// The number of a row, which is told if it is new.
    fn number(&mut self, key: K, tell: impl FnOnce()) -> u32 {
        let next = self.rows();
        *self.numbers.entry(key).or_insert_with(|| {
            tell();
            next
        })
    }

    /// More rows than 2^32 do not fit in memory.
    fn rows(&self) -> u32 {
        u32::try_from(self.numbers.len()).unwrap_or(u32::MAX)
    }

    /// How many rows came before this record's, which is complete.
    fn begin_next(&mut self) -> u32 {
        let rows = self.rows();
        mem::replace(&mut self.before, rows)
    }
}

/// A stack that has a row and that others are likely to share their outermost frames with. Its frames are given if they belong to
/// the modules of the current snapshot.
#[derive(Clone, Copy, Default)]
pub(super) struct Like<'a> {
    pub(super) row: u32,
    pub(super) frames: &'a [Frame],
}

/// What tells one stack from another: its frames' row numbers, innermost first, and what is said of it.
type StackKey = (Arc<[u32]>, Option<Gap>, WalkEnd);

/// The five tables of a whole snapshot and the changes behind it.
#[derive(Default)]
pub(super) struct Tables {
    strings: Table<String>,
    modules: Table<Module>,
    frames: Table<(u32, u64, bool, FoundBy)>,
    stacks: Table<StackKey>,
    chunks: Table<Box<[u8]>>,
    /// The rows that the current record brings.
    fresh: Fields,
    /// The frames of each row of stacks.
    frames_of: Vec<Arc<[u32]>>,
    /// Where the frames of a stack are put together.
    frames_here: Vec<u32>,
    /// What was waited for by the thread that was asked for last, and its rows.
    wait: (Arc<KernelWait>, WaitRows),
}

/// The rows of a kernel's function and of its frames.
#[derive(Default)]
pub(super) struct WaitRows {
    pub(super) channel_plus_one: u32,
    pub(super) frames: Vec<u32>,
}

impl Tables {
    /// Whether a module has a row.
    pub(super) fn has(&self, module: &Module) -> bool {
        self.modules.numbers.contains_key(module)
    }

    pub(super) fn string(&mut self, text: &str) -> u32 {
        if let Some(number) = self.strings.numbers.get(text) {
            return *number;
        }
        self.strings.number(text.to_owned(), || self.fresh.bytes(fields::STRINGS, text.as_bytes()))
    }

    pub(super) fn module(&mut self, module: &Module) -> u32 {
        if let Some(number) = self.modules.numbers.get(module) {
            return *number;
        }
        let path = self.string(&module.path);
        self.modules.number(module.clone(), || {
            let message = pb::Module {
                path,
                build_id: module.build_id.as_ref().map(|id| id.0.clone()).unwrap_or_default(),
                bias: module.bias.0,
                start: module.range.start.0,
                end: module.range.end.0,
                image: module.image.as_deref().unwrap_or_default().to_vec(),
            };
            self.fresh.message(fields::MODULES, &message);
        })
    }

    /// The row of a stack. A new one tells only the frames that it does not share with the outermost ones of the stack that it
    /// is like, if that has a row.
    pub(super) fn stack(&mut self, stack: &Stack, modules: &[u32], like: Like<'_>) -> u32 {
        let other = self.frames_of.get(like.row as usize).cloned().unwrap_or_default();
        // Frames that are the same have the same numbers; only the others are looked up.
        let pairs = stack.frames.iter().rev().zip(like.frames.iter().rev()).take(other.len());
        let same = pairs.take_while(|(frame, other)| frame == other).count();
        let own = &stack.frames[..stack.frames.len() - same];
        let mut here = mem::take(&mut self.frames_here);
        here.clear();
        here.extend(own.iter().map(|frame| self.frame(frame, modules)));
        here.extend_from_slice(&other[other.len() - same..]);
        let frames: Arc<[u32]> = here.as_slice().into();
        self.frames_here = here;
        let Self { stacks, fresh, frames_of, .. } = self;
        let number = stacks.number((frames.clone(), stack.gap, stack.end), || {
            let (end, end_address, end_register) = walk_end(stack.end);
            let Gap { after, frames: gap_frames, bytes: gap_bytes } = stack.gap.unwrap_or_default();
            let gap_after = u32::try_from(after).unwrap_or(u32::MAX);
            let shared =
                frames.iter().rev().zip(other.iter().rev()).take_while(|(frame, other)| frame == other).count();
            let message = pb::Stack {
                frames: frames[..frames.len() - shared].to_vec(),
                shared_frames: u32::try_from(shared).unwrap_or(u32::MAX),
                shared_with: if shared > 0 { like.row } else { 0 },
                end: end.into(),
                end_address,
                end_register,
                gap_after,
                gap_frames,
                gap_bytes,
            };
            fresh.message(fields::STACKS, &message);
        });
        if number as usize == frames_of.len() {
            frames_of.push(frames);
        }
        number
    }

    /// The rows of what a thread waits for, which is mostly what the one before does.
    pub(super) fn wait(&mut self, wait: &Arc<KernelWait>) -> &WaitRows {
        if self.wait.0 != *wait {
            let rows = WaitRows {
                channel_plus_one: wait.channel.as_ref().map_or(0, |name| self.string(name) + 1),
                frames: wait.stack.iter().flatten().map(|frame| self.string(frame)).collect(),
            };
            self.wait = (wait.clone(), rows);
        }
        &self.wait.1
    }

    /// A piece of memory. Of a stack most bytes are what they were, or what another thread has at the same place: it is told
    /// by chunks.
    pub(super) fn memory(&mut self, piece: &MemoryPiece) -> pb::Memory {
        let (mut bytes, mut chunks) = (Vec::new(), Vec::new());
        if piece.what == MemoryOf::Stack {
            // Cut at the same addresses whatever the stack pointer is.
            let ahead = (CHUNK - piece.address.0 % CHUNK) % CHUNK;
            let (first, rest) = piece.bytes.split_at(piece.bytes.len().min(ahead as usize));
            for chunk in [first].into_iter().chain(rest.chunks(CHUNK as usize)).filter(|chunk| !chunk.is_empty()) {
                chunks.push(self.chunks.number(chunk.into(), || self.fresh.bytes(fields::CHUNKS, chunk)));
            }
        } else {
            bytes = piece.bytes.to_vec();
        }
        pb::Memory { address: piece.address.0, bytes, chunks, what: Some((&piece.what).into()) }
    }

    fn frame(&mut self, frame: &Frame, modules: &[u32]) -> u32 {
        let (module_plus_one, address) = match frame.place() {
            // A frame's module is one of its snapshot's; were it not, its address would be all that is known.
            Place::InModule { module, address } => {
                (modules.get(module.0 as usize).map_or(0, |number| number + 1), address.0)
            }
            Place::Outside(address) => (0, address.0),
        };
        let is_return_address = matches!(frame.code(), CodeAddress::Return(_));
        self.frames.number((module_plus_one, address, is_return_address, frame.found()), || {
            let found_by = match frame.found() {
                FoundBy::Context => pb::FoundBy::Context,
                FoundBy::Cfi => pb::FoundBy::Cfi,
                FoundBy::SignalFrame => pb::FoundBy::SignalFrame,
                FoundBy::FramePointer => pb::FoundBy::FramePointer,
                FoundBy::Inferred => pb::FoundBy::Inferred,
                FoundBy::Guess => pb::FoundBy::Guess,
            };
            let message = pb::Frame { module_plus_one, address, is_return_address, found_by: found_by.into() };
            self.fresh.message(fields::FRAMES, &message);
        })
    }

    /// The rows that are new with the current record: the fields of its `Tables`.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut fresh = mem::take(&mut self.fresh);
        fresh.all_of(&pb::Tables {
            strings_before: self.strings.begin_next(),
            modules_before: self.modules.begin_next(),
            frames_before: self.frames.begin_next(),
            stacks_before: self.stacks.begin_next(),
            chunks_before: self.chunks.begin_next(),
            ..Default::default()
        });
        fresh.into_bytes()
    }
}

impl From<&MemoryOf> for What {
    fn from(what: &MemoryOf) -> Self {
        match what {
            MemoryOf::Futex => Self::Futex(pb::Nothing {}),
            MemoryOf::Argument(number) => Self::Argument((*number).into()),
            MemoryOf::Path(number) => Self::Path((*number).into()),
            MemoryOf::Asked(text) => Self::Asked(text.clone()),
            MemoryOf::Stack => Self::Stack(pb::Nothing {}),
        }
    }
}

impl pb::Memory {
    /// Whether this tells of such a piece. Of one that is told by chunks that is not known, and the answer is no.
    pub(super) fn is(&self, piece: &MemoryPiece) -> bool {
        self.chunks.is_empty()
            && self.address == piece.address.0
            && *self.bytes == *piece.bytes
            && self.what.as_ref() == Some(&(&piece.what).into())
    }
}
