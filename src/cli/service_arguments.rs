//! The arguments of the commands that have to do with the daemon. What they mean is checked in
//! `daemon::settings`, as that of the configuration's keys is.

use std::path::PathBuf;

use clap::Args;

use crate::daemon::{DEFAULT_SOCKET, Entry, Place};

/// Which processes, by what they have in common. Each option adds those that it means.
#[derive(Args, Debug, Default)]
#[group(id = "selection", multiple = true)]
pub(super) struct SelectionArguments {
    /// Programs of this name (`*` and `?` stand for any characters and for one); each that runs is
    /// a target
    #[arg(long, value_name = "NAME")]
    pub(super) name: Vec<String>,
    /// Programs of this path (`*` and `?`)
    #[arg(long, value_name = "GLOB")]
    pub(super) exe: Vec<String>,
    /// Processes in whose command line this regular expression is found
    #[arg(long, value_name = "REGEX")]
    pub(super) cmd: Vec<String>,
    /// Processes of this systemd unit
    #[arg(long, value_name = "UNIT")]
    pub(super) unit: Vec<String>,
    /// Processes in this control group and below
    #[arg(long, value_name = "PATH")]
    pub(super) cgroup: Vec<String>,
    /// Processes of this container of Docker, containerd, CRI-O or podman
    #[arg(long, value_name = "ID|NAME")]
    pub(super) container: Vec<String>,
    /// Processes of this Kubernetes pod
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(super) pod: Vec<String>,
    /// All processes that this PID namespace shows, but for hangsnap (for a sidecar)
    #[arg(long)]
    pub(super) all_in_namespace: bool,
    /// Processes that have come from those, too
    #[arg(long)]
    pub(super) children: bool,
}

/// What makes an incident: a burst of samples that is pinned and judged. Each takes burst=N,
/// every=TIME and cooldown=TIME.
#[derive(Args, Debug, Default)]
pub(super) struct TriggerArguments {
    /// No thread has run, or no stack has changed, for a time in which usually some do:
    /// `burst=5,every=1s,for=10s,cooldown=5m`
    #[arg(long, value_name = "OPTIONS", num_args = 0..=1, default_missing_value = "")]
    pub(super) on_hang: Vec<String>,
    /// A thread is in uninterruptible sleep: `for=10s`
    #[arg(long, value_name = "OPTIONS", num_args = 0..=1, default_missing_value = "")]
    pub(super) on_blocked: Vec<String>,
    /// A file is not written any more: `/run/app/alive,age=20s`
    #[arg(long, value_name = "FILE,age=TIME")]
    pub(super) on_heartbeat: Vec<String>,
    /// A service of this host does not answer in time: `http://127.0.0.1:8080/health,slow=1s`, or
    /// `tcp://127.0.0.1:6379`; also probe-every=2s, how often it is asked, and failures=1, how many
    /// in a row count
    #[arg(long, value_name = "URL[,OPTIONS]")]
    pub(super) on_probe: Vec<String>,
    /// More or less CPU time than a share of one CPU: `above=90%,for=10s`, `below=1%,for=30s`
    #[arg(long, value_name = "OPTIONS")]
    pub(super) on_cpu: Vec<String>,
    /// More threads than this: `above=500`
    #[arg(long, value_name = "OPTIONS")]
    pub(super) on_threads: Vec<String>,
    /// More resident memory than this: `above=2GiB`
    #[arg(long, value_name = "OPTIONS")]
    pub(super) on_memory: Vec<String>,
    /// The host waits for a resource: `cpu,above=50%,for=10s`; also memory and io
    #[arg(long, value_name = "RESOURCE,above=PERCENT")]
    pub(super) on_pressure: Vec<String>,
}

/// What the daemon is to do.
#[derive(Args, Debug)]
pub(super) struct RunArguments {
    /// Read this file; every flag but this one is a key of it, and stands in its place. SIGHUP has
    /// it read again
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) selection: SelectionArguments,
    /// A process by its id
    #[arg(long, short, value_name = "PID")]
    pub(super) pid: Vec<String>,
    #[command(flatten)]
    pub(super) triggers: TriggerArguments,
    /// The time from one sample to the next (5s)
    #[arg(long, value_name = "TIME")]
    pub(super) every: Option<String>,
    /// Where recordings and verdicts go (the working directory)
    #[arg(long, short, value_name = "DIR")]
    pub(super) output: Option<String>,
    /// What the recordings of one program may take on disk (512MiB)
    #[arg(long, value_name = "SIZE")]
    pub(super) max_size: Option<String>,
    /// Remove segments that are older than this
    #[arg(long, value_name = "TIME")]
    pub(super) keep_for: Option<String>,
    /// When recorded data is forced to disk: never, segment (default) or sample
    #[arg(long, value_name = "WHEN")]
    pub(super) sync: Option<String>,
    /// Which threads to hold: auto (default), all or none
    #[arg(long, value_name = "MODE")]
    pub(super) stop: Option<String>,
    /// The longest time that a thread may be held (10ms)
    #[arg(long, value_name = "TIME")]
    pub(super) max_hold: Option<String>,
    /// The share of time that threads may be held (1%)
    #[arg(long, value_name = "PERCENT")]
    pub(super) max_duty: Option<String>,
    /// Which samples are stored: all (default), or those of incidents and the few before them
    #[arg(long, value_name = "all|incidents")]
    pub(super) store: Option<String>,
    /// How many samples before an incident are kept for it with --store incidents (3)
    #[arg(long, value_name = "N")]
    pub(super) preroll: Option<String>,
    /// How many processes are looked at at most (64)
    #[arg(long, value_name = "N")]
    pub(super) max_targets: Option<String>,
    /// Run this command for each incident, with the recording and the verdict as $1 and $2
    #[arg(long, value_name = "COMMAND")]
    pub(super) exec: Option<String>,
    /// Listen for `hangsnap status` and others at this socket
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<String>,
    /// Serve metrics (OpenMetrics) at this address of loopback
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) metrics_listen: Option<String>,
    /// Write metrics to this file
    #[arg(long, value_name = "FILE")]
    pub(super) metrics_file: Option<String>,
    /// Keep no copied memory and no words of command lines
    #[arg(long)]
    pub(super) redact: bool,
}

/// Where the daemon listens.
#[derive(Args, Debug)]
pub(super) struct SocketArguments {
    /// The socket of the daemon
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub(super) socket: PathBuf,
}

fn entry(key: &str, value: &str) -> Entry {
    Entry { key: key.into(), value: value.into(), place: Place::Flag }
}

fn entries<'a>(flags: impl IntoIterator<Item = (&'a str, &'a Vec<String>)>) -> Vec<Entry> {
    let each = |(key, values): (&str, &Vec<String>)| values.iter().map(|value| entry(key, value)).collect::<Vec<_>>();
    flags.into_iter().flat_map(each).collect()
}

impl SelectionArguments {
    /// As settings.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let Self { name, exe, cmd, unit, cgroup, container, pod, all_in_namespace, children } = self;
        let mut found = entries([
            ("name", name),
            ("exe", exe),
            ("cmd", cmd),
            ("unit", unit),
            ("cgroup", cgroup),
            ("container", container),
            ("pod", pod),
        ]);
        found.extend(all_in_namespace.then(|| entry("all-in-namespace", "true")));
        found.extend(children.then(|| entry("children", "true")));
        found
    }
}

impl TriggerArguments {
    /// As settings.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let Self { on_hang, on_blocked, on_heartbeat, on_probe, on_cpu, on_threads, on_memory, on_pressure } = self;
        entries([
            ("on-hang", on_hang),
            ("on-blocked", on_blocked),
            ("on-heartbeat", on_heartbeat),
            ("on-probe", on_probe),
            ("on-cpu", on_cpu),
            ("on-threads", on_threads),
            ("on-memory", on_memory),
            ("on-pressure", on_pressure),
        ])
    }
}

impl RunArguments {
    /// As settings.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let mut found = self.selection.entries();
        found.extend(entries([("pid", &self.pid)]));
        found.extend(self.triggers.entries());
        let single = [
            ("every", &self.every),
            ("output", &self.output),
            ("max-size", &self.max_size),
            ("keep-for", &self.keep_for),
            ("sync", &self.sync),
            ("stop", &self.stop),
            ("max-hold", &self.max_hold),
            ("max-duty", &self.max_duty),
            ("store", &self.store),
            ("preroll", &self.preroll),
            ("max-targets", &self.max_targets),
            ("exec", &self.exec),
            ("socket", &self.socket),
            ("metrics-listen", &self.metrics_listen),
            ("metrics-file", &self.metrics_file),
        ];
        found.extend(single.into_iter().filter_map(|(key, value)| Some(entry(key, value.as_deref()?))));
        found.extend(self.redact.then(|| entry("redact", "true")));
        found
    }
}
