//! Parts of values by the names of fields: past pointers, base classes and variants.

use super::debug::Place;
use super::decode::{Decoder, Typed};
use super::object::Object;
use super::types::{Member, Record, Shape};
use super::value::Absent;

/// Base classes of base classes, and pointers to pointers.
const DEEPEST: usize = 8;

impl Decoder<'_, '_, '_> {
    /// A field, past pointers and base classes; None if there is none of that name.
    pub(super) fn field(&self, typed: &Typed, name: &str) -> Option<Result<Typed, Absent>> {
        let mut typed = typed.clone();
        for _ in 0..DEEPEST {
            self.spend()?;
            let (_, of) = self.resolve(typed.of)?;
            match &of.shape {
                Shape::Pointer(to) | Shape::Reference(to) => match self.target(*to, &typed.object) {
                    Ok(target) => typed = target,
                    Err(absent) => return Some(Err(absent)),
                },
                Shape::Record(record) => {
                    if let Some(variants) = &record.variants {
                        match self.variant(variants, &typed.object) {
                            Ok(variant) => typed = of_member(variant, &typed.object),
                            Err(absent) => return Some(Err(absent)),
                        }
                        continue;
                    }
                    if let Some(member) = record.members.iter().find(|member| member.name == name && !member.is_base) {
                        return Some(match member.bits {
                            None => Ok(of_member(member, &typed.object)),
                            Some(_) => Err(Absent::Unreadable),
                        });
                    }
                    let found = self.in_bases(record, &typed.object, name);
                    return found.map(Ok);
                }
                _ => return None,
            }
        }
        None
    }

    /// A field of a base class or of a part without a name, of the nearest that has one.
    fn in_bases(&self, record: &Record, object: &Object, name: &str) -> Option<Typed> {
        let is_base = |member: &&Member| member.is_base || member.name.is_empty();
        let mut level: Vec<Typed> = record.members.iter().filter(is_base).map(|base| of_member(base, object)).collect();
        for _ in 0..DEEPEST {
            let mut next = Vec::new();
            for base in level {
                self.spend()?;
                let Some((_, of)) = self.resolve(base.of) else { continue };
                let Shape::Record(record) = &of.shape else { continue };
                if let Some(member) = record.members.iter().find(|member| member.name == name && !member.is_base) {
                    return member.bits.is_none().then(|| of_member(member, &base.object));
                }
                next.extend(record.members.iter().filter(is_base).map(|inner| of_member(inner, &base.object)));
            }
            level = next;
        }
        None
    }

    /// What these fields of one another lead to.
    pub(super) fn fields(&self, typed: &Typed, names: &[&str]) -> Option<Typed> {
        names.iter().try_fold(typed.clone(), |typed, name| {
            // A pointer on the way would be a different layout from the one that is meant.
            match &self.resolve(typed.of)?.1.shape {
                Shape::Record(_) => self.field(&typed, name)?.ok(),
                _ => None,
            }
        })
    }

    /// What a pointer points to.
    pub(super) fn target(&self, to: Option<Place>, object: &Object) -> Result<Typed, Absent> {
        if let Some((place, offset)) = object.implicit() {
            let die = self.debug.die(place).ok_or(Absent::Unreadable)?;
            let object = self.stack.locate(self.frame, &die)?;
            return Ok(Typed { of: to, object: object.from(offset.cast_unsigned()) });
        }
        Ok(Typed { of: to, object: Object::at(self.address(object)?) })
    }

    /// Whether values of a type have any bytes.
    pub(super) fn takes_room(&self, of: Option<Place>) -> bool {
        self.resolve(of).is_none_or(|(_, of)| of.size != Some(0))
    }

    /// A number that a field is.
    pub(super) fn number(&self, typed: &Typed) -> Option<u64> {
        let (_, of) = self.resolve(typed.of)?;
        match &of.shape {
            Shape::Base(_) | Shape::Pointer(_) | Shape::Reference(_) => {
                let bytes = typed.object.read(&self.stack.memory, self.size(&of)?.min(8) as usize).ok()?;
                Some(bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)))
            }
            // What is only a name for a number that has no other values.
            Shape::Record(record) if record.members.len() == 1 && record.variants.is_none() => {
                let inner = Typed { of: record.members.first()?.of, object: typed.object.clone() };
                matches!(self.resolve(inner.of)?.1.shape, Shape::Base(_)).then(|| self.number(&inner))?
            }
            _ => None,
        }
    }

    pub(super) fn first_number(&self, typed: &Typed, paths: &[&[&str]]) -> Option<u64> {
        paths.iter().find_map(|path| self.number(&self.fields(typed, path)?))
    }
}

pub(super) fn of_member(member: &Member, object: &Object) -> Typed {
    Typed { of: member.of, object: object.from(member.offset) }
}
