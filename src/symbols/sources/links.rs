//! What an ELF file says of itself and of the files that belong to it.

use std::fs::File;

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection, ReadCache, ReadRef};

use crate::elf::PositionedFile;
use crate::model::BuildId;

/// A file's name, and what is compared to know that it is the one.
pub(super) type Named<Id> = (String, Id);

/// A section that names another file is no longer than a path and a checksum.
const MAX_SUP: u64 = 1 << 16;

/// What a file says of itself and of others.
#[derive(Clone, Default, Debug)]
pub(super) struct Links {
    pub(super) build_id: Option<BuildId>,
    pub(super) has_debug_info: bool,
    /// Whether it has a symbol table beyond the one that its loader needs.
    pub(super) has_symbols: bool,
    /// `.gnu_debuglink`: the file with what was stripped, and a CRC-32 of all of it.
    pub(super) debug_link: Option<Named<u32>>,
    /// `.gnu_debugaltlink` or `.debug_sup`: the file with what dwz moved out, and its id.
    pub(super) alternative: Option<Named<BuildId>>,
    /// Of a file that dwz made, what others know it by where that is no build-id.
    pub(super) supplementary_id: Option<BuildId>,
}

impl Links {
    /// Reads them of a file. None if it is no ELF file of 64 bits.
    pub(super) fn read(file: &File) -> Option<Self> {
        let cache = ReadCache::new(PositionedFile::new(file).ok()?);
        let elf = ElfFile64::<LittleEndian, _>::parse(&cache).ok()?;
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        let moved = elf.gnu_debugaltlink().ok().flatten();
        let moved = moved.and_then(|(path, id)| Some((text(path)?, BuildId(id.to_vec()))));
        let supplement = supplement(&elf);
        let (alternative, supplementary_id) = match supplement {
            Some(Supplement { is_itself: true, id, .. }) => (moved, Some(id)),
            Some(Supplement { is_itself: false, path, id }) => (moved.or(Some((path, id))), None),
            None => (moved, None),
        };
        Some(Self {
            build_id: elf.build_id().ok().flatten().map(|id| BuildId(id.to_vec())),
            has_debug_info: elf.section_by_name(".debug_info").is_some(),
            has_symbols: elf.section_by_name(".symtab").is_some() || elf.section_by_name(".gnu_debugdata").is_some(),
            debug_link: elf.gnu_debuglink().ok().flatten().and_then(|(name, crc)| Some((text(name)?, crc))),
            alternative,
            supplementary_id,
        })
    }

    /// Whether it is known by this id, as a program or as what dwz moved out of several.
    pub(super) fn has_id(&self, id: &BuildId) -> bool {
        self.build_id.as_ref() == Some(id) || self.supplementary_id.as_ref() == Some(id)
    }
}

/// What `.debug_sup` says (DWARF 5, 7.3.6).
struct Supplement {
    /// Whether the file is the supplementary one itself.
    is_itself: bool,
    path: String,
    id: BuildId,
}

fn supplement<'d, R: ReadRef<'d>>(elf: &ElfFile64<'d, LittleEndian, R>) -> Option<Supplement> {
    let section = elf.section_by_name(".debug_sup").filter(|section| section.size() <= MAX_SUP)?;
    let bytes = section.data().ok()?;
    let (head, rest) = bytes.split_at_checked(3)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let (path, rest) = rest.split_at(end);
    // The length is a LEB128, and of a checksum one byte of it is enough.
    let (length, id) = rest.get(1..)?.split_first()?;
    let id = id.get(..usize::from(*length))?;
    (head[..2] == 5_u16.to_le_bytes() && *length < 0x80).then_some(Supplement {
        is_itself: head[2] != 0,
        path: std::str::from_utf8(path).ok()?.to_owned(),
        id: BuildId(id.to_vec()),
    })
}
