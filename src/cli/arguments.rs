//! The arguments as they are typed. What they mean is checked in `configuration`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  hangsnap --pid 22780                           print every thread's stack once
  hangsnap --pid redis-server --registers        the same by name, with registers
  hangsnap --pid 22780 -o now.hangsnap           print it and keep it
  hangsnap --pid 22780 --every 5s                record until Ctrl-C
  hangsnap --pid 22780 --pid 22781 --every 5s --for 10m -o recordings/
  hangsnap list recordings/                      what was recorded
  hangsnap show FILE --at 14:05:10               the snapshot of that time
  hangsnap diff FILE                             what moved between the last two, what stands still and since when
  hangsnap demo                                  see it work on a program that hangs

Exit codes: 0 done; 1 the recording has no such snapshot or thread; 2 anything else, told in one line.";

const SHOW_EXAMPLES: &str = "\
Examples:
  hangsnap show FILE                    the last snapshot
  hangsnap show FILE --at 3             the third
  hangsnap show FILE --at 14:05:10      the last one taken by that time of day
  hangsnap show FILE --thread backend   one thread, by name or id
  hangsnap show FILE --json | jq '.threads[] | {name, state, in: .frames[0].functions[0].name}'";

const DIFF_EXAMPLES: &str = "\
Examples:
  hangsnap diff FILE           the last two snapshots
  hangsnap diff FILE 1 last    the first and the last";

/// Snapshots every thread of a live process while hardly touching it, and explains them later.
#[derive(Parser, Debug)]
#[command(
    name = "hangsnap",
    version,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) sample: SampleArguments,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Args, Debug)]
pub(super) struct SampleArguments {
    /// The process to look at: its id, or the name of a program that runs once; may be given more than once
    #[arg(long, short, value_name = "PID|NAME", required = true, allow_negative_numbers = true)]
    pub(super) pid: Vec<String>,
    /// Record a snapshot every so often (5s, 500ms, 1m) instead of printing one
    #[arg(long, value_name = "TIME")]
    pub(super) every: Option<String>,
    /// Stop recording after so many snapshots
    #[arg(long, value_name = "N", requires = "every")]
    pub(super) count: Option<String>,
    /// Stop recording after this time (10m, 1h)
    #[arg(long = "for", value_name = "TIME", requires = "every")]
    pub(super) length: Option<String>,
    /// Where to record: a new file, or a directory in which each process gets a file of its own
    #[arg(long, short, value_name = "FILE|DIR")]
    pub(super) output: Option<PathBuf>,
    /// Which threads to hold at the same time
    #[arg(long, value_enum, default_value_t = Stop::Auto)]
    pub(super) stop: Stop,
    /// Print only the thread of this id or name
    #[arg(long, value_name = "TID|NAME", conflicts_with = "every")]
    pub(super) thread: Option<String>,
    /// Print each thread's registers
    #[arg(long, conflicts_with = "every")]
    pub(super) registers: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "every")]
    pub(super) json: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// One thread at a time, some 15 us each; the others run on
    Auto,
    /// All threads at once, for a consistent moment
    All,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// List the snapshots of a recording, or of all recordings in a directory
    List {
        #[arg(value_name = "FILE|DIR")]
        path: PathBuf,
        /// Print JSON, one line for each recording
        #[arg(long)]
        json: bool,
    },
    /// Print a snapshot of a recording: every thread's state, system call and stack
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArguments),
    /// Compare two snapshots of a recording, thread by thread
    #[command(after_help = DIFF_EXAMPLES)]
    Diff(DiffArguments),
    /// Start a small program whose threads are stuck on each other, record it, show and compare
    Demo,
    #[command(hide = true)]
    DemoTarget,
    /// Print a completion script for a shell
    Completions { shell: Shell },
    /// Print the manual page (read it with `hangsnap man | man -l -`)
    Man,
}

#[derive(Args, Debug)]
pub(super) struct ShowArguments {
    pub(super) file: PathBuf,
    /// Which snapshot: `last`, its number, or a time
    #[arg(long, value_name = "last|N|TIME", default_value = "last", allow_negative_numbers = true)]
    pub(super) at: String,
    /// Only the thread of this id or name
    #[arg(long, value_name = "TID|NAME")]
    pub(super) thread: Option<String>,
    /// Print each thread's registers
    #[arg(long)]
    pub(super) registers: bool,
    /// Look for the recorded process's files below this directory first
    #[arg(long, value_name = "DIR")]
    pub(super) sysroot: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct DiffArguments {
    pub(super) file: PathBuf,
    /// The two snapshots: `last`, numbers or times; by default the last two
    #[arg(value_name = "A B", num_args = 2)]
    pub(super) between: Vec<String>,
    /// Look for the recorded process's files below this directory first
    #[arg(long, value_name = "DIR")]
    pub(super) sysroot: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}
