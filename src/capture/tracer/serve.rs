//! The tracer: a process that waits to be asked for a snapshot, takes it, and waits again.
//!
//! It is hangsnap's own program, executed again with a socket for its standard input and the shared
//! memory for its standard output. It belongs to no terminal and ignores requests to end: it ends
//! when hangsnap has gone, which it notices between two snapshots, or when it is killed.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use super::unchanged::Sleepers;
use super::{fault, snapshot};
use crate::capture::protocol::{self, Answer, Assignment};
use crate::proc::{self, ProcDir};
use crate::sys::alarm::KillTimer;
use crate::sys::arena::ArenaWriter;
use crate::sys::signals;

/// The argument that makes a program of this crate a tracer.
pub const TRACER_ARGUMENT: &str = "__tracer";

/// Serves until hangsnap has gone.
pub fn serve() -> ExitCode {
    match try_serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hangsnap: the tracer cannot work: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_serve() -> io::Result<()> {
    signals::ignore_requests_to_end();
    fault::set_from_environment();
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut arena = ArenaWriter::open(io::stdout().as_fd().try_clone_to_owned()?)?;
    let kill_timer = KillTimer::new().ok_or_else(io::Error::last_os_error)?;
    let mut sleepers = Sleepers::new();
    while let Some(assignment) = protocol::receive(&socket)? {
        arena.begin();
        let outcome = answer(&assignment, &mut arena, &kill_timer, &mut sleepers);
        fault::report_allocations();
        match protocol::send(&socket, &outcome) {
            // The process that asked was killed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            sent => sent?,
        }
    }
    Ok(())
}

fn answer(assignment: &Assignment, arena: &mut ArenaWriter, kill_timer: &KillTimer, sleepers: &mut Sleepers) -> Answer {
    let process = ProcDir::open(assignment.process.pid)?;
    match process.id()? == assignment.process {
        true => snapshot::take(&process, assignment, arena, kill_timer, sleepers),
        // The pid belongs to another process now.
        false => Err(proc::Error::Gone),
    }
}
