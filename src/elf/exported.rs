//! The functions that an image exports, by what its dynamic section leads to: what the loader needs
//! is always in memory, though no file is to be had.
//!
//! Promises: the image is hostile. The dynamic section, the table of symbols and each name are
//! bounded, and names of functions that are not asked for are not read.

use std::collections::BTreeSet;

use object::LittleEndian as Little;
use object::elf::{DT_GNU_HASH, DT_HASH, DT_NULL, DT_STRTAB, DT_SYMTAB, Dyn64, STT_FUNC, STT_GNU_IFUNC, Sym64};
use object::pod;
use object::read::elf::{Dyn, Sym};

use super::{Headers, Image, read_all};
use crate::model::{Bias, FileAddress, RuntimeAddress};

/// Linkers write some thirty entries.
const MAX_DYNAMIC: u64 = 64 << 10;
/// The largest libraries export a hundred thousand.
const MAX_SYMBOLS: u32 = 1 << 20;
/// The chains of the hash table are read in pieces of this many words.
const CHAIN: usize = 1024;
/// The most pieces: enough for the most symbols, and some that are short.
const MOST_PIECES: usize = 2 * MAX_SYMBOLS as usize / CHAIN;
/// Names that are read; aliases of one function are several.
const MAX_NAMES: usize = 1 << 12;
/// The part of a name that is read.
const MAX_NAME: usize = 4096;
/// A name is read in pieces that do not reach into the next page, for that need not be there.
const PIECE: usize = 64;

/// A function that an image exports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExportedSymbol {
    /// Its first instruction.
    pub start: FileAddress,
    /// How many bytes it has; 0 where the table does not say.
    pub size: u64,
    /// Whether the symbol's binding is local.
    pub is_local: bool,
    /// Its name as the table has it, not demangled.
    pub name: String,
}

/// The functions that an image exports and one of these addresses lies in. Loaders put run-time
/// addresses into the dynamic section of some images, and leave others as they are in the file;
/// `bias` is what distinguishes them.
pub fn exported(
    headers: &Headers,
    image: &impl Image,
    bias: Bias,
    wanted: &BTreeSet<FileAddress>,
) -> Vec<ExportedSymbol> {
    try_exported(headers, image, bias, wanted).unwrap_or_default()
}

fn try_exported(
    headers: &Headers,
    image: &impl Image,
    bias: Bias,
    wanted: &BTreeSet<FileAddress>,
) -> Option<Vec<ExportedSymbol>> {
    let (address, size) = headers.dynamic.filter(|(_, size)| *size <= MAX_DYNAMIC)?;
    let bytes = read_all(image, address, size - size % size_of::<Dyn64<Little>>() as u64)?;
    let (entries, _) = pod::slice_from_bytes::<Dyn64<Little>>(&bytes, bytes.len() / size_of::<Dyn64<Little>>()).ok()?;
    let entries = entries.iter().take_while(|entry| entry.tag(Little) != DT_NULL);
    let place = |tag| {
        let entry = entries.clone().find(|entry| entry.tag(Little) == tag)?;
        let value = entry.val(Little);
        let moved = bias.to_file(RuntimeAddress(value));
        let is_inside = |address: FileAddress| {
            let inside = |start: FileAddress, size: u64| address.0.wrapping_sub(start.0) < size;
            headers.loads.iter().any(|load| inside(load.address, load.file_size))
        };
        [moved, FileAddress(value)].into_iter().find(|address| is_inside(*address))
    };
    let (symbols, names) = (place(DT_SYMTAB)?, place(DT_STRTAB)?);
    let counted = |table: FileAddress| {
        let mut words = [0; 8];
        image.read(table, &mut words).then(|| word(&words, 4))
    };
    let count = match place(DT_HASH).and_then(counted) {
        Some(count) => count,
        None => by_gnu_hash(image, place(DT_GNU_HASH)?)?,
    };
    let count = usize::try_from(count.min(MAX_SYMBOLS)).ok()?;
    let bytes = read_all(image, symbols, (count * size_of::<Sym64<Little>>()) as u64)?;
    let (symbols, _) = pod::slice_from_bytes::<Sym64<Little>>(&bytes, count).ok()?;
    let is_wanted = |symbol: &&Sym64<Little>| {
        let start = symbol.st_value(Little);
        let range = FileAddress(start)..FileAddress(start.saturating_add(symbol.st_size(Little)));
        let is_code = [STT_FUNC, STT_GNU_IFUNC].contains(&symbol.st_type()) && !symbol.is_undefined(Little);
        is_code && range.start < range.end && wanted.range(range).next().is_some()
    };
    let symbol = |symbol: &Sym64<Little>| {
        let name = name(image, names.offset(symbol.st_name(Little).into()))?;
        let (start, size) = (FileAddress(symbol.st_value(Little)), symbol.st_size(Little));
        Some(ExportedSymbol { start, size, is_local: symbol.is_local(), name })
    };
    Some(symbols.iter().filter(is_wanted).take(MAX_NAMES).filter_map(symbol).collect())
}

/// None when it cannot be read, or is no name.
fn name(image: &impl Image, at: FileAddress) -> Option<String> {
    let mut bytes = Vec::new();
    while bytes.len() < MAX_NAME {
        let at = at.offset(i64::try_from(bytes.len()).ok()?);
        let mut piece = [0; PIECE];
        let piece = &mut piece[at.0 as usize % PIECE..];
        if !image.read(at, piece) {
            return None;
        }
        let end = piece.iter().position(|byte| *byte == 0);
        bytes.extend_from_slice(&piece[..end.unwrap_or(piece.len())]);
        if end.is_some() {
            return (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    None
}

/// How many symbols there are, by the table of those that can be looked up: the end of the last
/// chain is the end of all.
fn by_gnu_hash(image: &impl Image, table: FileAddress) -> Option<u32> {
    let mut head = [0; 16];
    if !image.read(table, &mut head) {
        return None;
    }
    let [buckets, first, filters] = [0, 4, 8].map(|at| word(&head, at));
    if buckets > MAX_SYMBOLS || filters > MAX_SYMBOLS {
        return None;
    }
    let bucket_table = table.offset(16 + i64::from(filters) * 8);
    let bytes = read_all(image, bucket_table, u64::from(buckets) * 4)?;
    let last = (0..buckets as usize).map(|bucket| word(&bytes, bucket * 4)).max().filter(|last| *last >= first)?;
    let chains = bucket_table.offset(i64::from(buckets) * 4);
    let mut number = last;
    for _ in 0..MOST_PIECES {
        let mut words = [0; CHAIN * 4];
        let at = chains.offset(i64::from(number - first) * 4);
        // The end of the chain may be near the end of what is mapped.
        let length = [CHAIN, 16, 1].into_iter().find(|length| image.read(at, &mut words[..length * 4]))?;
        match (0..length).position(|place| word(&words, place * 4) & 1 == 1) {
            Some(place) => return number.checked_add(u32::try_from(place).ok()? + 1),
            None => number = number.checked_add(u32::try_from(length).ok()?)?,
        }
    }
    None
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    struct Whole<'a>(&'a File, &'a Headers);

    impl Image for Whole<'_> {
        fn read(&self, address: FileAddress, buffer: &mut [u8]) -> bool {
            let found = self.1.offset_of_address(address);
            found.is_some_and(|(offset, _)| self.0.read_exact_at(buffer, offset).is_ok())
        }
    }

    /// The C library's functions are at the addresses that it gives for them here.
    #[test]
    fn functions_of_the_c_library() {
        let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux");
        let line = maps.lines().find(|line| line.ends_with("/libc.so.6")).expect("this test is linked with it");
        let start = u64::from_str_radix(line.split('-').next().expect("a range"), 16).expect("an address");
        let file = File::open(line.split_whitespace().last().expect("a path")).expect("readable");
        let headers = Headers::parse(|offset, buffer| file.read_exact_at(buffer, offset).is_ok()).expect("ELF");
        let image = Whole(&file, &headers);
        for bias in [Bias(0), Bias(start)] {
            let inside = FileAddress(libc::getpid as *const () as u64 + 1 - start);
            let functions = exported(&headers, &image, bias, &[inside].into());
            let names: Vec<_> = functions.iter().map(|one| (one.name.as_str(), one.start.0 + 1)).collect();
            assert!(names.contains(&("getpid", inside.0)), "{names:?}");
            assert!(names.len() < 4, "{names:?}");
        }
    }

    /// An image whose bytes are not what they should be.
    struct Altered<'a>(&'a File, &'a Headers, u64);

    impl Image for Altered<'_> {
        fn read(&self, address: FileAddress, buffer: &mut [u8]) -> bool {
            let is_read = Whole(self.0, self.1).read(address, buffer);
            let mut random = self.2.wrapping_add(address.0).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            for byte in &mut *buffer {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                if random.is_multiple_of(31) {
                    *byte = (random >> 32) as u8;
                }
            }
            is_read
        }
    }

    #[test]
    fn whatever_the_tables_say_there_is_an_end() {
        let file = File::open(std::env::current_exe().expect("the test's own file")).expect("readable");
        let headers = Headers::parse(|offset, buffer| file.read_exact_at(buffer, offset).is_ok()).expect("ELF");
        let wanted = (0..1000).map(|number| FileAddress(number * 4096)).collect();
        let mut most = 0;
        for seed in 0..500 {
            let found = exported(&headers, &Altered(&file, &headers, seed), Bias(seed << 40), &wanted);
            assert!(found.iter().all(|symbol| symbol.name.len() <= 3 * (MAX_NAME + PIECE)));
            most = most.max(found.len());
        }
        assert!(most <= MAX_NAMES, "{most}");
    }
}
