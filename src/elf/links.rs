//! What a file says of itself and of the files with its debug information: build-id, debug link,
//! what dwz moved out of it.
//!
//! Many files may be asked before the right one is found. Promises: only headers, note sections and
//! the sections of links are read, each within a bound; tables of symbols are not.

use std::fs::File;
use std::os::unix::fs::FileExt;

use object::elf::{ELF_NOTE_GNU, NT_GNU_BUILD_ID};
use object::{LittleEndian as Little, ReadCache, ReadRef};

use super::headers::{MAX_BUILD_ID, MAX_NOTES};
use super::{FileImage, Headers, PositionedFile, Sections};
use crate::model::BuildId;

/// A path and what identifies a file.
const MAX_LINK: u64 = 8 << 10;

/// What a file says of itself and of others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Links {
    /// The file's own build-id.
    pub build_id: Option<BuildId>,
    /// Whether it has debug information of its own.
    pub has_debug_info: bool,
    /// Whether it has a symbol table beyond the one that its loader needs.
    pub has_symbols: bool,
    /// `.gnu_debuglink`: the name of the file with its debug information, and the CRC-32 of that.
    pub debug_link: Option<(String, u32)>,
    /// `.gnu_debugaltlink` or `.debug_sup`: the path of the file that dwz moved debug information
    /// to, and its id.
    pub alternative: Option<(String, BuildId)>,
    /// Of a file that dwz made, what others know it by where that is no build-id.
    pub supplementary_id: Option<BuildId>,
}

impl Links {
    /// Reads them. None where the file is no ELF file of 64 bits.
    pub fn read(file: &File) -> Option<Self> {
        let cache = ReadCache::new(PositionedFile::new(file).ok()?);
        match Sections::of(&cache) {
            Ok(sections) => Some(Self::of(&sections)),
            // Without section headers there are still those that the loader needs.
            Err(_) => {
                let headers = Headers::parse(|offset, buffer| file.read_exact_at(buffer, offset).is_ok()).ok()?;
                let build_id = headers.build_id(&FileImage { file, headers: &headers });
                Some(Self { build_id, ..Self::default() })
            }
        }
    }

    fn of<'d, R: ReadRef<'d>>(sections: &Sections<'d, R>) -> Self {
        let is_build_id = |id: &&[u8]| !id.is_empty() && id.len() <= MAX_BUILD_ID;
        let ids = sections.notes(MAX_NOTES).filter_map(|note| {
            let is_one = note.name() == ELF_NOTE_GNU && note.n_type(Little) == NT_GNU_BUILD_ID;
            Some(note.desc()).filter(|_| is_one)
        });
        let moved = sections.raw(".gnu_debugaltlink", MAX_LINK).and_then(|bytes| alternative(&bytes));
        let (alternative, supplementary_id) =
            match sections.raw(".debug_sup", MAX_LINK).and_then(|bytes| supplement(&bytes)) {
                Some(Supplement { is_itself: true, id, .. }) => (moved, Some(id)),
                Some(Supplement { is_itself: false, path, id }) => (moved.or(Some((path, id))), None),
                None => (moved, None),
            };
        Self {
            build_id: ids.into_iter().find(is_build_id).map(|id| BuildId(id.to_vec())),
            has_debug_info: sections.has_contents(".debug_info") || sections.has_contents(".zdebug_info"),
            has_symbols: sections.has_contents(".symtab") || sections.has_contents(".gnu_debugdata"),
            debug_link: sections.raw(".gnu_debuglink", MAX_LINK).and_then(|bytes| debug_link(&bytes)),
            alternative,
            supplementary_id,
        }
    }

    /// Whether it is known by this id, as a program or as what dwz moved out of several.
    pub fn has_id(&self, id: &BuildId) -> bool {
        self.build_id.as_ref() == Some(id) || self.supplementary_id.as_ref() == Some(id)
    }
}

/// A name that ends in a zero, and the bytes after that.
fn name(bytes: &[u8]) -> Option<(&str, usize)> {
    let length = bytes.iter().position(|byte| *byte == 0)?;
    Some((std::str::from_utf8(&bytes[..length]).ok()?, length + 1))
}

/// A name, padded to a multiple of four bytes, and a checksum.
fn debug_link(bytes: &[u8]) -> Option<(String, u32)> {
    let (name, after) = name(bytes)?;
    let checksum = bytes.get(after.next_multiple_of(4)..)?.first_chunk()?;
    Some((name.to_owned(), u32::from_le_bytes(*checksum)))
}

/// A name, and the build-id up to the section's end.
fn alternative(bytes: &[u8]) -> Option<(String, BuildId)> {
    let (name, after) = name(bytes)?;
    let id = bytes.get(after..).filter(|id| id.len() <= MAX_BUILD_ID)?;
    Some((name.to_owned(), BuildId(id.to_vec())))
}

/// What `.debug_sup` says (DWARF 5, 7.3.6).
struct Supplement {
    /// Whether the file is the supplementary one itself.
    is_itself: bool,
    path: String,
    id: BuildId,
}

fn supplement(bytes: &[u8]) -> Option<Supplement> {
    let (head, rest) = bytes.split_at_checked(3)?;
    let (path, after) = name(rest)?;
    // The length is a LEB128, and of a checksum one byte of it is enough.
    let (length, id) = rest.get(after..)?.split_first()?;
    let id = id.get(..usize::from(*length))?;
    (head[..2] == 5_u16.to_le_bytes() && *length < 0x80).then_some(Supplement {
        is_itself: head[2] != 0,
        path: path.to_owned(),
        id: BuildId(id.to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use object::read::elf::{ElfFile64, SectionHeader};
    use object::{Object, elf};

    use super::*;

    /// A program with all kinds of links: what they are is what objcopy was asked for.
    #[test]
    fn links_are_those_that_were_made() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let place = |name: &str| directory.path().join(name);
        let run = |command: &mut Command| {
            let status = command.status().expect("tests/run installs it");
            assert!(status.success(), "{command:?}: {status}");
        };
        std::fs::write(place("main.c"), "int main(void) { return 0; }").expect("room for it");
        let build = "-Wl,--build-id=0x00112233445566778899";
        run(Command::new("gcc").args(["-g", build, "-o"]).args([place("whole"), place("main.c")]));
        let id = BuildId(vec![0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99]);
        let whole = Links::read(&File::open(place("whole")).expect("it was made")).expect("ELF");
        assert_eq!(
            whole,
            Links { build_id: Some(id.clone()), has_debug_info: true, has_symbols: true, ..Links::default() }
        );

        let debug = place("whole.debug");
        run(Command::new("objcopy").arg("--only-keep-debug").args([place("whole"), debug.clone()]));
        let of_debug = Links::read(&File::open(&debug).expect("it was made")).expect("ELF");
        assert_eq!(of_debug, whole);

        let alternative = [&b"../../.dwz/some\0"[..], &[7; 20]].concat();
        std::fs::write(place("alternative"), alternative).expect("room for it");
        let section = format!(".gnu_debugaltlink={}", place("alternative").display());
        let link = format!("--add-gnu-debuglink={}", debug.display());
        run(Command::new("objcopy")
            .args(["--strip-debug", &link, "--add-section", &section])
            .args([place("whole"), place("stripped")]));
        let checksum = crc32fast::hash(&std::fs::read(&debug).expect("it was made"));
        let expected = Links {
            build_id: Some(id),
            has_symbols: true,
            debug_link: Some(("whole.debug".into(), checksum)),
            alternative: Some(("../../.dwz/some".into(), BuildId(vec![7; 20]))),
            ..Links::default()
        };
        assert_eq!(Links::read(&File::open(place("stripped")).expect("it was made")), Some(expected));
    }

    /// To compare a build-id all tables of symbols of a file were read.
    #[test]
    fn symbols_are_not_read_for_a_build_id() {
        let path = std::env::current_exe().expect("the test's own file");
        let bytes = std::fs::read(&path).expect("readable");
        let elf = ElfFile64::<Little, _>::parse(&*bytes).expect("ELF");
        let table = elf.elf_section_table().iter().position(|section| section.sh_type(Little) == elf::SHT_SYMTAB);
        let headers = elf.elf_header().e_shoff.get(Little);
        let header = headers + table.expect("it has symbols") as u64 * 64;
        let expected = elf.build_id().ok().flatten().map(|id| BuildId(id.to_vec()));
        let directory = tempfile::tempdir().expect("a temporary directory");
        let copy = directory.path().join("copy");
        std::fs::write(&copy, &bytes).expect("room for it");
        let file = File::options().read(true).write(true).open(&copy).expect("it was made");
        // Its symbols are said to be where no file has anything, so that reading them fails.
        file.write_all_at(&(1_u64 << 60).to_le_bytes(), header + 24).expect("sh_offset");
        let links = Links::read(&file).expect("ELF");
        assert_eq!(links.build_id, expected);
        assert!(links.has_debug_info);
    }
}
