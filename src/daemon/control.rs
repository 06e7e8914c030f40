//! The control socket: `status`, `trigger [WORD]`, `pause` and `resume`, one line each.
//!
//! Promises: only the user that the daemon runs as, and root, are answered: by the mode of the
//! socket, and by what the kernel says of who has connected. A client that says nothing, or does
//! not read, costs a thread for a second; more than a few of them are turned away.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::{Mode, umask};

use super::board::Board;
use super::{Message, Order};

/// Where the service has its socket (RuntimeDirectory= of the unit).
pub const DEFAULT_SOCKET: &str = "/run/hangsnap/control";
/// For how long a client may take, and how many of them are served at one time.
const PATIENCE: Duration = Duration::from_secs(1);
const CLIENTS: usize = 8;
/// For how long the daemon may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
const LONGEST: u64 = 4096;

/// Listens at this path until the process ends. Errors if another daemon answers there, or the path
/// cannot be had.
pub(super) fn serve(path: &Path, board: Board, messages: Sender<Message>) -> io::Result<()> {
    if UnixStream::connect(path).is_ok() {
        let text = "another hangsnap answers there; stop that one, or name another socket";
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    if fs::symlink_metadata(path).is_ok_and(|metadata| std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type()))
    {
        // Nothing answers: a killed daemon has left it.
        fs::remove_file(path)?;
    }
    // No other process may connect between the one call and the next.
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    let clients = Arc::new(AtomicUsize::new(0));
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else {
                // No descriptors are left; there may be some in a while.
                thread::sleep(Duration::from_millis(100));
                continue;
            };
            if clients.fetch_add(1, Ordering::Relaxed) >= CLIENTS {
                clients.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let (board, messages, clients) = (board.clone(), messages.clone(), clients.clone());
            thread::spawn(move || {
                // A client that went away needs no answer.
                let _ = answer(&client, &board, &messages);
                clients.fetch_sub(1, Ordering::Relaxed);
            });
        }
    });
    Ok(())
}

fn answer(mut client: &UnixStream, board: &Board, messages: &Sender<Message>) -> io::Result<()> {
    let peer = getsockopt(&client, PeerCredentials)?;
    if peer.uid() != 0 && peer.uid() != nix::unistd::geteuid().as_raw() {
        return client.write_all(b"error: not permitted; ask as root or as the user of the daemon\n");
    }
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(client.take(LONGEST)).read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let order = match (words.next(), words.next()) {
        (Some("status"), None) => return writeln!(client, "{}", board.json()),
        (Some("trigger"), word) => Order::Trigger(word.map(Into::into)),
        (Some("pause"), None) => Order::Pause,
        (Some("resume"), None) => Order::Resume,
        _ => return client.write_all(b"error: write status, trigger [TARGET], pause or resume\n"),
    };
    let (reply, answer) = bounded(1);
    let sent = messages.send_timeout(Message::Control(order, reply), ANSWER).is_ok();
    let text = sent.then(|| answer.recv_timeout(ANSWER).ok()).flatten();
    writeln!(client, "{}", text.unwrap_or_else(|| "error: the capture loop does not answer".into()))
}

/// Asks the daemon that listens at this path. The answer is one line; one that begins with `error:`
/// is an error, and so is none.
pub fn ask(path: &Path, question: &str) -> io::Result<String> {
    let mut daemon = UnixStream::connect(path)?;
    daemon.set_read_timeout(Some(2 * ANSWER))?;
    daemon.set_write_timeout(Some(PATIENCE))?;
    writeln!(daemon, "{question}")?;
    let mut answer = String::new();
    daemon.read_to_string(&mut answer)?;
    match answer.trim_end() {
        "" => Err(io::Error::other("it closed the connection without an answer")),
        text => match text.strip_prefix("error: ") {
            Some(error) => Err(io::Error::other(error.to_owned())),
            None => Ok(text.into()),
        },
    }
}
