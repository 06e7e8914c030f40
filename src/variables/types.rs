//! What debug information says of types, one at a time.
//!
//! Promises: what a type refers to is a place, which is followed by those who bound it. Lists are
//! bounded. A type that cannot be understood is `Unknown`, and one that is declared only is
//! `Incomplete`.

use gimli::constants as dw;
use gimli::{AttributeValue, DwAte};

use super::debug::{Debug, Die, Place};

/// Aliases of aliases, and pointers to pointers, in a type's name.
const DEEPEST: usize = 16;
/// What stands for the name of a type that has none.
pub(super) const NAMELESS: &str = "{..}";
/// What is kept of a type's name.
const LONGEST: usize = 512;

/// A type, without what it refers to.
pub(super) struct Type {
    pub(super) name: String,
    /// In bytes.
    pub(super) size: Option<u64>,
    pub(super) shape: Shape,
}

pub(super) enum Shape {
    Base(DwAte),
    /// None for `void *`.
    Pointer(Option<Place>),
    /// As C++ has them.
    Reference(Option<Place>),
    /// The type of the elements, and how many there are in each dimension.
    Array(Option<Place>, Vec<Count>),
    Record(Record),
    /// The named values, and whether they are signed.
    Enumeration(Vec<(String, i128)>, bool),
    Alias(Option<Place>),
    Incomplete,
    Unknown,
}

/// How many elements a dimension of an array has.
#[derive(Clone, Copy)]
pub(super) enum Count {
    Known(u64),
    /// The entry of the dimension knows, or the variable that it refers to. One more if it is an
    /// upper bound.
    Variable(Place, bool),
    Unknown,
}

/// A structure, class or union, or what Rust makes of an enumeration or a tuple.
#[derive(Default)]
pub(super) struct Record {
    pub(super) members: Vec<Member>,
    pub(super) variants: Option<Variants>,
    /// The types that it is generic over, by the names of the parameters.
    pub(super) parameters: Vec<(String, Place)>,
}

#[derive(Clone)]
pub(super) struct Member {
    /// Empty for one without a name.
    pub(super) name: String,
    pub(super) of: Option<Place>,
    /// In bytes.
    pub(super) offset: u64,
    /// For a bit field, its first bit, counted from the record's first byte, and how many it has.
    pub(super) bits: Option<(u64, u64)>,
    pub(super) is_base: bool,
}

/// The variants of a Rust enumeration.
pub(super) struct Variants {
    /// Where it is said which one it is; None where there is one only.
    pub(super) discriminant: Option<Member>,
    /// The value for each; one without is meant by all other values.
    pub(super) all: Vec<(Option<i128>, Member)>,
}

/// What an entry says of a type.
pub(super) fn read<'a>(debug: &Debug<'a>, die: &Die<'a>) -> Type {
    let tag = die.entry.tag();
    let of = || debug.referred_by_origin(die, dw::DW_AT_type);
    let shape = match tag {
        dw::DW_TAG_base_type => match debug.with(die, dw::DW_AT_encoding) {
            Some((_, AttributeValue::Encoding(encoding))) => Shape::Base(encoding),
            _ => Shape::Unknown,
        },
        dw::DW_TAG_pointer_type => Shape::Pointer(of()),
        dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type => Shape::Reference(of()),
        dw::DW_TAG_typedef
        | dw::DW_TAG_const_type
        | dw::DW_TAG_volatile_type
        | dw::DW_TAG_restrict_type
        | dw::DW_TAG_atomic_type => Shape::Alias(of()),
        dw::DW_TAG_array_type => Shape::Array(of(), dimensions(debug, die)),
        // The type is described elsewhere, and known by its signature.
        dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type | dw::DW_TAG_enumeration_type
            if die.entry.has_attr(dw::DW_AT_signature) =>
        {
            Shape::Alias(debug.referred(die, dw::DW_AT_signature))
        }
        dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type => {
            match die.entry.attr_value(dw::DW_AT_declaration) {
                Some(AttributeValue::Flag(true)) => Shape::Incomplete,
                _ => Shape::Record(record(debug, die)),
            }
        }
        dw::DW_TAG_enumeration_type => match die.entry.attr_value(dw::DW_AT_declaration) {
            Some(AttributeValue::Flag(true)) => Shape::Incomplete,
            _ => enumeration(debug, die),
        },
        dw::DW_TAG_subroutine_type | dw::DW_TAG_ptr_to_member_type | dw::DW_TAG_unspecified_type => Shape::Unknown,
        _ => Shape::Unknown,
    };
    let size = debug
        .number(die, dw::DW_AT_byte_size)
        .or_else(|| matches!(shape, Shape::Pointer(_) | Shape::Reference(_)).then_some(8));
    Type { name: name(debug, die, DEEPEST), size, shape }
}

/// What a type is called, as its language writes it.
fn name<'a>(debug: &Debug<'a>, die: &Die<'a>, depth: usize) -> String {
    if let Some(name) = debug.text(die, dw::DW_AT_name) {
        return name.chars().take(LONGEST).collect();
    }
    let inner = || -> String {
        let of = debug.referred_by_origin(die, dw::DW_AT_type).filter(|_| depth > 0).and_then(|place| debug.die(place));
        of.map_or_else(|| "void".into(), |of| name(debug, &of, depth - 1))
    };
    let pointer = |mark: &str| {
        let inner = inner();
        if inner.ends_with('*') { format!("{inner}{mark}") } else { format!("{inner} {mark}") }
    };
    match die.entry.tag() {
        dw::DW_TAG_pointer_type => pointer("*"),
        dw::DW_TAG_reference_type => pointer("&"),
        dw::DW_TAG_rvalue_reference_type => pointer("&&"),
        dw::DW_TAG_const_type => format!("const {}", inner()),
        dw::DW_TAG_volatile_type => format!("volatile {}", inner()),
        dw::DW_TAG_restrict_type | dw::DW_TAG_atomic_type => inner(),
        dw::DW_TAG_array_type => {
            let counts = dimensions(debug, die).into_iter().map(|count| match count {
                Count::Known(count) => format!("[{count}]"),
                Count::Variable(..) | Count::Unknown => "[]".into(),
            });
            format!("{}{}", inner(), counts.collect::<String>())
        }
        dw::DW_TAG_structure_type => format!("struct {NAMELESS}"),
        dw::DW_TAG_class_type => format!("class {NAMELESS}"),
        dw::DW_TAG_union_type => format!("union {NAMELESS}"),
        dw::DW_TAG_enumeration_type => format!("enum {NAMELESS}"),
        dw::DW_TAG_subroutine_type => "fn".into(),
        _ => String::new(),
    }
}

fn dimensions<'a>(debug: &Debug<'a>, die: &Die<'a>) -> Vec<Count> {
    let ranges = debug.children(die).into_iter().filter(|child| child.entry.tag() == dw::DW_TAG_subrange_type);
    let count = |range: Die<'a>| {
        let one = |name| match range.entry.attr_value(name)? {
            AttributeValue::Exprloc(_) => Some(Count::Variable(range.place, name == dw::DW_AT_upper_bound)),
            value => match (debug.reference(&range, value), range.entry.attr(name)?.udata_value()) {
                (Some(place), _) => Some(Count::Variable(place, name == dw::DW_AT_upper_bound)),
                (None, Some(number)) => Some(Count::Known(match name == dw::DW_AT_upper_bound {
                    // One of -1 is that of no elements, in however many bytes it is written.
                    true if range.entry.attr(name)?.sdata_value() == Some(-1) => 0,
                    true => number.saturating_add(1),
                    false => number,
                })),
                (None, None) => Some(Count::Unknown),
            },
        };
        one(dw::DW_AT_count).or_else(|| one(dw::DW_AT_upper_bound)).unwrap_or(Count::Unknown)
    };
    ranges.take(DEEPEST).map(count).collect()
}

fn record<'a>(debug: &Debug<'a>, die: &Die<'a>) -> Record {
    let mut record = Record::default();
    for child in debug.children(die) {
        match child.entry.tag() {
            dw::DW_TAG_member | dw::DW_TAG_inheritance => record.members.extend(member(debug, &child)),
            dw::DW_TAG_variant_part => record.variants = Some(variants(debug, &child)),
            dw::DW_TAG_template_type_parameter => {
                let name = debug.name(&child).unwrap_or_default();
                record.parameters.extend(debug.referred(&child, dw::DW_AT_type).map(|of| (name, of)));
            }
            _ => {}
        }
    }
    record
}

/// A part of each value; None for a static member, which is a variable by itself.
fn member<'a>(debug: &Debug<'a>, die: &Die<'a>) -> Option<Member> {
    if die.entry.has_attr(dw::DW_AT_external) || die.entry.has_attr(dw::DW_AT_declaration) {
        return None;
    }
    let offset = match die.entry.attr(dw::DW_AT_data_member_location) {
        // That of a virtual base class is an expression, which depends on the object.
        Some(location) => location.udata_value()?,
        None => 0,
    };
    let is_base = die.entry.tag() == dw::DW_TAG_inheritance;
    if is_base && die.entry.has_attr(dw::DW_AT_virtuality) {
        return None;
    }
    let bits = debug.number(die, dw::DW_AT_bit_size).and_then(|bits| {
        let first = match debug.number(die, dw::DW_AT_data_bit_offset) {
            Some(first) => first,
            // As DWARF 3 counts: from the most significant bit of what it is stored in.
            None => {
                let stored = debug.number(die, dw::DW_AT_byte_size).or_else(|| {
                    let of = debug.die(debug.referred(die, dw::DW_AT_type)?)?;
                    debug.number(&of, dw::DW_AT_byte_size)
                })?;
                let above = debug.number(die, dw::DW_AT_bit_offset)?;
                offset.checked_mul(8)?.checked_add(stored.checked_mul(8)?)?.checked_sub(above.checked_add(bits)?)?
            }
        };
        Some((first, bits))
    });
    if bits.is_none() && die.entry.has_attr(dw::DW_AT_bit_size) {
        return None;
    }
    let name = debug.name(die).unwrap_or_default();
    Some(Member { name, of: debug.referred(die, dw::DW_AT_type), offset, bits, is_base })
}

fn variants<'a>(debug: &Debug<'a>, die: &Die<'a>) -> Variants {
    let discriminant = debug.referred(die, dw::DW_AT_discr).and_then(|place| debug.die(place));
    let discriminant = discriminant.and_then(|die| member(debug, &die));
    let variants = debug.children(die).into_iter().filter(|child| child.entry.tag() == dw::DW_TAG_variant);
    let all = variants.filter_map(|variant| {
        let child = debug.children(&variant).into_iter().find(|child| child.entry.tag() == dw::DW_TAG_member)?;
        Some((constant(&variant, dw::DW_AT_discr_value), member(debug, &child)?))
    });
    Variants { discriminant, all: all.collect() }
}

fn enumeration<'a>(debug: &Debug<'a>, die: &Die<'a>) -> Shape {
    let children = debug.children(die).into_iter().filter(|child| child.entry.tag() == dw::DW_TAG_enumerator);
    let named = |child: Die<'a>| Some((debug.name(&child)?, constant(&child, dw::DW_AT_const_value)?));
    let named: Vec<(String, i128)> = children.filter_map(named).collect();
    let of = debug.referred(die, dw::DW_AT_type).and_then(|place| debug.die(place));
    let is_signed = match of.and_then(|of| of.entry.attr_value(dw::DW_AT_encoding)) {
        Some(AttributeValue::Encoding(encoding)) => {
            matches!(encoding, dw::DW_ATE_signed | dw::DW_ATE_signed_char)
        }
        _ => named.iter().any(|(_, value)| *value < 0),
    };
    Shape::Enumeration(named, is_signed)
}

/// A constant of up to sixteen bytes.
pub(super) fn constant(die: &Die<'_>, name: gimli::DwAt) -> Option<i128> {
    Some(match die.entry.attr_value(name)? {
        AttributeValue::Sdata(value) => value.into(),
        AttributeValue::Udata(value) | AttributeValue::Data8(value) => value.into(),
        AttributeValue::Data1(value) => value.into(),
        AttributeValue::Data2(value) => value.into(),
        AttributeValue::Data4(value) => value.into(),
        AttributeValue::Data16(value) => value.cast_signed(),
        AttributeValue::Block(bytes) if bytes.len() <= 16 => {
            bytes.slice().iter().rev().fold(0_u128, |value, byte| value << 8 | u128::from(*byte)).cast_signed()
        }
        _ => return None,
    })
}
