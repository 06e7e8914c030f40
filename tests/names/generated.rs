//! Code that a program makes while it runs, with the names that it writes down for perf.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::{array, assert_stack, functions, look, read, until_it_pauses};
use crate::support::{PATIENCE, Victim, compile, hangsnap, succeed, until, victim_source};

const CHAIN: [&str; 4] = ["sleeps_below", "made_by_hand(int, char)", "calls_generated", "main"];

/// A victim, and its file of names, which ends with it.
struct Named {
    victim: Victim,
    map: PathBuf,
}

impl Named {
    fn start(command: &mut Command) -> Self {
        let victim = Victim::start(command);
        let map = PathBuf::from(format!("/tmp/perf-{}.map", victim.pid()));
        Self { victim, map }
    }

    /// The victim in C.
    fn by_hand() -> Self {
        let named = Self::start(&mut Command::new(compile("gcc", "generated.c", &["-O2", "-g"])));
        until_it_pauses(&named.victim.pid());
        named
    }

    /// Its only thread.
    fn thread(&self) -> Value {
        look_and_hold(&self.victim.pid())["threads"][0].clone()
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        // A test may have put something else there, or nothing.
        let _ = fs::remove_file(&self.map);
    }
}

/// A snapshot for which threads are held: of one that is read in place the frame pointer is
/// unknown, by which generated code is unwound.
fn look_and_hold(pid: &str) -> Value {
    read(hangsnap().args(["--pid", pid, "--stop", "all", "--json"]))
}

/// The name of the frame in no module.
fn generated_name(thread: &Value) -> Value {
    let frames = array(&thread["frames"]);
    let outside = frames.iter().find(|frame| frame["module"] == Value::Null);
    outside.unwrap_or_else(|| panic!("no generated code in {:?}", functions(thread)))["functions"][0]["name"].clone()
}

#[test]
fn code_made_by_hand_has_its_name_and_keeps_it_in_a_recording() {
    let named = Named::by_hand();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("kept.hangsnap");
    let file = file.to_str().expect("a path of text");
    let text = succeed(hangsnap().args(["--pid", &named.victim.pid(), "--stop", "all", "-o", file]));
    println!("{text}");
    assert!(text.contains("made_by_hand(int, char)") && text.contains("made at run time"), "{text}");
    // Neither the process nor its file is needed any more.
    drop(named);
    let shown = read(hangsnap().args(["show", file, "--json"]));
    assert_stack("recorded", &shown["threads"][0], &CHAIN);
    assert_eq!(succeed(hangsnap().args(["show", file])), text, "what is shown later is what was printed live");
}

#[test]
fn a_file_that_is_not_the_process_s_own_is_not_read_and_nothing_hangs() {
    let named = Named::by_hand();
    assert_stack("its own", &named.thread(), &CHAIN);
    if chown(&named.map, Some(54321), None).is_ok() {
        assert_eq!(generated_name(&named.thread()), Value::Null, "somebody else's file was believed");
        let notices = look(&named.victim.pid())["notices"].to_string();
        assert!(notices.contains("belongs neither to the process's user nor to root"), "{notices}");
    } else {
        eprintln!("SKIPPED: only root can give the file to somebody else");
    }
    let elsewhere = named.map.with_extension("elsewhere");
    fs::rename(&named.map, &elsewhere).expect("a file that can be moved");
    assert_eq!(generated_name(&named.thread()), Value::Null, "there is no file");
    nix::unistd::mkfifo(&named.map, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    assert_eq!(generated_name(&named.thread()), Value::Null, "a FIFO was read");
    fs::remove_file(&named.map).expect("the FIFO");
    std::os::unix::fs::symlink("/proc/self/fd/0", &named.map).expect("a link");
    assert_eq!(generated_name(&named.thread()), Value::Null, "a descriptor of hangsnap's was read");
    fs::remove_file(elsewhere).expect("the file that was moved");
}

/// In a container the file lies where the process sees it, under the pid that the process has
/// there.
#[test]
fn in_a_container_the_file_is_its_own() {
    // The program may itself lie below /tmp.
    let script = "exec 3<\"$0\" && mount -t tmpfs none /tmp && cat <&3 >/tmp/generated && exec 3<&- && \
                  chmod +x /tmp/generated && exec /tmp/generated";
    let program = compile("gcc", "generated.c", &["-O2", "-g"]);
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--user", "--map-root-user", "--pid", "--mount", "--fork", "--kill-child", "sh", "-c", script])
        .arg(program);
    let named = Named::start(&mut unshare);
    let children = format!("/proc/{0}/task/{0}/children", named.victim.pid());
    let children = fs::read_to_string(children).expect("the kernel tells of children");
    until_it_pauses(children.trim());
    let document = look_and_hold(children.trim());
    assert_eq!(document["inner_pid"], 1);
    assert_stack("in a container", &document["threads"][0], &CHAIN);
}

#[test]
fn a_function_of_javascript() {
    let flags = ["--perf-basic-prof", "--interpreted-frames-native-stack"];
    // It writes logs to where it is started.
    let directory = tempfile::tempdir().expect("a directory");
    let mut node = Command::new("node");
    let named = Named::start(node.args(flags).arg(victim_source("generated.js")).current_dir(directory.path()));
    // `*`: compiled and optimised, which the function is while it runs.
    until("the function is compiled", PATIENCE, || {
        fs::read_to_string(&named.map).is_ok_and(|names| names.contains("JS:*spinsForEver"))
    });
    let document = look(&named.victim.pid());
    let threads = array(&document["threads"]);
    let main = threads.iter().find(|thread| thread["tid"] == document["pid"]).expect("the main thread");
    let functions = functions(main);
    println!("{functions:#?}\n{}", main["incomplete"]);
    let position = |name: &str| {
        let is_it = |function: &String| function.starts_with("JS:") && function.contains(name);
        functions.iter().position(is_it).unwrap_or_else(|| panic!("{name} is not on the stack: {functions:#?}"))
    };
    assert!(position("spinsForEver ") < position("callsSpin "), "{functions:#?}");
    // Node's own code, which it has mapped a piece of twice, and the rest down to where the thread
    // began.
    assert_stack("node", main, &["Builtins_JSEntry", "node::Start(int, char**)", "_start"]);
}

/// At its first and last instructions the frame pointer is not the function's own, and would leave
/// its caller out.
#[test]
fn at_each_instruction_generated_code_that_was_called_through_a_pointer_has_its_caller() {
    let program = compile("gcc", "generated_steps.c", &["-O2", "-g"]);
    let steps: usize = succeed(&mut Command::new(&program)).trim().parse().expect("how many instructions there are");
    assert_eq!(steps, 12);
    for step in 0..steps {
        let victim = Victim::start(Command::new(&program).arg(step.to_string()));
        until_it_pauses(&victim.pid());
        let thread = look(&victim.pid())["threads"][0].clone();
        let outside = array(&thread["frames"]).iter().position(|frame| frame["module"] == Value::Null);
        let outside = outside.unwrap_or_else(|| panic!("step {step}: {:#?}", functions(&thread)));
        let callers = functions(&thread).split_off(outside);
        assert_eq!(callers[..3], ["?", "calls_generated", "main"], "step {step}: {callers:#?}");
        assert_stack(&format!("step {step}"), &thread, &["waits", "calls_generated", "main"]);
    }
}
