//! Elements that follow one another in memory, and text.

use super::debug::Place;
use super::decode::{Decoder, MOST_ELEMENTS, Typed};
use super::object::Object;
use super::value::{Absent, Value};

/// Elements that follow one another in memory.
pub(super) struct Sequence {
    pub(super) of: Option<Place>,
    pub(super) start: u64,
    pub(super) count: u64,
}

/// The elements of a list that lie where they can be read, or may.
pub(super) fn list(
    decoder: &Decoder<'_, '_, '_>,
    name: &str,
    Sequence { of, start, count }: Sequence,
    follow: usize,
    depth: usize,
) -> Value {
    let size = decoder.resolve(of).and_then(|(_, of)| decoder.size(&of));
    let element = |number: u64| match size {
        Some(size) => {
            let object = Object::at(start.wrapping_add(number.wrapping_mul(size)));
            decoder.at_depth(&Typed { of, object }, follow, depth + 1)
        }
        None => Value::Absent(Absent::Unreadable),
    };
    Value::List(name.into(), count, decoder.elements(count, element))
}

/// Text of this many bytes.
pub(super) fn text(decoder: &Decoder<'_, '_, '_>, start: u64, count: u64) -> Value {
    if count == 0 {
        return Value::Text(Vec::new(), false);
    }
    match decoder.stack.memory.read(start, count.min(MOST_ELEMENTS) as usize) {
        Ok(bytes) => Value::Text(bytes, count > MOST_ELEMENTS),
        Err(absent) => Value::Absent(absent),
    }
}
