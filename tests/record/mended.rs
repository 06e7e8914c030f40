//! What was once wrong with files that are not as they should be, each by the name of what
//! happened.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use hangsnap::model::{Notice, Pid, ProcessId, Reason, Recording, Snapshot, StartTime, Subject, SystemCall};
use hangsnap::store::Writer;
use nix::sys::stat::Mode;

use super::made::{recording, snapshot};
use super::{SMALL, files, numbers, read, write_segments};
use crate::support::{first_column, hangsnap, limited, run, succeed};

fn check(path: &Path, code: i32) -> String {
    let output = run(limited(hangsnap().get_program()).arg("check").arg(path));
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_fifo_called_like_an_index_is_not_waited_for() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    let index = files(&path, "index").remove(0);
    fs::remove_file(&index).expect("it is there");
    nix::unistd::mkfifo(&index, Mode::S_IRWXU).expect("a FIFO");
    let listed = succeed(limited(hangsnap().get_program()).arg("list").arg(&path));
    assert!(listed.contains(&last.to_string()), "{listed}");
    assert!(check(&path, 1).contains("it cannot be read"));
}

#[test]
fn a_link_called_like_a_pin_or_an_index_leaves_what_it_leads_to() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, _) = write_segments(directory.path());
    let precious = directory.path().join("precious");
    fs::write(&precious, "precious").expect("a file of ours");
    let segment = files(&path, "segment").remove(0);
    symlink(&precious, segment.with_extension("pin")).expect("a link");
    fs::remove_file(segment.with_extension("index")).expect("it is there");
    symlink(&precious, segment.with_extension("index")).expect("a link");
    assert!(succeed(hangsnap().arg("pin").arg(&path)).starts_with("pinned: 5 segments"));
    succeed(hangsnap().arg("check").arg(&path).arg("--repair"));
    assert_eq!(fs::read_to_string(&precious).expect("it is there"), "precious");
    assert!(segment.with_extension("index").symlink_metadata().expect("it is there").is_file());
}

#[test]
fn what_cannot_be_opened_does_not_hide_the_other_segments() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    fs::create_dir(path.join("00000000.segment")).expect("a directory");
    symlink("00000006.segment", path.join("00000006.segment")).expect("a link");
    let (snapshots, damage) = read(&path);
    assert_eq!(numbers(&snapshots), (1..=last).collect::<Vec<_>>());
    assert_eq!(damage.len(), 2, "{damage:?}");
    let told = check(&path, 1);
    assert!(told.contains("00000000.segment: it cannot be read") && told.contains("00000006.segment: it"), "{told}");
    let shown = run(hangsnap().arg("show").arg(&path).args(["--json", "--at", "1"]));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("\"number\":1,"), "{shown:?}");
}

#[test]
fn segments_that_are_not_in_order_or_twice_there_are_not_whole() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    fs::copy(path.join("00000001.segment"), path.join("00000006.segment")).expect("it is there");
    let told = check(&path, 1);
    assert!(told.contains(&format!("snapshot 1 comes after {last}")), "{told}");
}

#[test]
fn an_index_without_its_segment_tells_that_it_is_lost() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, _) = write_segments(directory.path());
    fs::remove_file(path.join("00000005.segment")).expect("it is there");
    assert!(check(&path, 1).contains("00000005.segment: the segment is gone, and its index is there"));
    // One that a killed writer was about to remove is no loss.
    fs::rename(path.join("00000001.segment"), path.join("00000001.old")).expect("it is there");
    assert!(!check(&path, 1).contains("00000001"));
}

/// The list goes by indexes, and must not promise what a segment no longer holds.
#[test]
fn a_list_tells_of_a_segment_that_is_shorter_longer_gone_or_ends_in_zeroes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    let segment = files(&path, "segment").remove(2);
    let whole = fs::read(&segment).expect("it is there");
    let of_it = numbers(&read(&segment).0);
    let list = || {
        let output = run(hangsnap().arg("list").arg(&path));
        let listed = String::from_utf8(output.stdout.clone()).expect("text");
        (output.status.code(), first_column(&listed), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let is_of_it = |number: &u64| of_it.contains(number);
    assert_eq!(list(), (Some(0), (1..=last).collect(), String::new()));

    let mut zeroed = whole.clone();
    zeroed[whole.len() - 100..].fill(0);
    let mut longer = whole.clone();
    longer.extend_from_slice(b"and more");
    for (what, bytes, lost) in [("cut", &whole[..whole.len() - 100], 1), ("zeroes", &zeroed, 1), ("longer", &longer, 0)]
    {
        fs::write(&segment, bytes).expect("a file of ours");
        let (code, listed, told) = list();
        assert_eq!(code, Some(2), "{what}: {told}");
        assert!(told.contains("00000003.segment"), "{what}: {told}");
        assert_eq!(listed.iter().filter(|number| is_of_it(number)).count(), of_it.len() - lost, "{what}");
        assert_eq!(listed.len() as u64, last - lost as u64, "{what}: the others are there");
    }
    fs::remove_file(&segment).expect("it is there");
    let (code, listed, told) = list();
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("00000003.segment: the segment is gone, and its index is there"), "{told}");
    assert_eq!(listed, (1..=last).filter(|number| !is_of_it(number)).collect::<Vec<_>>());
}

#[test]
fn a_segment_of_another_process_or_boot_or_host_is_told_of() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, _) = write_segments(directory.path());
    let segment = files(&path, "segment").remove(2);
    let index = segment.with_extension("index");
    let ours = recording();
    let id = snapshot(1).process.id;
    let later = ProcessId { start: StartTime(id.start.0 + 1), ..id };
    for (what, its, id) in [
        ("of process 77", ours.clone(), ProcessId { pid: Pid(77), ..id }),
        ("the machine was restarted", Recording { boot_id: "0c4f".into(), ..ours.clone() }, id),
        ("recorded on elsewhere", Recording { host: "elsewhere".into(), ..ours.clone() }, id),
        ("started at another time", ours.clone(), later),
    ] {
        let other = directory.path().join("other");
        let mut writer = Writer::create(&other, &its, SMALL).expect("a new directory");
        for number in numbers(&read(&segment).0) {
            let mut snapshot = snapshot(number);
            snapshot.process.id = id;
            writer.append(&snapshot).expect("it can be written");
        }
        writer.finish().expect("it can be ended");
        let original = fs::read(&segment).expect("it is there");
        fs::copy(other.join("00000001.segment"), &segment).expect("it is there");
        fs::copy(other.join("00000001.index"), &index).expect("it is there");
        fs::remove_dir_all(&other).expect("it is there");
        assert!(check(&path, 1).contains(what), "{what}");
        let mut commands = vec![("diff", 2)];
        // An index has no start time.
        commands.extend((what != "started at another time").then_some(("list", 2)));
        for (command, code) in commands {
            let output = run(hangsnap().arg(command).arg(&path));
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(code), "{what}, {command}: {told}");
            assert!(
                told.contains("00000003.segment: a segment of another recording, ") && told.contains(what),
                "{told}"
            );
        }
        fs::write(&segment, original).expect("a file of ours");
        succeed(hangsnap().arg("check").arg(&path).arg("--repair"));
    }
}

#[test]
fn a_name_in_a_recording_cannot_turn_the_direction_of_writing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("turned \u{202e}\u{2066}.hangsnap");
    let mut writer =
        Writer::create(&path, &Recording { host: "h\u{202e}".into(), ..recording() }, SMALL).expect("a directory");
    let mut turned = snapshot(10);
    turned.process.name = "a\u{202e}b".into();
    turned.process.command = vec!["c\u{2067}d".into(), "\u{9b}2J".into()];
    turned.threads[0].status.name = "e\u{200f}f".into();
    turned.modules[0].path = "/opt/g\u{2069}h".into();
    turned.notices[0] =
        Notice { subject: Subject::Process, reason: Reason::NamesUnreadable { why: "i\u{2028}j".into() } };
    writer.append(&turned).expect("it can be written");
    writer.append(&Snapshot { number: 11, ..turned }).expect("it can be written");
    writer.finish().expect("it can be ended");
    let mut all = String::new();
    for command in [&["list"][..], &["show"], &["show", "--verbose", "--registers"], &["diff"], &["check"]] {
        all += &succeed(hangsnap().arg(command[0]).arg(&path).args(&command[1..]));
    }
    fs::write(path.join("00000001.index"), "").expect("a file of ours");
    all += &check(&path, 1);
    all += &String::from_utf8_lossy(&run(hangsnap().arg("show").arg(&path).args(["--at", "99"])).stderr);
    for c in all.chars() {
        assert!(c.is_ascii() && (c == '\n' || !c.is_ascii_control()), "{c:?} in {all}");
    }
    for shown in [
        "\\u{202e}\\u{2066}.hangsnap",
        "h\\u{202e}",
        "a\\u{202e}b",
        "c\\u{2067}d",
        "\\u{9b}2J",
        "e\\u{200f}f",
        "i\\u{2028}j",
    ] {
        assert!(all.contains(shown), "{shown} is not in: {all}");
    }
}

#[test]
fn numbers_at_the_end_of_all_numbers_do_not_overflow() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("far.hangsnap");
    let mut writer = Writer::create(&path, &recording(), SMALL).expect("a directory");
    for number in [1, u64::MAX, 2, u64::MAX, 0] {
        let mut far = Snapshot { number, ..snapshot(1) };
        far.threads[0].system_call = Some(SystemCall::new(u32::MAX - u32::from(number == 1), [0; 6]));
        writer.append(&far).expect("it can be written");
    }
    writer.finish().expect("it can be ended");
    let told = check(&path, 1);
    assert!(told.contains("5 snapshots (1 to 0)"), "{told}");
    assert!(told.contains(&format!("{} numbers are not there", u64::MAX)), "{told}");
    let calls: Vec<bool> = read(&path).0.iter().map(|snapshot| snapshot.threads[0].system_call.is_some()).collect();
    assert_eq!(calls, [true; 5], "no call is lost");
    succeed(hangsnap().arg("list").arg(&path));
    succeed(hangsnap().arg("cut").arg(&path).arg("-o").arg(directory.path().join("cut.hangsnap")));
}
