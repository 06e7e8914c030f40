//! The daemon: looks at whatever processes its selectors mean for as long as it runs, and takes the
//! picture by itself when one of them hangs.
//!
//! `settings` and `config` are what it is to do, `watchers` are threads that look for processes and
//! ask services, `engine` is the capture loop, `storing` assembles and stores, `aftermath` has
//! incidents pinned and judged, `control` and `metrics` answer questions. `board` is what these
//! know in common.
//!
//! Promises: nothing of it gates a target: it only reads, and asks by connections of its own. The
//! capture loop waits for nothing but the tracer, whose time is bounded: what may block runs in
//! threads of its own, and full queues cost samples, which are counted. A trigger that fires while
//! a sample is taken is served after that one sample. Targets, memory, descriptors, incidents and
//! what is said are bounded.
//!
//! Does not judge: verdicts are made by `hangsnap stuck`, in a process of its own.

mod aftermath;
mod board;
mod config;
mod control;
mod cooldown;
mod engine;
mod files;
mod incident;
mod incidents;
mod learned;
mod log;
mod metrics;
mod probe;
mod settings;
mod standing;
mod storing;
mod targets;
mod trigger;
mod watched;
mod watchers;

use std::time::Instant;

use crossbeam_channel::Sender;

use crate::process::Scan;
use crate::sys::signals::ServiceSignal;

pub use config::read;
pub use control::{DEFAULT_SOCKET, ask};
pub use engine::{Error, run};
pub use settings::{CRITERIA, Entry, KEYS, Place, Problem, Settings};
pub use trigger::KINDS;

/// What the capture loop is sent.
pub(crate) enum Message {
    /// Which processes are meant now.
    Scan(Scan),
    /// A trigger has fired.
    Alarm(Alarm),
    /// A question or an order over the control socket, and where the answer goes.
    Control(Order, Sender<String>),
    /// A signal has arrived.
    Signal(ServiceSignal),
}

/// That a trigger has fired.
pub(crate) struct Alarm {
    /// Its number; None if somebody asked for an incident.
    trigger: Option<usize>,
    /// The number of the target; None for all that it is for.
    target: Option<u64>,
    /// Only targets of this selector, or with this pid or name.
    selector: Option<String>,
    /// What was seen.
    reason: String,
    /// When.
    raised: Instant,
}

/// What can be asked of the daemon.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Order {
    /// To take an incident of all targets, or of those that this word means.
    Trigger(Option<String>),
    /// To take no samples until `Resume`.
    Pause,
    /// To go on.
    Resume,
}
