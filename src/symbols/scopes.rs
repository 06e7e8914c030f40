//! Scopes of functions that have no linkage name: the namespaces and classes that their entries lie
//! in.
//!
//! Compilers leave linkage names out of what nothing links to: abstract instances that are only
//! inlined, members of unnamed namespaces. Promises: a unit is gone through once, and only if such
//! a function is in it. Scopes in other units are not looked for.

use std::collections::HashMap;

use gimli::{AttributeValue, EndianSlice, LittleEndian as Little, UnitOffset, UnitRef, constants as dw};

type DwarfBytes<'a> = EndianSlice<'a, Little>;

/// References from an entry to the one that it is an instance of, or completes.
const MOST_STEPS: usize = 8;
/// Scopes of one unit that are remembered, and what the name of a function may grow to.
const MOST_SCOPES: usize = 1 << 18;
const LONGEST: usize = 4096;

/// The scopes of the units that were gone through, by the address of each in memory.
#[derive(Default)]
pub(super) struct Scopes {
    units: HashMap<usize, Vec<Scope>>,
}

/// What entries between two offsets lie in.
struct Scope {
    start: usize,
    end: usize,
    depth: isize,
    name: String,
}

impl Scopes {
    /// The name of the function whose entry this is, with its scope. None where it has none that is
    /// known, or needs none.
    pub(super) fn qualified(
        &mut self,
        unit: UnitRef<'_, DwarfBytes<'_>>,
        entry: UnitOffset,
        name: &str,
    ) -> Option<String> {
        let declared = declaration(unit, entry)?.0;
        let key = std::ptr::from_ref(unit.unit).addr();
        let scopes = self.units.entry(key).or_insert_with(|| scopes_of(unit).unwrap_or_default());
        // They begin in order, and contain one another.
        let before = scopes.partition_point(|scope| scope.start < declared);
        let mut enclosing = Vec::new();
        let mut depth = isize::MAX;
        for scope in scopes[..before].iter().rev() {
            if scope.end > declared && scope.depth < depth {
                depth = scope.depth;
                enclosing.push(scope.name.as_str());
            }
            if depth <= 1 {
                break;
            }
        }
        if enclosing.is_empty() {
            return None;
        }
        enclosing.reverse();
        enclosing.push(name);
        let qualified = enclosing.join("::");
        (qualified.len() <= LONGEST).then_some(qualified)
    }
}

/// Whether functions of this unit's language have scopes that are written so. The unit that a split
/// one is the rest of does not say its language.
fn has_scopes(unit: UnitRef<'_, DwarfBytes<'_>>) -> gimli::Result<bool> {
    let mut entries = unit.entries();
    let language = entries.next_dfs()?.and_then(|root| root.attr_value(dw::DW_AT_language));
    let Some(AttributeValue::Language(language)) = language else {
        return Ok(false);
    };
    Ok([
        dw::DW_LANG_C_plus_plus,
        dw::DW_LANG_C_plus_plus_03,
        dw::DW_LANG_C_plus_plus_11,
        dw::DW_LANG_C_plus_plus_14,
        dw::DW_LANG_C_plus_plus_17,
        dw::DW_LANG_C_plus_plus_20,
    ]
    .contains(&language))
}

/// The entry that declares the function of another entry.
fn declaration(unit: UnitRef<'_, DwarfBytes<'_>>, entry: UnitOffset) -> Option<UnitOffset> {
    let mut here = entry;
    for _ in 0..MOST_STEPS {
        let entry = unit.entry(here).ok()?;
        let next = [dw::DW_AT_abstract_origin, dw::DW_AT_specification].into_iter().find_map(|name| {
            match entry.attr_value(name)? {
                AttributeValue::UnitRef(offset) => Some(Some(offset)),
                AttributeValue::DebugInfoRef(offset) => Some(offset.to_unit_offset(&unit.header)),
                _ => Some(None),
            }
        });
        match next {
            Some(next) => here = next?,
            None => return Some(here),
        }
    }
    None
}

fn scopes_of(unit: UnitRef<'_, DwarfBytes<'_>>) -> gimli::Result<Vec<Scope>> {
    let mut scopes: Vec<Scope> = Vec::new();
    if !has_scopes(unit)? {
        return Ok(scopes);
    }
    // Those that the next entry may lie in, by their numbers.
    let mut open: Vec<usize> = Vec::new();
    let mut entries = unit.entries_raw(None)?;
    while !entries.is_empty() && scopes.len() < MOST_SCOPES {
        let (offset, depth) = (entries.next_offset().0, entries.next_depth());
        let Some(abbreviation) = entries.read_abbreviation()? else {
            continue;
        };
        while let Some(scope) =
            open.last().and_then(|number| scopes.get_mut(*number)).filter(|scope| scope.depth >= depth)
        {
            scope.end = offset;
            open.pop();
        }
        let unnamed = match abbreviation.tag() {
            dw::DW_TAG_namespace => "(anonymous namespace)",
            dw::DW_TAG_class_type | dw::DW_TAG_structure_type | dw::DW_TAG_union_type => "(anonymous)",
            _ => {
                entries.skip_attributes(abbreviation.attributes())?;
                continue;
            }
        };
        let mut name = None;
        for attribute in abbreviation.attributes() {
            let attribute = entries.read_attribute(*attribute)?;
            if attribute.name() == dw::DW_AT_name {
                name = unit.attr_string(attribute.value()).ok().map(|name| name.to_string_lossy().into_owned());
            }
        }
        if abbreviation.has_children() {
            open.push(scopes.len());
            let name = name.unwrap_or_else(|| unnamed.into());
            scopes.push(Scope { start: offset, end: usize::MAX, depth, name });
        }
    }
    Ok(scopes)
}
