//! Where in an ELF file the numbers are that somebody might believe, and changing some of them.

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection};

use super::program;
use super::random::Random;

/// What a number is about. Each is as likely to be changed as any other, however many numbers there
/// are of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Part {
    Header,
    Segments,
    Sections,
    SectionNames,
    Notes,
    SearchTable,
    /// Lengths, pointers, versions and augmentations of the entries of call frame information.
    Entries,
    /// The rest of them, which may be replaced by other instructions.
    Instructions,
    GoTable,
    Compressed,
}

#[derive(Clone, Copy)]
pub struct Field {
    offset: usize,
    width: usize,
}

/// The fields of a file, by their parts.
pub struct Fields(Vec<(Part, Vec<Field>)>);

impl Fields {
    /// Those of a file that is whole.
    pub fn of(bytes: &[u8]) -> Self {
        let elf = ElfFile64::<LittleEndian>::parse(bytes).expect("a whole file");
        let mut fields = Self(Vec::new());
        // Class, byte order and version; then as `Elf64_Ehdr` has them (elf(5)).
        let header = [(4, 1), (5, 1), (6, 1), (16, 2), (18, 2), (24, 8), (32, 8), (40, 8)];
        let counts = [(52, 2), (54, 2), (56, 2), (58, 2), (60, 2), (62, 2)];
        fields.add(Part::Header, header.into_iter().chain(counts));
        let segments = number(bytes, 32, 8)..number(bytes, 32, 8) + 56 * number(bytes, 56, 2);
        let segment = [(0, 4), (4, 4), (8, 8), (16, 8), (32, 8), (40, 8), (48, 8)];
        fields
            .add(Part::Segments, segments.step_by(56).flat_map(|at| segment.map(|(field, width)| (at + field, width))));
        let sections = number(bytes, 40, 8)..number(bytes, 40, 8) + 64 * number(bytes, 60, 2);
        let section = [(0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8)];
        fields
            .add(Part::Sections, sections.step_by(64).flat_map(|at| section.map(|(field, width)| (at + field, width))));
        for section in elf.sections() {
            let Some((start, size)) = section.file_range() else {
                continue;
            };
            let (start, size) = (index(start), index(size));
            let end = start + size;
            let name = section.name().expect("a whole file");
            match name {
                ".shstrtab" => fields.add(Part::SectionNames, (start..end).map(|at| (at, 1))),
                ".eh_frame" => fields.entries(bytes, start, end, 0),
                ".debug_frame" if !is_compressed(bytes, start) => fields.entries(bytes, start, end, 0xffff_ffff),
                ".debug_frame" | ".gnu_debugdata" => fields.add(Part::Compressed, (start..end).map(|at| (at, 1))),
                ".eh_frame_hdr" => {
                    fields.add(Part::SearchTable, (start..start + 4).map(|at| (at, 1)));
                    fields.add(Part::SearchTable, (start + 4..end - 3).step_by(4).map(|at| (at, 4)));
                }
                ".gopclntab" => {
                    fields.add(Part::GoTable, (start..start + 8).map(|at| (at, 1)));
                    fields.add(Part::GoTable, (start + 8..start + 72).step_by(8).map(|at| (at, 8)));
                    // Of the rest some will do.
                    fields.add(Part::GoTable, (start + 72..end - 4).step_by(52).take(4000).map(|at| (at, 4)));
                }
                _ if name.starts_with(".note") => {
                    fields.add(Part::Notes, (start..end - 3).step_by(4).map(|at| (at, 4)));
                }
                _ => {}
            }
        }
        fields
    }

    fn add(&mut self, part: Part, places: impl Iterator<Item = (usize, usize)>) {
        let found = self.0.iter().position(|(known, _)| *known == part).unwrap_or_else(|| {
            self.0.push((part, Vec::new()));
            self.0.len() - 1
        });
        self.0[found].1.extend(places.map(|(offset, width)| Field { offset, width }));
    }

    /// The entries of a section of call frame information: common ones have this number in place of
    /// a pointer.
    fn entries(&mut self, bytes: &[u8], start: usize, end: usize, common: usize) {
        let mut at = start;
        while at + 8 < end && number(bytes, at, 4) != 0 {
            let next = at + 4 + number(bytes, at, 4);
            self.add(Part::Entries, [(at, 4), (at + 4, 4)].into_iter());
            let instructions = if number(bytes, at + 4, 4) == common {
                let string = bytes[at + 9..next].iter().position(|byte| *byte == 0).expect("a whole file");
                // Version, augmentation, alignments, the column of return addresses, and some of
                // what follows.
                self.add(Part::Entries, (at + 8..(at + 9 + string + 10).min(next)).map(|at| (at, 1)));
                at + 9 + string + 6
            } else {
                let width = if common == 0 { 4 } else { 8 };
                self.add(Part::Entries, [(at + 8, width), (at + 8 + width, width)].into_iter());
                at + 8 + 2 * width
            };
            self.add(Part::Instructions, (instructions..next).map(|at| (at, 1)));
            at = next;
        }
    }

    pub fn has(&self, part: Part) -> bool {
        self.0.iter().any(|(known, fields)| *known == part && !fields.is_empty())
    }

    /// Changes a few fields.
    pub fn change(&self, bytes: &mut [u8], random: &mut Random) {
        for _ in 0..=random.below(4) {
            let (part, fields) = &self.0[random.below(self.0.len())];
            let field = random.pick(fields);
            if *part == Part::Instructions && !random.is_one_in(4) {
                // Over the end of the entry, too.
                for (place, byte) in bytes[field.offset..].iter_mut().zip(program::instructions(random)) {
                    *place = byte;
                }
                continue;
            }
            let place = &mut bytes[field.offset..field.offset + field.width];
            let mut old = [0; 8];
            old[..field.width].copy_from_slice(place);
            let old = u64::from_le_bytes(old);
            let new = match random.below(4) {
                0 => old.wrapping_add_signed(random.below(33) as i64 - 16),
                1 => old ^ 1 << random.below(8 * field.width),
                _ => random.number(),
            };
            place.copy_from_slice(&new.to_le_bytes()[..field.width]);
        }
        if random.is_one_in(20) {
            // What lies after the end of a file that was cut short is zero.
            let end = random.below(bytes.len());
            bytes[end..].fill(0);
        }
    }
}

fn number(bytes: &[u8], at: usize, width: usize) -> usize {
    let mut number = [0; 8];
    number[..width].copy_from_slice(&bytes[at..at + width]);
    index(u64::from_le_bytes(number))
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("a 64-bit machine")
}

/// Whether a header of a compressed section is there: `Elf64_Chdr` with zlib.
fn is_compressed(bytes: &[u8], at: usize) -> bool {
    number(bytes, at, 8) == 1
}
