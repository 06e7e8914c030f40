//! The arguments as they are typed. What they mean is checked in `configuration`.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::service_arguments::{RunArguments, SelectionArguments, SocketArguments, TriggerArguments};
use crate::elf::Wanted;
use crate::model::text_of_os;

const EXAMPLES: &str = "\
Examples:
  hangsnap 22780                                 print every thread's stack once
  hangsnap redis-server --registers              the same by name, with registers
  hangsnap 22780 -o now.hangsnap                 print it and keep it
  hangsnap 22780 --stop none                     the same without stopping any thread
  hangsnap 22780 --memory rsp:64 --memory queue_length
  hangsnap 22780 --locals                        the same with the variables of every frame
  hangsnap 22780 --every 5s                      record until Ctrl-C
  hangsnap 22780 22781 --every 5s --for 10m -o recordings/
  hangsnap why 22780                             which thread hangs, since when, on what, who holds it
  hangsnap stuck RECORDING --at 14:05:10         the same of what was recorded
  hangsnap list recordings/                      what was recorded
  hangsnap show FILE --at 14:05:10               the snapshot of that time
  hangsnap diff FILE                             what moved between the last two, what stands still and since when
  hangsnap check RECORDING                       whether all of it can still be read
  hangsnap doctor --pid 22780                    what may be seen of it, and what to change to see more
  hangsnap demo                                  see it work on a program that hangs

Exit codes: 0 done; 1 `why` or `stuck` finds something stuck, the recording has no such snapshot or
thread, `check` finds damage, or `doctor` that a snapshot would lack or disturb something; 2 any other
failure, explained in one line on standard error.";

/// What hangsnap prints when it is called with nothing: what it is, and how to begin.
pub(super) const OVERVIEW: &str = "\
hangsnap takes snapshots of every thread of a live process, which it holds for
microseconds or not at all, and says which thread hangs, on what, who holds it.

  hangsnap why 22780               what hangs, since when, and who holds it
  hangsnap nginx --every 5s        record a snapshot every 5 s, until Ctrl-C
  hangsnap stuck RECORDING         what hung then
  hangsnap doctor --pid 22780      what may be seen of it, and how to see more

`hangsnap --help` lists all commands and options; `hangsnap demo` shows it
at work on a program that hangs.
";

const LIST_EXAMPLES: &str = "\
Examples:
  hangsnap list RECORDING      its snapshots
  hangsnap list recordings/    those of all recordings in a directory, the newest first
  hangsnap list recordings/ --json | jq '.snapshots[] | select(.losses > 0) | .number'";

const SCRUB_EXAMPLES: &str = "\
Examples:
  hangsnap scrub RECORDING";

const RUN_EXAMPLES: &str = "\
Examples:
  hangsnap run --config /etc/hangsnap.toml                       as the service does
  hangsnap run --name nginx --on-hang --output recordings/       record all of them, and pin what hangs
  hangsnap run --unit app --on-probe http://127.0.0.1:8080/health,slow=1s --store incidents -o /tmp/app/
  hangsnap run --all-in-namespace --on-hang -o /recordings/      in a sidecar";

const CHECK_CONFIG_EXAMPLES: &str = "\
Examples:
  hangsnap check-config /etc/hangsnap.toml

Exit codes: 0 it can be used; 2 it cannot, and each line says why.";

const STATUS_EXAMPLES: &str = "\
Examples:
  hangsnap status
  hangsnap status --json | jq '.targets[] | {target, pid, stuck}'";

const TRIGGER_EXAMPLES: &str = "\
Examples:
  hangsnap trigger              an incident of all targets
  hangsnap trigger nginx        of those that are called so";

const PAUSE_EXAMPLES: &str = "\
Examples:
  hangsnap pause      until `hangsnap resume`";

const RESUME_EXAMPLES: &str = "\
Examples:
  hangsnap resume";

const DEMO_EXAMPLES: &str = "\
Examples:
  hangsnap demo";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  hangsnap completions bash > /etc/bash_completion.d/hangsnap";

const MAN_EXAMPLES: &str = "\
Examples:
  hangsnap man | man -l -                             hangsnap itself
  hangsnap man show | man -l -                        one of its commands
  hangsnap man --all /usr/local/share/man/man1        all pages, to be found by `man hangsnap-show`";

const SHOW_EXAMPLES: &str = "\
Examples:
  hangsnap show FILE                    the last snapshot
  hangsnap show FILE --at 3             the third
  hangsnap show FILE --at 14:05:10      the last one taken by that time of day
  hangsnap show FILE --at -10s          the last one taken by 10 s before the last
  hangsnap show FILE --thread backend   one thread, by name or id
  hangsnap show FILE --thread 'work*'   those whose names begin like this
  hangsnap show FILE --thread backend --locals               with its variables
  hangsnap show FILE --locals=waker.data --frame 2           what one leads to
  hangsnap show FILE --json | jq '.threads[] | {name, state, in: .frames[0].functions[0].name}'";

const BUNDLE_EXAMPLES: &str = "\
Examples:
  hangsnap bundle FILE                  so that it has names wherever it is shown
  hangsnap bundle FILE --with debug     and lines, and inlined functions";

const SYMBOLS_EXAMPLES: &str = "\
Examples:
  hangsnap symbols FILE                     of all that is on its stacks
  hangsnap symbols FILE --symbols build/    with the files in a directory, whatever they are called
  hangsnap symbols FILE --json | jq '.modules[] | select(.missing != []) | {path, missing}'";

const DIFF_EXAMPLES: &str = "\
Examples:
  hangsnap diff FILE           the last two snapshots
  hangsnap diff FILE first last
  hangsnap diff FILE -1m last  the last, and the one of a minute before
  hangsnap diff FILE OTHER     the last of each of two recordings, of one process or of two";

const WHY_EXAMPLES: &str = "\
Examples:
  hangsnap why 22780                      four samples within a second, then the answer
  hangsnap why 22780 22781                processes that may wait for each other, as one picture
  hangsnap why --name nginx               all processes of a name; also --unit, --container, ..
  hangsnap why 22780 --once               from one sample: sooner, and less is proved
  hangsnap why 22780 --json | jq '.verdicts[] | {kind, proof, text}'

Exit codes: 0 nothing is stuck; 1 something is; 2 it could not be looked at.";

const STUCK_EXAMPLES: &str = "\
Examples:
  hangsnap stuck RECORDING                what was stuck in the last snapshot, and since when
  hangsnap stuck RECORDING --at 14:05:10  at that time
  hangsnap stuck recordings/              several processes as one picture

Exit codes: 0 nothing is stuck; 1 something is; 2 the recording could not be read.";

const CHECK_EXAMPLES: &str = "\
Examples:
  hangsnap check RECORDING             reads everything, and says what is damaged or lost
  hangsnap check RECORDING --repair    rebuilds indexes that are missing or wrong; segments are never changed

Exit codes: 0 all of it can be read; 1 something is damaged, lost, or misled by its index; 2 it cannot be checked.";

const PIN_EXAMPLES: &str = "\
Examples:
  hangsnap pin RECORDING                                   keeps all that is there now
  hangsnap pin RECORDING --from 14:00:00 --to 14:10:00     the segments that hold something of that time
  hangsnap pin RECORDING --undo";

const CUT_EXAMPLES: &str = "\
Examples:
  hangsnap cut RECORDING --from 14:00 --to 14:10 -o incident.hangsnap    one file to mail
  hangsnap cut RECORDING --from 120 --redact -o incident.hangsnap        from snapshot 120 on, without memory";

const MERGE_EXAMPLES: &str = "\
Examples:
  hangsnap merge before-restart.hangsnap after.hangsnap -o both.hangsnap";

const DOCTOR_EXAMPLES: &str = "\
Examples:
  hangsnap doctor                 what hangsnap may do on this host
  hangsnap doctor --pid 22780     and to this process
  hangsnap doctor --pid 22780 --json | jq '.checks[] | select(.status != \"ok\") | {name, costs, grant}'

Exit codes: 0 a snapshot of the process would be complete and go unnoticed, or none was named; 1 it would not, or there
would be none; 2 anything else, such as that there is no such process.";

/// A name that a process or thread chose, which need be no UTF-8.
fn any_text() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().map(|typed| text_of_os(&typed))
}

/// Snapshots every thread of a live process while hardly touching it, and explains them later.
#[derive(Parser, Debug)]
#[command(
    name = "hangsnap",
    version,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
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
    /// The processes to look at: their ids, or names of programs that run once; a name that is also
    /// a command of hangsnap means the command
    #[arg(
        value_name = "PID|NAME",
        required_unless_present_any = [
            "pid", "name", "exe", "cmd", "unit", "cgroup", "container", "pod", "all_in_namespace"
        ],
        value_parser = any_text()
    )]
    pub(super) processes: Vec<String>,
    /// A process to look at, as PID|NAME, whatever its name is; may be given more than once
    #[arg(long, short, value_name = "PID|NAME", allow_negative_numbers = true, value_parser = any_text())]
    pub(super) pid: Vec<String>,
    #[command(flatten)]
    pub(super) selection: SelectionArguments,
    #[command(flatten)]
    pub(super) triggers: TriggerArguments,
    /// Record a snapshot at this interval (5s, 500ms, 1m) instead of printing one
    #[arg(long, value_name = "TIME")]
    pub(super) every: Option<String>,
    /// Stop recording after this number of snapshots
    #[arg(long, value_name = "N", requires = "every")]
    pub(super) count: Option<String>,
    /// Stop recording after this time (10m, 1h)
    #[arg(long = "for", value_name = "TIME", requires = "every")]
    pub(super) length: Option<String>,
    /// Where to keep it: a new file (with --every a new directory), or an existing directory, which
    /// gets one for each process
    #[arg(long, short, value_name = "FILE|DIR")]
    pub(super) output: Option<PathBuf>,
    /// What a recording may take on disk (1GiB; 512MiB if this is not given); its oldest segments
    /// are removed for the next, but not those pinned, which do not count. Given with `-o DIR`, it
    /// bounds it together with the recordings of that program that earlier runs left in DIR
    #[arg(long, value_name = "SIZE", requires = "every")]
    pub(super) max_size: Option<String>,
    /// Remove segments that are older than this (24h), those of earlier runs as for --max-size;
    /// without it they stay while there is room
    #[arg(long, value_name = "TIME", requires = "every")]
    pub(super) keep_for: Option<String>,
    /// When recorded data is forced to disk (fsync): a power cut loses only what was recorded after
    #[arg(long, value_enum, default_value_t = SyncPolicy::Segment, requires = "every")]
    pub(super) sync: SyncPolicy,
    /// Which threads to hold, and which at the same time
    #[arg(long, value_enum, default_value_t = Stop::Auto)]
    pub(super) stop: Stop,
    /// The longest time that a thread may be held
    #[arg(long, value_name = "TIME", default_value = "10ms")]
    pub(super) max_hold: String,
    /// The share of time that threads may be held while recording
    #[arg(long, value_name = "PERCENT", default_value = "1%", requires = "every")]
    pub(super) max_duty: String,
    /// Copy this memory too: LENGTH bytes at an address, at a variable (all of it without a
    /// length), or where a register of each thread points to; may be given more than once
    #[arg(long, value_name = "ADDRESS:LENGTH|SYMBOL[:LENGTH]|REGISTER:LENGTH")]
    pub(super) memory: Vec<String>,
    /// Keep the bytes of every stack, too, for `show --locals` and --verbose: some hundreds of
    /// bytes for each thread that waits, more for deep stacks; every thread is looked at in every
    /// sample
    #[arg(long, value_enum, value_name = "stacks")]
    pub(super) keep: Option<Keep>,
    /// Keep what names are taken from, of each file on stacks, in the recording: `symbols`, or
    /// `debug` with lines and inlined functions; they are there wherever it is shown
    #[arg(long, value_enum, value_name = "symbols|debug")]
    pub(super) bundle: Option<Bundled>,
    /// Keep and print no copied memory, no words of the command line and no registers for floating
    /// point
    #[arg(long, conflicts_with_all = ["memory", "keep"])]
    pub(super) redact: bool,
    /// Print only the thread of this id or name, or those whose names are like `work*` (`?` for one
    /// character)
    #[arg(long, value_name = "TID|NAME", conflicts_with = "every", value_parser = any_text())]
    pub(super) thread: Option<String>,
    /// Print each thread's registers; with `all`, take and print those for floating point too
    #[arg(long, value_enum, value_name = "general|all", num_args = 0..=1, default_missing_value = "general")]
    pub(super) registers: Option<RegisterSet>,
    /// Print the variables of each frame, or with =PATH what it leads to (waker.data,
    /// items[2].name), past pointers; keeps the bytes of the stacks, as --keep stacks does; may be
    /// given more than once
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = "", conflicts_with = "redact")]
    pub(super) locals: Vec<String>,
    /// Print the variables of the frame with this number only
    #[arg(long, value_name = "N", requires = "locals", conflicts_with = "every")]
    pub(super) frame: Option<usize>,
    /// Print also each thread's scheduling, signals and kernel stack, the memory copied with it,
    /// and how frames were found
    #[arg(long, short, conflicts_with = "every")]
    pub(super) verbose: bool,
    /// Print all frames; without it, those of a language's runtime are counted in one line
    #[arg(long, conflicts_with = "every")]
    pub(super) all_frames: bool,
    /// Print lines of source around each place on a stack, where the source is found
    #[arg(long, conflicts_with = "every")]
    pub(super) source: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "every")]
    pub(super) json: bool,
    /// Do not fit lines to the width of the terminal (COLUMNS, if set), which shortens names and
    /// paths with `..`
    #[arg(long, conflicts_with = "every")]
    pub(super) wide: bool,
    #[command(flatten)]
    pub(super) files: FileArguments,
}

/// Where the files of a process are looked for.
#[derive(Args, Debug)]
pub(super) struct FileArguments {
    /// Look for the process's files below this directory first
    #[arg(long, value_name = "DIR")]
    pub(super) sysroot: Option<PathBuf>,
    /// Take names and lines from this file (a program, a library, or its debug file) for the module
    /// with its build-id, or from the files in this directory and those below it, of split debug
    /// information (.dwo, .dwp), too; may be given more than once
    #[arg(long, value_name = "FILE|DIR")]
    pub(super) symbols: Vec<PathBuf>,
    /// Look for source files of a directory elsewhere, such as /build=/home/me/src; may be given
    /// more than once
    #[arg(long, value_name = "FROM=TO")]
    pub(super) source_map: Vec<String>,
}

/// How what a command finds is printed.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct FormatArguments {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Do not fit lines to the width of the terminal (COLUMNS, if set), which shortens names and
    /// paths with `..`
    #[arg(long)]
    pub(super) wide: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// One thread at a time, some tens of microseconds each, and none that a stop would disturb;
    /// the others run on
    Auto,
    /// All threads at once, for a consistent moment
    All,
    /// None; threads that run are not seen
    None,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SyncPolicy {
    /// Left to the kernel: a power cut loses what it has not written yet, some 30 s, and perhaps
    /// all of a young recording
    Never,
    /// When a segment ends, after 8 MiB or an hour: a power cut loses at most the segment that is
    /// being written
    Segment,
    /// With each sample: a power cut loses none that was reported
    Sample,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keep {
    Stacks,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bundled {
    /// Tables of symbols
    Symbols,
    /// And debug information
    Debug,
}

impl From<Bundled> for Wanted {
    fn from(bundled: Bundled) -> Self {
        match bundled {
            Bundled::Symbols => Self::Symbols,
            Bundled::Debug => Self::Debug,
        }
    }
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RegisterSet {
    General,
    All,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// List the snapshots of a recording, or of all recordings in a directory, by their indexes;
    /// `check` reads everything
    #[command(after_help = LIST_EXAMPLES)]
    List {
        #[arg(value_name = "FILE|DIR")]
        path: PathBuf,
        /// Print JSON, one line for each recording
        #[arg(long)]
        json: bool,
        /// Print all columns; on a terminal that is too narrow for them they are otherwise fewer
        #[arg(long)]
        wide: bool,
    },
    /// Print a snapshot of a recording: every thread's state, system call and stack
    #[command(after_help = SHOW_EXAMPLES)]
    Show(ShowArguments),
    /// Add to a recording what names are taken from, of each file on its stacks, before these files
    /// are gone: to be run where it was made
    #[command(after_help = BUNDLE_EXAMPLES)]
    Bundle {
        #[arg(value_name = "FILE|DIR")]
        path: PathBuf,
        /// How much of each file
        #[arg(long, value_enum, value_name = "symbols|debug", default_value_t = Bundled::Symbols)]
        with: Bundled,
    },
    /// Say of each module on the stacks of a recording where its names and lines come from, what is
    /// missing, and what would supply it
    #[command(after_help = SYMBOLS_EXAMPLES)]
    Symbols(SymbolsArguments),
    /// Say which threads of live processes hang, since when, on what, and who holds it
    #[command(after_help = WHY_EXAMPLES)]
    Why(WhyArguments),
    /// Say the same of a recording, or of all recordings in a directory
    #[command(after_help = STUCK_EXAMPLES)]
    Stuck(StuckArguments),
    /// Compare two snapshots of a recording, thread by thread
    #[command(after_help = DIFF_EXAMPLES)]
    Diff(DiffArguments),
    /// Read all of a recording, and list what is damaged or lost
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        #[arg(value_name = "FILE|DIR")]
        path: PathBuf,
        /// Rebuild indexes that are missing or wrong, and remove what killed processes left;
        /// refused where the file system has no locks
        #[arg(long)]
        repair: bool,
    },
    /// Keep the segments of a recording from being removed
    #[command(after_help = PIN_EXAMPLES)]
    Pin(PinArguments),
    /// Make one file of a range of time of a recording
    #[command(after_help = CUT_EXAMPLES)]
    Cut(CutArguments),
    /// Make one file of recordings that follow one another
    #[command(after_help = MERGE_EXAMPLES)]
    Merge {
        /// In any order
        #[arg(value_name = "RECORDING", required = true)]
        paths: Vec<PathBuf>,
        /// Leave out copied memory, words of the command line and registers for floating point
        #[arg(long)]
        redact: bool,
        /// The new file
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
    },
    /// Take copied memory, words of the command line and registers for floating point out of
    /// recordings; every segment is rewritten
    #[command(after_help = SCRUB_EXAMPLES)]
    Scrub {
        #[arg(value_name = "FILE|DIR")]
        path: PathBuf,
    },
    /// List what this host and a process allow hangsnap to see, what each missing right costs, and
    /// what would grant it
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor {
        /// The process to look at: its id, or the name of a program that runs once; it is not
        /// disturbed
        #[arg(long, short, value_name = "PID|NAME", allow_negative_numbers = true, value_parser = any_text())]
        pid: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Look at whatever processes are meant for as long as it runs, and record incidents by itself
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunArguments>),
    /// Say what is wrong with a configuration of `run`, line by line
    #[command(after_help = CHECK_CONFIG_EXAMPLES)]
    CheckConfig {
        #[arg(value_name = "FILE", default_value = "/etc/hangsnap.toml")]
        path: PathBuf,
    },
    /// Print what the daemon looks at, and what it has found
    #[command(after_help = STATUS_EXAMPLES)]
    Status {
        #[command(flatten)]
        socket: SocketArguments,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have the daemon take an incident now
    #[command(after_help = TRIGGER_EXAMPLES)]
    Trigger {
        /// Only of this target: a pid, the name of a program, or what selects it
        target: Option<String>,
        #[command(flatten)]
        socket: SocketArguments,
    },
    /// Have the daemon take no samples for now
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(SocketArguments),
    /// Have the daemon go on
    #[command(after_help = RESUME_EXAMPLES)]
    Resume(SocketArguments),
    /// Start a small program whose threads are stuck on each other, record it, show and compare
    #[command(after_help = DEMO_EXAMPLES)]
    Demo,
    #[command(hide = true)]
    DemoTarget,
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions { shell: Shell },
    /// Print a manual page: of hangsnap, or of a command (read it with `hangsnap man show | man -l
    /// -`)
    #[command(after_help = MAN_EXAMPLES)]
    Man {
        /// A command, such as show
        command: Option<String>,
        /// Write all pages into this directory instead
        #[arg(long, value_name = "DIR", conflicts_with = "command")]
        all: Option<PathBuf>,
    },
}

#[derive(Args, Debug)]
pub(super) struct ShowArguments {
    #[arg(value_name = "FILE|DIR")]
    pub(super) file: PathBuf,
    /// Which snapshot: `last`, `first`, its number, a time, or how long before the last (-10s)
    #[arg(long, value_name = "last|first|N|TIME", default_value = "last", allow_hyphen_values = true)]
    pub(super) at: String,
    /// Only the thread of this id or name, or those whose names are like `work*` (`?` for one
    /// character)
    #[arg(long, value_name = "TID|NAME", value_parser = any_text())]
    pub(super) thread: Option<String>,
    /// Print each thread's registers
    #[arg(long)]
    pub(super) registers: bool,
    /// Print the variables of each frame, or with =PATH what it leads to (waker.data,
    /// items[2].name), past pointers; may be given more than once
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(super) locals: Vec<String>,
    /// Print the variables of the frame with this number only
    #[arg(long, value_name = "N", requires = "locals")]
    pub(super) frame: Option<usize>,
    /// Print also each thread's scheduling, signals and kernel stack, the memory copied with it,
    /// and how frames were found
    #[arg(long, short)]
    pub(super) verbose: bool,
    /// Print all frames; without it, those of a language's runtime are counted in one line
    #[arg(long)]
    pub(super) all_frames: bool,
    /// Print lines of source around each place on a stack, where the source is found
    #[arg(long)]
    pub(super) source: bool,
    #[command(flatten)]
    pub(super) files: FileArguments,
    #[command(flatten)]
    pub(super) print: FormatArguments,
}

#[derive(Args, Debug)]
pub(super) struct SymbolsArguments {
    #[arg(value_name = "FILE|DIR")]
    pub(super) file: PathBuf,
    /// Of one snapshot only: `last`, `first`, its number, a time, or how long before the last
    /// (-10s)
    #[arg(long, value_name = "last|first|N|TIME", allow_hyphen_values = true)]
    pub(super) at: Option<String>,
    #[command(flatten)]
    pub(super) files: FileArguments,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Args, Debug)]
pub(super) struct WhyArguments {
    /// The processes: their ids, or names of programs that run once
    #[arg(value_name = "PID|NAME", required_unless_present_any = ["pid", "selection"], value_parser = any_text())]
    pub(super) processes: Vec<String>,
    /// A process, as PID|NAME; may be given more than once
    #[arg(long, short, value_name = "PID|NAME", allow_negative_numbers = true, value_parser = any_text())]
    pub(super) pid: Vec<String>,
    #[command(flatten)]
    pub(super) selection: SelectionArguments,
    /// Answer from one sample instead of four
    #[arg(long)]
    pub(super) once: bool,
    #[command(flatten)]
    pub(super) files: FileArguments,
    #[command(flatten)]
    pub(super) print: FormatArguments,
}

#[derive(Args, Debug)]
pub(super) struct StuckArguments {
    #[arg(value_name = "RECORDING|DIR")]
    pub(super) path: PathBuf,
    /// At which snapshot: `last`, `first`, its number, a time, or how long before the last (-10s)
    #[arg(long, value_name = "last|first|N|TIME", default_value = "last", allow_hyphen_values = true)]
    pub(super) at: String,
    #[command(flatten)]
    pub(super) files: FileArguments,
    #[command(flatten)]
    pub(super) print: FormatArguments,
}

/// A part of a recording. Without either end it is all of it.
#[derive(Args, Debug)]
pub(super) struct RangeArguments {
    /// From this time on: `last`, `first`, a snapshot's number, a time, or how long before the last
    /// (-10s)
    #[arg(long, value_name = "last|first|N|TIME", allow_hyphen_values = true)]
    pub(super) from: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "last|first|N|TIME", allow_hyphen_values = true)]
    pub(super) to: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct PinArguments {
    #[arg(value_name = "RECORDING")]
    pub(super) path: PathBuf,
    #[command(flatten)]
    pub(super) range: RangeArguments,
    /// Take the pins away
    #[arg(long)]
    pub(super) undo: bool,
}

#[derive(Args, Debug)]
pub(super) struct CutArguments {
    #[arg(value_name = "RECORDING")]
    pub(super) path: PathBuf,
    #[command(flatten)]
    pub(super) range: RangeArguments,
    /// Leave out copied memory, words of the command line and registers for floating point
    #[arg(long)]
    pub(super) redact: bool,
    /// The new file
    #[arg(long, short, value_name = "FILE")]
    pub(super) output: PathBuf,
}

#[derive(Args, Debug)]
pub(super) struct DiffArguments {
    #[arg(value_name = "FILE|DIR")]
    pub(super) file: PathBuf,
    /// The two snapshots: `last`, `first`, numbers, times, or how long before the last (-10s); by
    /// default the last two. Or another recording: the last snapshots of the two are compared
    #[arg(value_name = "A|FILE", allow_hyphen_values = true)]
    pub(super) first: Option<String>,
    /// The second of two snapshots
    #[arg(value_name = "B", allow_hyphen_values = true)]
    pub(super) second: Option<String>,
    #[command(flatten)]
    pub(super) files: FileArguments,
    #[command(flatten)]
    pub(super) print: FormatArguments,
}
