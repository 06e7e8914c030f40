//! From a variable to a part of it: fields, elements, and what pointers lead to.

use super::debug::Place;
use super::decode::{Decoder, Typed};
use super::object::Object;
use super::types::{Count, Shape};
use super::value::Absent;
use super::{cpp, rust};

/// Which variables to show, by the part of them that is meant: `waker.data`, `queue.items[2]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Path {
    /// As it was typed.
    pub text: String,
    name: String,
    steps: Vec<Step>,
}

/// From something to a part of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Step {
    Field(String),
    Element(u64),
}

/// Why a path is none.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a path; write a variable with its fields and elements, such as waker.data or items[2].name")]
pub struct NoPath;

impl std::str::FromStr for Path {
    type Err = NoPath;

    fn from_str(text: &str) -> Result<Self, NoPath> {
        let mut steps = Vec::new();
        for field in text.split('.') {
            let (name, indices) = field.split_at(field.find('[').unwrap_or(field.len()));
            if !name.is_empty() {
                steps.push(Step::Field(name.into()));
            }
            let mut indices = indices;
            while let Some((index, rest)) = indices.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                steps.push(Step::Element(index.trim().parse().map_err(|_| NoPath)?));
                indices = rest;
            }
            if !indices.is_empty() || field.is_empty() {
                return Err(NoPath);
            }
        }
        match steps.first().cloned() {
            Some(Step::Field(name)) => Ok(Self { text: text.into(), name, steps: steps.split_off(1) }),
            _ => Err(NoPath),
        }
    }
}

impl Path {
    /// Whether it begins at a variable of this name.
    pub(super) fn begins_at(&self, variable: &str) -> bool {
        self.name == variable
    }

    /// What it leads to from there.
    pub(super) fn follow(&self, decoder: &Decoder<'_, '_, '_>, from: Typed) -> Result<Typed, Absent> {
        self.steps.iter().try_fold(from, |typed, step| match step {
            Step::Field(name) => decoder.field(&typed, name).ok_or(Absent::Unreadable)?,
            Step::Element(number) => element(decoder, &typed, *number),
        })
    }
}

/// An element of an array or of what is like one.
fn element(decoder: &Decoder<'_, '_, '_>, typed: &Typed, number: u64) -> Result<Typed, Absent> {
    let (place, of) = decoder.resolve(typed.of).ok_or(Absent::Unreadable)?;
    let strided = |of: Option<Place>, object: Object| {
        let size = decoder.resolve(of).and_then(|(_, of)| decoder.size(&of)).ok_or(Absent::Unreadable)?;
        Ok(Typed { of, object: object.from(number.checked_mul(size).ok_or(Absent::Unreadable)?) })
    };
    match &of.shape {
        Shape::Array(of, counts) if counts.len() == 1 => match counts[..] {
            // One of no elements may go on beyond its type.
            [Count::Known(count)] if count > 0 && number >= count => Err(Absent::PastEnd),
            _ => strided(*of, typed.object.clone()),
        },
        Shape::Pointer(to) | Shape::Reference(to) => strided(*to, decoder.target(*to, &typed.object)?.object),
        Shape::Record(record) => {
            let sequence = match decoder.is_rust(place) {
                true => rust::sequence(decoder, &of, record, typed),
                false => cpp::sequence(decoder, &of, record, typed),
            };
            let sequence = sequence.ok_or(Absent::Unreadable)?;
            match number < sequence.count {
                true => strided(sequence.of, Object::at(sequence.start)),
                false => Err(Absent::PastEnd),
            }
        }
        _ => Err(Absent::Unreadable),
    }
}
