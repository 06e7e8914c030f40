//! What is stored once and referred to by row numbers: the writer's side.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::stack_table::StackTable;
use crate::model::{
    CodeAddress, FoundBy, Frame, Function, Gap, KernelWait, MemoryOf, MemoryPiece, Module, NamedCode, Place, Stack,
};
use crate::wire::convert::walk_end;
use crate::wire::fields::{self, Fields};
use crate::wire::pb;
use crate::wire::pb::memory::What;

/// How many bytes of a stack are stored as one.
const CHUNK: u64 = 512;

/// Rows that were given numbers.
///
/// Frames of thousands of threads are looked up in each sample, which the standard library's hash
/// takes five times as long for. This one is seeded at random as well: a target that chooses its
/// addresses cannot know which of them will collide.
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
    /// The number of a row, which is stored if it is new.
    fn number(&mut self, key: K, store: impl FnOnce()) -> u32 {
        let next = self.rows();
        *self.numbers.entry(key).or_insert_with(|| {
            store();
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

/// What distinguishes one frame from another: its module's row number plus one, its address, and
/// how it came to be known.
type FrameKey = (u32, u64, bool, FoundBy);

/// How many frames are found without asking the table: most of those of thousands of threads are
/// one of a few hundred.
const AT_HAND: usize = 512;

/// Frames that were given numbers.
struct FrameTable {
    table: Table<FrameKey>,
    /// Those that were asked for lately, each at the place that its address leads to.
    at_hand: Vec<Option<(FrameKey, u32)>>,
}

impl Default for FrameTable {
    fn default() -> Self {
        Self { table: Table::default(), at_hand: vec![None; AT_HAND] }
    }
}

impl FrameTable {
    #[inline]
    fn number(&mut self, frame: &Frame, modules: &[u32], fresh: &mut Fields) -> u32 {
        let (module_plus_one, address) = match frame.place() {
            // A frame's module is one of its snapshot's; were it not, its address would be all that
            // is known.
            Place::InModule { module, address } => {
                (modules.get(module.0 as usize).map_or(0, |number| number + 1), address.0)
            }
            Place::Outside(address) => (0, address.0),
        };
        let key = (module_plus_one, address, matches!(frame.code(), CodeAddress::Return(_)), frame.found());
        // The upper bits of a product depend on all of the address.
        let place = address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - AT_HAND.ilog2());
        let at_hand = &mut self.at_hand[place as usize];
        match at_hand {
            Some((found, number)) if *found == key => *number,
            _ => {
                let number = self.table.number(key, || fresh.message(fields::FRAMES, &message(key)));
                *at_hand = Some((key, number));
                number
            }
        }
    }
}

fn message((module_plus_one, address, is_return_address, found): FrameKey) -> pb::Frame {
    let found_by = match found {
        FoundBy::Context => pb::FoundBy::Context,
        FoundBy::Cfi => pb::FoundBy::Cfi,
        FoundBy::SignalFrame => pb::FoundBy::SignalFrame,
        FoundBy::FramePointer => pb::FoundBy::FramePointer,
        FoundBy::Inferred => pb::FoundBy::Inferred,
        FoundBy::Guess => pb::FoundBy::Guess,
        FoundBy::Unknown => pb::FoundBy::Unspecified,
    };
    pb::Frame { module_plus_one, address, is_return_address, found_by: found_by.into() }
}

/// The five tables of a whole snapshot and the changes after it.
#[derive(Default)]
pub(in crate::wire) struct Tables {
    strings: Table<String>,
    modules: Table<Module>,
    frames: FrameTable,
    stacks: StackTable,
    chunks: Table<Box<[u8]>>,
    /// The last row about an address in a module.
    names: HashMap<(u32, u64), Arc<[Function]>, RandomState>,
    /// The rows that the current record brings.
    fresh: Fields,
    /// What was waited for by the thread that was asked for last, and its rows.
    wait: (Arc<KernelWait>, WaitRows),
}

/// The rows of a kernel's function and of its frames.
#[derive(Default)]
pub(in crate::wire) struct WaitRows {
    pub(in crate::wire) channel_plus_one: u32,
    pub(in crate::wire) frames: Vec<u32>,
}

impl Tables {
    /// Whether a module has a row.
    pub(in crate::wire) fn has(&self, module: &Module) -> bool {
        self.modules.numbers.contains_key(module)
    }

    pub(in crate::wire) fn string(&mut self, text: &str) -> u32 {
        if let Some(number) = self.strings.numbers.get(text) {
            return *number;
        }
        self.strings.number(text.to_owned(), || self.fresh.bytes(fields::STRINGS, text.as_bytes()))
    }

    pub(in crate::wire) fn module(&mut self, module: &Module) -> u32 {
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

    /// The row of a stack. A new one has only the frames that it does not share with the
    /// outermost ones of row `like`.
    pub(in crate::wire) fn stack(&mut self, stack: &Stack, modules: &[u32], like: u32) -> u32 {
        let Self { frames, stacks, fresh, .. } = self;
        stacks.begin(stack.frames.iter().map(|frame| frames.number(frame, modules, fresh)));
        stacks.number(stack.gap, stack.end, like, |frames, shared| {
            let (end, end_address, end_register) = walk_end(stack.end);
            let Gap { after, frames: gap_frames, bytes: gap_bytes } = stack.gap.unwrap_or_default();
            let message = pb::Stack {
                frames: frames[..frames.len() - shared].to_vec(),
                shared_frames: u32::try_from(shared).unwrap_or(u32::MAX),
                shared_with: if shared > 0 { like } else { 0 },
                end: end.into(),
                end_address,
                end_register,
                gap_after: u32::try_from(after).unwrap_or(u32::MAX),
                gap_frames,
                gap_bytes,
            };
            fresh.message(fields::STACKS, &message);
        })
    }

    /// Adds a row of what a file says of an address, unless the last row about it is the same. A
    /// module that is none of its snapshot's has no row.
    pub(in crate::wire) fn name(&mut self, code: &NamedCode, modules: &[u32]) {
        let NamedCode { module, address, functions } = code;
        let Some(module) = modules.get(module.0 as usize) else {
            return;
        };
        let key = (*module, address.0);
        if self.names.get(&key).is_some_and(|stored| stored == functions) {
            return;
        }
        let function = |function: &Function| pb::NamedFunction {
            name_plus_one: function.name.as_ref().map_or(0, |name| self.string(name) + 1),
            file_plus_one: function.file.as_ref().map_or(0, |file| self.string(file) + 1),
            line: function.line,
        };
        let functions_stored = functions.iter().map(function).collect();
        let message = pb::NamedCode { module: *module, address: address.0, functions: functions_stored };
        self.fresh.message(fields::NAMES, &message);
        self.names.insert(key, functions.clone());
    }

    /// The rows of what a thread waits for, which is mostly what the one before does.
    pub(in crate::wire) fn wait(&mut self, wait: &Arc<KernelWait>) -> &WaitRows {
        if self.wait.0 != *wait {
            let rows = WaitRows {
                channel_plus_one: wait.channel.as_ref().map_or(0, |name| self.string(name) + 1),
                frames: wait.stack.iter().flatten().map(|frame| self.string(frame)).collect(),
            };
            self.wait = (wait.clone(), rows);
        }
        &self.wait.1
    }

    /// A piece of memory. Of a stack most bytes are what they were, or what another thread has at
    /// the same place: it is stored in chunks.
    pub(in crate::wire) fn memory(&mut self, piece: &MemoryPiece) -> pb::Memory {
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

    /// The rows that are new with the current record: the fields of its `Tables`.
    pub(in crate::wire) fn take(&mut self) -> Vec<u8> {
        let mut fresh = mem::take(&mut self.fresh);
        fresh.all_of(&pb::Tables {
            strings_before: self.strings.begin_next(),
            modules_before: self.modules.begin_next(),
            frames_before: self.frames.table.begin_next(),
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
    /// Whether this describes such a piece. Of one that is stored in chunks that is not known, and
    /// the answer is no.
    pub(in crate::wire) fn is(&self, piece: &MemoryPiece) -> bool {
        self.chunks.is_empty()
            && self.address == piece.address.0
            && *self.bytes == *piece.bytes
            && self.what.as_ref() == Some(&(&piece.what).into())
    }
}
