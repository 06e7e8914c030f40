//! A manual page for each command, which man can read.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::{hangsnap, run, succeed};

/// The commands that `--help` lists.
fn commands() -> Vec<String> {
    let help = succeed(hangsnap().arg("--help"));
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

/// A section of a page, with nothing of roff in it.
fn section<'a>(page: &'a str, title: &str) -> Vec<&'a str> {
    let heading = |line: &str| line.strip_prefix(".SH ").map(|rest| rest.trim_matches('"').to_owned());
    let lines = page.lines().skip_while(|line| heading(line).as_deref() != Some(title)).skip(1);
    lines.take_while(|line| heading(line).is_none()).filter(|line| !line.starts_with('.')).collect()
}

#[test]
fn each_command_has_a_page_with_examples_and_exit_codes() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("man1");
    succeed(hangsnap().args(["man", "--all"]).arg(&place));
    let commands = commands();
    assert!(commands.len() >= 10, "{commands:?}");
    let mut expected: Vec<String> = commands.iter().map(|command| format!("hangsnap-{command}.1")).collect();
    expected.push("hangsnap.1".into());
    expected.sort();
    let entries = fs::read_dir(&place).expect("it was made");
    let mut written: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    written.sort();
    assert_eq!(written, expected);
    for command in commands.iter().map(String::as_str).chain([""]) {
        let page = succeed(hangsnap().arg("man").args(Some(command).filter(|command| !command.is_empty())));
        let name = if command.is_empty() { "hangsnap".into() } else { format!("hangsnap-{command}") };
        assert_eq!(page, fs::read_to_string(place.join(format!("{name}.1"))).expect("a page"), "{name}");
        assert!(page.contains(&format!(".TH {name} 1")), "{name}: {page}");
        let examples = section(&page, "EXAMPLES");
        let examples: Vec<String> = examples.iter().map(|line| line.replace("\\-", "-")).collect();
        let calls: Vec<&String> = examples.iter().filter(|line| line.starts_with("hangsnap")).collect();
        assert!(!calls.is_empty(), "{name}: {examples:?}");
        // A page's examples are of its command.
        assert!(
            calls.iter().all(|call| command.is_empty() || call.starts_with(&format!("hangsnap {command}"))),
            "{calls:?}"
        );
        let status = section(&page, "EXIT STATUS").join(" ");
        assert!(status.starts_with("0 ") && status.contains("2 "), "{name}: {status}");
    }
    let output = run(hangsnap().args(["man", "nosuch"]));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("nosuch") && said.contains("show"), "{said}");
}

/// groff is what man reads them with; it complains about what it does not understand.
#[test]
fn groff_reads_the_pages_without_a_complaint() {
    for command in commands().into_iter().map(Some).chain([None]) {
        let mut hangsnap = hangsnap().arg("man").args(&command).stdout(Stdio::piped()).spawn().expect("hangsnap");
        let page = hangsnap.stdout.take().expect("it is piped");
        let output = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-P-c"])
            .stdin(page)
            .output()
            .expect("groff; tests/run installs it");
        assert!(hangsnap.wait().expect("it is our child").success(), "{command:?}");
        assert!(output.status.success() && output.stderr.is_empty(), "{command:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("hangsnap"), "{command:?}: {output:?}");
    }
}
