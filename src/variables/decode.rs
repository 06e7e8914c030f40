//! From bytes and a type to a value.
//!
//! Promises: how much is shown of one variable is bounded in depth and in number, whatever its type
//! claims. A pointer is followed only where it is one to text, or where the user asked for what
//! it points to.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use gimli::constants as dw;
use gimli::{AttributeValue, DwAte};

use super::debug::{Debug, Place};
use super::frames::Stack;
use super::object::Object;
use super::scalar::scalar;
use super::types::{self, Count, Record, Shape, Type};
use super::value::{Absent, Value};

/// Types within types.
const DEEPEST: usize = 24;
/// Values in one variable, and fields that are looked for in it.
const MOST_VALUES: usize = 4000;
/// Elements that are shown of an array, and bytes of text: as many as gdb shows.
pub(super) const MOST_ELEMENTS: u64 = 200;
/// Aliases of aliases.
const MOST_ALIASES: usize = 32;

/// The types of a module that were asked for already.
pub(super) type Types = RefCell<HashMap<Place, Rc<Type>>>;

/// The value of a type of a standard library, if it is one: at a depth, with pointers followed so
/// often.
pub(super) type Known = for<'d, 'c, 'a> fn(&Decoder<'d, 'c, 'a>, &Type, &Record, &Typed, usize, usize) -> Option<Value>;

/// Something of a type that is kept somewhere.
#[derive(Clone)]
pub(super) struct Typed {
    pub(super) of: Option<Place>,
    pub(super) object: Object,
}

/// Decodes variables of one frame.
pub(super) struct Decoder<'d, 'c, 'a> {
    pub(super) stack: &'d Stack<'c, 'a>,
    pub(super) frame: usize,
    pub(super) debug: &'d Debug<'a>,
    pub(super) types: &'d Types,
    known: Known,
    /// How many more values may be made, and fields looked for.
    left: Cell<usize>,
}

impl<'d, 'c, 'a> Decoder<'d, 'c, 'a> {
    pub(super) fn new(
        stack: &'d Stack<'c, 'a>,
        frame: usize,
        debug: &'d Debug<'a>,
        types: &'d Types,
        known: Known,
    ) -> Self {
        Self { stack, frame, debug, types, known, left: Cell::new(MOST_VALUES) }
    }

    /// What is said of a type.
    fn read(&self, place: Place) -> Option<Rc<Type>> {
        if let Some(known) = self.types.borrow().get(&place) {
            return Some(known.clone());
        }
        let read = Rc::new(types::read(self.debug, &self.debug.die(place)?));
        self.types.borrow_mut().insert(place, read.clone());
        Some(read)
    }

    /// A type, past its aliases, and where it lies.
    pub(super) fn resolve(&self, of: Option<Place>) -> Option<(Place, Rc<Type>)> {
        let mut place = of?;
        for _ in 0..MOST_ALIASES {
            let found = self.read(place)?;
            match found.shape {
                Shape::Alias(next) => place = next?,
                _ => return Some((place, found)),
            }
        }
        None
    }

    /// What a type is called, before its aliases are resolved.
    pub(super) fn type_name(&self, of: Option<Place>) -> String {
        of.and_then(|place| self.read(place)).map_or_else(|| "void".into(), |of| of.name.clone())
    }

    /// Takes one off what may still be made of the variable, or looked for.
    pub(super) fn spend(&self) -> Option<()> {
        self.left.set(self.left.get().checked_sub(1)?);
        Some(())
    }

    /// Whether the type is one of a Rust program.
    pub(super) fn is_rust(&self, place: Place) -> bool {
        let root = self.debug.die(place).and_then(|die| {
            let mut tree = die.unit.entries_tree(None).ok()?;
            tree.root().ok()?.entry().attr_value(dw::DW_AT_language)
        });
        matches!(root, Some(AttributeValue::Language(language)) if language == dw::DW_LANG_Rust)
    }

    /// The value of what is kept there. Pointers are followed this many times.
    pub(super) fn value(&self, typed: &Typed, follow: usize) -> Value {
        self.at_depth(typed, follow, 0)
    }

    pub(super) fn at_depth(&self, Typed { of, object }: &Typed, follow: usize, depth: usize) -> Value {
        let Some((place, found)) = self.resolve(*of) else {
            return Value::Absent(Absent::Unreadable);
        };
        if depth >= DEEPEST || self.spend().is_none() {
            return Value::Opaque("..".into());
        }
        let value = match &found.shape {
            Shape::Base(encoding) => self.base(*encoding, &found, object),
            Shape::Pointer(to) => Ok(self.pointer(*to, object, follow, depth)),
            // What a reference refers to is meant.
            Shape::Reference(to) => Ok(self.pointer(*to, object, follow.max(1), depth)),
            Shape::Array(of, counts) => Ok(self.array(*of, counts, object, follow, depth)),
            Shape::Record(record) => {
                let typed = Typed { of: Some(place), object: object.clone() };
                let known = (self.known)(self, &found, record, &typed, follow, depth);
                known.map_or_else(|| self.record(&found, record, object, follow, depth), Ok)
            }
            Shape::Enumeration(names, is_signed) => self.enumeration(names, *is_signed, &found, object),
            Shape::Alias(_) | Shape::Unknown => Ok(Value::Opaque(found.name.clone())),
            Shape::Incomplete => Ok(Value::Opaque(format!("{}, whose type is not described", found.name))),
        };
        value.unwrap_or_else(Value::Absent)
    }

    fn base(&self, encoding: DwAte, of: &Type, object: &Object) -> Result<Value, Absent> {
        let size = of.size.filter(|size| *size <= 16).ok_or(Absent::Unreadable)?;
        if size == 0 {
            return Ok(Value::Named(of.name.clone()));
        }
        let bytes = object.read(&self.stack.memory, size as usize)?;
        Ok(scalar(encoding, &of.name, &bytes))
    }

    fn pointer(&self, to: Option<Place>, object: &Object, follow: usize, depth: usize) -> Value {
        if let Some((place, offset)) = object.implicit() {
            return Value::Pointer(None, self.implicit(to, place, offset, depth).map(Box::new));
        }
        let address = match self.address(object) {
            Ok(address) => address,
            Err(absent) => return Value::Absent(absent),
        };
        let target = Typed { of: to, object: Object::at(address) };
        let points_to = match self.resolve(to) {
            _ if address == 0 => None,
            Some((_, of)) if is_character(&of) => Some(self.text_at(address)),
            Some(_) if follow > 0 => Some(self.at_depth(&target, follow - 1, depth + 1)),
            _ => None,
        };
        Value::Pointer(Some(address), points_to.map(Box::new))
    }

    /// The address that a pointer holds.
    pub(super) fn address(&self, object: &Object) -> Result<u64, Absent> {
        let bytes = object.read(&self.stack.memory, 8)?;
        Ok(bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
    }

    /// What a pointer means that exists in the source only.
    fn implicit(&self, to: Option<Place>, variable: Place, offset: i64, depth: usize) -> Option<Value> {
        let die = self.debug.die(variable).filter(|die| die.entry.tag() == dw::DW_TAG_variable || depth < DEEPEST)?;
        let object = self.stack.locate(self.frame, &die).ok()?;
        let target = Typed { of: to, object: object.from(offset.cast_unsigned()) };
        if self.resolve(to).is_some_and(|(_, of)| is_character(&of)) {
            return Some(self.text_in(&target.object, u64::MAX));
        }
        Some(self.at_depth(&target, 0, depth + 1))
    }

    /// Text of at most this many bytes, up to the byte 0 or as far as it is known.
    fn text_in(&self, object: &Object, most: u64) -> Value {
        let mut bytes = Vec::new();
        for position in 0..most.min(MOST_ELEMENTS) {
            match object.from(position).read(&self.stack.memory, 1) {
                Ok(byte) => bytes.extend(byte),
                Err(absent) if position == 0 => return Value::Absent(absent),
                Err(_) => break,
            }
            if bytes.last() == Some(&0) {
                break;
            }
        }
        // An array may be full of text.
        if bytes.len() as u64 == most { Value::Text(trimmed(&bytes), false) } else { text(&bytes) }
    }

    /// The same at an address.
    fn text_at(&self, address: u64) -> Value {
        match self.stack.memory.read_some(address, MOST_ELEMENTS as usize) {
            Ok(bytes) => text(&bytes),
            Err(absent) => Value::Absent(absent),
        }
    }

    fn array(&self, of: Option<Place>, counts: &[Count], object: &Object, follow: usize, depth: usize) -> Value {
        if self.spend().is_none() {
            return Value::Opaque("..".into());
        }
        let Some((first, others)) = counts.split_first() else { return Value::Absent(Absent::Unreadable) };
        let Some(size) = self.resolve(of).and_then(|(_, of)| self.size(&of)) else {
            return Value::Absent(Absent::Unreadable);
        };
        let mut others_count = others.iter().map(|count| self.count(*count));
        let stride =
            others_count.try_fold(size, |product, count| product.checked_mul(count?).ok_or(Absent::Unreadable));
        let (count, stride) = match (self.count(*first), stride) {
            (Ok(count), Ok(stride)) => (count, stride),
            (Err(absent), _) | (_, Err(absent)) => return Value::Absent(absent),
        };
        if others.is_empty()
            && let Some((_, of)) = self.resolve(of)
            && is_character(&of)
        {
            return self.text_in(object, count);
        }
        let element = |number: u64| {
            let object = object.from(number.wrapping_mul(stride));
            match others {
                [] => self.at_depth(&Typed { of, object }, follow, depth + 1),
                _ if depth < DEEPEST => self.array(of, others, &object, follow, depth + 1),
                _ => Value::Opaque("..".into()),
            }
        };
        Value::List(String::new(), count, self.elements(count, element))
    }

    /// The first of this many elements; one in place of all if it is not known.
    pub(super) fn elements(&self, count: u64, element: impl Fn(u64) -> Value) -> Vec<Value> {
        let mut shown = Vec::new();
        for number in 0..count.min(MOST_ELEMENTS) {
            if self.left.get() == 0 {
                break;
            }
            let value = element(number);
            let is_absent = matches!(value, Value::Absent(_));
            shown.push(value);
            if is_absent && number == 0 {
                break;
            }
        }
        shown
    }

    /// In bytes; of an array, too.
    pub(super) fn size(&self, of: &Type) -> Option<u64> {
        match (&of.size, &of.shape) {
            (Some(size), _) => Some(*size),
            (None, Shape::Array(inner, counts)) => {
                let size = self.resolve(*inner)?.1.size?;
                counts.iter().try_fold(size, |size, count| size.checked_mul(self.count(*count).ok()?))
            }
            _ => None,
        }
    }

    fn count(&self, count: Count) -> Result<u64, Absent> {
        let (place, is_bound) = match count {
            Count::Known(count) => return Ok(count),
            Count::Unknown => return Ok(0),
            Count::Variable(place, is_bound) => (place, is_bound),
        };
        let die = self.debug.die(place).ok_or(Absent::Unreadable)?;
        let number = if die.entry.tag() == dw::DW_TAG_variable {
            let object = self.stack.locate(self.frame, &die)?;
            let size = self.debug.referred_by_origin(&die, dw::DW_AT_type);
            let size = self.resolve(size).and_then(|(_, of)| of.size).filter(|size| *size <= 8).unwrap_or(8);
            let bytes = object.read(&self.stack.memory, size as usize)?;
            bytes.iter().rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte))
        } else {
            let name = if is_bound { dw::DW_AT_upper_bound } else { dw::DW_AT_count };
            self.stack.attribute(self.frame, &die, name)?
        };
        Ok(if is_bound { number.wrapping_add(1) } else { number })
    }
}

/// Whether a pointer to these, or an array of these, is text.
fn is_character(of: &Type) -> bool {
    matches!(of.shape, Shape::Base(dw::DW_ATE_signed_char | dw::DW_ATE_unsigned_char)) && of.size == Some(1)
}

fn text(bytes: &[u8]) -> Value {
    match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => Value::Text(bytes[..end].to_vec(), false),
        None => Value::Text(bytes.to_vec(), true),
    }
}

/// The bytes before the first 0.
fn trimmed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|byte| *byte != 0).collect()
}
