//! The ELF header and the program headers: enough to know where an image was loaded and what it is
//! called.

use object::LittleEndian;
use object::elf::{
    self, FileHeader64, NT_GNU_BUILD_ID, PF_X, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_LOAD, PT_NOTE, ProgramHeader64,
};
use object::pod;
use object::read::elf::NoteIterator;

use super::{Error, Image, go};
use crate::model::{BuildId, FileAddress};

/// More program headers than any linker makes.
const MAX_PROGRAM_HEADERS: u16 = 1024;
/// Note segments hold a build-id and a few properties.
pub(super) const MAX_NOTES: u64 = 64 << 10;
/// Linkers make build-ids of 8 to 32 bytes; `--build-id=0x...` may make others.
pub(super) const MAX_BUILD_ID: usize = 64;

type Header = FileHeader64<LittleEndian>;
type Segment = ProgramHeader64<LittleEndian>;

/// A part of the file and where it is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    pub offset: u64,
    pub address: FileAddress,
    /// How many bytes come from the file.
    pub file_size: u64,
    pub executable: bool,
}

/// What the program headers say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Headers {
    /// The segments that are loaded, in the order of the headers.
    pub loads: Vec<Load>,
    /// Where the search table of the call frame information lies, and how long it is.
    pub eh_frame_hdr: Option<(FileAddress, u64)>,
    /// Where the dynamic section lies, and how long it is.
    pub(super) dynamic: Option<(FileAddress, u64)>,
    /// Which machine's code it holds.
    pub(super) machine: elf::Machine,
    /// Where a program begins. A library has none.
    pub entry: Option<FileAddress>,
    notes: Vec<(FileAddress, u64, u64)>,
}

impl Headers {
    /// Reads the headers of an image. `read` fills a buffer from an offset counted from the ELF
    /// header, and says whether it could; in memory this works because the header and the program
    /// headers lie in the first loaded page.
    pub fn parse(read: impl Fn(u64, &mut [u8]) -> bool) -> Result<Self, Error> {
        let mut head = [0; size_of::<Header>()];
        if !read(0, &mut head) {
            return Err(Error::NotElf);
        }
        let (header, _) = pod::from_bytes::<Header>(&head).map_err(|()| Error::NotElf)?;
        let ident = &header.e_ident;
        if ident.magic != elf::ELFMAG || ident.class != elf::ELFCLASS64 || ident.data != elf::ELFDATA2LSB {
            return Err(Error::NotElf);
        }
        let count = header.e_phnum.get(LittleEndian);
        if usize::from(header.e_phentsize.get(LittleEndian)) != size_of::<Segment>() || count > MAX_PROGRAM_HEADERS {
            return Err(Error::Malformed("the table of program headers"));
        }
        let mut table = vec![0; usize::from(count) * size_of::<Segment>()];
        if !read(header.e_phoff.get(LittleEndian), &mut table) {
            return Err(Error::Malformed("the table of program headers"));
        }
        let (segments, _) = pod::slice_from_bytes::<Segment>(&table, usize::from(count))
            .map_err(|()| Error::Malformed("the table of program headers"))?;
        let entry = Some(header.e_entry.get(LittleEndian)).filter(|entry| *entry != 0).map(FileAddress);
        let machine = header.e_machine.get(LittleEndian);
        Ok(Self { machine, entry, ..Self::from_segments(segments) })
    }

    fn from_segments(segments: &[Segment]) -> Self {
        let mut headers = Self::default();
        for segment in segments {
            let address = FileAddress(segment.p_vaddr.get(LittleEndian));
            let (offset, file_size) = (segment.p_offset.get(LittleEndian), segment.p_filesz.get(LittleEndian));
            match segment.p_type.get(LittleEndian) {
                PT_LOAD => headers.loads.push(Load {
                    offset,
                    address,
                    file_size,
                    executable: segment.p_flags.get(LittleEndian).0 & PF_X.0 != 0,
                }),
                PT_NOTE if file_size <= MAX_NOTES => {
                    headers.notes.push((address, file_size, segment.p_align.get(LittleEndian)));
                }
                PT_DYNAMIC => headers.dynamic = Some((address, file_size)),
                PT_GNU_EH_FRAME => headers.eh_frame_hdr = Some((address, file_size)),
                _ => {}
            }
        }
        headers
    }

    /// The file address of what lies at this offset of the file. A mapping begins at a page, a
    /// segment need not, so the offset may lie up to a page before the segment.
    pub fn address_of_offset(&self, offset: u64, executable: bool) -> Option<FileAddress> {
        const PAGE: u64 = 0xfff;
        let covers = |load: &&Load| {
            let first = load.offset & !PAGE;
            let last = load.offset.saturating_add(load.file_size).saturating_add(PAGE) & !PAGE;
            (first..last).contains(&offset)
        };
        // Two segments may share a page of the file; the one with the mapping's own permissions is
        // meant.
        let load = self
            .loads
            .iter()
            .filter(covers)
            .find(|load| load.executable == executable)
            .or_else(|| self.loads.iter().find(covers))?;
        Some(FileAddress(load.address.0.wrapping_add(offset.wrapping_sub(load.offset))))
    }

    /// Where in the file this address comes from, and how many bytes follow it there.
    pub fn offset_of_address(&self, address: FileAddress) -> Option<(u64, u64)> {
        self.loads.iter().find_map(|load| {
            let inside = address.0.checked_sub(load.address.0)?;
            (inside < load.file_size).then(|| Some((load.offset.checked_add(inside)?, load.file_size - inside)))?
        })
    }

    /// Whether code lies there.
    pub(super) fn is_code(&self, address: FileAddress) -> bool {
        let inside = |load: &Load| address.0.checked_sub(load.address.0).is_some_and(|inside| inside < load.file_size);
        self.loads.iter().any(|load| load.executable && inside(load))
    }

    /// The build-id, from the first note segment that has one.
    pub fn build_id(&self, image: &impl Image) -> Option<BuildId> {
        self.in_notes(image, |name, kind, id| {
            let is_one = name == elf::ELF_NOTE_GNU && kind == NT_GNU_BUILD_ID;
            (is_one && !id.is_empty() && id.len() <= MAX_BUILD_ID).then(|| BuildId(id.to_vec()))
        })
    }

    /// Whether a note says that Go built it.
    pub fn is_go(&self, image: &impl Image) -> bool {
        self.in_notes(image, |name, _, _| (name == go::NOTE).then_some(())).is_some()
    }

    /// What is first found in a note, by its name, type and content.
    fn in_notes<T>(&self, image: &impl Image, look: impl Fn(&[u8], elf::NoteType, &[u8]) -> Option<T>) -> Option<T> {
        self.notes.iter().find_map(|&(address, size, align)| {
            let mut notes = vec![0; usize::try_from(size).ok()?];
            if !image.read(address, &mut notes) {
                return None;
            }
            let align = if align == 8 { 8 } else { 4 };
            let mut iterator = NoteIterator::<Header>::new(LittleEndian, align, &notes).ok()?;
            while let Ok(Some(note)) = iterator.next() {
                if let Some(found) = look(note.name(), note.n_type(LittleEndian), note.desc()) {
                    return Some(found);
                }
            }
            None
        })
    }
}
