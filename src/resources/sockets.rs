//! Sockets: their addresses, states and queues, and the processes at their other ends.
//!
//! TCP and UDP are read from the tables of the process's own network namespace, which anyone may
//! read; the peer of a UNIX socket only the kernel's socket diagnosis gives (sock_diag(7)), in our
//! own namespace.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::Reading;
use super::open_files::holders;
use crate::model::{Descriptor, Detail, Socket, Task};

/// A table of sockets. No more than this of it is read.
const LONGEST_TABLE: u64 = 4 << 20;

/// A line of a table.
struct Row {
    protocol: &'static str,
    local: String,
    peer: String,
    state: u8,
    send_queue: u32,
    receive_queue: u32,
    inode: u64,
}

/// Adds what is known of those of the descriptors that are sockets.
pub(super) fn add(reading: &mut Reading<'_>, found: &mut [Descriptor]) {
    let inodes: Vec<u64> = found.iter().filter_map(|descriptor| inode(&descriptor.target)).collect();
    if inodes.is_empty() {
        return;
    }
    let rows = tables(reading);
    let own = |inode: u64| rows.iter().find(|row| row.inode == inode);
    let unix: HashMap<u64, Unix> = unix_sockets(reading, inodes.iter().copied().filter(|inode| own(*inode).is_none()));
    // The other end is in the same table if it is on this host and in this namespace.
    let other_end = |inode: u64| match own(inode) {
        Some(row) => {
            let likewise = || rows.iter().filter(|other| other.protocol == row.protocol);
            let connected = likewise().find(|other| other.local == row.peer && other.peer == row.local);
            // Who answers datagrams need not be connected, nor bound to one address.
            let is_bound = |other: &&Row| {
                let everywhere = other.local.rsplit(':').next() == row.peer.rsplit(':').next()
                    && (other.local.starts_with("0.0.0.0:") || other.local.starts_with("[::]:"));
                row.protocol == "udp" && (other.local == row.peer || everywhere)
            };
            connected.or_else(|| likewise().find(is_bound)).map(|other| other.inode)
        }
        None => unix.get(&inode).and_then(|unix| unix.peer),
    };
    let links: Vec<String> =
        inodes.iter().filter_map(|inode| other_end(*inode)).map(|inode| format!("socket:[{inode}]")).collect();
    let opened = holders(reading, &links, false);
    for descriptor in found {
        let Some(inode) = inode(&descriptor.target) else { continue };
        let others = other_end(inode).and_then(|peer| opened.get(&format!("socket:[{peer}]")));
        let others: Vec<Task> = others.into_iter().flatten().map(|other| other.process.clone()).collect();
        let socket = match (own(inode), unix.get(&inode)) {
            (Some(row), _) => Socket {
                protocol: row.protocol.into(),
                local: row.local.clone(),
                peer: row.peer.clone(),
                state: row.state,
                receive_queue: row.receive_queue,
                send_queue: row.send_queue,
                others,
            },
            (None, Some(unix)) => Socket {
                protocol: "unix".into(),
                local: unix.name.clone(),
                peer: String::new(),
                state: unix.state,
                receive_queue: unix.receive_queue,
                send_queue: unix.send_queue,
                others,
            },
            (None, None) => Socket::default(),
        };
        descriptor.detail = Detail::Socket(socket);
    }
}

fn inode(target: &str) -> Option<u64> {
    target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn tables(reading: &mut Reading<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    for protocol in ["tcp", "tcp6", "udp", "udp6"] {
        let path = reading.path(&format!("net/{protocol}"));
        let Ok(file) = File::open(&path) else { continue };
        let is_long = {
            let mut lines = BufReader::new(file.take(LONGEST_TABLE)).lines().map_while(Result::ok).skip(1);
            let mut bytes = 0;
            for line in &mut lines {
                bytes += line.len() as u64 + 1;
                rows.extend(row(protocol, &line));
            }
            bytes + 4096 >= LONGEST_TABLE
        };
        if is_long {
            reading.unread("all sockets", format!("there are too many of them in {path}"));
        }
    }
    rows
}

/// `sl local_address rem_address st tx_queue:rx_queue tr:tm->when retrnsmt uid timeout inode`, as
/// proc_pid_net(5) describes.
fn row(protocol: &'static str, line: &str) -> Option<Row> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (sent, received) = fields.get(4)?.split_once(':')?;
    Some(Row {
        protocol: protocol.trim_end_matches('6'),
        local: address(fields.get(1)?)?,
        peer: address(fields.get(2)?)?,
        state: u8::from_str_radix(fields.get(3)?, 16).ok()?,
        send_queue: u32::from_str_radix(sent, 16).ok()?,
        receive_queue: u32::from_str_radix(received, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// An address as the kernel prints it: words of 32 bits in the machine's order, and a port.
fn address(text: &str) -> Option<String> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(host.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    if host.len() == 8 {
        return Some(format!("{}:{port}", Ipv4Addr::from(word(0)?)));
    }
    let mut bytes = [0; 16];
    for (number, chunk) in bytes.chunks_exact_mut(4).enumerate() {
        chunk.copy_from_slice(&word(number * 8)?);
    }
    let host = Ipv6Addr::from(bytes);
    // A connection of a socket for both families is in both tables.
    Some(match host.to_ipv4_mapped() {
        Some(host) => format!("{host}:{port}"),
        None => format!("[{host}]:{port}"),
    })
}

/// A UNIX socket as the kernel's diagnosis describes it.
#[derive(Default)]
struct Unix {
    name: String,
    peer: Option<u64>,
    state: u8,
    receive_queue: u32,
    send_queue: u32,
}

fn unix_sockets(reading: &mut Reading<'_>, inodes: impl Iterator<Item = u64>) -> HashMap<u64, Unix> {
    let mut found = HashMap::new();
    let inodes: Vec<u64> = inodes.collect();
    if inodes.is_empty() {
        return found;
    }
    let namespace = |path: String| fs::read_link(path).ok();
    if namespace(reading.path("ns/net")) != namespace("/proc/self/ns/net".into()) {
        reading.unread("peers of UNIX sockets", "the process has a network namespace of its own; run hangsnap in it");
        return found;
    }
    let flags = SockFlag::SOCK_CLOEXEC;
    let diagnosis = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkSockDiag);
    let Ok(diagnosis) = diagnosis else {
        reading.unread("peers of UNIX sockets", "the kernel has no socket diagnosis here (CONFIG_UNIX_DIAG)");
        return found;
    };
    // The kernel answers at once; it is not waited for where it does not.
    let _ = setsockopt(&diagnosis, sockopt::ReceiveTimeout, &TimeVal::milliseconds(50));
    for inode in inodes {
        let asked = sendto(diagnosis.as_raw_fd(), &request(inode), &NetlinkAddr::new(0, 0), MsgFlags::empty());
        let mut answer = [0; 8192];
        let read = asked.and_then(|_| recv(diagnosis.as_raw_fd(), &mut answer, MsgFlags::empty()));
        if let Some(unix) = read.ok().and_then(|length| parse(answer.get(..length)?)) {
            found.insert(inode, unix);
        }
    }
    found
}

/// SOCK_DIAG_BY_FAMILY of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
const HEADER: usize = 16;

/// `struct nlmsghdr` and `struct unix_diag_req` for one socket: name, peer and queues.
fn request(inode: u64) -> Vec<u8> {
    const LENGTH: u32 = 40;
    const NLM_F_REQUEST: u16 = 1;
    const SHOW: u32 = 1 | 4 | 0x10;
    const ANY: u32 = u32::MAX;
    let mut bytes = Vec::new();
    bytes.extend(LENGTH.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    // Inode numbers of sockets are of 32 bits.
    for word in [ANY, inode as u32, SHOW, ANY, ANY] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

/// `struct unix_diag_msg` and its attributes.
fn parse(answer: &[u8]) -> Option<Unix> {
    const MESSAGE: usize = 16;
    const STATE: usize = HEADER + 2;
    const NAME: u16 = 0;
    const PEER: u16 = 2;
    const QUEUES: u16 = 4;
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    if kind != BY_FAMILY {
        return None;
    }
    let mut unix = Unix { state: *answer.get(STATE)?, ..Unix::default() };
    let mut rest = answer.get(HEADER + MESSAGE..)?;
    while let (Some(length), Some(kind)) = (short(rest, 0), short(rest, 2)) {
        let Some(value) = rest.get(4..usize::from(length)) else { break };
        match kind {
            // One in the abstract namespace begins with a zero byte.
            NAME => unix.name = String::from_utf8_lossy(value).trim_end_matches('\0').replace('\0', "@"),
            PEER => unix.peer = word(value, 0).map(u64::from),
            QUEUES => {
                unix.receive_queue = word(value, 0).unwrap_or(0);
                unix.send_queue = word(value, 4).unwrap_or(0);
            }
            _ => {}
        }
        rest = rest.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
    }
    Some(unix)
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_read() {
        let line = "   0: 0100007F:1F90 0100007F:C350 01 00000010:00000020 00:00000000 00000000  1000 0 12345 1 0 20";
        let row = row("tcp", line).expect("a line");
        assert_eq!((row.local.as_str(), row.peer.as_str()), ("127.0.0.1:8080", "127.0.0.1:50000"));
        assert_eq!((row.state, row.send_queue, row.receive_queue, row.inode), (1, 16, 32, 12345));
    }

    #[test]
    fn answers_that_are_cut_short_or_go_on_for_ever_are_survived() {
        let mut answer = [0_u8; 64];
        answer[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        // An attribute of no length at all.
        for length in 0..answer.len() {
            let _ = parse(&answer[..length]);
        }
    }
}
