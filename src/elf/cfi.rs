//! The sections that hold call frame information, copied out of a file or of memory.
//!
//! What lies in `.gnu_debugdata` is unpacked only when somebody asks for what the file itself does
//! not have: that costs milliseconds, and most programs that are shipped so have all of it outside.

use std::fs::File;
use std::sync::OnceLock;

use gimli::{BaseAddresses, EhFrameHdr, LittleEndian as Little, Pointer};
use object::elf::EM_AARCH64;
use object::read::elf::ElfFile64;
use object::{ReadCache, ReadRef};

use super::augmentation::{self, Kind};
use super::sections::{MAX_SECTION, Sections};
use super::{Error, Headers, Image, Pclntab, PositionedFile, debugdata, go, image};
use crate::model::FileAddress;

/// The bytes of a section, and the file address they are loaded at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// Where its first byte is loaded.
    pub address: FileAddress,
    /// Its contents.
    pub data: Vec<u8>,
}

/// Whatever call frame information a module has. Any of it may be missing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CfiSections {
    /// The search table of `.eh_frame`.
    pub eh_frame_hdr: Option<Section>,
    /// The call frame information that is loaded with the code.
    pub eh_frame: Option<Section>,
    debug_frame: Option<Section>,
    packed: Packed,
    /// What Go's programs have in place of it, or beside it.
    pub pclntab: Option<Pclntab<'static>>,
    /// What addresses relative to the text or to the data count from (psABI's DW_EH_PE_textrel and
    /// datarel).
    pub text: Option<FileAddress>,
    /// Where the program begins, which nothing has called.
    pub entry: Option<FileAddress>,
    /// Where the global offset table begins.
    pub got: Option<FileAddress>,
}

/// A file inside the file, and the `.debug_frame` in it once it was looked for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Packed {
    file: Option<Vec<u8>>,
    debug_frame: OnceLock<Option<Section>>,
}

impl CfiSections {
    /// `.debug_frame`, of the file or of the one inside it.
    pub fn debug_frame(&self) -> Option<&Section> {
        let unpacked = || {
            let unpacked = debugdata::unpack(self.packed.file.as_ref()?)?;
            cfi_section(&Sections::of(&*unpacked).ok()?, ".debug_frame", Kind::DebugFrame)
        };
        self.debug_frame.as_ref().or_else(|| self.packed.debug_frame.get_or_init(unpacked).as_ref())
    }

    /// Reads the sections of a file by its section headers.
    pub fn from_file(file: &File) -> Result<Self, Error> {
        let cache = ReadCache::new(PositionedFile::new(file)?);
        let sections = Sections::of(&cache)?;
        // Go's table needs symbols and relocations, too.
        let pclntab = go::may_have_table(&sections)
            .then(|| go::pclntab(&ElfFile64::parse(&cache).ok()?).map(Pclntab::into_owned))
            .flatten();
        Ok(Self {
            eh_frame_hdr: sections.section(".eh_frame_hdr"),
            eh_frame: cfi_section(&sections, ".eh_frame", Kind::EhFrame),
            debug_frame: cfi_section(&sections, ".debug_frame", Kind::DebugFrame),
            packed: Packed { file: debugdata::packed_in(&sections), ..Packed::default() },
            pclntab,
            text: sections.address(".text"),
            entry: None,
            got: sections.address(".got"),
        })
    }

    /// What a JIT compiler registered of code that it made.
    pub(super) fn of_object(eh_frame: Option<Section>, debug_frame: Option<Section>) -> Self {
        Self { eh_frame, debug_frame, ..Self::default() }
    }

    /// Reads the sections of an image without section headers: the search table by its program
    /// header, and what it points at up to the end of the segment that holds it.
    pub fn from_image(headers: &Headers, image: &impl Image) -> Self {
        let pclntab = go::pclntab_of_image(headers, image);
        Self { pclntab, ..Self::try_from_image(headers, image).unwrap_or_default() }
    }

    fn try_from_image(headers: &Headers, image: &impl Image) -> Option<Self> {
        let (address, size) = headers.eh_frame_hdr?;
        let hdr = read_section(image, address, size)?;
        let bases = BaseAddresses::default().set_eh_frame_hdr(address.0);
        let parsed = EhFrameHdr::new(&hdr.data, Little).parse(&bases, 8).ok()?;
        let Pointer::Direct(eh_frame) = parsed.eh_frame_ptr() else {
            return None;
        };
        let eh_frame = FileAddress(eh_frame);
        let (_, rest) = headers.offset_of_address(eh_frame)?;
        let mut eh_frame = read_section(image, eh_frame, rest)?;
        if headers.machine == EM_AARCH64 {
            augmentation::simplify(&mut eh_frame.data, Kind::EhFrame);
        }
        Some(Self { eh_frame_hdr: Some(hdr), eh_frame: Some(eh_frame), ..Self::default() })
    }
}

/// A section with call frame information in a form that gimli understands.
fn cfi_section<'d, R: ReadRef<'d>>(sections: &Sections<'d, R>, name: &str, kind: Kind) -> Option<Section> {
    let mut section = sections.section(name)?;
    if sections.machine() == EM_AARCH64 {
        augmentation::simplify(&mut section.data, kind);
    }
    Some(section)
}

fn read_section(image: &impl Image, address: FileAddress, size: u64) -> Option<Section> {
    if size > MAX_SECTION {
        return None;
    }
    Some(Section { address, data: image::read_all(image, address, size)? })
}
