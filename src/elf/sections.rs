//! The sections of a file, by their names.
//!
//! object's reader of whole files takes in the symbols, too, which are megabytes that an unwinder
//! has no use for, and as many section headers as the file claims to have. Promises: what it reads
//! and keeps is bounded whatever the file says.

use std::fs::File;
use std::iter;

use object::elf::{
    ELFCOMPRESS_ZLIB, ELFCOMPRESS_ZSTD, FileHeader64, Machine, SHT_DYNSYM, SHT_NOBITS, SHT_SYMTAB, SectionHeader64,
};
use object::read::elf::{FileHeader, Note, SectionHeader, SectionTable};
use object::{CompressedFileRange, CompressionFormat, LittleEndian as Little, ReadCache, ReadRef};

use super::{Error, PositionedFile, Section, is_plausible};
use crate::model::FileAddress;

type Header = FileHeader64<Little>;

/// Linked files have some dozens. Of each the name may be kept, of up to 4 KiB.
pub(super) const MAX_SECTIONS: u16 = 4096;
/// Larger than the call frame information of any program seen; what claims more is taken to be
/// damaged.
pub(super) const MAX_SECTION: u64 = 512 << 20;

/// Whether the tables of symbols of a file are small enough to be read.
pub fn has_plausible_symbols(file: &File) -> bool {
    let plausible =
        |file| Some(Sections::of(&ReadCache::new(PositionedFile::new(file).ok()?)).ok()?.has_plausible_symbols());
    plausible(file).unwrap_or(false)
}

/// The sections of one file.
pub struct Sections<'d, R: ReadRef<'d>> {
    file: R,
    machine: Machine,
    table: SectionTable<'d, Header, R>,
}

impl<'d, R: ReadRef<'d>> Sections<'d, R> {
    /// Reads the section headers of a file.
    pub fn of(file: R) -> Result<Self, Error> {
        let header = Header::parse(file).map_err(|_| Error::NotElf)?;
        header.endian().map_err(|_| Error::NotElf)?;
        let malformed = Error::Malformed("the table of section headers");
        // More than 16 bits can say would stand elsewhere, and be too many.
        if !(1..=MAX_SECTIONS).contains(&header.e_shnum.get(Little)) {
            return Err(malformed);
        }
        Ok(Self {
            file,
            machine: header.e_machine(Little),
            table: header.sections(Little, file).map_err(|_| malformed)?,
        })
    }

    /// The instruction set, as e_machine numbers them.
    pub(super) fn machine(&self) -> Machine {
        self.machine
    }

    /// Whether the tables of symbols are small enough to be read.
    pub(super) fn has_plausible_symbols(&self) -> bool {
        let is_table = |section: &&SectionHeader64<Little>| [SHT_SYMTAB, SHT_DYNSYM].contains(&section.sh_type(Little));
        self.table.iter().filter(is_table).all(|table| table.sh_size(Little) <= MAX_SECTION)
    }

    /// Whether there is a section of this name.
    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Whether there is one that has bytes in the file: what strips a file, or reduces it, may
    /// leave the header of a section.
    pub(super) fn has_contents(&self, name: &str) -> bool {
        self.find(name).is_some_and(|section| section.sh_type(Little) != SHT_NOBITS && section.sh_size(Little) > 0)
    }

    pub(super) fn address(&self, name: &str) -> Option<FileAddress> {
        Some(FileAddress(self.find(name)?.sh_addr(Little)))
    }

    /// The bytes of a section, uncompressed.
    pub(super) fn section(&self, name: &str) -> Option<Section> {
        let header = self.find(name)?;
        let place = self.place(header)?;
        if place.uncompressed_size > MAX_SECTION || !is_plausible(&place) {
            return None;
        }
        let data = place.data(self.file).ok()?.decompress().ok()?.into_owned();
        (!data.is_empty()).then(|| Section { address: FileAddress(header.sh_addr(Little)), data })
    }

    /// The bytes of a section as they lie in the file, unless there are more than that.
    pub(super) fn raw(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let (offset, size) = self.find(name)?.file_range(Little).filter(|(_, size)| *size <= most)?;
        Some(self.file.read_bytes_at(offset, size).ok()?.to_vec())
    }

    /// The notes of all sections of them that have no more than this many bytes.
    pub(super) fn notes(&self, most: u64) -> impl Iterator<Item = Note<'d, Header>> {
        let notes = self.table.iter().filter(move |section| section.sh_size(Little) <= most);
        notes.filter_map(|section| section.notes(Little, self.file).ok().flatten()).flat_map(|mut notes| {
            // What is malformed ends them.
            iter::from_fn(move || notes.next().ok().flatten())
        })
    }

    /// Where in the file a section lies, and whether it is compressed.
    pub fn place_of(&self, name: &str) -> Option<CompressedFileRange> {
        self.place(self.find(name)?)
    }

    fn find(&self, name: &str) -> Option<&'d SectionHeader64<Little>> {
        self.table.section_by_name(Little, name.as_bytes()).map(|(_, section)| section)
    }

    fn place(&self, section: &SectionHeader64<Little>) -> Option<CompressedFileRange> {
        let Some((header, offset, compressed_size)) = section.compression(Little, self.file).ok()? else {
            return Some(CompressedFileRange::none(section.file_range(Little)));
        };
        let format = match header.ch_type.get(Little) {
            ELFCOMPRESS_ZLIB => CompressionFormat::Zlib,
            ELFCOMPRESS_ZSTD => CompressionFormat::Zstandard,
            _ => return None,
        };
        Some(CompressedFileRange { format, offset, compressed_size, uncompressed_size: header.ch_size.get(Little) })
    }
}
