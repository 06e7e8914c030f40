//! The same answers on a host on which every CPU has four other threads to run.

use super::verdict::Judged;
use super::{HANGS, INNOCENTS, Row, count, judge, why};
use crate::support::long_form;

/// Busy loops a CPU.
const BESIDE: usize = 4;
const HANG: usize = 15;
const INNOCENT: [&str; 5] = ["pool", "epoll", "condvar, mutex held", "timed waits", "brief readers"];

/// Processes that run all the time, until this is dropped.
struct Load(Vec<std::process::Child>);

impl Load {
    fn new() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let busy = || std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().expect("a shell");
        Self((0..BESIDE * cpus).map(|_| busy()).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_saturated_host_changes_no_answer() {
    if !long_form() {
        eprintln!("SKIPPED hangs on a saturated host: it takes a minute; HANGSNAP_LONG=1 runs it");
        return;
    }
    let _load = Load::new();
    let judged = judge(&HANGS[..HANG].iter().collect::<Vec<_>>(), why);
    let wrong = count(&judged, Judged::is_wrong);
    let innocents: Vec<&Row> = INNOCENTS.iter().filter(|row| INNOCENT.contains(&row.name)).collect();
    assert_eq!(innocents.len(), INNOCENT.len(), "each is a row");
    let accused = count(&judge(&innocents, why), Judged::is_wrong);
    println!("{wrong} of {HANG} wrong, {accused} of {} accused", INNOCENT.len());
    assert_eq!((wrong, accused), (0, 0));
}
