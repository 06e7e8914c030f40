//! On a machine that has more to do than it can: no thread may be held longer than was promised.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::figures::{Holds, percentile};
use crate::takers::{MAX_HOLD, Mode, add, record};
use crate::target;

/// How long a hold may last: `--max-hold` and a millisecond, as the kernel lets go of a thread when it has been told to and
/// not before.
const LONGEST: Duration = Duration::from_millis(10 + 1);
/// Recordings are thrown away piece by piece; all together would fill a small disk.
const PIECE: usize = 500;

/// Processes that do nothing but work, two for each CPU, and end when this is dropped.
struct Load(Vec<Child>);

impl Load {
    fn start() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        // Whatever happens to this bench, they do not work for ever.
        let busy = || Command::new("sh").args(["-c", "ulimit -t 1800; while :; do :; done"]).spawn().expect("a shell");
        Self((0..2 * cpus).map(|_| busy()).collect())
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

/// Takes so many snapshots of a process of so many threads under load, and says how long threads were held.
pub fn run(threads: usize, snapshots: usize) {
    let parked = target::compile("parked", &[]);
    let running = match target::start(Command::new(parked).arg(threads.to_string())) {
        Ok(running) => running,
        Err(why) => return eprintln!("SKIPPED: {threads} threads: {why}"),
    };
    let pid = running.pid().to_string();
    let load = Load::start();
    println!("\n{threads} threads, {} busy processes, {snapshots} snapshots; holds in microseconds", load.0.len());
    println!("{:<4} {:>9} {:>9} {:>9} {:>10} {:>8} {:>7}", "stop", "p50", "p99", "max", "too long", "losses", "took");
    for mode in [Mode::Auto, Mode::All] {
        let begun = Instant::now();
        let mut holds = Holds::default();
        let mut taken = 0;
        while taken < snapshots {
            let piece = record(&pid, mode, MAX_HOLD, "1ms", &PIECE.min(snapshots - taken).to_string());
            taken += piece.len();
            piece.iter().for_each(|snapshot| add(snapshot, &mut holds));
        }
        let limit = LONGEST.as_nanos();
        let too_long = holds.held.iter().filter(|held| u128::from(**held) > limit).count();
        let [p50, p99, max] = [50, 99, 100].map(|percent| percentile(&mut holds.held, percent));
        println!(
            "{:<4} {p50:>9.1} {p99:>9.1} {max:>9.1} {:>10} {:>8} {:>6.0}s",
            mode.word(),
            format!("{too_long}{}", if too_long == 0 { "" } else { " NO" }),
            holds.losses,
            begun.elapsed().as_secs_f64()
        );
    }
}
