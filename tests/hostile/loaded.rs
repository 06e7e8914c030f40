//! Everything that hangsnap asks of an ELF file that a process has loaded: its headers, its name,
//! its call frame information, and stacks that lead through it.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use gimli::{BaseAddresses, CieOrFde, EndianSlice, LittleEndian, UnwindSection};
use hangsnap::elf::{CfiSections, Headers, Image, Section};
use hangsnap::model::{
    Bias, FileAddress, MemoryOf, MemoryPiece, ModuleIndex, RegisterFile, RuntimeAddress, Stack, WalkEnd, X86_64Register,
};
use hangsnap::unwind::{CodeSpace, SpaceId, StackMemory, Unwinder};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::random::Random;

const BIAS: Bias = Bias(0x5555_0000_0000);
/// Where stacks lie: as usual, and at both ends of the address space.
const STACKS: [u64; 4] = [0x7ffc_0000_0000, 0x7ffc_0000_0000, 0, u64::MAX - (1 << 16)];
/// Walks through the sections that were found in one way.
const WALKS: usize = 6;

/// The bytes of an image, by its own headers.
struct Bytes<'a> {
    bytes: &'a [u8],
    headers: &'a Headers,
}

impl Image for Bytes<'_> {
    fn read(&self, address: FileAddress, buffer: &mut [u8]) -> bool {
        let Some((offset, available)) = self.headers.offset_of_address(address) else {
            return false;
        };
        buffer.len() as u64 <= available && copy(self.bytes, offset, buffer)
    }
}

fn copy(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> bool {
    let found = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)?.get(..buffer.len()));
    found.map(|found| buffer.copy_from_slice(found)).is_some()
}

/// An address space with one module and executable memory beside it.
struct Space<'a> {
    image: Bytes<'a>,
    sections: Arc<CfiSections>,
}

const AROUND: u64 = 1 << 32;

impl CodeSpace for Space<'_> {
    fn id(&self) -> SpaceId {
        SpaceId(1)
    }

    fn module(&self, address: RuntimeAddress) -> Option<(ModuleIndex, Bias)> {
        (BIAS.to_file(address).0 < AROUND).then_some((ModuleIndex(0), BIAS))
    }

    fn end(&self) -> RuntimeAddress {
        BIAS.to_runtime(FileAddress(2 * AROUND))
    }

    fn is_executable(&self, address: RuntimeAddress) -> bool {
        BIAS.to_file(address).0 < 2 * AROUND
    }

    fn cfi(&mut self, _: ModuleIndex) -> Arc<CfiSections> {
        self.sections.clone()
    }

    fn read(&mut self, address: RuntimeAddress, buffer: &mut [u8]) -> usize {
        if self.image.read(BIAS.to_file(address), buffer) { buffer.len() } else { 0 }
    }
}

/// How walks ended, for the test to see that it tests something.
#[derive(Clone, Copy, Default)]
pub struct Walked {
    pub frames: u64,
    pub roots: u64,
    pub ends: u64,
}

impl Walked {
    pub fn add(&mut self, more: Self) {
        self.frames += more.frames;
        self.roots += more.roots;
        self.ends += more.ends;
    }
}

/// Does it all. `seed` decides on registers and stacks.
pub fn load(bytes: &[u8], seed: u64) -> Walked {
    let mut walked = Walked::default();
    let headers = Headers::parse(|offset, buffer| copy(bytes, offset, buffer)).unwrap_or_default();
    let image = Bytes { bytes, headers: &headers };
    let _ = headers.build_id(&image);
    for offset in [0, 1, 0xfff, 0x1000, bytes.len() as u64, u64::MAX] {
        let _ = (headers.address_of_offset(offset, true), headers.offset_of_address(FileAddress(offset)));
    }
    let by_sections = CfiSections::from_file(&file(bytes)).unwrap_or_default();
    for mut sections in [by_sections, CfiSections::from_image(&headers, &image)] {
        sections.entry = headers.entry;
        let code = code(&sections, &headers);
        let image = Bytes { bytes, headers: &headers };
        let mut space = Space { image, sections: Arc::new(sections) };
        let (mut unwinder, mut random) = (Unwinder::default(), Random::new(seed));
        for _ in 0..WALKS {
            walk(&mut unwinder, &mut space, &code, &mut random, &mut walked);
        }
    }
    walked
}

/// Walks a stack of these words, which are addresses in the file's code; the first is where the
/// thread is.
pub fn walk_words(bytes: &[u8], words: &[u64]) -> Stack {
    let headers = Headers::parse(|offset, buffer| copy(bytes, offset, buffer)).expect("headers that are whole");
    let sections = Arc::new(CfiSections::from_file(&file(bytes)).expect("sections that are whole"));
    let mut space = Space { image: Bytes { bytes, headers: &headers }, sections };
    let runtime = |word: &u64| if *word == 0 { 0 } else { BIAS.to_runtime(FileAddress(*word)).0 };
    let stack: Vec<u8> = words[1..].iter().flat_map(|word| runtime(word).to_le_bytes()).collect();
    let mut registers = RegisterFile::default();
    registers.set(X86_64Register::Rip, runtime(&words[0]));
    registers.set(X86_64Register::Rsp, STACKS[0]);
    Unwinder::default().walk(&registers, StackMemory::new(RuntimeAddress(STACKS[0]), &stack), &mut space)
}

fn file(bytes: &[u8]) -> File {
    let memory: OwnedFd = memfd_create(c"hostile", MFdFlags::MFD_CLOEXEC).expect("memory");
    let mut file = File::from(memory);
    file.write_all(bytes).expect("memory");
    file
}

/// Addresses that a stack may hold: in functions that have an entry, and all over the segments.
fn code(sections: &CfiSections, headers: &Headers) -> Vec<u64> {
    let mut code = Vec::new();
    if let Some(table) = &sections.pclntab {
        let starts = headers.loads.iter().filter(|load| load.executable);
        let addresses =
            starts.flat_map(|load| (0..64).map(|part| load.address.offset((load.file_size / 64 * part) as i64)));
        let functions = addresses.filter_map(|address| table.function(address));
        code.extend(functions.flat_map(|function| [function.range.start.offset(1).0, function.range.end.offset(-1).0]));
    }
    if let Some(section) = &sections.eh_frame {
        let mut parsed = gimli::EhFrame::new(&section.data, LittleEndian);
        parsed.set_address_size(8);
        functions(&parsed, section, &mut code);
    }
    if let Some(section) = sections.debug_frame() {
        let mut parsed = gimli::DebugFrame::new(&section.data, LittleEndian);
        parsed.set_address_size(8);
        functions(&parsed, section, &mut code);
    }
    for load in headers.loads.iter().filter(|load| load.executable) {
        code.extend((0..8).map(|part| load.address.0.wrapping_add(load.file_size / 8 * part)));
    }
    code.extend([0x1000, AROUND - 1, AROUND + 16]);
    code
}

fn functions<'a, S>(parsed: &S, section: &Section, code: &mut Vec<u64>)
where
    S: UnwindSection<EndianSlice<'a, LittleEndian>>,
{
    let bases = BaseAddresses::default().set_eh_frame(section.address.0);
    let mut entries = parsed.entries(&bases);
    for _ in 0..64 {
        let Ok(Some(entry)) = entries.next() else {
            break;
        };
        if let CieOrFde::Fde(partial) = entry
            && let Ok(fde) = partial.parse(S::cie_from_offset)
        {
            let (start, end) = (fde.initial_address(), fde.end_address());
            code.extend([start, start.wrapping_add(end.wrapping_sub(start) / 2), end.wrapping_sub(1)]);
        }
    }
}

fn walk(
    unwinder: &mut Unwinder<X86_64Register>,
    space: &mut Space<'_>,
    code: &[u64],
    random: &mut Random,
    walked: &mut Walked,
) {
    let start = random.pick(&STACKS);
    let size = 8 * (1 + random.below(512));
    let word = |random: &mut Random| match random.below(8) {
        0 => start.wrapping_add(random.below(size + 64) as u64 & !7),
        1 => random.number(),
        2 if random.is_one_in(8) => 0,
        _ => BIAS.to_runtime(FileAddress(random.pick(code))).0.wrapping_add(random.below(3) as u64),
    };
    let bytes: Vec<u8> = (0..size / 8).flat_map(|_| word(random).to_le_bytes()).collect();
    let mut registers = RegisterFile::default();
    for register in X86_64Register::ALL {
        if !random.is_one_in(4) {
            registers.set(register, word(random));
        }
    }
    registers.set(X86_64Register::Rip, BIAS.to_runtime(FileAddress(random.pick(code))).0);
    if !random.is_one_in(8) {
        let place = random.below(size) as u64;
        registers.set(X86_64Register::Rsp, start.wrapping_add(if random.is_one_in(8) { place } else { place & !7 }));
    }
    let mut stack = StackMemory::new(RuntimeAddress(start), &bytes);
    let mut others = Vec::new();
    while random.is_one_in(4) {
        let address = RuntimeAddress(start.wrapping_add(random.number()));
        let from = if random.is_one_in(8) { size } else { size / 16 * 8 };
        others.push(MemoryPiece { address, bytes: bytes[from..].into(), what: MemoryOf::Stack });
    }
    if !others.is_empty() {
        stack = stack.with_pieces(&others).without(random.number());
    }
    let found = unwinder.walk(&registers, stack, space);
    walked.frames += found.frames.len() as u64;
    walked.roots += u64::from(found.end == WalkEnd::Root);
    walked.ends += 1;
}
