//! The matrix as it is published: what each way of looking at a process does to the calls its
//! threads wait in.

use std::fmt::Write as _;

use super::LATE;
use super::rows::Row;

/// What was done, and what the rows noticed of it.
pub type Column = (String, Vec<Row>);

/// A row for each call that noticed something, and the names of those that did not.
pub fn markdown(columns: &[Column]) -> String {
    let mut text = String::from("| call |");
    for (title, _) in columns {
        write!(text, " {title} |").expect("a string takes all");
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(columns.len()));
    text.push('\n');
    let mut clean = Vec::new();
    for row in &columns[0].1 {
        let cells: Vec<String> = columns.iter().map(|(_, rows)| cell(rows, &row.name)).collect();
        if cells.iter().all(|cell| cell == CLEAN) {
            clean.push(format!("`{}`", row.name));
        } else {
            writeln!(text, "| `{}` | {} |", row.name, cells.join(" | ")).expect("a string takes all");
        }
    }
    write!(text, "\nNothing at all: {}.\n\n", clean.join(", ")).expect("a string takes all");
    for (title, rows) in columns {
        let disturbed = rows.iter().filter(|row| !row.faults(LATE).is_empty()).count();
        writeln!(text, "{title}: {disturbed} of {} rows noticed it.", rows.len()).expect("a string takes all");
    }
    text
}

const CLEAN: &str = "–";

fn cell(rows: &[Row], name: &str) -> String {
    match rows.iter().find(|row| row.name == name).map(|row| row.faults(LATE)) {
        None => "?".into(),
        Some(faults) if faults.is_empty() => CLEAN.into(),
        Some(faults) => faults.join(", "),
    }
}
