//! Structures, enumerations, and the variants of Rust's, as their types say.
//!
//! It does not know what they mean: types of the standard libraries are for `rust` and `cpp`.

use gimli::constants as dw;

use super::decode::{Decoder, Typed};
use super::object::Object;
use super::scalar::{mask, scalar, signed, unsigned};
use super::types::{self, Member, Record, Shape, Type, Variants};
use super::value::{Absent, Value};

impl Decoder<'_, '_, '_> {
    /// The name of a value of an enumeration.
    pub(super) fn enumeration(
        &self,
        names: &[(String, i128)],
        is_signed: bool,
        of: &Type,
        object: &Object,
    ) -> Result<Value, Absent> {
        let size = of.size.filter(|size| (1..=16).contains(size)).ok_or(Absent::Unreadable)?;
        let bytes = object.read(&self.stack.memory, size as usize)?;
        let held = unsigned(&bytes);
        let is_held = |value: i128| value.cast_unsigned() & mask(size) == held;
        let named = names.iter().find(|(_, value)| is_held(*value));
        Ok(match named {
            Some((name, _)) => Value::Named(name.clone()),
            None if is_signed => Value::Unnamed(signed(&bytes)),
            None => Value::Unnamed(held.cast_signed()),
        })
    }

    /// A structure as its type says, without knowing what it means.
    pub(super) fn record(
        &self,
        of: &Type,
        record: &Record,
        object: &Object,
        follow: usize,
        depth: usize,
    ) -> Result<Value, Absent> {
        if let Some(variants) = &record.variants {
            let variant = self.variant(variants, object)?;
            let typed = Typed { of: variant.of, object: object.from(variant.offset) };
            let mut shown = self.at_depth(&typed, follow, depth + 1);
            if let Value::Record(name, fields) = &mut shown {
                name.clone_from(&variant.name);
                if fields.is_empty() {
                    return Ok(Value::Named(variant.name.clone()));
                }
            }
            return Ok(shown);
        }
        let fields = record.members.iter().map(|member| {
            let name = if member.is_base { self.type_name(member.of) } else { member.name.clone() };
            (name, self.member(member, object, follow, depth))
        });
        let name = if of.name.ends_with(types::NAMELESS) { String::new() } else { of.name.clone() };
        Ok(Value::Record(name, fields.collect()))
    }

    /// The variant that a Rust enumeration is.
    pub(super) fn variant<'v>(&self, variants: &'v Variants, object: &Object) -> Result<&'v Member, Absent> {
        let Some(discriminant) = &variants.discriminant else {
            let only = variants.all.first().map(|(_, member)| member);
            return only.filter(|_| variants.all.len() == 1).ok_or(Absent::Unreadable);
        };
        let size = self.resolve(discriminant.of).and_then(|(_, of)| of.size);
        let size = size.filter(|size| (1..=16).contains(size)).ok_or(Absent::Unreadable)?;
        let bytes = object.from(discriminant.offset).read(&self.stack.memory, size as usize)?;
        let held = unsigned(&bytes);
        let is_held = |value: &i128| value.cast_unsigned() & mask(size) == held;
        let exact = variants.all.iter().find(|(value, _)| value.as_ref().is_some_and(is_held));
        let found = exact.or_else(|| variants.all.iter().find(|(value, _)| value.is_none()));
        found.map(|(_, member)| member).ok_or(Absent::Unreadable)
    }

    /// A part of a structure.
    pub(super) fn member(&self, member: &Member, object: &Object, follow: usize, depth: usize) -> Value {
        let Some((first, bits)) = member.bits else {
            let typed = Typed { of: member.of, object: object.from(member.offset) };
            return self.at_depth(&typed, follow, depth + 1);
        };
        let field = || -> Result<Value, Absent> {
            let (_, of) = self.resolve(member.of).ok_or(Absent::Unreadable)?;
            let width = u32::try_from(bits).ok().filter(|bits| (1..=64).contains(bits)).ok_or(Absent::Unreadable)?;
            let length = ((first % 8 + bits).div_ceil(8)) as usize;
            let bytes = object.from(first / 8).read(&self.stack.memory, length)?;
            let field = unsigned(&bytes) >> (first % 8) & ((1 << width) - 1);
            let is_negative = |is_signed: bool| is_signed && field >> (width - 1) == 1;
            let extended = |is_signed| if is_negative(is_signed) { field | u128::MAX << width } else { field };
            Ok(match &of.shape {
                Shape::Base(encoding) => {
                    let is_signed = matches!(*encoding, dw::DW_ATE_signed | dw::DW_ATE_signed_char);
                    let size = of.size.filter(|size| (1..=16).contains(size)).ok_or(Absent::Unreadable)?;
                    scalar(*encoding, &of.name, &extended(is_signed).to_le_bytes()[..size as usize])
                }
                Shape::Enumeration(names, is_signed) => {
                    let value = extended(*is_signed).cast_signed();
                    let named = names.iter().find(|(_, held)| *held == value);
                    named.map_or(Value::Unnamed(value), |(name, _)| Value::Named(name.clone()))
                }
                _ => return Err(Absent::Unreadable),
            })
        };
        field().unwrap_or_else(Value::Absent)
    }
}
