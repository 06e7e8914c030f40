//! Go's table of functions: names, lines, and how deep the stack is at each instruction. The Go
//! runtime walks its own stacks by it, so it is in every Go program, stripped or not.
//!
//! The format is what Go's `cmd/link` writes and its `runtime/symtab.go` reads, as of Go 1.2, 1.16,
//! 1.18 and 1.20; those who changed it gave it a new magic number each time. Promises: hostile
//! bytes give no answer or a wrong one, never a panic, and every look-up is bounded. Of functions
//! that were inlined it is said that they were, and not which they are: that lies elsewhere in the
//! program.

mod numbers;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

use crate::model::FileAddress;
use numbers::{u32_at, u64_at, variable};

/// The header begins with a magic number, two zeroes, the size of an instruction's unit (1 on
/// x86-64) and of a pointer.
const MAGIC_SIZE: usize = 8;
/// More functions than any program has.
const MAX_FUNCTIONS: u64 = 1 << 24;
/// Names of instances of generic functions spell out their types.
const MAX_NAME: usize = 64 << 10;
/// Changes of a value inside one function; generated code of a megabyte has some hundred thousand.
const MAX_STEPS: usize = 1 << 20;

/// How a version of Go lays the table out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Version {
    Go2,
    Go16,
    Go18,
    Go20,
}

/// The table of one program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pclntab<'d> {
    data: Cow<'d, [u8]>,
    version: Version,
    functions: usize,
    /// What the addresses of functions count from; 0 before Go 1.18.
    text: u64,
    /// Where the parts of the table begin.
    names: usize,
    units: usize,
    files: usize,
    values: usize,
    index: usize,
}

/// A function in the table.
#[derive(Clone, Debug)]
pub struct GoFunction<'t> {
    table: &'t Pclntab<'t>,
    /// Where it is described.
    description: usize,
    /// From its first instruction to the end of its last.
    pub range: Range<FileAddress>,
}

/// How deep the stack is at an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Depth {
    /// Bytes from the stack pointer to the return address.
    pub bytes: u64,
    /// The first instruction from which on it is so.
    pub since: FileAddress,
}

impl Version {
    fn of(magic: &[u8]) -> Option<Self> {
        const UNIT_AND_POINTER: [u8; 4] = [0, 0, 1, 8];
        let (number, rest) = magic.split_first_chunk()?;
        if !rest.starts_with(&UNIT_AND_POINTER) {
            return None;
        }
        match u32::from_le_bytes(*number) {
            0xffff_fffb => Some(Self::Go2),
            0xffff_fffa => Some(Self::Go16),
            0xffff_fff0 => Some(Self::Go18),
            0xffff_fff1 => Some(Self::Go20),
            _ => None,
        }
    }

    /// How far after a function's address its description goes on after its kind, its flags and
    /// two bytes more.
    fn behind_flags(self) -> Option<usize> {
        match self {
            Self::Go2 => None,
            Self::Go16 | Self::Go18 => Some(36),
            // The line where it begins has come between.
            Self::Go20 => Some(40),
        }
    }

    /// The size of one of the numbers in the index: addresses before Go 1.18, distances since.
    fn index_number(self) -> usize {
        if self >= Self::Go18 { 4 } else { 8 }
    }
}

impl<'d> Pclntab<'d> {
    /// Whether a table may begin with these bytes.
    pub(super) fn begins(bytes: &[u8]) -> bool {
        Version::of(bytes).is_some()
    }

    /// The address of the program's text as the header has it. None where there is none in the
    /// header, or it was left to the loader of the program.
    pub(super) fn stated_text(bytes: &[u8]) -> Option<FileAddress> {
        let has_text = Version::of(bytes)? >= Version::Go18;
        let text = u64_at(bytes, TEXT_START)?;
        (has_text && text != 0).then_some(FileAddress(text))
    }

    /// Reads the header. `text` is what addresses count from, which older tables do not need; bytes
    /// after the table do no harm.
    pub fn parse(data: Cow<'d, [u8]>, text: FileAddress) -> Option<Self> {
        let version = Version::of(&data)?;
        let part = |number: usize| usize::try_from(u64_at(&data, MAGIC_SIZE + 8 * number)?).ok();
        let functions = u64_at(&data, MAGIC_SIZE).filter(|count| (1..=MAX_FUNCTIONS).contains(count))?;
        let functions = usize::try_from(functions).ok()?;
        let after_index = 2 * functions * version.index_number();
        // The numbers of functions and of files come first, then, since Go 1.18, the text.
        let first = if version >= Version::Go18 { 3 } else { 2 };
        let (names, units, files, values, index) = match version {
            // The list of files follows the index, and says itself how long it is; all else counts
            // from the beginning.
            Version::Go2 => {
                let index = MAGIC_SIZE + 8;
                (0, 0, u32_at(&data, index + after_index + 8)? as usize, 0, index)
            }
            _ => (part(first)?, part(first + 1)?, part(first + 2)?, part(first + 3)?, part(first + 4)?),
        };
        let text = if version >= Version::Go18 { text.0 } else { 0 };
        let table = Self { data, version, functions, text, names, units, files, values, index };
        // The end of the last function is the end of the index.
        let bounds = table.entry(0)?..table.entry(functions)?;
        (!bounds.is_empty()).then_some(table)
    }

    /// The function that this address lies in.
    pub fn function(&self, address: FileAddress) -> Option<GoFunction<'_>> {
        let (mut low, mut high) = (0, self.functions);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.entry(middle)? <= address.0 { low = middle + 1 } else { high = middle }
        }
        let number = low.checked_sub(1)?;
        let range = FileAddress(self.entry(number)?)..FileAddress(self.entry(number + 1)?);
        // An index that is not in order leads anywhere.
        range.contains(&address).then_some(GoFunction { table: self, description: self.description(number)?, range })
    }

    /// The functions of this name, by looking at all of them.
    pub(super) fn functions_called(&self, name: &str) -> impl Iterator<Item = GoFunction<'_>> {
        let function = |number| {
            let range = FileAddress(self.entry(number)?)..FileAddress(self.entry(number + 1)?);
            Some(GoFunction { table: self, description: self.description(number)?, range })
        };
        (0..self.functions).filter_map(function).filter(move |function| function.is_called(name, ""))
    }

    /// The same, of bytes of its own.
    pub(super) fn into_owned(self) -> Pclntab<'static> {
        let Self { data, version, functions, text, names, units, files, values, index } = self;
        let data = Cow::Owned(data.into_owned());
        Pclntab { data, version, functions, text, names, units, files, values, index }
    }

    fn entry(&self, number: usize) -> Option<u64> {
        Some(self.text.wrapping_add(self.index_number(2 * number)?))
    }

    fn description(&self, number: usize) -> Option<usize> {
        let base = if self.version == Version::Go2 { 0 } else { self.index };
        base.checked_add(usize::try_from(self.index_number(2 * number + 1)?).ok()?)
    }

    fn index_number(&self, position: usize) -> Option<u64> {
        let size = self.version.index_number();
        let at = self.index.checked_add(position.checked_mul(size)?)?;
        if size == 4 { u32_at(&self.data, at).map(u64::from) } else { u64_at(&self.data, at) }
    }

    fn text_at(&self, part: usize, offset: u32) -> Option<&str> {
        let rest = self.data.get(part.checked_add(offset as usize)?..)?;
        let bytes = rest.get(..rest.len().min(MAX_NAME))?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&bytes[..end]).ok().filter(|text| !text.is_empty())
    }
}

/// Where, since Go 1.18, the header says where the text is.
pub(super) const TEXT_START: usize = MAGIC_SIZE + 16;

impl GoFunction<'_> {
    /// Its name; None where the table is damaged.
    pub fn name(&self) -> Option<&str> {
        self.table.text_at(self.table.names, self.field(0)?)
    }

    /// Whether these two make its name, which is not read any further.
    pub fn is_called(&self, name: &str, suffix: &str) -> bool {
        let is_called = || {
            let place = self.table.names.checked_add(self.field(0)? as usize)?;
            let rest = self.table.data.get(place..)?.strip_prefix(name.as_bytes())?.strip_prefix(suffix.as_bytes())?;
            rest.starts_with(&[0]).then_some(())
        };
        is_called().is_some()
    }

    /// The source file and the line of an instruction; of an inlined function where one was
    /// inlined.
    pub fn line(&self, at: FileAddress) -> Option<(&str, u32)> {
        let table = self.table;
        let (file, _) = self.value(self.field(4)?, at)?;
        let (line, _) = self.value(self.field(5)?, at)?;
        let file = usize::try_from(file).ok()?;
        // Files of a whole program count from 1, those of a compilation unit from 0.
        let offset = if table.version == Version::Go2 {
            u32_at(&table.data, table.files.checked_add(file.checked_mul(4)?)?)?
        } else {
            let place = (self.field(7)? as usize).checked_add(file)?.checked_mul(4)?;
            u32_at(&table.data, table.units.checked_add(place)?)?
        };
        let files = if table.version == Version::Go2 { 0 } else { table.files };
        Some((table.text_at(files, offset)?, u32::try_from(line).ok().filter(|line| *line > 0)?))
    }

    /// Whether the line of an instruction is that of another function, which was inlined. Unknown
    /// before Go 1.16.
    pub fn is_inlined(&self, at: FileAddress) -> bool {
        const INDEX_OF_INLINED: u32 = 2;
        let further = || {
            let kinds = self.field(6)?;
            let behind = self.table.version.behind_flags()?;
            let place = self.description.checked_add(self.size_of_address() + behind)?;
            let offset = u32_at(&self.table.data, place.checked_add(4 * INDEX_OF_INLINED as usize)?)?;
            if kinds > INDEX_OF_INLINED { self.value(offset, at) } else { None }
        };
        further().is_some_and(|(index, _)| index >= 0)
    }

    /// How deep the stack is at an instruction.
    pub fn depth(&self, at: FileAddress) -> Option<Depth> {
        let (bytes, since) = self.value(self.field(3)?, at)?;
        Some(Depth { bytes: u64::try_from(bytes).ok()?, since })
    }

    /// Whether the function writes the stack pointer other than by pushing, so that it may be on
    /// another stack.
    pub fn switches_stacks(&self) -> bool {
        const SPWRITE: u8 = 2;
        self.flags() & SPWRITE != 0
    }

    /// Whether it is written in assembly. Unknown before Go 1.18.
    pub fn is_assembly(&self) -> bool {
        const ASM: u8 = 4;
        self.flags() & ASM != 0
    }

    /// Whether a stack begins with this function, by the table's own word. Unknown before Go
    /// 1.17.
    pub fn is_outermost(&self) -> bool {
        const TOPFRAME: u8 = 1;
        self.flags() & TOPFRAME != 0
    }

    fn flags(&self) -> u8 {
        // In Go 1.16 it is padding, and zero.
        let place = || self.description.checked_add(self.size_of_address() + self.table.version.behind_flags()? - 3);
        place().and_then(|at| self.table.data.get(at).copied()).unwrap_or(0)
    }

    fn size_of_address(&self) -> usize {
        self.table.version.index_number()
    }

    /// A number of the description, counted after the address: 0 name, 1 arguments, 2 deferred
    /// return, 3 depth, 4 file, 5 line, 6 number of further tables, 7 compilation unit.
    fn field(&self, number: usize) -> Option<u32> {
        u32_at(&self.table.data, self.description.checked_add(self.size_of_address() + 4 * number)?)
    }

    /// A value that changes along the function: pairs of differences, of the value and of the
    /// address up to which it holds. Given with the address from which on it holds.
    fn value(&self, offset: u32, at: FileAddress) -> Option<(i32, FileAddress)> {
        if offset == 0 {
            return None;
        }
        let mut rest = self.table.data.get(self.table.values.checked_add(offset as usize)?..)?;
        let (mut value, mut address) = (-1_i32, self.range.start.0);
        for _ in 0..MAX_STEPS {
            let change = variable(&mut rest)?;
            if change == 0 && address != self.range.start.0 {
                return None;
            }
            // The sign is the lowest bit.
            let change = if change & 1 == 0 { change >> 1 } else { !(change >> 1) };
            value = value.wrapping_add(change.cast_signed());
            let since = address;
            // A value that holds nowhere is none that a linker would write.
            let length = variable(&mut rest).filter(|length| *length > 0)?;
            address = address.checked_add(length.into())?;
            if at.0 < address {
                return Some((value, FileAddress(since)));
            }
        }
        None
    }
}
