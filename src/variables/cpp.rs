//! What types of C++'s standard library hold, by where libstdc++ and libc++ keep it.
//!
//! Promises: a type is taken for one of these only if it has their fields; else it is shown as the
//! structure that it is.

use super::decode::{Decoder, Typed};
use super::sequence::{Sequence, list, text};
use super::types::{Record, Shape, Type};
use super::value::{Absent, Value};

/// The value of a type of the standard library.
pub(super) fn known(
    decoder: &Decoder<'_, '_, '_>,
    of: &Type,
    record: &Record,
    typed: &Typed,
    follow: usize,
    depth: usize,
) -> Option<Value> {
    let name = of.name.as_str();
    if name.starts_with("basic_string<char,") {
        return string(decoder, typed);
    }
    if name.starts_with("vector<") {
        return Some(list(decoder, "vector", sequence(decoder, of, record, typed)?, follow, depth));
    }
    if name.starts_with("unique_ptr<") {
        let pointer = decoder.fields(typed, &["_M_t", "_M_t", "_M_head_impl"])?;
        return Some(decoder.at_depth(&pointer, follow, depth + 1));
    }
    if name.starts_with("shared_ptr<") || name.starts_with("weak_ptr<") {
        let pointer = decoder.fields(typed, &["_M_ptr"])?;
        return Some(decoder.at_depth(&pointer, follow, depth + 1));
    }
    if name.starts_with("optional<") {
        return optional(decoder, typed, follow, depth);
    }
    if name.starts_with("map<") || name.starts_with("set<") || name.starts_with("multimap<") {
        let count = decoder.number(&decoder.fields(typed, &["_M_t", "_M_impl", "_M_node_count"])?)?;
        return Some(elsewhere(name, count));
    }
    if name.starts_with("unordered_map<") || name.starts_with("unordered_set<") {
        let count = decoder.number(&decoder.fields(typed, &["_M_h", "_M_element_count"])?)?;
        return Some(elsewhere(name, count));
    }
    None
}

/// A container whose elements lie where they are not looked for.
fn elsewhere(name: &str, count: u64) -> Value {
    let shown = if count == 0 { Vec::new() } else { vec![Value::Absent(Absent::NotCaptured)] };
    Value::List(name.split('<').next().unwrap_or(name).into(), count, shown)
}

/// The elements of a vector.
pub(super) fn sequence(decoder: &Decoder<'_, '_, '_>, of: &Type, _: &Record, typed: &Typed) -> Option<Sequence> {
    if !of.name.starts_with("vector<") {
        return None;
    }
    let all = decoder.fields(typed, &["_M_impl"]);
    let field = |libstdcxx: &str, libcxx: &str| match &all {
        Some(all) => decoder.fields(all, &[libstdcxx]),
        None => decoder.fields(typed, &[libcxx]),
    };
    let begin = field("_M_start", "__begin_")?;
    let end = decoder.number(&field("_M_finish", "__end_")?)?;
    let Shape::Pointer(of) = decoder.resolve(begin.of)?.1.shape else { return None };
    let start = decoder.number(&begin)?;
    let size = decoder.size(&decoder.resolve(of)?.1).filter(|size| *size > 0)?;
    let bytes = end.checked_sub(start).filter(|bytes| bytes % size == 0)?;
    Some(Sequence { of, start, count: bytes / size })
}

fn string(decoder: &Decoder<'_, '_, '_>, typed: &Typed) -> Option<Value> {
    if let Some(pointer) = decoder.fields(typed, &["_M_dataplus", "_M_p"]) {
        let length = decoder.fields(typed, &["_M_string_length"])?;
        return Some(match (decoder.address(&pointer.object), decoder.address(&length.object)) {
            (Ok(start), Ok(length)) => text(decoder, start, length),
            (Err(absent), _) | (_, Err(absent)) => Value::Absent(absent),
        });
    }
    libcxx_string(decoder, typed)
}

/// libc++ keeps up to 22 bytes in the string itself: the lowest bit of its first byte says whether
/// it does.
fn libcxx_string(decoder: &Decoder<'_, '_, '_>, typed: &Typed) -> Option<Value> {
    const OWN: usize = 22;
    let of = decoder.resolve(typed.of)?.1;
    decoder.fields(typed, &["__r_"])?;
    if of.size != Some(24) {
        return None;
    }
    let bytes = match typed.object.read(&decoder.stack.memory, 24) {
        Ok(bytes) => bytes,
        Err(absent) => return Some(Value::Absent(absent)),
    };
    let word = |at: usize| bytes.get(at..)?.first_chunk().map(|chunk| u64::from_le_bytes(*chunk));
    if bytes[0] & 1 == 0 {
        let length = usize::from(bytes[0] >> 1);
        return (length <= OWN).then(|| Value::Text(bytes[1..=length].to_vec(), false));
    }
    Some(text(decoder, word(16)?, word(8)?))
}

fn optional(decoder: &Decoder<'_, '_, '_>, typed: &Typed, follow: usize, depth: usize) -> Option<Value> {
    let payload = decoder.fields(typed, &["_M_payload"])?;
    let engaged = decoder.fields(&payload, &["_M_engaged"])?;
    match decoder.number(&engaged)? {
        0 => Some(Value::Named("nullopt".into())),
        1 => {
            let held = decoder.fields(&payload, &["_M_payload", "_M_value"])?;
            let value = decoder.at_depth(&held, follow, depth + 1);
            Some(Value::Record("optional".into(), vec![("value".into(), value)]))
        }
        _ => None,
    }
}
