//! The values that hangsnap shows beside those that gdb does: what agrees, and each that does not.

use std::collections::BTreeMap;

use serde_json::Value;

/// What became of one value that gdb has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Outcome {
    Agrees,
    /// The snapshot does not have it, and says so.
    NotCaptured,
    /// hangsnap says that the compiler kept it nowhere.
    Less,
    /// hangsnap says that its register was not saved. gdb shows what the function called since has
    /// left in it.
    NotSaved,
    Wrong,
}

/// What was counted in one program.
#[derive(Default)]
pub struct Tally {
    pub counts: BTreeMap<Outcome, usize>,
    pub listed: Vec<String>,
    /// Values that gdb prints in a form that nothing is compared with.
    pub unjudged: usize,
    /// Values that hangsnap has and gdb has not.
    pub more: usize,
}

impl Tally {
    pub fn count(&self, outcome: Outcome) -> usize {
        self.counts.get(&outcome).copied().unwrap_or(0)
    }

    /// In hundredths of a percent.
    pub fn share(&self) -> usize {
        let all: usize = self.counts.values().sum::<usize>() - self.count(Outcome::NotSaved);
        (self.count(Outcome::Agrees) * 10_000).checked_div(all).unwrap_or(0)
    }

    fn add(&mut self, outcome: Outcome, path: &str, gdb: &Value, own: &Value) {
        *self.counts.entry(outcome).or_default() += 1;
        if outcome != Outcome::Agrees {
            let short = |value: &Value| value.to_string().chars().take(160).collect::<String>();
            self.listed.push(format!("{outcome:?}: {path}: gdb {}, hangsnap {}", short(gdb), short(own)));
        }
    }

    fn judge(&mut self, agrees: bool, path: &str, gdb: &Value, own: &Value) {
        self.add(if agrees { Outcome::Agrees } else { Outcome::Wrong }, path, gdb, own);
    }
}

/// Compares all frames of all threads.
pub fn compare(gdb: &Value, own: &Value) -> Tally {
    let mut tally = Tally::default();
    for thread in list(gdb) {
        let tid = &thread["tid"];
        let ours = list(&own["threads"]).iter().find(|ours| ours["tid"] == *tid).expect("both see the same threads");
        // gdb puts in frames of functions that made a tail call, and are gone.
        let frames: Vec<&Value> = list(&thread["frames"]).iter().filter(|frame| frame["kind"] != 3).collect();
        let groups = frames.chunk_by(|inner, _| inner["kind"] == 2);
        for (group, frame) in groups.zip(list(&ours["frames"])) {
            if frame["address"] != group[0]["pc"] {
                break;
            }
            let functions = list(&frame["functions"]);
            for (theirs, function) in group.iter().rev().zip(functions.iter().rev()) {
                scope(&mut tally, &format!("{tid} {}", text(&theirs["function"])), theirs, function);
            }
        }
    }
    tally
}

fn scope(tally: &mut Tally, place: &str, theirs: &Value, function: &Value) {
    let mut ours: Vec<&Value> = list(&function["locals"]).iter().rev().collect();
    ours.sort_by_key(|own| !own["absent"].is_null());
    // gdb shows some variables of inlined functions twice, the second time without a value; and
    // those that compilers make for sizes of arrays.
    let mut variables: Vec<&Value> = list(&theirs["variables"]).iter().collect();
    variables.retain(|variable| !text(&variable["name"]).starts_with("__vla_expr"));
    variables.sort_by_key(|variable| text(&variable["value"]["kind"]) == "optimized-out");
    for variable in variables {
        let path = format!("{place} {}", text(&variable["name"]));
        let same = |own: &Value| own["name"] == variable["name"];
        let found = ours.iter().position(|own| same(own)).map(|position| ours.remove(position));
        match found {
            Some(own) => value(tally, &path, &variable["value"], own),
            None if is_known(&variable["value"]) => tally.add(Outcome::Less, &path, &variable["value"], &Value::Null),
            None => {}
        }
    }
}

fn is_known(gdb: &Value) -> bool {
    !matches!(text(&gdb["kind"]), "optimized-out" | "error" | "other" | "printed" | "deep")
}

fn value(tally: &mut Tally, path: &str, gdb: &Value, own: &Value) {
    let kind = text(&gdb["kind"]);
    if !is_known(gdb) {
        if own["absent"].is_null() && kind == "optimized-out" {
            tally.more += 1;
        }
        tally.unjudged += usize::from(kind != "optimized-out");
        return;
    }
    // What has no bytes gdb takes for a number.
    if own["value"] == "()" {
        return;
    }
    match own["absent"].as_str() {
        Some("not-captured") => return tally.add(Outcome::NotCaptured, path, gdb, own),
        Some("not-saved") => return tally.add(Outcome::NotSaved, path, gdb, own),
        Some(_) => return tally.add(Outcome::Less, path, gdb, own),
        None => {}
    }
    // gdb's printers look through references.
    let is_looked_through = matches!(kind, "string" | "printer" | "record") && own["address"].is_string();
    if is_looked_through && list(&own["target"]["fields"]).is_empty() == (kind == "string") && kind != "printer" {
        return value(tally, path, gdb, &own["target"]);
    }
    let shown = text(&own["value"]);
    match kind {
        "number" => {
            let number = shown.split(' ').next().unwrap_or(shown);
            let code = number.strip_prefix('\'').and_then(|rest| rest.chars().next()).map(|c| u32::from(c).to_string());
            tally.judge(code.as_deref().unwrap_or(number) == text(&gdb["value"]), path, gdb, own);
        }
        "bool" => tally.judge(
            Some(shown) == gdb["value"].as_bool().map(|truth| if truth { "true" } else { "false" }),
            path,
            gdb,
            own,
        ),
        "float" => {
            let (one, other) = (text(&gdb["value"]).parse::<f64>(), shown.parse::<f64>());
            tally.judge(matches!((one, other), (Ok(one), Ok(other)) if one as f32 == other as f32), path, gdb, own);
        }
        "enum" => {
            let name = text(&gdb["value"]).rsplit("::").next().unwrap_or("");
            tally.judge(name == shown, path, gdb, own);
        }
        "pointer" => {
            tally.judge(own["address"] == gdb["value"], path, gdb, own);
            if let Some(held) = gdb["text"].as_str() {
                let expected = serde_json::json!({ "kind": "string", "value": held });
                value(tally, &format!("{path} text"), &expected, &own["target"]);
            }
        }
        "synthetic" => {
            let target = &own["target"];
            // Of text gdb shows the first character, hangsnap all.
            match text(&target["value"]).starts_with('"') {
                true => tally.judge(own["address"].is_null(), path, gdb, own),
                false => value(tally, &format!("{path} target"), &gdb["value"], target),
            }
        }
        "string" => tally.judge(shown.trim_end_matches("..") == format!("{:?}", text(&gdb["value"])), path, gdb, own),
        "array" => {
            tally.judge(own["length"] == gdb["count"], &format!("{path} length"), gdb, own);
            for (number, (theirs, ours)) in list(&gdb["elements"]).iter().zip(list(&own["elements"])).enumerate() {
                value(tally, &format!("{path}[{number}]"), theirs, ours);
            }
        }
        "printer" => printer(tally, path, gdb, own),
        "record" => record(tally, path, gdb, own),
        _ => tally.unjudged += 1,
    }
}

/// What a printer for a standard library shows.
fn printer(tally: &mut Tally, path: &str, gdb: &Value, own: &Value) {
    let children = list(&gdb["children"]);
    match gdb["hint"].as_str() {
        Some(hint @ ("array" | "map")) => {
            let count = children.len() / if hint == "map" { 2 } else { 1 };
            tally.judge(own["length"] == count, &format!("{path} length"), gdb, own);
            if hint == "array" {
                for (child, ours) in children.iter().zip(list(&own["elements"])) {
                    value(tally, &format!("{path} {}", text(&child[0])), &child[1], ours);
                }
            }
        }
        _ => {
            // One thing that is held: an optional's, a smart pointer's, a cell's.
            let Some(child) = children.first() else { return tally.unjudged += 1 };
            let part = |own: &Value| list(&own["fields"]).iter().find(|field| field["name"] == "value").cloned();
            let ours = part(own).or_else(|| part(&own["target"])).unwrap_or_else(|| own.clone());
            value(tally, &format!("{path} {}", text(&child[0])), &child[1], &ours);
        }
    }
}

fn record(tally: &mut Tally, path: &str, gdb: &Value, own: &Value) {
    let fields = list(&gdb["fields"]);
    // A Rust enumeration: gdb shows the discriminant and then the variant.
    if let [discriminant, variant] = fields
        && discriminant[0] == ""
        && discriminant[1]["kind"] == "number"
    {
        let shown = text(&own["value"]);
        let name = text(&variant[0]);
        let is_variant = shown.strip_prefix(name).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric));
        tally.judge(is_variant, path, gdb, own);
        if is_variant {
            record(tally, &format!("{path}::{name}"), &variant[1], own);
        }
        return;
    }
    let ours = list(&own["fields"]);
    if ours.is_empty() {
        // Shown as the one thing in it.
        match fields {
            [only] => return value(tally, path, &only[1], own),
            [] => return,
            _ => return tally.unjudged += 1,
        }
    }
    for (position, field) in fields.iter().enumerate() {
        let name = text(&field[0]);
        let is_pointer_to_functions = name.starts_with("_vptr");
        let found = ours.iter().find(|ours| ours["name"] == name).or_else(|| {
            // A base class has its scope in its name.
            ours.get(position).filter(|ours| name.ends_with(text(&ours["name"])))
        });
        match found {
            Some(found) => value(tally, &format!("{path}.{name}"), &field[1], found),
            None if is_pointer_to_functions => tally.unjudged += 1,
            None => tally.add(Outcome::Less, &format!("{path}.{name}"), &field[1], &Value::Null),
        }
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}
