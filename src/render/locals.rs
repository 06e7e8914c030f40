//! Variables and their values as text.
//!
//! Promises: one line for each variable, whatever the process holds; text and names that it chose
//! are escaped. What is not known stands in angle brackets, with the reason.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::style::FAINT;
use super::value::Foreign;
use crate::model::Tid;
use crate::variables::{Absent, Locals, Scope, Value, Variable};

/// Equal elements in a row that are counted instead of shown, as gdb counts them.
const MOST_ALIKE: usize = 10;

/// The variables of a thread's frames, and which of them to show.
#[derive(Clone, Copy)]
pub(super) struct OfThread<'l> {
    pub(super) locals: &'l Locals,
    pub(super) thread: Tid,
    /// Only those of the frame of this number.
    pub(super) frame: Option<usize>,
}

impl<'l> OfThread<'l> {
    /// Those of a function at a frame: this far from the outermost of `functions` that are shown
    /// there.
    pub(super) fn scope(&self, frame: usize, position: usize, functions: usize) -> Option<&'l Scope> {
        let scopes = self.locals.of(self.thread, frame);
        let from_outermost = functions.checked_sub(position)?;
        scopes.get(scopes.len().checked_sub(from_outermost)?)
    }
}

/// Writes a line for each variable.
pub(super) fn scope(out: &mut dyn Write, scope: &Scope) -> io::Result<()> {
    for Variable { name, value, .. } in &scope.variables {
        match value {
            Value::Absent(absent) => {
                writeln!(out, "        {FAINT}{} = <{}>{FAINT:#}", Foreign(name), absent.describe())?;
            }
            value => writeln!(out, "        {} = {}", Foreign(name), Foreign(&text(value)))?,
        }
    }
    Ok(())
}

/// A value in one line.
pub(super) fn text(value: &Value) -> String {
    let mut text = String::new();
    put(&mut text, value);
    text
}

fn put(text: &mut String, value: &Value) {
    // Writing to a string does not fail.
    let _ = match value {
        Value::Absent(absent) => write!(text, "<{}>", absent.describe()),
        Value::Signed(number) | Value::Unnamed(number) => write!(text, "{number}"),
        Value::Unsigned(number) => write!(text, "{number}"),
        Value::Float(number) | Value::Named(number) => write!(text, "{number}"),
        Value::Bool(truth) => write!(text, "{truth}"),
        Value::Character(code) => match char::from_u32(*code) {
            Some(character) => write!(text, "{character:?}"),
            None => write!(text, "{code:#x}"),
        },
        Value::Byte(code) => {
            let [byte, _] = code.to_le_bytes();
            write!(text, "{code} '{}'", byte.escape_ascii())
        }
        Value::Text(bytes, is_cut) => {
            put_text(text, bytes);
            write!(text, "{}", if *is_cut { ".." } else { "" })
        }
        Value::Pointer(address, target) => {
            match address {
                Some(address) => {
                    let _ = write!(text, "{address:#x}");
                }
                None => text.push_str("<no address>"),
            }
            if let Some(target) = target {
                text.push(' ');
                if !matches!(**target, Value::Text(..) | Value::Absent(_)) {
                    text.push_str("to ");
                }
                put(text, target);
            }
            Ok(())
        }
        Value::Record(name, fields) => {
            put_record(text, name, fields);
            Ok(())
        }
        Value::List(name, count, elements) => {
            put_list(text, name, *count, elements);
            Ok(())
        }
        Value::Opaque(name) => write!(text, "<{name}>"),
    };
}

fn put_text(text: &mut String, bytes: &[u8]) {
    text.push('"');
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '"' => text.push_str("\\\""),
                '\'' => text.push('\''),
                character => text.extend(character.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push('"');
}

/// As Rust writes what has numbers for names of fields, and else as C does.
fn put_record(text: &mut String, name: &str, fields: &[(String, Value)]) {
    let is_number = |name: &str| name.strip_prefix("__").is_some_and(|number| number.parse::<u32>().is_ok());
    let is_tuple = !fields.is_empty() && fields.iter().all(|(name, _)| is_number(name));
    let is_plain_tuple = is_tuple && name.starts_with('(');
    if !is_plain_tuple {
        text.push_str(name);
    }
    let (open, close) = match (is_tuple, name.is_empty()) {
        (true, _) => ("(", ")"),
        (false, true) => ("{", "}"),
        (false, false) => (" {", "}"),
    };
    text.push_str(open);
    for (position, (name, value)) in fields.iter().enumerate() {
        text.push_str(if position > 0 { ", " } else { "" });
        if !is_tuple {
            let _ = write!(text, "{name} = ");
        }
        put(text, value);
    }
    text.push_str(close);
}

fn put_list(text: &mut String, name: &str, count: u64, elements: &[Value]) {
    if !name.is_empty() {
        let _ = write!(text, "{name}({count}) ");
    }
    if let [Value::Absent(absent)] = elements {
        let _ = match name.is_empty() {
            true => write!(text, "[{count} of them, <{}>]", absent.describe()),
            false => write!(text, "<{}>", absent.describe()),
        };
        return;
    }
    text.push('[');
    for (position, run) in elements.chunk_by(|one, other| one == other).enumerate() {
        text.push_str(if position > 0 { ", " } else { "" });
        match run {
            [first, ..] if run.len() > MOST_ALIKE => {
                put(text, first);
                let _ = write!(text, " ({} times)", run.len());
            }
            run => {
                for (position, value) in run.iter().enumerate() {
                    text.push_str(if position > 0 { ", " } else { "" });
                    put(text, value);
                }
            }
        }
    }
    if count > elements.len() as u64 {
        let _ = write!(text, ", .. {count} in all");
    }
    text.push(']');
}

/// Whether nothing is known of a value, and why.
pub(super) fn absence(value: &Value) -> Option<Absent> {
    match value {
        Value::Absent(absent) => Some(*absent),
        _ => None,
    }
}
