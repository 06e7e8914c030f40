//! What hangsnap says, beside the truth.

use std::fmt;
use std::process::Output;

use serde_json::Value;

use super::programs::Running;
use super::truth::Truth;
use super::{Row, each};

/// How far a time may be from the program's own to agree with it, in seconds.
const AGREES: f64 = 2.0;
/// How much later than the start of the look a wait may be said to have begun, in seconds.
const LATEST: f64 = 1.5;

/// What was printed, and when hangsnap was started.
pub struct Look {
    begun: f64,
    code: Option<i32>,
    pub json: Value,
    complaint: String,
}

impl Look {
    pub fn new(begun: f64, output: &Output) -> Self {
        let complaint = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
        let json = serde_json::from_slice(&output.stdout).unwrap_or_default();
        Self { begun, code: output.status.code(), json, complaint }
    }

    pub fn is_stuck(&self) -> bool {
        each(&self.json, "verdicts").any(|verdict| verdict["level"] == "stuck")
    }

    /// What is wrong with it whatever the row.
    pub fn complaint(&self) -> Option<String> {
        let expected = if self.is_stuck() { 1 } else { 0 };
        if self.json["format"] != "hangsnap.verdict/1" {
            Some(format!("exit code {:?}, no verdict: {}", self.code, self.complaint))
        } else if self.code != Some(expected) {
            Some(format!("exit code {:?}, not {expected}", self.code))
        } else {
            None
        }
    }
}

#[derive(Default)]
pub struct Judged {
    is_skipped: bool,
    wrong: Option<String>,
    proof: String,
    pub proof_agrees: bool,
    since: String,
    pub since_agrees: bool,
}

impl Judged {
    pub fn skipped() -> Self {
        Self { is_skipped: true, ..Self::default() }
    }

    pub fn wrong(why: String) -> Self {
        Self { wrong: Some(why), ..Self::default() }
    }

    pub fn is_wrong(&self) -> bool {
        self.wrong.is_some()
    }

    pub fn is_skipped(&self) -> bool {
        self.is_skipped
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_skipped {
            "-"
        } else if self.is_wrong() {
            "WRONG"
        } else {
            "right"
        };
        write!(out, "{word:<6} {:<18} {}", self.proof, self.since)?;
        self.wrong.iter().try_for_each(|why| write!(out, "\n        {why}"))
    }
}

/// Compares what was said with the truth.
pub fn judge(row: &Row, running: &Running, look: &Look) -> Judged {
    let truth = &running.truth;
    if let Some(why) = look.complaint() {
        return Judged::wrong(format!("{why}; {}", summary(&look.json)));
    }
    if row.kind == "none" {
        let stuck = look.is_stuck().then(|| summary(&look.json));
        return Judged { wrong: stuck, ..Judged::default() };
    }
    assert_eq!(row.kind, truth.kind, "{}: the program is not about what the row says", row.name);
    let of_kind: Vec<&Value> = each(&look.json, "verdicts").filter(|verdict| verdict["kind"] == row.kind).collect();
    let complaints = |verdict: &Value| disagreements(truth, verdict, running.started, look.begun);
    let Some(best) = of_kind.into_iter().min_by_key(|verdict| complaints(verdict).len()) else {
        return Judged::wrong(format!("no {}; {}", row.kind, summary(&look.json)));
    };
    let wrong = complaints(best);
    let proof = best["proof"].as_str().unwrap_or("none");
    let off = since(best).zip(truth.since).map(|(said, truth)| said - truth);
    Judged {
        is_skipped: false,
        proof_agrees: proof == row.proof,
        proof: if proof == row.proof { proof.to_owned() } else { format!("{proof}/{}", row.proof) },
        since_agrees: off.is_some_and(|off| off.abs() <= AGREES),
        since: off.map_or("-".to_owned(), |off| format!("{off:+.2} s{}", if off.abs() > AGREES { " OFF" } else { "" })),
        wrong: (!wrong.is_empty()).then(|| format!("{}; {best}", wrong.join(", "))),
    }
}

/// In what a verdict differs from the truth.
fn disagreements(truth: &Truth, verdict: &Value, started: f64, looked: f64) -> Vec<String> {
    let mut found = Vec::new();
    let names = |who: &Value, id: i64| who["tid"] == id || (who["tid"].is_null() && who["pid"] == id);
    for id in &truth.accused {
        if !each(verdict, "accused").any(|who| names(who, *id)) {
            found.push(format!("{id} is not accused"));
        }
    }
    if let Some(holder) = truth.holder.filter(|holder| !names(&verdict["holder"], *holder)) {
        found.push(format!("the holder is {holder}"));
    }
    if !truth.resources.is_empty() && !truth.resources.iter().any(|name| is_named(&verdict["resource"], name)) {
        found.push(format!("the resource is {}", truth.resources.join(" or ")));
    }
    if let Some(since) = since(verdict) {
        // The kernel counts a process's start in hundredths.
        if since > looked + LATEST || since < started - 0.02 {
            found.push(format!(
                "since {:+.2} s from the look, {:+.2} s from the start",
                since - looked,
                since - started
            ));
        }
    } else if !verdict["since"].is_null() {
        found.push(format!("{} is no time", verdict["since"]));
    }
    found
}

/// Whether a resource's description holds this address, path or number.
fn is_named(resource: &Value, name: &str) -> bool {
    let address = |text: &str| text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let text = resource.to_string();
    let mut words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "/._-".contains(c)));
    let is_below = |word: &str| name.starts_with('/') && word.starts_with(&format!("{name}/"));
    words.any(|word| word == name || is_below(word) || (address(word).is_some() && address(word) == address(name)))
}

/// Seconds since 1970.
fn since(verdict: &Value) -> Option<f64> {
    let time: jiff::Timestamp = verdict["since"].as_str()?.parse().ok()?;
    Some(time.as_duration().as_secs_f64())
}

/// The answer and its verdicts in a line.
fn summary(json: &Value) -> String {
    let verdicts = each(json, "verdicts").map(|verdict| format!("\n        {verdict}"));
    format!("answer {}{}", json["answer"], verdicts.collect::<String>())
}

#[test]
fn only_a_verdict_that_agrees_with_the_program_is_right() {
    let mut truth = Truth::default();
    let said = "kind convoy\naccused 7\naccused 8\nholder 9\nresource mutex 0x10\nresource file /tmp/a\nsince 1000.5";
    said.lines().for_each(|line| truth.add(line));
    let right = serde_json::json!({
        "kind": "convoy", "accused": [{"pid": 5, "tid": 8}, {"pid": 5, "tid": 7}], "holder": {"pid": 9, "tid": null},
        "resource": {"kind": "mutex", "address": "0x0010", "text": "mutex"}, "since": "1970-01-01T00:16:40.6Z",
    });
    let differs = |verdict: &Value| disagreements(&truth, verdict, 1000.0, 1001.0);
    assert_eq!(differs(&right), Vec::<String>::new());
    let changes = [
        ("accused", serde_json::json!([{"pid": 5, "tid": 8}]), "7 is not accused"),
        ("holder", serde_json::json!({"pid": 9, "tid": 10}), "the holder is 9"),
        ("holder", Value::Null, "the holder is 9"),
        ("resource", serde_json::json!({"address": "0x100"}), "the resource is 0x10 or /tmp/a"),
        ("resource", serde_json::json!({"text": "/tmp/ab"}), "the resource is 0x10 or /tmp/a"),
        ("since", "1970-01-01T00:16:39Z".into(), "since -2.00 s from the look, -1.00 s from the start"),
        ("since", "1970-01-01T00:17:00Z".into(), "since +19.00 s from the look, +20.00 s from the start"),
    ];
    for (field, value, expected) in changes {
        let mut verdict = right.clone();
        verdict[field] = value;
        assert_eq!(differs(&verdict), [expected], "{verdict}");
    }
    for text in ["the lock of /tmp/a", "/tmp/a/below", "mutex 0x10"] {
        let mut verdict = right.clone();
        verdict["resource"] = serde_json::json!({ "text": text });
        assert_eq!(differs(&verdict), Vec::<String>::new(), "{verdict}");
    }
}
