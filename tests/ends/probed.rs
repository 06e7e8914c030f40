//! Return addresses that a tracer has replaced: real probes of the kernel's (uprobes) on the
//! victims' functions.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use super::{EPOLL_WAIT, PAUSE, each_way, until_it_waits_in};
use crate::names::functions;
use crate::support::{Victim, compile, succeed};

/// Return probes on some functions of a program, which are gone with this.
struct Probes {
    tracefs: PathBuf,
    group: String,
    count: usize,
}

impl Probes {
    /// None where this host has no probes, or does not let this user set them.
    fn set(program: &Path, functions: &[&str]) -> Option<Self> {
        let places = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"].map(PathBuf::from);
        let tracefs = places.into_iter().find(|place| place.join("uprobe_events").exists())?;
        let symbols = succeed(Command::new("nm").arg(program));
        let address = |name: &str| {
            let line = symbols.lines().find(|line| line.ends_with(&format!(" {name}")));
            line.and_then(|line| line.split(' ').next()).expect("the function has a symbol").to_owned()
        };
        let mut probes = Self { tracefs, group: format!("hangsnap_{}", process::id()), count: 0 };
        for name in functions {
            // The program is position independent: its code lies at the same place of the file.
            let line = format!("r:{}/probe{} {}:0x{}\n", probes.group, probes.count, program.display(), address(name));
            probes.append(&line).ok()?;
            probes.count += 1;
        }
        probes.enable("1").ok()?;
        Some(probes)
    }

    fn append(&self, line: &str) -> std::io::Result<()> {
        fs::OpenOptions::new().append(true).open(self.tracefs.join("uprobe_events"))?.write_all(line.as_bytes())
    }

    fn enable(&self, value: &str) -> std::io::Result<()> {
        fs::write(self.tracefs.join("events").join(&self.group).join("enable"), value)
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        let _ = self.enable("0");
        for number in 0..self.count {
            let _ = self.append(&format!("-:{}/probe{number}\n", self.group));
        }
    }
}

/// The callers of a probed function were lost.
#[test]
fn a_return_address_that_a_tracer_has_replaced_does_not_hide_the_callers() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (compiler, level) in [("gcc", "-O2"), ("gcc", "-O0"), ("clang", "-O2")] {
        let program = compile(compiler, "probed.c", &[level, "-g", "-pie", "-fPIE"]);
        let Some(probes) = Probes::set(&program, &["probed_inner", "probed_outer"]) else {
            eprintln!("SKIPPED: a_return_address_that_a_tracer_has_replaced: no uprobes here");
            return;
        };
        for call in [PAUSE, EPOLL_WAIT] {
            let victim = Victim::start(Command::new(&program).args((call == EPOLL_WAIT).then_some("polls")));
            until_it_waits_in(&victim.pid(), &[call]);
            let maps = fs::read_to_string(format!("/proc/{}/maps", victim.pid())).expect("it has maps");
            assert!(maps.contains("[uprobes]"), "the probes are not there: {maps}");
            each_way(victim, directory.path(), |how, thread| {
                let functions = functions(thread);
                let ours: Vec<&str> =
                    functions.iter().map(String::as_str).skip_while(|name| *name != "waits").collect();
                let chain = [
                    "waits",
                    "probed_inner",
                    "[uprobes]",
                    "middle",
                    "probed_outer",
                    "[uprobes]",
                    "calls_probed",
                    "main",
                ];
                assert!(ours.starts_with(&chain), "{compiler} {level}, {call}, {how}: {functions:#?}");
                assert!(thread["incomplete"].is_null(), "{compiler} {level}, {call}, {how}: {functions:#?}");
            });
        }
        drop(probes);
    }
}

/// Only the first was shown, and then what could be guessed, past the other two and the functions
/// between them.
#[test]
fn each_of_several_return_addresses_in_a_row_that_were_replaced_is_shown() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compile("gcc", "probed.c", &["-O0", "-g", "-pie", "-fPIE"]);
    let Some(_probes) = Probes::set(&program, &["probed_inner", "middle", "probed_outer"]) else {
        eprintln!("SKIPPED: each_of_several_return_addresses: no uprobes here");
        return;
    };
    let victim = Victim::start(&mut Command::new(&program));
    until_it_waits_in(&victim.pid(), &[PAUSE]);
    each_way(victim, directory.path(), |how, thread| {
        let functions = functions(thread);
        let ours: Vec<&str> = functions.iter().map(String::as_str).skip_while(|name| *name != "waits").collect();
        let chain = ["waits", "probed_inner", "[uprobes]", "[uprobes]", "[uprobes]", "calls_probed", "main"];
        assert!(ours.starts_with(&chain), "{how}: {functions:#?}");
        assert!(!thread["gap"].is_null(), "{how}: nothing says that functions are missing");
    });
}
