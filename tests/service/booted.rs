//! The unit under a systemd that has booted: in a container of systemd-nspawn whose root is this
//! machine's, with what it writes in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::daemon::is_there;
use crate::support::{compile, run, succeed, victim_source};

/// Makes the root and boots it; in a mount namespace of its own, which takes its mounts away.
const BOOT: &str = r#"
set -eu
place=$1 program=$2 victim=$3 script=$4 units=$5
mount -t tmpfs tmpfs "$place"
mkdir -p "$place/upper" "$place/work" "$place/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" "$place/root"
root=$place/root
rm -rf "$root"/etc/systemd/system/*.wants "$root/etc/fstab" "$root"/var/lib/hangsnap
for unit in "$root"/lib/systemd/system/*.service; do
    case ${unit##*/} in
        dbus.service | systemd-journal* | systemd-tmpfiles* | systemd-sysusers*) ;;
        *.service) [ -e "$root/etc/systemd/system/${unit##*/}" ] || ln -s /dev/null "$root/etc/systemd/system/${unit##*/}" ;;
    esac
done
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
cp "$program" "$root/usr/bin/hangsnap"
cp "$victim" "$root/victim"
cp "$script" "$root/scenario"
cp "$units/hangsnap.service" "$root/etc/systemd/system/"
mkdir -p "$root/etc/systemd/system/hangsnap.service.d" "$root/etc/systemd/system/multi-user.target.wants"
printf '[Service]\nWatchdogSec=3\n' > "$root/etc/systemd/system/hangsnap.service.d/quick.conf"
printf 'every = "500ms"\n[[target]]\nexe = "/victim"\n' > "$root/etc/hangsnap.toml"
printf '[Unit]\nDescription=scenario\n[Service]\nType=exec\nExecStart=/bin/bash /scenario\n' > "$root/etc/systemd/system/scenario.service"
ln -s ../scenario.service "$root/etc/systemd/system/multi-user.target.wants/"
timeout --kill-after=5 280 systemd-nspawn --quiet --register=no --keep-unit -M "hangsnap-$$" -D "$root" --private-network \
    --system-call-filter='ptrace process_vm_readv' /lib/systemd/systemd < /dev/null > "$place/log" 2>&1 || true
cat "$root/result" 2>/dev/null || { tail -n 40 "$place/log" >&2; exit 1; }
"#;

#[test]
fn the_unit_starts_reloads_is_watched_and_stops_under_a_booted_systemd() {
    if !is_there("systemd-nspawn") || !Path::new("/lib/systemd/systemd").exists() {
        eprintln!("SKIPPED: the unit under a booted systemd (apt-get install systemd-container)");
        return;
    }
    // What is needed to boot one, and nothing of ours.
    let may = run(Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]));
    if !may.status.success() {
        eprintln!("SKIPPED: the unit under a booted systemd: as root only");
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let victim = compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"]);
    let said = succeed(
        Command::new("unshare")
            .args(["-m", "bash", "-c", BOOT, "boot"])
            .arg(place.path())
            .arg(env!("CARGO_BIN_EXE_hangsnap"))
            .arg(victim)
            .arg(victim_source("booted.sh"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd")),
    );
    println!("{said}");
    let facts: BTreeMap<&str, &str> = said.lines().filter_map(|line| line.split_once('=')).collect();
    for (fact, value) in [
        ("STARTED", "0"),
        ("STATE", "active"),
        ("SAMPLED", "0"),
        ("USER_IS_ROOT", "no"),
        // CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_SYS_NICE (linux/capability.h): bits 2, 19, 23.
        ("CAPABILITIES", "0000000000880004"),
        ("SOCKET_MODE", "600"),
        ("OTHER_USER", "2"),
        ("RELOADED", "0"),
        ("SAME_PROCESS", "yes"),
        ("JUDGED", "0"),
        ("RESTARTED_BY_WATCHDOG", "0"),
        ("WATCHDOG_SAID", "0"),
        ("SAMPLED_AGAIN", "0"),
        ("RESTARTED_AFTER_KILL", "0"),
        ("SAMPLED_AFTER_KILL", "0"),
        ("VICTIM_STATE", "S"),
        ("STOPPED", "0"),
        ("RESULT", "success"),
        ("DAMAGED", "0"),
        ("RECORDINGS", "3"),
        ("DONE", "yes"),
    ] {
        assert_eq!(facts.get(fact), Some(&value), "{fact} in:\n{said}");
    }
    // Incidents are errors, and what goes on is not.
    let levels = facts.get("LEVELS").copied().unwrap_or_default();
    assert!(levels.contains('3') && levels.contains('6'), "{said}");
    assert_ne!(facts.get("VERDICT_LINES"), Some(&"0"), "{said}");
}
