//! The fields of variables.

use serde::Serialize;

use crate::render::locals::{absence, text};
use crate::variables::{Absent, Scope, Value, Variable};

#[derive(Serialize)]
pub(super) struct VariableFields<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    type_name: &'a str,
    argument: bool,
    #[serde(flatten)]
    value: ValueFields<'a>,
}

#[derive(Serialize)]
struct ValueFields<'a> {
    /// As it is printed; null where it is not known.
    value: Option<String>,
    /// `optimized-out`, `not-saved`, `not-captured` or `unreadable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<&'static str>,
    /// Of a structure, its parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldFields<'a>>,
    /// Of a list, how many elements it has, and the first of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    elements: Vec<ValueFields<'a>>,
    /// Of a pointer, its address and what lies there, if that is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Box<ValueFields<'a>>>,
}

#[derive(Serialize)]
struct FieldFields<'a> {
    name: &'a str,
    #[serde(flatten)]
    value: ValueFields<'a>,
}

/// The variables of a function at a frame.
pub(super) fn scope_fields(scope: &Scope) -> Vec<VariableFields<'_>> {
    scope.variables.iter().map(variable_fields).collect()
}

fn variable_fields(variable: &Variable) -> VariableFields<'_> {
    let Variable { name, type_name, is_argument, value } = variable;
    VariableFields { name, type_name, argument: *is_argument, value: value_fields(value) }
}

fn value_fields(value: &Value) -> ValueFields<'_> {
    let mut shown = ValueFields {
        value: None,
        absent: absence(value).map(|absent| match absent {
            Absent::OptimizedOut => "optimized-out",
            Absent::NotSaved => "not-saved",
            Absent::NotCaptured => "not-captured",
            Absent::Unreadable => "unreadable",
            Absent::PastEnd => "past-end",
        }),
        fields: Vec::new(),
        length: None,
        elements: Vec::new(),
        address: None,
        target: None,
    };
    shown.value = shown.absent.is_none().then(|| text(value));
    match value {
        Value::Record(_, fields) => {
            shown.fields =
                fields.iter().map(|(name, value)| FieldFields { name, value: value_fields(value) }).collect();
        }
        Value::List(_, count, elements) => {
            shown.length = Some(*count);
            shown.elements = elements.iter().map(value_fields).collect();
        }
        Value::Pointer(address, target) => {
            shown.address = address.map(|address| format!("{address:#x}"));
            shown.target = target.as_deref().map(|target| Box::new(value_fields(target)));
        }
        _ => {}
    }
    shown
}
