//! The debug information of one module as a graph of entries, which is read as it is asked for.
//!
//! Promises: an entry is known by its place in `.debug_info`, of the module's own file or of the
//! supplementary one. Following references is left to those who bound it; lists are bounded here.
//! What cannot be read is None.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use gimli::constants as dw;
use gimli::{AttributeValue, DebugInfoOffset, DebugTypeSignature, DwAt, Dwarf, EndianSlice, LittleEndian, UnitOffset};

use super::index;
use crate::model::FileAddress;
use crate::symbols::DebugInformation;

pub(super) use super::index::{Bytes, Entry, Unit};

/// More children than any entry has that is a function, a block or a type.
const MOST_CHILDREN: usize = 1 << 16;
/// Entries of a unit that are looked through for its functions.
const MOST_ENTRIES: usize = 1 << 24;
/// References from an entry to the one that says more.
const MOST_ORIGINS: usize = 8;

/// Where an entry lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Place {
    /// Of the supplementary file, not of the module's own.
    is_shared: bool,
    offset: usize,
}

/// An entry, and the unit that it lies in.
#[derive(Clone)]
pub(super) struct Die<'a> {
    pub(super) place: Place,
    pub(super) unit: Rc<Unit<'a>>,
    pub(super) entry: Entry<'a>,
}

/// Code that is some function's, and the function's entry.
type Functions = Vec<(u64, u64, UnitOffset)>;

/// The debug information of a module.
pub(super) struct Debug<'a> {
    own: Dwarf<Bytes<'a>>,
    shared: Option<Dwarf<Bytes<'a>>>,
    /// Where units begin, in order: of the module's own file, and of the supplementary one.
    starts: [Vec<usize>; 2],
    /// Which unit has code at which addresses.
    ranges: Vec<(u64, u64, usize)>,
    signatures: HashMap<DebugTypeSignature, usize>,
    units: RefCell<HashMap<Place, Option<Rc<Unit<'a>>>>>,
    functions: RefCell<HashMap<usize, Rc<Functions>>>,
}

impl<'a> Debug<'a> {
    /// The graph of what was found of a module.
    pub(super) fn new(found: &'a DebugInformation) -> Self {
        let slice = |section: &'a Vec<u8>| EndianSlice::new(section, LittleEndian);
        let mut own = found.sections.borrow(slice);
        let shared = found.supplementary.as_ref().map(|sections| sections.borrow(slice));
        if let Some(sections) = &found.supplementary {
            own.set_sup(sections.borrow(slice));
        }
        let mut debug = Self {
            starts: [index::starts(&own), shared.as_ref().map(index::starts).unwrap_or_default()],
            own,
            shared,
            ranges: Vec::new(),
            signatures: HashMap::new(),
            units: RefCell::default(),
            functions: RefCell::default(),
        };
        debug.ranges = index::unit_ranges(&debug.own, &debug.starts[0]);
        debug.signatures = index::type_units(&debug.own);
        debug
    }

    /// Whether there is any.
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// What the sections of an entry's file are.
    pub(super) fn dwarf(&self, place: Place) -> &Dwarf<Bytes<'a>> {
        match (&self.shared, place.is_shared) {
            (Some(shared), true) => shared,
            _ => &self.own,
        }
    }

    /// The entry at a place.
    pub(super) fn die(&self, place: Place) -> Option<Die<'a>> {
        let unit = self.unit(place)?;
        let offset = DebugInfoOffset(place.offset).to_unit_offset(&unit.header)?;
        let entry = unit.entry(offset).ok()?;
        Some(Die { place, unit, entry })
    }

    /// The entry that this implicit pointer's target or another offset into the own file means.
    pub(super) fn own_place(offset: DebugInfoOffset) -> Place {
        Place { is_shared: false, offset: offset.0 }
    }

    fn unit(&self, place: Place) -> Option<Rc<Unit<'a>>> {
        let starts = &self.starts[usize::from(place.is_shared)];
        let start = *starts.get(starts.partition_point(|start| *start <= place.offset).checked_sub(1)?)?;
        let key = Place { offset: start, ..place };
        if let Some(known) = self.units.borrow().get(&key) {
            return known.clone();
        }
        let dwarf = self.dwarf(place);
        let header = dwarf.unit_header(DebugInfoOffset(start)).ok();
        let unit = header.and_then(|header| dwarf.unit(header).ok()).map(Rc::new);
        self.units.borrow_mut().insert(key, unit.clone());
        unit
    }

    /// The place that an attribute of an entry refers to.
    pub(super) fn reference(&self, from: &Die<'a>, value: AttributeValue<Bytes<'a>>) -> Option<Place> {
        Some(match value {
            AttributeValue::UnitRef(offset) => {
                let is_inside = offset.is_in_bounds(&from.unit.header);
                let offset = offset.to_debug_info_offset(&from.unit.header).filter(|_| is_inside)?;
                Place { is_shared: from.place.is_shared, offset: offset.0 }
            }
            AttributeValue::DebugInfoRef(offset) => Place { is_shared: from.place.is_shared, offset: offset.0 },
            AttributeValue::DebugInfoRefSup(offset) => Place { is_shared: true, offset: offset.0 },
            AttributeValue::DebugTypesRef(signature) => {
                Place { is_shared: false, offset: *self.signatures.get(&signature)? }
            }
            _ => return None,
        })
    }

    /// The place that this attribute refers to.
    pub(super) fn referred(&self, from: &Die<'a>, name: DwAt) -> Option<Place> {
        self.reference(from, from.entry.attr_value(name)?)
    }

    /// The entry that has an attribute: this one, or one that it refers to for what it does not say
    /// itself.
    pub(super) fn with(&self, die: &Die<'a>, name: DwAt) -> Option<(Die<'a>, AttributeValue<Bytes<'a>>)> {
        let mut die = die.clone();
        for _ in 0..MOST_ORIGINS {
            if let Some(value) = die.entry.attr_value(name) {
                return Some((die, value));
            }
            let next = [dw::DW_AT_abstract_origin, dw::DW_AT_specification, dw::DW_AT_signature]
                .into_iter()
                .find_map(|origin| self.referred(&die, origin))?;
            die = self.die(next)?;
        }
        None
    }

    /// The same for an attribute that is a reference.
    pub(super) fn referred_by_origin(&self, die: &Die<'a>, name: DwAt) -> Option<Place> {
        let (owner, value) = self.with(die, name)?;
        self.reference(&owner, value)
    }

    /// A string that an attribute says.
    pub(super) fn text(&self, die: &Die<'a>, name: DwAt) -> Option<String> {
        let (owner, value) = self.with(die, name)?;
        let bytes = self.dwarf(owner.place).attr_string(&owner.unit, value).ok()?;
        Some(String::from_utf8_lossy(bytes.slice()).into_owned())
    }

    /// What an entry is called in the source.
    pub(super) fn name(&self, die: &Die<'a>) -> Option<String> {
        self.text(die, dw::DW_AT_name)
    }

    /// A number that an attribute of the entry itself is.
    pub(super) fn number(&self, die: &Die<'a>, name: DwAt) -> Option<u64> {
        die.entry.attr(name)?.udata_value()
    }

    /// The entries directly below this one.
    pub(super) fn children(&self, die: &Die<'a>) -> Vec<Die<'a>> {
        let mut found = Vec::new();
        let Ok(mut tree) = die.unit.entries_tree(Some(die.entry.offset())) else { return found };
        let Ok(root) = tree.root() else { return found };
        let mut children = root.children();
        while found.len() < MOST_CHILDREN
            && let Ok(Some(child)) = children.next()
        {
            let entry = child.entry().clone();
            let Some(offset) = entry.offset().to_debug_info_offset(&die.unit.header) else { break };
            let place = Place { is_shared: die.place.is_shared, offset: offset.0 };
            found.push(Die { place, unit: die.unit.clone(), entry });
        }
        found
    }

    /// Whether the code of an entry has this address.
    pub(super) fn covers(&self, die: &Die<'a>, address: FileAddress) -> bool {
        index::ranges(self.dwarf(die.place), &die.unit, &die.entry).any(|range| range.contains(&address.0))
    }

    /// The function whose code this address is in.
    pub(super) fn function_at(&self, address: FileAddress) -> Option<Die<'a>> {
        let units = self.ranges.iter().filter(|(begin, end, _)| (*begin..*end).contains(&address.0));
        units.take(MOST_ORIGINS).find_map(|(_, _, unit)| {
            let unit = self.unit(Place { is_shared: false, offset: *unit })?;
            let functions = self.functions(&unit)?;
            // The innermost one is the last: a function may lie in another one.
            let offset = functions.iter().rfind(|(begin, end, _)| (*begin..*end).contains(&address.0))?.2;
            self.die(Self::own_place(offset.to_debug_info_offset(&unit.header)?))
        })
    }

    fn functions(&self, unit: &Unit<'a>) -> Option<Rc<Functions>> {
        let start = unit.header.debug_info_offset()?.0;
        if let Some(known) = self.functions.borrow().get(&start) {
            return Some(known.clone());
        }
        let mut found = Functions::new();
        let mut entries = unit.entries();
        for _ in 0..MOST_ENTRIES {
            let Ok(Some(entry)) = entries.next_dfs() else { break };
            if entry.tag() != dw::DW_TAG_subprogram {
                continue;
            }
            let ranges = index::ranges(&self.own, unit, entry);
            found.extend(ranges.map(|range| (range.start, range.end, entry.offset())));
        }
        let found = Rc::new(found);
        self.functions.borrow_mut().insert(start, found.clone());
        Some(found)
    }
}
