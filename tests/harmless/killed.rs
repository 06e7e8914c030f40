//! hangsnap is killed while it samples; the target runs on.

use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};

use super::{Counters, states_and_tracers};
use crate::lifecycle::sampler::{PATIENCE, Sampler};
use crate::support::{Victim, compile, hangsnap, recorder, run, until};

/// Pseudo-random numbers (splitmix64), the same ones for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// HANGSNAP_SEED, to see again what was seen once; otherwise another one each time.
fn seed() -> u64 {
    let given = std::env::var("HANGSNAP_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock that was set");
        since.as_secs()
    })
}

/// Whether any thread is held, or would be were its tracer still there.
fn is_held(victim: &Victim) -> bool {
    states_and_tracers(victim).iter().any(|&(state, tracer)| matches!(state, 't' | 'T') || tracer != 0)
}

#[test]
fn killed_at_random_moments_it_leaves_a_target_that_runs_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let shared = directory.path().join("counters");
    let victim = Victim::start(
        std::process::Command::new(compile("gcc", "counters.c", &["-O1", "-g", "-pthread"])).arg(&shared),
    );
    let counters = Counters::open(&shared);
    let seed = seed();
    let kills = 200;
    eprintln!("{kills} kills, HANGSNAP_SEED={seed}");
    let mut random = Random(seed);
    let mut inside_a_hold = 0;
    for round in 0..kills {
        let file = directory.path().join(format!("{round}.hangsnap"));
        let stop = if round % 2 == 0 { "auto" } else { "all" };
        let mut sampler =
            Sampler::start(recorder(&victim.pid(), "1ms").args(["--keep", "stacks", "--stop", stop, "-o"]).arg(&file));
        sampler.line_with("#1 ");
        // The moment is what is random here; nothing is waited for.
        std::thread::sleep(Duration::from_micros(random.below(15_000)));
        if round % 4 >= 2 {
            // The process that traces is frozen first, which says whether it holds a thread at
            // this moment; then it is killed as it is. Held for too long, it is killed by the
            // kernel before that, and its successor is not frozen.
            for tracer in children(sampler.pid().as_raw()) {
                let tracer = nix::unistd::Pid::from_raw(tracer);
                if kill(tracer, Signal::SIGSTOP).is_ok() {
                    until("the tracer is frozen", PATIENCE, || frozen(tracer).iter().all(|state| *state == 'T'));
                    inside_a_hold += u32::from(is_held(&victim));
                    // It fails if the kernel was first.
                    let _ = kill(tracer, Signal::SIGKILL);
                }
            }
        }
        sampler.signal(Signal::SIGKILL);
        let before = counters.all();
        assert_eq!(sampler.end().status.code(), None, "it was killed");
        until(&format!("every thread of the target runs on after kill {round}"), PATIENCE, || {
            counters.all().iter().zip(&before).all(|(now, before)| now > before)
        });
        assert!(!is_held(&victim), "kill {round}: {:?}", states_and_tracers(&victim));
        if round % 10 < 2 {
            let listed = run(hangsnap().arg("list").arg(&file));
            let text = String::from_utf8_lossy(&listed.stdout);
            assert!(text.lines().count() > 2, "kill {round} left no snapshot: {text}");
        }
        std::fs::remove_dir_all(&file).expect("the recording is there");
    }
    eprintln!("{inside_a_hold} of {} kills that were looked at came inside a hold", kills / 2);
    assert!(inside_a_hold > 0, "no kill came inside a hold; this has tested nothing");
}

/// The processes that this one has started.
fn children(pid: i32) -> Vec<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>()).collect()
}

/// The state letter of each thread of a process; none when it has ended.
fn frozen(process: nix::unistd::Pid) -> Vec<char> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok())
        .filter_map(|stat| stat.rsplit(')').next()?.trim_start().chars().next())
        .collect()
}
