//! Real programs that are busy, caught at random instants: of all their stacks at least 999 in
//! 1,000 must reach the thread's root.
//!
//! What such a stack should be is unknown; that it ends where threads begin is what can be asked
//! of it. Stacks with frames in generated code, which belongs to no file, are counted apart. For
//! every stack that ends early the table says where and why.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hangsnap::model::{Notice, Snapshot, Subject, Thread, WalkEnd};
use hangsnap::store::{Reader, recordings_in};
use hangsnap::symbols::{Finder, Names};

use super::build::skip;
use super::programs::{self, Program};
use crate::support::{hangsnap, long_form, run};

/// How many samples are taken of a program's processes before it is asked for them again: a
/// server's workers come and go.
const SAMPLES: &str = "300";

#[derive(Default)]
struct Counts {
    stacks: usize,
    rooted: usize,
    generated: usize,
    generated_rooted: usize,
    /// Threads that nothing was seen of, and why.
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
    let (stacks, rooted) = (total.stacks + total.generated, total.rooted + total.generated_rooted);
    println!("{rooted} of {stacks} with those through generated code");
    let share = total.rooted * 100_000 / total.stacks.max(1);
    assert!(share >= 99_900, "only {} of {} stacks reach the root", total.rooted, total.stacks);
}

/// Records the program's processes until this many stacks have been seen.
fn sample(program: &Program, wanted: usize) -> Counts {
    let mut counts = Counts::default();
    while counts.stacks + counts.generated < wanted {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let pids = program.pids();
        assert!(!pids.is_empty(), "{} has ended", program.name);
        let mut sampler = hangsnap();
        sampler.args(["--every", "2ms", "--count", SAMPLES, "--max-duty", "100%", "-o"]).arg(directory.path());
        sampler.args(pids.iter().flat_map(|pid| ["--pid".into(), pid.to_string()]));
        let output = run(&mut sampler);
        let is_gone = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
        if !output.status.success() && pids.iter().any(is_gone) {
            continue;
        }
        assert!(output.status.success(), "{}: {}", program.name, String::from_utf8_lossy(&output.stderr));
        for path in recordings_in(directory.path()).expect("the recordings") {
            counts.add(&path);
        }
    }
    counts
}

impl Counts {
    fn add(&mut self, path: &Path) {
        let mut reader = Reader::open(path).expect("a recording");
        let mut incomplete = Vec::new();
        while let Some(snapshot) = reader.next_snapshot().expect("a recording") {
            let mut snapshot = snapshot.unwrap_or_else(|damage| panic!("{}", damage.what));
            snapshot.threads.retain_mut(|thread| {
                self.count(thread);
                // Of what ends early, the last frame is to be named.
                let stack = Arc::make_mut(&mut thread.stack);
                let last = stack.frames.pop();
                stack.frames = last.into_iter().collect();
                stack.end != WalkEnd::Root
            });
            incomplete.push(snapshot);
        }
        let names = Names::resolve(&Finder::new(Vec::new()), &incomplete);
        for snapshot in &incomplete {
            for thread in &snapshot.threads {
                *self.reasons.entry(reason(snapshot, thread, &names)).or_default() += 1;
            }
        }
    }

    fn count(&mut self, thread: &Thread) {
        let frames = &thread.stack.frames;
        let is_rooted = usize::from(thread.stack.end == WalkEnd::Root);
        if frames.is_empty() {
            self.unseen += 1;
        } else if frames.iter().any(|frame| frame.outside().is_some()) {
            self.generated += 1;
            self.generated_rooted += is_rooted;
        } else {
            self.stacks += 1;
            self.rooted += is_rooted;
        }
    }
}

/// Why a walk ended early, and where.
fn reason(snapshot: &Snapshot, thread: &Thread, names: &Names) -> String {
    let Some(last) = thread.stack.frames.last() else {
        let is_about_it = |notice: &&Notice| notice.subject == Subject::Thread(thread.tid);
        let said = snapshot.notices.iter().find(is_about_it).expect("a loss is never silent");
        return format!("not seen: {}", plain(&said.reason.to_string()));
    };
    let function = names.of(snapshot, last).first().and_then(|function| function.name.as_deref()).unwrap_or("?");
    let module = snapshot.module_of(last).map_or("generated code", |module| module.path.as_str());
    format!("{}, in {function} of {module} ({:?})", plain(&thread.stack.end.describe()), last.found())
}

/// Without addresses and numbers, which differ from run to run.
fn plain(text: &str) -> String {
    let is_number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let words: Vec<&str> = text.split(' ').map(|word| if is_number(word) { "..." } else { word }).collect();
    words.join(" ")
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
