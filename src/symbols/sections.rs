//! Reading sections of debug information from files, compressed in one way or another.
//!
//! Promises: what a file claims is bounded by what it holds: memory is taken for a section only as
//! far as its compressed size makes its size likely.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use flate2::read::ZlibDecoder;
use gimli::SectionId;
use object::read::elf::ElfFile64;
use object::{CompressedFileRange, CompressionFormat, LittleEndian, Object, ObjectSection, ReadCache};

use crate::elf::{PositionedFile, Sections, is_plausible};

/// A section whose uncompressed size is beyond this is not loaded; a browser's .debug_info is half
/// of it.
const MAX_SECTION: u64 = 4 << 30;

/// The first `most` bytes of a section, or all of it.
pub(super) fn one_section(file: &File, id: SectionId, most: Option<usize>) -> Option<Vec<u8>> {
    let mut found = None;
    each_section(file, &[(id, id.name())], most, |_, bytes| found = Some(bytes));
    found
}

/// Reads these sections of a file, of each at most `most` bytes. One that is missing or damaged is
/// left out.
pub(super) fn each_section(
    file: &File,
    wanted: &[(SectionId, &str)],
    most: Option<usize>,
    mut keep: impl FnMut(SectionId, Vec<u8>),
) {
    let Ok(positioned) = PositionedFile::new(file) else {
        return;
    };
    let cache = ReadCache::new(positioned);
    let Ok(sections) = Sections::of(&cache) else {
        return;
    };
    for (id, name) in wanted {
        let Some(place) = plausible_place(&cache, &sections, name) else {
            continue;
        };
        let most = most.map_or(place.uncompressed_size, |most| place.uncompressed_size.min(most as u64));
        // Past the cache, which would hold a second copy of what may be hundreds of megabytes.
        let bytes = match place.format {
            CompressionFormat::None => read_exact(file, place.offset, most),
            CompressionFormat::Zlib => inflate(file, place, most),
            _ => place.data(&cache).ok().and_then(|data| data.decompress().ok()).map(Cow::into_owned),
        };
        if let Some(bytes) = bytes {
            keep(*id, bytes);
        }
    }
}

/// Where a section lies that an old linker has compressed, under a name that begins with `.z`.
fn old_place<'c>(
    cache: &'c ReadCache<PositionedFile<'_>>,
    sections: &Sections<'c, &'c ReadCache<PositionedFile<'_>>>,
    name: &str,
) -> Option<CompressedFileRange> {
    if !sections.has(&name.replacen('.', ".z", 1)) {
        return None;
    }
    let elf = ElfFile64::<LittleEndian, _>::parse(cache).ok()?;
    elf.section_by_name(name)?.compressed_file_range().ok()
}

fn read_exact(file: &File, offset: u64, size: u64) -> Option<Vec<u8>> {
    // A size beyond the end of the file is a lie, and would have us allocate it.
    if offset.checked_add(size)? > file.metadata().ok()?.len() {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(size).ok()?];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

/// Decompresses the first bytes of a section straight from the file into zeroed memory, which the
/// kernel hands out page by page as it is filled.
fn inflate(file: &File, place: CompressedFileRange, most: u64) -> Option<Vec<u8>> {
    let mut decoder = decoder(file, place)?;
    let mut bytes = vec![0; usize::try_from(most).ok()?];
    decoder.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn decoder(file: &File, place: CompressedFileRange) -> Option<ZlibDecoder<impl Read>> {
    let mut compressed = PositionedFile::new(file).ok()?;
    compressed.seek(SeekFrom::Start(place.offset)).ok()?;
    Some(ZlibDecoder::new(compressed.take(place.compressed_size)))
}

/// A decoder of .debug_info and how many bytes it yields, if that is compressed by zlib.
pub(super) fn decoder_of_info(file: &File) -> Option<(ZlibDecoder<impl Read>, u64)> {
    let cache = ReadCache::new(PositionedFile::new(file).ok()?);
    let place = Sections::of(&cache).ok()?.place_of(SectionId::DebugInfo.name())?;
    let is_usual = place.format == CompressionFormat::Zlib && is_plausible(&place);
    is_usual.then(|| decoder(file, place)).flatten().map(|decoder| (decoder, place.uncompressed_size))
}

/// All of the section of this name.
pub(super) fn one_section_named(file: &File, name: &str) -> Option<Vec<u8>> {
    let mut found = None;
    // Which section it is does not matter here.
    each_section(file, &[(SectionId::DebugInfo, name)], None, |_, bytes| found = Some(bytes));
    found
}

/// A part of the section of this name.
pub(super) fn part_of_section(file: &File, name: &str, offset: u64, size: u64) -> Option<Vec<u8>> {
    let place = {
        let cache = ReadCache::new(PositionedFile::new(file).ok()?);
        let sections = Sections::of(&cache).ok()?;
        plausible_place(&cache, &sections, name)?
    };
    let end = offset.checked_add(size).filter(|end| *end <= place.uncompressed_size)?;
    match place.format {
        CompressionFormat::None => read_exact(file, place.offset.checked_add(offset)?, size),
        _ => {
            let range = usize::try_from(offset).ok()?..usize::try_from(end).ok()?;
            Some(one_section_named(file, name)?.get(range)?.to_vec())
        }
    }
}

/// Where a section lies, if its size may be believed.
fn plausible_place<'c>(
    cache: &'c ReadCache<PositionedFile<'_>>,
    sections: &Sections<'c, &'c ReadCache<PositionedFile<'_>>>,
    name: &str,
) -> Option<CompressedFileRange> {
    let place = sections.place_of(name).or_else(|| old_place(cache, sections, name))?;
    (place.uncompressed_size <= MAX_SECTION && is_plausible(&place)).then_some(place)
}
