//! What is stored once and referred to by row numbers: the reader's side.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{Bias, BuildId, Function, MemoryOf, MemoryPiece, Module, RuntimeAddress};
use crate::wire::pb::memory::What;
use crate::wire::{Error, pb};

/// Frames of all stacks in the table together. A stack may be stored as a few bytes that refer to
/// another, so a small file could otherwise ask for any number.
const MAX_FRAMES: usize = 20_000_000;

/// Bytes of strings and modules that one record may take out of the tables: a name of a hundred
/// bytes for each of a hundred thousand threads, many times over. Each is a few bytes in the
/// record.
const MAX_TAKEN: usize = 256 << 20;

/// A stack with all of its frames; those in the message are a part of them.
pub(in crate::wire) struct StackRow {
    pub(in crate::wire) frames: Arc<[u32]>,
    pub(in crate::wire) message: pb::Stack,
}

/// The five tables since the last whole snapshot.
#[derive(Default)]
pub(in crate::wire) struct Rows {
    strings: Vec<String>,
    modules: Vec<Module>,
    frames: Vec<pb::Frame>,
    stacks: Vec<StackRow>,
    chunks: Vec<Vec<u8>>,
    /// By the module's row and the address in it.
    names: HashMap<(u32, u64), Vec<pb::NamedFunction>>,
    frames_in_all: usize,
    /// Bytes of strings and modules that the current record has taken out.
    taken: Cell<usize>,
}

impl Rows {
    /// Adds the rows that a record brings, and returns whether they begin again. An error if rows
    /// before them have been missed.
    pub(in crate::wire) fn add(&mut self, tables: pb::Tables) -> Result<bool, Error> {
        self.begin();
        let rows_before = [
            tables.strings_before,
            tables.modules_before,
            tables.frames_before,
            tables.stacks_before,
            tables.chunks_before,
        ];
        let anew = rows_before == [0; 5] && !tables.strings.is_empty();
        if anew {
            *self = Self::default();
        }
        let rows = [self.strings.len(), self.modules.len(), self.frames.len(), self.stacks.len(), self.chunks.len()];
        if !rows_before.iter().zip(rows).all(|(before, rows)| *before as usize == rows) {
            return Err(Error::Dangling("rows of the tables"));
        }
        self.strings.extend(tables.strings);
        for module in tables.modules {
            let module = Module {
                path: self.string(module.path)?,
                build_id: (!module.build_id.is_empty()).then_some(BuildId(module.build_id)),
                bias: Bias(module.bias),
                range: RuntimeAddress(module.start)..RuntimeAddress(module.end),
                image: (!module.image.is_empty()).then(|| module.image.into()),
            };
            self.modules.push(module);
        }
        self.frames.extend(tables.frames);
        self.chunks.extend(tables.chunks);
        for message in tables.stacks {
            self.add_stack(message)?;
        }
        for pb::NamedCode { module, address, functions } in tables.names {
            self.names.insert((module, address), functions);
        }
        Ok(anew)
    }

    fn add_stack(&mut self, mut message: pb::Stack) -> Result<(), Error> {
        let mut frames = std::mem::take(&mut message.frames);
        let shared = message.shared_frames as usize;
        if shared > 0 {
            let other = &self.stack(message.shared_with)?.frames;
            let from = other.len().checked_sub(shared).ok_or(Error::Dangling("a frame"))?;
            frames.extend_from_slice(&other[from..]);
        }
        self.frames_in_all += frames.len();
        if self.frames_in_all > MAX_FRAMES {
            return Err(Error::TooMuch);
        }
        self.stacks.push(StackRow { frames: frames.into(), message });
        Ok(())
    }

    pub(in crate::wire) fn string(&self, number: u32) -> Result<String, Error> {
        let string = self.strings.get(number as usize).ok_or(Error::Dangling("a string"))?;
        self.take(string.len() + size_of::<String>())?;
        Ok(string.clone())
    }

    pub(in crate::wire) fn module(&self, number: u32) -> Result<Module, Error> {
        let module = self.modules.get(number as usize).ok_or(Error::Dangling("a module"))?;
        let image = module.image.as_ref().map_or(0, |image| image.len());
        self.take(module.path.len() + image + size_of::<Module>())?;
        Ok(module.clone())
    }

    pub(in crate::wire) fn has_names(&self) -> bool {
        !self.names.is_empty()
    }

    /// What a file says of an address, by the row of its module.
    pub(in crate::wire) fn functions(&self, module: u32, address: u64) -> Option<Result<Arc<[Function]>, Error>> {
        let string = |plus_one: u32| plus_one.checked_sub(1).map(|number| self.string(number)).transpose();
        let function = |function: &pb::NamedFunction| {
            self.take(size_of::<Function>())?;
            let (name, file) = (string(function.name_plus_one)?, string(function.file_plus_one)?);
            Ok(Function { name, file, line: function.line })
        };
        let functions = self.names.get(&(module, address))?;
        Some(functions.iter().map(function).collect())
    }

    /// What is taken from now on is another record's.
    pub(in crate::wire) fn begin(&self) {
        self.taken.set(0);
    }

    fn take(&self, bytes: usize) -> Result<(), Error> {
        let taken = self.taken.get().saturating_add(bytes);
        self.taken.set(taken);
        if taken > MAX_TAKEN { Err(Error::TooMuch) } else { Ok(()) }
    }

    pub(in crate::wire) fn frame(&self, number: u32) -> Result<&pb::Frame, Error> {
        self.frames.get(number as usize).ok_or(Error::Dangling("a frame"))
    }

    /// How many bytes a piece of memory has.
    pub(in crate::wire) fn size(&self, piece: &pb::Memory) -> usize {
        let chunks = piece.chunks.iter().filter_map(|number| self.chunks.get(*number as usize));
        piece.bytes.len() + chunks.map(Vec::len).sum::<usize>()
    }

    /// A piece of memory, put together of its chunks if it is stored in them.
    pub(in crate::wire) fn memory(&self, piece: &pb::Memory) -> Result<MemoryPiece, Error> {
        let argument = |number: &u32| u8::try_from(*number).map_err(|_| Error::Unknown("an argument of a system call"));
        let what = match piece.what.as_ref().ok_or(Error::Unknown("why memory was copied"))? {
            What::Futex(_) => MemoryOf::Futex,
            What::Argument(number) => MemoryOf::Argument(argument(number)?),
            What::Path(number) => MemoryOf::Path(argument(number)?),
            What::Asked(text) => MemoryOf::Asked(text.clone()),
            What::Stack(_) => MemoryOf::Stack,
        };
        let mut bytes = piece.bytes.clone();
        for number in &piece.chunks {
            bytes.extend(self.chunks.get(*number as usize).ok_or(Error::Dangling("a piece of memory"))?);
        }
        Ok(MemoryPiece { address: RuntimeAddress(piece.address), bytes: bytes.into(), what })
    }

    pub(in crate::wire) fn stack(&self, number: u32) -> Result<&StackRow, Error> {
        self.stacks.get(number as usize).ok_or(Error::Dangling("a stack"))
    }
}
