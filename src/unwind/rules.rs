//! From an address to the rules that recover its caller's registers, by way of gimli, with a cache
//! in front.
//!
//! `.eh_frame_hdr` has a search table for `.eh_frame`. Where there is none, and for `.debug_frame`,
//! an index is made of the whole section when it is first needed.
//!
//! What an entry costs to be evaluated grows with its length, which is up to the maker of the file,
//! and there may be a frame at every address of it. So each walk has an `Effort` to spend, and
//! entries that no compiler would make are malformed.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, CommonInformationEntry, DebugFrame, EhFrame, EhFrameHdr, Encoding, EndianSlice,
    FrameDescriptionEntry, LittleEndian, RegisterRule, UnwindContext, UnwindExpression, UnwindOffset, UnwindSection,
    UnwindTableRow, Vendor,
};

use super::machine::Machine;
use crate::elf::{CfiSections, Section};
use crate::model::FileAddress;

type DwarfBytes<'a> = EndianSlice<'a, LittleEndian>;

/// Rows kept for one module; each is some 500 bytes. A process blocks in few places.
const MAX_CACHED_ROWS: usize = 4096;

/// Functions in an index; the largest programs have a million.
const MAX_FUNCTIONS: usize = 1 << 22;
/// The name of an augmentation; those in use have up to five letters.
const MAX_AUGMENTATION: usize = 32;

/// Steps before an expression is taken for one that never ends; real ones have a dozen.
pub(super) const MAX_STEPS: u32 = 1000;

/// What may still be spent on rules in one walk: bytes of call frame information, and steps of
/// expressions.
pub struct Effort(usize);

impl Default for Effort {
    fn default() -> Self {
        Self(1 << 26)
    }
}

impl Effort {
    /// None when there is less left than that.
    pub(super) fn spend(&mut self, amount: usize) -> Option<()> {
        self.0 = self.0.checked_sub(amount)?;
        Some(())
    }
}

/// Which section an expression's bytes lie in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SectionKind {
    EhFrame,
    DebugFrame,
}

/// A DWARF expression, by where its bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredExpression {
    section: SectionKind,
    place: UnwindExpression<usize>,
    pub(super) encoding: Encoding,
}

impl StoredExpression {
    /// The expression's bytes.
    pub(super) fn bytes<'a>(&self, sections: &'a CfiSections) -> Option<gimli::Expression<DwarfBytes<'a>>> {
        match self.section {
            SectionKind::EhFrame => self.place.get(&eh_frame(sections.eh_frame.as_ref()?, Vendor::Default)).ok(),
            SectionKind::DebugFrame => self.place.get(&debug_frame(sections.debug_frame()?, Vendor::Default)).ok(),
        }
    }
}

/// How the canonical frame address is computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cfa<R> {
    Offset(R, i64),
    Expression(StoredExpression),
}

/// How the caller's value of one register is recovered (DWARF 5, 6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule<R> {
    /// Nothing is said: what the ABI says of the register holds.
    Unspecified,
    Undefined,
    Same,
    Offset(i64),
    ValOffset(i64),
    Register(R),
    Expression(StoredExpression),
    ValExpression(StoredExpression),
    Constant(u64),
    /// A rule that means nothing for these registers.
    Unusable,
}

/// The rules in force at one address.
#[derive(Clone, Debug)]
pub struct Row<R: Machine> {
    pub(super) cfa: Cfa<R>,
    /// By DWARF number.
    pub(super) rules: R::Each<Rule<R>>,
    pub(super) return_address: R,
    pub(super) signing: R::Signing,
    pub(super) signal_frame: bool,
    /// The code that the entry is for: a function, or a part of one that was moved away from it.
    pub(super) function: Range<FileAddress>,
}

impl<R: Machine> Row<R> {
    /// The rules of code that a signal's handler has returned to, where the kernel's saved context
    /// has these registers one after the other, so far from the stack pointer.
    pub(super) fn of_signal_frame(
        (sp, offset): (R, i64),
        saved: &[R],
        function: Range<FileAddress>,
        signing: R::Signing,
    ) -> Self {
        let place = |wanted: R| saved.iter().zip((offset..).step_by(8)).find(|(register, _)| **register == wanted);
        let rules = R::each(|register| place(register).map_or(Rule::Undefined, |(_, place)| Rule::Offset(place)));
        Self { cfa: Cfa::Offset(sp, 0), rules, return_address: R::PC, signing, signal_frame: true, function }
    }

    pub(super) fn rule(&self, register: R) -> Rule<R> {
        self.rules.as_ref()[register.index()]
    }

    /// How many steps it may take to apply it, beyond a few.
    pub(super) fn steps(&self) -> usize {
        let of_rules =
            self.rules.as_ref().iter().filter(|rule| matches!(rule, Rule::Expression(_) | Rule::ValExpression(_)));
        (of_rules.count() + usize::from(matches!(self.cfa, Cfa::Expression(_)))) * MAX_STEPS as usize
    }

    /// Whether it says that nothing called this code.
    pub(super) fn is_root(&self) -> bool {
        self.rule(self.return_address) == Rule::Undefined
    }
}

/// Why there are no rules for an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoRow {
    /// No function there has call frame information.
    None,
    /// There is some, and it is malformed.
    Bad,
    /// The function, which begins there, has changed to another stack, and what called it may be on
    /// the first: nothing says where.
    Elsewhere(FileAddress),
    /// To find out would take more than may be spent.
    TooLong,
}

/// The functions of a section without a search table: range and the offset of the entry, in the
/// order of their addresses.
type Index = Vec<(Range<u64>, usize)>;

/// The rules of one module.
pub(super) struct ModuleRules<R: Machine> {
    sections: Arc<CfiSections>,
    bases: BaseAddresses,
    context: Box<UnwindContext<usize>>,
    rows: HashMap<FileAddress, Result<Arc<Row<R>>, NoRow>>,
    eh_index: Option<Index>,
    debug_index: Option<Index>,
}

impl<R: Machine> ModuleRules<R> {
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
    pub(super) fn row(&mut self, address: FileAddress, effort: &mut Effort) -> Result<Arc<Row<R>>, NoRow> {
        if let Some(row) = self.rows.get(&address) {
            return row.clone();
        }
        // Go's own table comes first, and what it does not know of its functions nothing else does:
        // what Go's linker writes into `.debug_frame` marks neither the outermost functions nor
        // those that change to another stack.
        let go = self.sections.pclntab.as_ref().and_then(|table| R::go_row(table, address, effort));
        let row = go.unwrap_or_else(|| match self.row_of_eh_frame(address, effort) {
            Err(NoRow::None) => self.row_of_debug_frame(address, effort),
            found => found,
        });
        let row = row.map(Arc::new);
        if matches!(row, Err(NoRow::TooLong)) {
            // Another walk may be able to afford it.
            return row;
        }
        if self.rows.len() == MAX_CACHED_ROWS {
            self.rows.clear();
        }
        self.rows.insert(address, row.clone());
        row
    }

    fn row_of_eh_frame(&mut self, address: FileAddress, effort: &mut Effort) -> Result<Row<R>, NoRow> {
        let sections = self.sections.clone();
        let bytes = sections.eh_frame.as_ref().ok_or(NoRow::None)?;
        let section = eh_frame(bytes, R::VENDOR);
        let offset = match self.search(&sections, address) {
            Some(offset) => offset,
            None => {
                let index = self.eh_index.get_or_insert_with(|| index(&section, &bytes.data, &self.bases));
                lookup(index, address).ok_or(NoRow::None)?
            }
        };
        self.evaluate(&section, &bytes.data, SectionKind::EhFrame, offset, address, effort)
    }

    /// Where the search table says the entry for this address is. None where there is no table that
    /// can be used.
    fn search(&self, sections: &CfiSections, address: FileAddress) -> Option<usize> {
        let hdr = sections.eh_frame_hdr.as_ref()?;
        let length = hdr.data.len();
        let hdr = EhFrameHdr::new(&hdr.data, LittleEndian).parse(&self.bases, 8).ok()?;
        let table = hdr.table()?;
        // A table that says it is longer than its section, or that points before the other one,
        // says nothing.
        let rows = table.iter(&self.bases).size_hint().0;
        if rows > length {
            return None;
        }
        let entry = table.lookup(address.0, &self.bases).ok()?.direct().ok()?;
        usize::try_from(entry.checked_sub(hdr.eh_frame_ptr().direct().ok()?)?).ok()
    }

    fn row_of_debug_frame(&mut self, address: FileAddress, effort: &mut Effort) -> Result<Row<R>, NoRow> {
        let sections = self.sections.clone();
        let bytes = sections.debug_frame().ok_or(NoRow::None)?;
        let section = debug_frame(bytes, R::VENDOR);
        let index = self.debug_index.get_or_insert_with(|| index(&section, &bytes.data, &self.bases));
        let offset = lookup(index, address).ok_or(NoRow::None)?;
        self.evaluate(&section, &bytes.data, SectionKind::DebugFrame, offset, address, effort)
    }

    fn evaluate<'a, S>(
        &mut self,
        section: &S,
        bytes: &[u8],
        kind: SectionKind,
        offset: usize,
        address: FileAddress,
        effort: &mut Effort,
    ) -> Result<Row<R>, NoRow>
    where
        S: UnwindSection<DwarfBytes<'a>>,
        S::Offset: UnwindOffset<usize>,
    {
        let fde: FrameDescriptionEntry<DwarfBytes<'a>> = section
            .fde_from_offset(&self.bases, S::Offset::from(offset), common_entry(bytes))
            .map_err(|_| NoRow::Bad)?;
        if !fde.contains(address.0) {
            return Err(NoRow::None);
        }
        effort.spend(fde.entry_len().saturating_add(fde.cie().entry_len())).ok_or(NoRow::TooLong)?;
        let row =
            fde.unwind_info_for_address(section, &self.bases, &mut self.context, address.0).map_err(|_| NoRow::Bad)?;
        stored(row, &fde, kind).ok_or(NoRow::Bad)
    }
}

fn stored<R: Machine>(
    row: &UnwindTableRow<usize>,
    fde: &FrameDescriptionEntry<DwarfBytes<'_>>,
    section: SectionKind,
) -> Option<Row<R>> {
    let expression =
        |place: &UnwindExpression<usize>| StoredExpression { section, place: *place, encoding: fde.cie().encoding() };
    let register = |number: gimli::Register| R::from_dwarf(number.0);
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register: base, offset } => Cfa::Offset(register(*base)?, *offset),
        CfaRule::Expression(place) => Cfa::Expression(expression(place)),
    };
    let rules = R::each(|wanted| match row.register(gimli::Register(wanted.number().into())) {
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
        signing: R::signing(row),
        signal_frame: fde.is_signal_trampoline(),
        function: FileAddress(fde.initial_address())..FileAddress(fde.end_address()),
    })
}

/// Reads the common entry that functions refer to: again for each of them, so it must not be long
/// where it need not be.
fn common_entry<'a, S>(
    bytes: &[u8],
) -> impl FnMut(&S, &BaseAddresses, S::Offset) -> gimli::Result<CommonInformationEntry<DwarfBytes<'a>>>
where
    S: UnwindSection<DwarfBytes<'a>>,
    S::Offset: UnwindOffset<usize>,
{
    |section: &S, bases, offset| {
        let at = UnwindOffset::into(offset);
        // After length, id and version; the first two are longer in the 64-bit format.
        let is_long = bytes.get(at..).is_some_and(|entry| entry.starts_with(&[0xff; 4]));
        let name = at.saturating_add(if is_long { 12 + 4 + 1 } else { 4 + 4 + 1 });
        let name = bytes.get(name..).unwrap_or_default();
        match name.iter().take(MAX_AUGMENTATION).any(|byte| *byte == 0) {
            true => section.cie_from_offset(bases, offset),
            false => Err(gimli::Error::UnknownAugmentation),
        }
    }
}

fn index<'a, S>(section: &S, bytes: &[u8], bases: &BaseAddresses) -> Index
where
    S: UnwindSection<DwarfBytes<'a>>,
    S::Offset: UnwindOffset<usize>,
{
    let mut entries = section.entries(bases);
    let mut index = Index::new();
    // A malformed entry ends the section: nothing says where the next one begins.
    while index.len() < MAX_FUNCTIONS
        && let Ok(Some(entry)) = entries.next()
    {
        if let CieOrFde::Fde(partial) = entry
            && let Ok(fde) = partial.parse(common_entry(bytes))
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

fn eh_frame(section: &Section, vendor: Vendor) -> EhFrame<DwarfBytes<'_>> {
    let mut parsed = EhFrame::new(&section.data, LittleEndian);
    parsed.set_address_size(8);
    parsed.set_vendor(vendor);
    parsed
}

fn debug_frame(section: &Section, vendor: Vendor) -> DebugFrame<DwarfBytes<'_>> {
    let mut parsed = DebugFrame::new(&section.data, LittleEndian);
    parsed.set_address_size(8);
    parsed.set_vendor(vendor);
    parsed
}
