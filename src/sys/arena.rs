//! Memory shared by the process that traces and the one that asked it to: the first copies into it,
//! the second takes out.
//!
//! Three parts: a page that says what the tracer is doing, a log of records, and the bytes that
//! records refer to. What has been logged is there for good, so that nothing that was captured is
//! lost when the tracer is killed. Pages are written to before a thread is held and are used again
//! for the next snapshot: page faults in the receiving buffer cost more than the copying itself.
//!
//! The reader trusts no length it finds: the writer may have been killed in the middle of a word.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};

use super::clock::Instant;

const PAGE: usize = 4096;
const HEADER: usize = PAGE;
/// Room for the records of some hundred thousand threads. Address space only: pages come into being
/// when they are used.
const LOG: usize = 256 << 20;
const BYTES: usize = 768 << 20;
const SIZE: usize = HEADER + LOG + BYTES;
/// Less than this is not worth a call to give back.
const WORTH_GIVING: usize = 1 << 20;

/// What the tracer is doing, as the one who watches it needs to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum TracerStep {
    /// Nothing that could block for long.
    Between,
    /// Reading the memory map or other text of /proc, which older kernels do under the map's lock.
    ReadingProc,
    /// Reading memory while no thread is held.
    ReadingMemory,
    /// Waiting for threads to stop, or holding them.
    Holding,
    /// Reading memory while threads are held.
    ReadingHeld,
}

impl TracerStep {
    fn from_number(number: u32) -> Self {
        match number {
            1 => Self::ReadingProc,
            2 => Self::ReadingMemory,
            3 => Self::Holding,
            4 => Self::ReadingHeld,
            _ => Self::Between,
        }
    }
}

/// What the tracer was doing when it was looked at: with which thread (0: none), and since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TracerProgress {
    /// What it was doing.
    pub step: TracerStep,
    /// With which thread; 0 for none.
    pub tid: i32,
    /// Since when.
    pub since: Instant,
}

#[repr(C)]
struct Header {
    logged: AtomicU64,
    step: AtomicU32,
    tid: AtomicU32,
    since_ns: AtomicU64,
    /// When the first thread was asked to stop, and when the last was let go.
    first_freeze_ns: AtomicU64,
    last_release_ns: AtomicU64,
}

/// Where in the arena some bytes lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Piece {
    /// How far from the arena's beginning.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
}

/// The mapping itself.
struct Shared {
    file: File,
    base: NonNull<u8>,
}

// SAFETY: the memory belongs to the value, whichever thread has it; its parts are reached through
// `&mut self` of the writer, through atomics, or by copying out of them.
unsafe impl Send for Shared {}

impl Shared {
    fn map(file: File) -> io::Result<Self> {
        let size = NonZeroUsize::new(SIZE).ok_or(io::ErrorKind::InvalidInput)?;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that is in
        // use.
        let base = unsafe { mmap(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags, &file, 0) }?;
        Ok(Self { file, base: base.cast() })
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping begins with a header, is aligned to a page, lives as long as `self`,
        // and any bits are a valid header of atomics.
        unsafe { self.base.cast().as_ref() }
    }

    /// The address of a byte.
    ///
    /// # Safety
    ///
    /// The offset lies within the mapping or just after its last byte (`SIZE`).
    unsafe fn at(&self, offset: usize) -> *mut u8 {
        debug_assert!(offset <= SIZE);
        // SAFETY: the caller promises that the offset lies within the mapping.
        unsafe { self.base.as_ptr().add(offset) }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from the mapping any more. Should it fail the memory stays, which
        // does no harm.
        let _ = unsafe { munmap(self.base.cast(), SIZE) };
    }
}

/// The side of the one who asked.
pub struct ArenaReader {
    shared: Shared,
    /// Where the last byte lies that was copied out since pages were let go of.
    read_to: Cell<usize>,
}

impl ArenaReader {
    /// Makes an arena, and reads it from its beginning.
    pub fn create() -> io::Result<Self> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(c"hangsnap", flags)?);
        file.set_len(SIZE as u64)?;
        // Were it made shorter by the other process, to look at what is missing would end this one
        // (SIGBUS).
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        Ok(Self { shared: Shared::map(file)?, read_to: Cell::new(0) })
    }

    /// Forgets what was logged. No tracer may be writing.
    pub fn clear(&mut self) {
        self.let_go_of_pages();
        let header = self.shared.header();
        header.logged.store(0, Ordering::Release);
        header.tid.store(0, Ordering::Relaxed);
        header.since_ns.store(Instant::now().nanoseconds(), Ordering::Relaxed);
        header.first_freeze_ns.store(0, Ordering::Relaxed);
        header.last_release_ns.store(0, Ordering::Relaxed);
        header.step.store(TracerStep::Between as u32, Ordering::Release);
    }

    /// Has no more of the bytes in its own page tables, if they were many: their contents are the
    /// writer's matter, and to look at some again costs little here, where no thread is held.
    fn let_go_of_pages(&self) {
        let read_to = self.read_to.replace(0);
        if read_to > WORTH_GIVING {
            let length = read_to.next_multiple_of(PAGE).min(BYTES);
            // SAFETY: the bytes begin within the mapping.
            if let Some(bytes) = NonNull::new(unsafe { self.shared.at(HEADER + LOG) }.cast()) {
                // SAFETY: the range lies within the mapping, which is shared: its contents stay.
                // Nothing refers to them, because the reader only copies. Should it fail, the pages
                // stay, which does no harm.
                let _ = unsafe { madvise(bytes, length, MmapAdvise::MADV_DONTNEED) };
            }
        }
    }

    /// What the tracer is doing now.
    pub fn progress(&self) -> TracerProgress {
        let header = self.shared.header();
        TracerProgress {
            step: TracerStep::from_number(header.step.load(Ordering::Acquire)),
            tid: header.tid.load(Ordering::Relaxed).cast_signed(),
            since: Instant::from_nanoseconds(header.since_ns.load(Ordering::Relaxed)),
        }
    }

    /// The time between the first freeze and the last release. Zero when nothing was held.
    pub fn window(&self) -> Duration {
        let header = self.shared.header();
        let at = |time: &AtomicU64| Instant::from_nanoseconds(time.load(Ordering::Relaxed));
        at(&header.last_release_ns).since(at(&header.first_freeze_ns))
    }

    /// Copies of all records that have been logged, one after the other. Each has its length before
    /// it.
    pub fn log(&self) -> impl Iterator<Item = Vec<u8>> {
        let logged = usize::try_from(self.shared.header().logged.load(Ordering::Acquire)).unwrap_or(0).min(LOG);
        let mut at = 0;
        std::iter::from_fn(move || {
            let length = self.copy(HEADER, logged, at, size_of::<u32>())?;
            let length = u32::from_le_bytes(*length.first_chunk()?) as usize;
            let record = self.copy(HEADER, logged, at + size_of::<u32>(), length)?;
            at += size_of::<u32>() + length;
            Some(record)
        })
    }

    /// A copy of some bytes. None when there can be no such piece.
    pub fn bytes(&self, piece: Piece) -> Option<Box<[u8]>> {
        let (offset, length) = (usize::try_from(piece.offset).ok()?, usize::try_from(piece.length).ok()?);
        self.read_to.set(self.read_to.get().max(offset.saturating_add(length)).min(BYTES));
        self.copy(HEADER + LOG, BYTES, offset, length).map(Vec::into_boxed_slice)
    }

    /// Copies out of a part that begins at `part` and is `size` long.
    fn copy(&self, part: usize, size: usize, offset: usize, length: usize) -> Option<Vec<u8>> {
        let end = offset.checked_add(length).filter(|end| *end <= size)?;
        let mut bytes = Vec::with_capacity(end - offset);
        // SAFETY: the source lies within the mapping, as was checked; the destination has room for
        // as many bytes and is ours alone. Another process may be writing there, which yields other
        // bytes and nothing worse: they are plain numbers.
        unsafe {
            ptr::copy_nonoverlapping(self.shared.at(part + offset).cast_const(), bytes.as_mut_ptr(), length);
            bytes.set_len(length);
        }
        Some(bytes)
    }
}

impl AsFd for ArenaReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.file.as_fd()
    }
}

/// The tracer's side.
pub struct ArenaWriter {
    shared: Shared,
    /// How much of the bytes is taken, and how much has been written to since the tracer began.
    taken: usize,
    touched: usize,
    /// How far the room of this snapshot has reached, and how far that of those before it did: a
    /// half less of what it was more with each.
    reached: usize,
    usual: usize,
}

impl ArenaWriter {
    /// Maps the arena that hangsnap has made.
    pub fn open(file: OwnedFd) -> io::Result<Self> {
        Ok(Self { shared: Shared::map(File::from(file))?, taken: 0, touched: 0, reached: 0, usual: 0 })
    }

    /// Begins a new snapshot. Pages that an unusually large one needed are given back, by and by:
    /// one that comes now and then finds some of them, and those that are always the same never
    /// wait for fresh ones.
    pub fn begin(&mut self) {
        self.taken = 0;
        let reached = std::mem::take(&mut self.reached);
        self.usual = reached + self.usual.saturating_sub(reached) / 2;
        let enough = self.usual.next_multiple_of(PAGE);
        if self.touched > enough + WORTH_GIVING {
            let (offset, length) = (HEADER + LOG + enough, self.touched - enough);
            let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else {
                return;
            };
            let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
            if fallocate(&self.shared.file, hole, offset, length).is_ok() {
                self.touched = enough;
            }
        }
    }

    /// The page that says what is being done.
    pub fn progress_page(&self) -> ProgressPage<'_> {
        ProgressPage(self.shared.header())
    }

    /// Up to this many bytes to copy into. All of them have been written to. What is to stay must
    /// be kept with `keep`.
    pub fn room(&mut self, size: usize) -> &mut [u8] {
        self.room_and_page(size).0
    }

    /// The same, and the page to mark what is being done while the room is in use.
    pub fn room_and_page(&mut self, size: usize) -> (&mut [u8], ProgressPage<'_>) {
        let start = self.taken;
        let end = start.saturating_add(size).min(BYTES);
        self.reached = self.reached.max(end);
        let mut page = self.touched.next_multiple_of(PAGE);
        while page < end {
            // SAFETY: the page lies within the mapping, and only this process writes to it.
            unsafe { self.shared.at(HEADER + LOG + page).write_volatile(1) };
            page += PAGE;
        }
        self.touched = self.touched.max(page.min(BYTES));
        // SAFETY: the range lies within the mapping, nothing else refers to it (`&mut self`), and
        // the reader only copies what was kept.
        let room = unsafe { std::slice::from_raw_parts_mut(self.shared.at(HEADER + LOG + start), end - start) };
        (room, self.progress_page())
    }

    /// A piece that was kept in this snapshot, and as much room beside it. None if there is no such
    /// piece, or no room.
    pub fn kept_beside_room(&mut self, piece: Piece) -> Option<(&[u8], &mut [u8])> {
        let (offset, length) = (usize::try_from(piece.offset).ok()?, usize::try_from(piece.length).ok()?);
        if offset.checked_add(length).is_none_or(|end| end > self.taken) {
            return None;
        }
        // SAFETY: the range lies within the mapping, before all room, and the reader only copies.
        let kept = unsafe { std::slice::from_raw_parts(self.shared.at(HEADER + LOG + offset).cast_const(), length) };
        let room = self.room(length);
        (room.len() == length).then_some((kept, room))
    }

    /// Keeps the first bytes of what `room` gave last, and says where they are.
    pub fn keep(&mut self, length: usize) -> Piece {
        let offset = self.taken;
        let length = length.min(BYTES - offset);
        // What follows stays aligned to words.
        self.taken = (offset + length).next_multiple_of(16).min(BYTES);
        Piece { offset: offset as u64, length: length as u64 }
    }

    /// Logs a record. False when there is no more room.
    pub fn log(&mut self, record: &[u8]) -> bool {
        let header = self.shared.header();
        let at = usize::try_from(header.logged.load(Ordering::Relaxed)).unwrap_or(LOG);
        let (Ok(length), size) = (u32::try_from(record.len()), size_of::<u32>() + record.len()) else {
            return false;
        };
        if size > LOG.saturating_sub(at) {
            return false;
        }
        let to = HEADER + at;
        // SAFETY: both ranges lie within the mapping, as was checked, and no slice of this part
        // exists.
        unsafe {
            ptr::copy_nonoverlapping(length.to_le_bytes().as_ptr(), self.shared.at(to), size_of::<u32>());
            ptr::copy_nonoverlapping(record.as_ptr(), self.shared.at(to + size_of::<u32>()), record.len());
        }
        // The reader sees the record before it sees that there is one.
        header.logged.store((at + size) as u64, Ordering::Release);
        true
    }
}

/// What the one who watches the tracer sees. Marking is a few stores: it may be done while a thread
/// is held.
#[derive(Clone, Copy)]
pub struct ProgressPage<'a>(&'a Header);

impl ProgressPage<'_> {
    /// Says what is being done from now on.
    pub fn step(&self, step: TracerStep, tid: i32) {
        let Self(header) = self;
        header.since_ns.store(Instant::now().nanoseconds(), Ordering::Relaxed);
        header.tid.store(tid.cast_unsigned(), Ordering::Relaxed);
        header.step.store(step as u32, Ordering::Release);
    }

    /// The next step of the same: with the same thread, and since when that was begun.
    pub fn go_on(&self, step: TracerStep) {
        self.0.step.store(step as u32, Ordering::Release);
    }

    /// Says that a thread was held from then until now.
    pub fn held(&self, from: Instant) {
        let Self(header) = self;
        // Only this writes these, so that looking and storing need not be one step.
        if header.first_freeze_ns.load(Ordering::Relaxed) == 0 {
            header.first_freeze_ns.store(from.nanoseconds(), Ordering::Relaxed);
        }
        header.last_release_ns.store(Instant::now().nanoseconds(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tracer that has gone wrong could have cut it short, and ended the process that reads it
    /// (SIGBUS).
    #[test]
    fn the_other_side_cannot_change_its_length() {
        let reader = ArenaReader::create().expect("a memfd");
        let file = File::from(reader.as_fd().try_clone_to_owned().expect("a descriptor"));
        for length in [0, SIZE as u64 - 1, SIZE as u64 + 1] {
            let refused = file.set_len(length).expect_err("it is sealed");
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{length}");
        }
    }

    #[test]
    fn what_was_logged_and_kept_is_read_by_the_other_side() {
        let mut reader = ArenaReader::create().expect("a memfd");
        let file = reader.as_fd().try_clone_to_owned().expect("a descriptor");
        let mut writer = ArenaWriter::open(file).expect("a mapping");
        writer.begin();
        writer.room(10)[..5].copy_from_slice(b"stack");
        let piece = writer.keep(5);
        assert!(writer.log(b"one") && writer.log(b"") && writer.log(b"three"));
        writer.progress_page().step(TracerStep::Holding, 42);
        assert!(reader.log().eq([b"one".to_vec(), b"".to_vec(), b"three".to_vec()]));
        assert_eq!(reader.bytes(piece).as_deref(), Some(&b"stack"[..]));
        assert_eq!((reader.progress().step, reader.progress().tid), (TracerStep::Holding, 42));
        assert_eq!(reader.bytes(Piece { offset: u64::MAX, length: 2 }), None);
        assert_eq!(reader.bytes(Piece { offset: 0, length: u64::MAX }), None);
        reader.clear();
        assert_eq!(reader.log().count(), 0);
    }

    #[test]
    fn a_log_with_a_length_that_lies_ends_there() {
        let reader = ArenaReader::create().expect("a memfd");
        let file = reader.as_fd().try_clone_to_owned().expect("a descriptor");
        let mut writer = ArenaWriter::open(file).expect("a mapping");
        assert!(writer.log(b"good"));
        // A length without a record after it, as a writer that was killed would never leave it.
        reader.shared.header().logged.fetch_add(4, Ordering::Relaxed);
        let lie = u32::MAX.to_le_bytes();
        // SAFETY: the four bytes lie within the mapping.
        unsafe { ptr::copy_nonoverlapping(lie.as_ptr(), reader.shared.at(HEADER + 8), 4) };
        assert!(reader.log().eq([b"good".to_vec()]));
    }

    #[test]
    fn room_ends_where_the_arena_does() {
        let reader = ArenaReader::create().expect("a memfd");
        let mut writer =
            ArenaWriter::open(reader.as_fd().try_clone_to_owned().expect("a descriptor")).expect("a mapping");
        writer.taken = BYTES - 100;
        writer.touched = BYTES - 100;
        assert_eq!(writer.room(1 << 20).len(), 100);
        assert_eq!(writer.keep(1 << 20).length, 100);
        assert!(writer.room(1 << 20).is_empty());
    }
}
