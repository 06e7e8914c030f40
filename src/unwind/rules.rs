//! From an address to the rules that recover its caller's registers, by way of gimli, with a cache in front.
//!
//! `.eh_frame_hdr` has a search table for `.eh_frame`. Where there is none, and for `.debug_frame`, an index is made of
//! the whole section when it is first needed.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, DebugFrame, EhFrame, EhFrameHdr, Encoding, EndianSlice, FrameDescriptionEntry,
    LittleEndian, RegisterRule, UnwindContext, UnwindExpression, UnwindOffset, UnwindSection, UnwindTableRow,
};

use super::pclntab;
use crate::elf::{CfiSections, Section};
use crate::model::{FileAddress, Register};

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// Rows kept for one module; each is some 500 bytes. A process blocks in few places.
const MAX_CACHED_ROWS: usize = 4096;

/// Which section an expression's bytes lie in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SectionKind {
    EhFrame,
    DebugFrame,
}

/// A DWARF expression, by where its bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct StoredExpression {
    section: SectionKind,
    place: UnwindExpression<usize>,
    pub(super) encoding: Encoding,
}

impl StoredExpression {
    /// The expression's bytes.
    pub(super) fn bytes<'a>(&self, sections: &'a CfiSections) -> Option<gimli::Expression<Bytes<'a>>> {
        match self.section {
            SectionKind::EhFrame => self.place.get(&eh_frame(sections.eh_frame.as_ref()?)).ok(),
            SectionKind::DebugFrame => self.place.get(&debug_frame(sections.debug_frame()?)).ok(),
        }
    }
}

/// How the canonical frame address is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cfa {
    Offset(Register, i64),
    Expression(StoredExpression),
}

/// How the caller's value of one register is recovered (DWARF 5, 6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rule {
    /// Nothing is said: what the ABI says of the register holds.
    Unspecified,
    Undefined,
    Same,
    Offset(i64),
    ValOffset(i64),
    Register(Register),
    Expression(StoredExpression),
    ValExpression(StoredExpression),
    Constant(u64),
    /// A rule that means nothing for these registers.
    Unusable,
}

/// The rules in force at one address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Row {
    pub(super) cfa: Cfa,
    /// By DWARF number.
    pub(super) rules: [Rule; Register::ALL.len()],
    pub(super) return_address: Register,
    pub(super) signal_frame: bool,
    /// The code that the entry is for: a function, or a part of one that was moved away from it.
    pub(super) function: Range<FileAddress>,
}

impl Row {
    /// The rules of code that a signal's handler has returned to. The kernel's saved context begins where the stack pointer
    /// points (`struct ucontext` of asm/ucontext.h): 40 bytes, and then the registers.
    pub(super) fn signal_return(function: Range<FileAddress>) -> Self {
        use Register::{R8, R9, R10, R11, R12, R13, R14, R15, Rax, Rbp, Rbx, Rcx, Rdi, Rdx, Rip, Rsi, Rsp};
        const SAVED: [Register; 17] =
            [R8, R9, R10, R11, R12, R13, R14, R15, Rdi, Rsi, Rbp, Rbx, Rdx, Rax, Rcx, Rsp, Rip];
        let mut rules = [Rule::Undefined; Register::ALL.len()];
        for (register, place) in SAVED.into_iter().zip((40..).step_by(8)) {
            rules[register as usize] = Rule::Offset(place);
        }
        let cfa = Cfa::Offset(Rsp, 0);
        Self { cfa, rules, return_address: Rip, signal_frame: true, function }
    }

    /// Whether it says that nothing called this code.
    pub(super) fn is_root(&self) -> bool {
        self.rules[self.return_address as usize] == Rule::Undefined
    }
}

/// Why there are no rules for an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoRow {
    /// No function there has call frame information.
    None,
    /// There is some, and it is malformed.
    Bad,
    /// The function, which begins there, has changed to another stack, and what called it may be on the first: nothing
    /// tells where.
    Elsewhere(FileAddress),
}

/// The functions of a section without a search table: range and the offset of the entry, in the order of their addresses.
type Index = Vec<(Range<u64>, usize)>;

/// The rules of one module.
pub(super) struct ModuleRules {
    sections: Arc<CfiSections>,
    bases: BaseAddresses,
    context: Box<UnwindContext<usize>>,
    rows: HashMap<FileAddress, Result<Arc<Row>, NoRow>>,
    eh_index: Option<Index>,
    debug_index: Option<Index>,
}

impl ModuleRules {
    pub(super) fn new(sections: Arc<CfiSections>) -> Self {
        let mut bases = BaseAddresses::default();
        if let Some(section) = &sections.eh_frame_hdr {
            bases = bases.set_eh_frame_hdr(section.address.0);
        }
        if let Some(section) = &sections.eh_frame {
            bases = bases.set_eh_frame(section.address.0);
        }
        if let Some(text) = sections.text {
            bases = bases.set_text(text.0);
        }
        if let Some(got) = sections.got {
            bases = bases.set_got(got.0);
        }
        Self {
            sections,
            bases,
            context: Box::new(UnwindContext::new()),
            rows: HashMap::new(),
            eh_index: None,
            debug_index: None,
        }
    }

    /// Whether anybody else holds these sections.
    pub(super) fn is_loaded(&self) -> bool {
        Arc::strong_count(&self.sections) > 1
    }

    /// The rules at an address inside the instruction in question.
    pub(super) fn row(&mut self, address: FileAddress) -> Result<Arc<Row>, NoRow> {
        if let Some(row) = self.rows.get(&address) {
            return row.clone();
        }
        // Go's own table comes first, and what it does not know of its functions nothing else does: what Go's linker writes
        // into `.debug_frame` marks neither the outermost functions nor those that change to another stack.
        let go = self.sections.pclntab.as_ref().and_then(|table| pclntab::row(table, address));
        let row = go.unwrap_or_else(|| match self.row_of_eh_frame(address) {
            Err(NoRow::None) => self.row_of_debug_frame(address),
            found => found,
        });
        let row = row.map(Arc::new);
        if self.rows.len() == MAX_CACHED_ROWS {
            self.rows.clear();
        }
        self.rows.insert(address, row.clone());
        row
    }

    fn row_of_eh_frame(&mut self, address: FileAddress) -> Result<Row, NoRow> {
        let sections = self.sections.clone();
        let section = eh_frame(sections.eh_frame.as_ref().ok_or(NoRow::None)?);
        let offset = match self.search(&sections, address) {
            Some(offset) => offset,
            None => {
                let index = self.eh_index.get_or_insert_with(|| index(&section, &self.bases));
                lookup(index, address).ok_or(NoRow::None)?
            }
        };
        self.evaluate(&section, SectionKind::EhFrame, offset, address)
    }

    /// Where the search table says the entry for this address is. None where there is no table that can be used.
    fn search(&self, sections: &CfiSections, address: FileAddress) -> Option<usize> {
        let hdr = sections.eh_frame_hdr.as_ref()?;
        let hdr = EhFrameHdr::new(&hdr.data, LittleEndian).parse(&self.bases, 8).ok()?;
        let table = hdr.table()?;
        let entry = table.lookup(address.0, &self.bases).ok()?;
        Some(table.pointer_to_offset(entry).ok()?.0)
    }

    fn row_of_debug_frame(&mut self, address: FileAddress) -> Result<Row, NoRow> {
        let sections = self.sections.clone();
        let section = debug_frame(sections.debug_frame().ok_or(NoRow::None)?);
        let index = self.debug_index.get_or_insert_with(|| index(&section, &self.bases));
        let offset = lookup(index, address).ok_or(NoRow::None)?;
        self.evaluate(&section, SectionKind::DebugFrame, offset, address)
    }

    fn evaluate<'a, S>(
        &mut self,
        section: &S,
        kind: SectionKind,
        offset: usize,
        address: FileAddress,
    ) -> Result<Row, NoRow>
    where
        S: UnwindSection<Bytes<'a>>,
        S::Offset: UnwindOffset<usize>,
    {
        let fde: FrameDescriptionEntry<Bytes<'a>> = section
            .fde_from_offset(&self.bases, S::Offset::from(offset), S::cie_from_offset)
            .map_err(|_| NoRow::Bad)?;
        if !fde.contains(address.0) {
            return Err(NoRow::None);
        }
        let row =
            fde.unwind_info_for_address(section, &self.bases, &mut self.context, address.0).map_err(|_| NoRow::Bad)?;
        stored(row, &fde, kind).ok_or(NoRow::Bad)
    }
}

fn stored(row: &UnwindTableRow<usize>, fde: &FrameDescriptionEntry<Bytes<'_>>, section: SectionKind) -> Option<Row> {
    let expression =
        |place: &UnwindExpression<usize>| StoredExpression { section, place: *place, encoding: fde.cie().encoding() };
    let register = |number: gimli::Register| Register::from_dwarf(number.0);
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register: base, offset } => Cfa::Offset(register(*base)?, *offset),
        CfaRule::Expression(place) => Cfa::Expression(expression(place)),
    };
    let rules = Register::ALL.map(|wanted| match row.register(gimli::Register(wanted as u16)) {
        None => Rule::Unspecified,
        Some(RegisterRule::Undefined) => Rule::Undefined,
        Some(RegisterRule::SameValue) => Rule::Same,
        Some(RegisterRule::Offset(offset)) => Rule::Offset(offset),
        Some(RegisterRule::ValOffset(offset)) => Rule::ValOffset(offset),
        Some(RegisterRule::Register(other)) => register(other).map_or(Rule::Unusable, Rule::Register),
        Some(RegisterRule::Expression(place)) => Rule::Expression(expression(&place)),
        Some(RegisterRule::ValExpression(place)) => Rule::ValExpression(expression(&place)),
        Some(RegisterRule::Constant(value)) => Rule::Constant(value),
        Some(_) => Rule::Unusable,
    });
    Some(Row {
        cfa,
        rules,
        return_address: register(fde.cie().return_address_register())?,
        signal_frame: fde.is_signal_trampoline(),
        function: FileAddress(fde.initial_address())..FileAddress(fde.end_address()),
    })
}

fn index<'a, S>(section: &S, bases: &BaseAddresses) -> Index
where
    S: UnwindSection<Bytes<'a>>,
{
    let mut entries = section.entries(bases);
    let mut index = Index::new();
    // A malformed entry ends the section: nothing tells where the next one begins.
    while let Ok(Some(entry)) = entries.next() {
        if let CieOrFde::Fde(partial) = entry
            && let Ok(fde) = partial.parse(S::cie_from_offset)
        {
            index.push((fde.initial_address()..fde.end_address(), fde.offset()));
        }
    }
    index.sort_unstable_by_key(|(range, offset)| (range.start, *offset));
    index
}

fn lookup(index: &Index, address: FileAddress) -> Option<usize> {
    let after = index.partition_point(|(range, _)| range.start <= address.0);
    index[..after].last().filter(|(range, _)| range.contains(&address.0)).map(|(_, offset)| *offset)
}

fn eh_frame(section: &Section) -> EhFrame<Bytes<'_>> {
    let mut parsed = EhFrame::new(&section.data, LittleEndian);
    parsed.set_address_size(8);
    parsed
}

fn debug_frame(section: &Section) -> DebugFrame<Bytes<'_>> {
    let mut parsed = DebugFrame::new(&section.data, LittleEndian);
    parsed.set_address_size(8);
    parsed
}
