//! Times are printed and read in the zone that TZ names.

use std::path::Path;
use std::process::Command;

use super::{NOON, SECOND, recorded_at, snapshot_of};
use crate::support::{hangsnap, sleeper, succeed};

/// The seconds of a day in half a year, to winter.
const TO_WINTER: i64 = 184 * 86_400 * SECOND;

/// What `date` says of a moment in this zone, in the words of hangsnap: the oracle.
fn by_date(zone: &str, ns: i64) -> String {
    let moment = format!("@{}", ns / SECOND);
    succeed(Command::new("date").env("TZ", zone).args(["-d", &moment, "+%Y-%m-%d %H:%M:%S.000%:z"])).trim().into()
}

fn shown(zone: &str, file: &Path, at: &str) -> String {
    let printed = succeed(hangsnap().env("TZ", zone).arg("show").arg(file).args(["--at", at]));
    let line = printed.lines().nth(1).expect("a heading of two lines").to_owned();
    line.split_once(" at ").and_then(|(_, rest)| rest.split_once(';')).expect("its time").0.into()
}

#[test]
fn the_zone_that_is_named_is_honoured_as_date_does() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("made.hangsnap");
    recorded_at(&file, &snapshot_of(&sleeper(), directory.path()), &[NOON, NOON + TO_WINTER]);
    for zone in [
        "Europe/Berlin",
        ":Europe/Berlin",
        "Asia/Kolkata",
        "America/St_Johns",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "EST5EDT",
        "UTC",
        "",
        "/usr/share/zoneinfo/Australia/Lord_Howe",
        "Nowhere/Atall",
    ] {
        for (at, time) in [("first", NOON), ("last", NOON + TO_WINTER)] {
            assert_eq!(shown(zone, &file, at), by_date(zone, time), "{zone:?}, {at}");
        }
        let listed = succeed(hangsnap().env("TZ", zone).arg("list").arg(&file));
        assert!(listed.contains(&by_date(zone, NOON)), "{zone:?}: {listed}");
    }
    // What is printed can be typed: the same time of day in another zone is another moment.
    for (zone, at) in [("Europe/Berlin", "2026-07-01T14:00:00"), ("UTC", "2026-07-01T12:00:00")] {
        assert_eq!(shown(zone, &file, at), by_date(zone, NOON), "{zone}");
    }
}

/// As in a container that is made FROM scratch.
#[test]
fn where_the_system_has_no_zones_the_program_has_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("made.hangsnap");
    recorded_at(&file, &snapshot_of(&sleeper(), directory.path()), &[NOON]);
    let script = "mount -t tmpfs none /usr/share/zoneinfo && test ! -e /etc/localtime && exec \"$0\" show \"$1\"";
    let without = |zone: Option<&str>| {
        let mut command = Command::new("unshare");
        command.args(["-Urm", "sh", "-c", script]).arg(hangsnap().get_program()).arg(&file);
        match zone {
            Some(zone) => command.env("TZ", zone),
            None => command.env_remove("TZ"),
        };
        succeed(&mut command)
    };
    assert!(without(Some("Europe/Berlin")).contains(" at 2026-07-01 14:00:00.000+02:00;"));
    assert!(without(Some("JST-9")).contains(" at 2026-07-01 21:00:00.000+09:00;"));
    // What is not known is UTC, and says so.
    assert!(without(Some("Nowhere/Atall")).contains(" at 2026-07-01 12:00:00.000+00:00;"));
    assert!(without(None).contains(" at 2026-07-01 12:00:00.000+00:00;"));
}
