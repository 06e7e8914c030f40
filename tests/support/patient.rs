//! Waiting on a host that may be saturated: tests judge hangsnap, not the host.
//!
//! A limit in seconds is only there to end a real hang, and so it is generous. How fast hangsnap
//! is, is asserted as a ratio to something measured in the same run.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// How long anything is waited for. Nothing takes that long that does not hang, however busy the
/// host is.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// How long a process may sleep without being given a CPU before it is said to hang. One that is
/// late is runnable, or runs.
const ASLEEP: Duration = Duration::from_secs(20);

/// What the calling thread has used of a CPU so far: what its work costs, whatever else wants the
/// CPUs.
pub fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has such a clock").into()
}

/// How long something takes on this host at this time, at the longest of three: what bounds in time
/// are ratios to.
pub fn floor(mut something: impl FnMut()) -> Duration {
    let times = (0..3).map(|_| {
        let begun = Instant::now();
        something();
        begun.elapsed()
    });
    times.max().unwrap_or_default()
}

/// This program, to be killed if it hangs.
pub fn limited(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("timeout");
    command.arg("--kill-after=5").arg(PATIENCE.as_secs().to_string()).arg(program);
    command
}

/// Runs a command to its end, however late that is. One that hangs is killed, which its status
/// shows.
pub fn run_unless_it_hangs(command: &mut Command) -> Output {
    run_unless_asleep_for(ASLEEP, command)
}

fn run_unless_asleep_for(asleep: Duration, command: &mut Command) -> Output {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} cannot be run ({error}); tests/run installs it"));
    let stdout = all_of(child.stdout.take().expect("its output is piped"));
    let stderr = all_of(child.stderr.take().expect("its complaints are piped"));
    let begun = Instant::now();
    let (mut slices, mut since) = (None, Instant::now());
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        let now = time_slices(child.id());
        if now.is_none() || now != slices {
            (slices, since) = (now, Instant::now());
        }
        if since.elapsed() > asleep || begun.elapsed() > 2 * PATIENCE {
            eprintln!("{command:?} hangs and is killed");
            child.kill().expect("it is our child");
            break child.wait().expect("it is our child");
        }
        thread::sleep(Duration::from_millis(2));
    };
    let text = |reader: thread::JoinHandle<Vec<u8>>| reader.join().expect("it only reads");
    Output { status, stdout: text(stdout), stderr: text(stderr) }
}

fn all_of(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        bytes
    })
}

/// How often the threads of a process have been given a CPU. None while one of them runs or could
/// run.
fn time_slices(pid: u32) -> Option<u64> {
    let mut slices = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let stat = fs::read_to_string(task.path().join("stat")).ok()?;
        if stat.rsplit(')').next()?.trim_start().starts_with('R') {
            return None;
        }
        let schedstat = fs::read_to_string(task.path().join("schedstat")).ok()?;
        slices += schedstat.split_whitespace().nth(2)?.parse::<u64>().ok()?;
    }
    Some(slices)
}

#[test]
fn a_process_that_is_late_is_waited_for_and_one_that_hangs_is_killed() {
    let short = Duration::from_secs(2);
    let mut late = Command::new("sh");
    late.args(["-c", "for some in $(seq 40); do sleep 0.1; done; echo done"]);
    let late = run_unless_asleep_for(short, &mut late);
    assert!(late.status.success() && late.stdout == b"done\n", "{late:?}");
    let hangs = run_unless_asleep_for(short, Command::new("sh").args(["-c", "echo begun; exec sleep 3600"]));
    assert!(hangs.status.signal() == Some(9) && hangs.stdout == b"begun\n", "{hangs:?}");
}
