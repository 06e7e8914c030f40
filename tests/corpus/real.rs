//! Real programs that are busy, caught at random instants: of all their stacks at least 999 in 1,000 must reach the
//! thread's root.
//!
//! Nobody knows what such a stack should be; that it ends where threads begin is what can be asked of it. Stacks with
//! frames in generated code, which belongs to no file, are counted apart. For every stack that ends early the table
//! tells where and why.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::build::skip;
use super::programs::{self, Program};
use crate::support::{hangsnap, long_form, run};

#[derive(Default)]
struct Counts {
    stacks: usize,
    rooted: usize,
    generated: usize,
    generated_rooted: usize,
    /// Threads of which nothing was seen, and why.
    unseen: usize,
    reasons: BTreeMap<String, usize>,
}

#[test]
fn nearly_all_stacks_reach_the_root() {
    type Start = fn() -> Option<Program>;
    let starts: [(&str, Start); 7] = [
        ("redis-server", programs::redis),
        ("python3", programs::python),
        ("node", programs::node),
        ("java", programs::java),
        ("nginx", programs::nginx),
        ("postgres", programs::postgres),
        ("mariadbd", programs::mariadb),
    ];
    let wanted = if long_form() { 100_000 } else { 2_100 } / starts.len();
    let mut total = Counts::default();
    println!("{:<14}{:>8}{:>9}{:>11}{:>9}{:>8}", "program", "stacks", "rooted", "generated", "rooted", "unseen");
    for (name, start) in starts {
        let Some(program) = start() else {
            skip(name, "it is not installed; tests/run installs it");
            continue;
        };
        let counts = sample(&program, wanted);
        show(program.name, &counts);
        total.stacks += counts.stacks;
        total.rooted += counts.rooted;
        total.generated += counts.generated;
        total.generated_rooted += counts.generated_rooted;
        total.unseen += counts.unseen;
    }
    show("all", &total);
    let share = total.rooted * 100_000 / total.stacks.max(1);
    assert!(share >= 99_900, "only {} of {} stacks reach the root", total.rooted, total.stacks);
}

/// Looks at the program's processes in turn until so many stacks have been seen.
fn sample(program: &Program, wanted: usize) -> Counts {
    let mut counts = Counts::default();
    while counts.stacks + counts.generated < wanted {
        let pids = program.pids();
        assert!(!pids.is_empty(), "{} has ended", program.name);
        for pid in pids {
            let output = run(hangsnap().args(["--pid", &pid.to_string(), "--json"]));
            let is_gone = !Path::new(&format!("/proc/{pid}")).exists();
            // A server's workers come and go.
            if !output.status.success() && is_gone {
                continue;
            }
            assert!(output.status.success(), "{}: {}", program.name, String::from_utf8_lossy(&output.stderr));
            let document: Value = serde_json::from_slice(&output.stdout).expect("hangsnap prints JSON");
            for thread in document["threads"].as_array().expect("a list") {
                counts.add(thread);
            }
        }
    }
    counts
}

impl Counts {
    fn add(&mut self, thread: &Value) {
        let frames = thread["frames"].as_array().expect("a list");
        let Some(last) = frames.last() else {
            self.unseen += 1;
            return;
        };
        let is_rooted = thread["incomplete"].is_null();
        if frames.iter().any(|frame| frame["module"].is_null()) {
            self.generated += 1;
            self.generated_rooted += usize::from(is_rooted);
        } else {
            self.stacks += 1;
            self.rooted += usize::from(is_rooted);
        }
        if !is_rooted {
            let reason = thread["incomplete"].as_str().expect("text");
            // Addresses differ from run to run.
            let words = reason.split(' ').map(|word| if word.starts_with("0x") { "0x..." } else { word });
            let function = last["functions"][0]["name"].as_str().unwrap_or("?");
            let module = last["module"].as_str().unwrap_or("generated code");
            let found = last["found_by"].as_str().unwrap_or_default();
            let reason = format!("{}, in {function} of {module} ({found})", words.collect::<Vec<_>>().join(" "));
            *self.reasons.entry(reason).or_default() += 1;
        }
    }
}

fn show(name: &str, counts: &Counts) {
    println!(
        "{name:<14}{:>8}{:>9}{:>11}{:>9}{:>8}",
        counts.stacks, counts.rooted, counts.generated, counts.generated_rooted, counts.unseen
    );
    let mut reasons: Vec<_> = counts.reasons.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (reason, count) in reasons {
        println!("    {count:>6}  {reason}");
    }
}
