//! A progress line on the terminal, when a command takes longer than a second.

use std::io::{self, IsTerminal, Write};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};

const PATIENCE: Duration = Duration::from_secs(1);

/// Says what takes so long until it is dropped, if that takes long.
pub(super) struct Patience {
    over: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Patience {
    /// Only a terminal gets it; a log has no use for it.
    pub(super) fn about(what: &'static str) -> Self {
        if !io::stderr().is_terminal() {
            return Self { over: None };
        }
        let (over, is_over) = bounded::<()>(0);
        let teller = thread::spawn(move || {
            let begun = std::time::Instant::now();
            // The channel is closed when the work is over; until then each wait times out.
            while is_over.recv_timeout(PATIENCE).is_err_and(|error| error.is_timeout()) {
                // A terminal that has gone needs no progress.
                let _ = write!(io::stderr(), "\r{what}, {} s", begun.elapsed().as_secs());
            }
            if begun.elapsed() >= PATIENCE {
                // Blanks do what a control sequence would, on every terminal.
                let _ = write!(io::stderr(), "\r{:width$}\r", "", width = what.len() + 16);
            }
        });
        Self { over: Some((over, teller)) }
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        if let Some((over, teller)) = self.over.take() {
            drop(over);
            // It only writes; should it have failed, the line stays unfinished.
            let _ = teller.join();
        }
    }
}
