//! What types of Rust's standard library hold, by where its versions keep it.
//!
//! Promises: a type is taken for one of these only if it has the fields of one of the versions that
//! are known; else it is shown as the structure that it is.

use super::decode::{Decoder, Typed};
use super::object::Object;
use super::sequence::{Sequence, list, text};
use super::types::{Record, Shape, Type};
use super::value::{Absent, Value};

/// Where a vector keeps the address of its elements: since 1.82, and before.
const VECTOR_START: [&[&str]; 2] =
    [&["buf", "inner", "ptr", "pointer", "pointer"], &["buf", "ptr", "pointer", "pointer"]];
/// How many elements it has room for: since 1.82, since 1.78, and before.
const VECTOR_ROOM: [&[&str]; 4] =
    [&["buf", "inner", "cap", "__0"], &["buf", "inner", "cap"], &["buf", "cap", "__0"], &["buf", "cap"]];
/// Structures that are but the one thing in them.
const WRAPPERS: [(&str, &str); 12] = [
    ("UnsafeCell<", "value"),
    ("Cell<", "value"),
    ("ManuallyDrop<", "value"),
    ("NonNull<", "pointer"),
    ("Unique<", "pointer"),
    ("NonZero<", "__0"),
    ("Wrapping<", "__0"),
    ("Atomic", "v"),
    ("Pin<", "pointer"),
    ("Box<", "__0"),
    ("UsizeNoHighBit", "__0"),
    ("NonZeroInner<", "__0"),
];

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
    if let Some((_, field)) = WRAPPERS.iter().find(|(wrapper, _)| name.starts_with(wrapper))
        && let Some(inner) = decoder.fields(typed, &[field])
        && record.members.iter().filter(|member| decoder.takes_room(member.of)).count() <= 1
    {
        return Some(decoder.at_depth(&inner, follow, depth + 1));
    }
    if name == "String"
        && let Some(vector) = decoder.fields(typed, &["vec"])
    {
        return Some(string(decoder, vector));
    }
    if is_slice(record) {
        return slice(decoder, name, record, typed, follow, depth);
    }
    if name.starts_with("Vec<") {
        let sequence = vector(decoder, record, typed)?;
        return Some(list(decoder, "Vec", sequence, follow, depth));
    }
    if name.starts_with("Rc<") || name.starts_with("Arc<") {
        return counted(decoder, name, typed, follow, depth);
    }
    match name {
        "Duration" => time(decoder, typed, "secs", &["nanos", "__0"]),
        "Instant" | "SystemTime" => {
            let of = decoder.fields(typed, &["__0"]).or_else(|| decoder.fields(typed, &["t"]))?;
            let of = decoder.fields(&of, &["t"]).unwrap_or(of);
            time(decoder, &of, "tv_sec", &["tv_nsec", "__0"])
        }
        _ if name.starts_with("HashMap<") || name.starts_with("HashSet<") => table(decoder, name, typed),
        _ => None,
    }
}

/// The elements of a vector or a slice.
pub(super) fn sequence(decoder: &Decoder<'_, '_, '_>, of: &Type, record: &Record, typed: &Typed) -> Option<Sequence> {
    if of.name.starts_with("Vec<") {
        return vector(decoder, record, typed);
    }
    if is_slice(record) {
        return slice_parts(decoder, record, typed)?.ok();
    }
    None
}

fn vector(decoder: &Decoder<'_, '_, '_>, record: &Record, typed: &Typed) -> Option<Sequence> {
    let count = decoder.number(&decoder.fields(typed, &["len"])?)?;
    let start = decoder.first_number(typed, &VECTOR_START)?;
    let room = decoder.first_number(typed, &VECTOR_ROOM)?;
    let of = record.parameters.iter().find(|(name, _)| name == "T").map(|(_, of)| *of);
    // Of a vector that was not made yet, or is gone, nothing holds.
    let is_sound = count <= room || !decoder.takes_room(of);
    is_sound.then_some(Sequence { of, start, count })
}

fn string(decoder: &Decoder<'_, '_, '_>, vector_of: Typed) -> Value {
    let found = decoder.resolve(vector_of.of).and_then(|(_, of)| match &of.shape {
        Shape::Record(record) => vector(decoder, record, &vector_of),
        _ => None,
    });
    match found {
        Some(Sequence { start, count, .. }) => text(decoder, start, count),
        None => match vector_of.object.read(&decoder.stack.memory, 1) {
            Err(absent) => Value::Absent(absent),
            Ok(_) => Value::Absent(Absent::Unreadable),
        },
    }
}

fn is_slice(record: &Record) -> bool {
    let names: Vec<&str> = record.members.iter().map(|member| &*member.name).collect();
    names == ["data_ptr", "length"]
}

/// Where the elements of a slice are; why not, if that is not known.
fn slice_parts(decoder: &Decoder<'_, '_, '_>, record: &Record, typed: &Typed) -> Option<Result<Sequence, Absent>> {
    let Shape::Pointer(of) = decoder.resolve(record.members.first()?.of)?.1.shape else { return None };
    let part = |name| {
        let field = decoder.fields(typed, &[name]).ok_or(Absent::Unreadable)?;
        decoder.address(&field.object)
    };
    Some(part("data_ptr").and_then(|start| Ok(Sequence { of, start, count: part("length")? })))
}

fn slice(
    decoder: &Decoder<'_, '_, '_>,
    name: &str,
    record: &Record,
    typed: &Typed,
    follow: usize,
    depth: usize,
) -> Option<Value> {
    let name = name.trim_start_matches("alloc::boxed::");
    let is_text = ["&str", "&mut str", "*const str", "*mut str"].contains(&name)
        || name.starts_with("Box<str")
        || name.starts_with("Box<str,");
    Some(match slice_parts(decoder, record, typed)? {
        Ok(Sequence { start, count, .. }) if is_text => text(decoder, start, count),
        Ok(sequence) => list(decoder, "", sequence, follow, depth),
        Err(absent) => Value::Absent(absent),
    })
}

/// A pointer to something that is counted.
fn counted(decoder: &Decoder<'_, '_, '_>, name: &str, typed: &Typed, follow: usize, depth: usize) -> Option<Value> {
    let pointer = decoder.fields(typed, &["ptr", "pointer"])?;
    let Shape::Pointer(to) = decoder.resolve(pointer.of)?.1.shape else { return None };
    let address = match decoder.address(&pointer.object) {
        Ok(address) => address,
        Err(absent) => return Some(Value::Absent(absent)),
    };
    let inner = Typed { of: to, object: Object::at(address) };
    let field = |field: &str| decoder.fields(&inner, &[field]);
    let value = field("value").or_else(|| field("data"))?;
    let fields = [("strong", field("strong")?), ("weak", field("weak")?), ("value", value)];
    let shown: Vec<(String, Value)> = fields
        .into_iter()
        .map(|(name, field)| (name.to_owned(), decoder.at_depth(&field, follow, depth + 1)))
        .collect();
    let points_to = match &shown[0].1 {
        Value::Absent(absent) => Value::Absent(*absent),
        _ => Value::Record(name.split('<').next().unwrap_or(name).into(), shown),
    };
    Some(Value::Pointer(Some(address), Some(Box::new(points_to))))
}

/// A time, in seconds.
fn time(decoder: &Decoder<'_, '_, '_>, typed: &Typed, seconds: &str, nanoseconds: &[&str]) -> Option<Value> {
    const IN_SECOND: u64 = 1_000_000_000;
    let seconds = decoder.number(&decoder.fields(typed, &[seconds])?)?;
    let nanoseconds = decoder.number(&decoder.fields(typed, nanoseconds)?)?;
    let is_sound = nanoseconds < IN_SECOND;
    is_sound.then(|| Value::Named(format!("{}.{nanoseconds:09}s", seconds.cast_signed())))
}

/// How many entries a hash table has. They lie before the control bytes, at the places of those
/// that are not marked empty.
fn table(decoder: &Decoder<'_, '_, '_>, name: &str, typed: &Typed) -> Option<Value> {
    let base = decoder.fields(typed, &["base"])?;
    let map = decoder.fields(&base, &["map"]).unwrap_or(base);
    let table = decoder.fields(&map, &["table", "table"])?;
    let count = decoder.number(&decoder.fields(&table, &["items"])?)?;
    let mask = decoder.number(&decoder.fields(&table, &["bucket_mask"])?)?;
    let shown = if count == 0 { Vec::new() } else { vec![Value::Absent(Absent::NotCaptured)] };
    (count <= mask.saturating_add(1)).then(|| Value::List(name.split('<').next().unwrap_or(name).into(), count, shown))
}
