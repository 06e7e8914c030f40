//! What can be read of a process's memory in a snapshot: what was copied, and what its files say of
//! memory that cannot be written.
//!
//! Promises: bytes are those of the moment of the snapshot. A file is read only for segments that
//! are mapped without the right to write, and only if it is the module's by its build-id.

use std::fs::File;
use std::os::unix::fs::FileExt;

use object::read::elf::{FileHeader, ProgramHeader};
use object::{LittleEndian, ReadCache, elf};

use super::value::Absent;
use crate::elf::PositionedFile;
use crate::model::{MemoryPiece, Module, Snapshot, Thread};

/// No program has anything below this (vm.mmap_min_addr), nor above what a user may map.
const LOWEST: u64 = 4096;
const HIGHEST: u64 = 0x8000_0000_0000;

/// A segment of a file that is mapped read-only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Constant {
    start: u64,
    end: u64,
    offset: u64,
    is_code: bool,
}

/// The file of a module, and what of it is constant, by the addresses that it is loaded at.
#[derive(Default)]
pub(super) struct Constants<'f> {
    file: Option<&'f File>,
    segments: Vec<Constant>,
}

impl<'f> Constants<'f> {
    /// What is constant of a module with this file.
    pub(super) fn of(module: &Module, file: Option<&'f File>) -> Self {
        let segments = file.and_then(|file| segments(module, file)).unwrap_or_default();
        Self { file, segments }
    }

    /// Copies what lies there, as far as it is constant, and returns how many bytes that are.
    pub(super) fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        let found = self.segments.iter().find(|segment| (segment.start..segment.end).contains(&address));
        let (Some(segment), Some(file)) = (found, self.file) else { return 0 };
        let length = usize::try_from(segment.end - address).unwrap_or(usize::MAX).min(buffer.len());
        let offset = segment.offset.saturating_add(address - segment.start);
        match file.read_exact_at(&mut buffer[..length], offset) {
            Ok(()) => length,
            Err(_) => 0,
        }
    }

    /// Whether code lies there.
    pub(super) fn is_code(&self, address: u64) -> bool {
        self.segments.iter().any(|segment| segment.is_code && (segment.start..segment.end).contains(&address))
    }
}

fn segments(module: &Module, file: &File) -> Option<Vec<Constant>> {
    const MOST: usize = 1024;
    let cache = ReadCache::new(PositionedFile::new(file).ok()?);
    let header = elf::FileHeader64::<LittleEndian>::parse(&cache).ok()?;
    let headers = header.program_headers(LittleEndian, &cache).ok()?;
    let loads = headers.iter().take(MOST).filter(|segment| segment.p_type(LittleEndian) == elf::PT_LOAD);
    let constant = loads.filter(|segment| segment.p_flags(LittleEndian).0 & elf::PF_W.0 == 0).map(|segment| {
        let start = module.bias.0.wrapping_add(segment.p_vaddr(LittleEndian));
        Constant {
            start,
            end: start.saturating_add(segment.p_filesz(LittleEndian)),
            offset: segment.p_offset(LittleEndian),
            is_code: segment.p_flags(LittleEndian).0 & elf::PF_X.0 != 0,
        }
    });
    Some(constant.collect())
}

/// The memory of a process as one of its threads is shown.
pub(super) struct Memory<'s> {
    pieces: Vec<&'s MemoryPiece>,
    constants: &'s [Constants<'s>],
}

impl<'s> Memory<'s> {
    /// What was copied with this thread, then with any other.
    pub(super) fn new(snapshot: &'s Snapshot, thread: &'s Thread, constants: &'s [Constants<'s>]) -> Self {
        let others = snapshot.threads.iter().filter(|other| other.tid != thread.tid);
        let others = others.flat_map(|other| &other.memory);
        let pieces = thread.memory.iter().chain(&snapshot.memory).chain(others);
        Self { pieces: pieces.filter(|piece| !piece.bytes.is_empty()).collect(), constants }
    }

    /// This many bytes from an address on.
    pub(super) fn read(&self, address: u64, length: usize) -> Result<Vec<u8>, Absent> {
        let end = address.checked_add(length as u64).filter(|end| *end <= HIGHEST);
        if address < LOWEST || end.is_none() {
            return Err(Absent::Unreadable);
        }
        let mut bytes = Vec::with_capacity(length.min(1 << 16));
        while bytes.len() < length {
            let at = address + bytes.len() as u64;
            let rest = length - bytes.len();
            match self.copied(at) {
                Some(found) => bytes.extend_from_slice(&found[..found.len().min(rest)]),
                None => {
                    let mut buffer = vec![0; rest.min(1 << 16)];
                    let found = self.constants.iter().map(|module| module.read(at, &mut buffer)).find(|read| *read > 0);
                    let found = found.ok_or(Absent::NotCaptured)?;
                    bytes.extend_from_slice(&buffer[..found]);
                }
            }
        }
        Ok(bytes)
    }

    /// As many of these bytes as there are without a gap.
    pub(super) fn read_some(&self, address: u64, length: usize) -> Result<Vec<u8>, Absent> {
        let mut bytes = self.read(address, 1)?;
        while bytes.len() < length {
            match self.read(address.saturating_add(bytes.len() as u64), 1) {
                Ok(byte) => bytes.extend(byte),
                Err(_) => break,
            }
        }
        Ok(bytes)
    }

    /// A word of this many bytes, 8 at most.
    pub(super) fn word(&self, address: u64, length: usize) -> Result<u64, Absent> {
        let bytes = self.read(address, length.min(8))?;
        Ok(bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
    }

    fn copied(&self, address: u64) -> Option<&'s [u8]> {
        self.pieces.iter().find_map(|piece| {
            let offset = usize::try_from(address.checked_sub(piece.address.0)?).ok()?;
            piece.bytes.get(offset..).filter(|rest| !rest.is_empty())
        })
    }
}
