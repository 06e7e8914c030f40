//! One GET over plain HTTP (RFC 9112), as far as debuginfod servers need it.
//!
//! Promises: time and bytes are bounded whatever the server does, and a redirection is followed a
//! few times, to plain HTTP only. Bodies come with a length, in chunks, or up to the end of the
//! connection; one that ends early is an error.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

const MOST_REDIRECTIONS: usize = 4;
/// Head of an answer.
const MOST_HEAD: u64 = 64 << 10;
const MOST_LINE: u64 = 8 << 10;
/// What must have come within the time for that, as elfutils has it.
const STRIDE: u64 = 100 << 10;

/// How long a server is waited for, and what it may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// To connect, and for each 100 KiB.
    pub(super) timeout: Duration,
    /// For all of it.
    pub(super) whole: Duration,
    pub(super) bytes: u64,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fetch {
    Whole,
    NotThere,
}

/// What a server has at a place, written to `into`.
pub(super) fn get(
    url: &str,
    limits: Limits,
    into: &mut impl Write,
    mut progress: impl FnMut(u64, Option<u64>),
) -> io::Result<Fetch> {
    let begun = Instant::now();
    let mut url = url.to_owned();
    for _ in 0..=MOST_REDIRECTIONS {
        let (authority, path) = split(&url)?;
        let mut body = Body { stream: connect(authority, limits, begun)?, limits, begun, strode: begun, stride: 0 };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: hangsnap/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        body.stream.write_all(request.as_bytes())?;
        let mut reader = BufReader::with_capacity(1 << 16, body);
        let head = Head::read(&mut reader)?;
        match head.status {
            200 => {
                head.body(&mut reader, limits, into, &mut progress)?;
                return Ok(Fetch::Whole);
            }
            301 | 302 | 303 | 307 | 308 => {
                let to = head.location.ok_or_else(|| io::Error::other("a redirection to nowhere"))?;
                url = match to.strip_prefix('/') {
                    Some(path) => format!("http://{authority}/{path}"),
                    None => to,
                };
            }
            404 | 410 => return Ok(Fetch::NotThere),
            status => return Err(io::Error::other(format!("it answers with status {status}"))),
        }
    }
    Err(io::Error::other("it redirects too often"))
}

/// A path as a part of an URL.
pub(super) fn escaped(path: &str) -> String {
    let mut text = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => text.push(byte.into()),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Host with port, and path.
fn split(url: &str) -> io::Result<(&str, &str)> {
    if url.starts_with("https:") {
        return Err(io::Error::other(
            "https is not supported; `debuginfod-find debuginfo BUILDID` gets files where hangsnap looks, too",
        ));
    }
    let rest = url.strip_prefix("http://").ok_or_else(|| io::Error::other("no URL that begins with http://"))?;
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    // What has a space or a control character in it would be more than a path.
    if authority.is_empty() || url.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err(io::Error::other("no URL of a server"));
    }
    Ok((authority, if path.is_empty() { "/" } else { path }))
}

fn connect(authority: &str, limits: Limits, begun: Instant) -> io::Result<TcpStream> {
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let place = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let mut last = io::Error::other("its name has no address");
    for address in place.to_socket_addrs()?.take(4) {
        let left = limits.timeout.min(limits.whole.saturating_sub(begun.elapsed()));
        match TcpStream::connect_timeout(&address, left.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What comes, for as long as it comes fast enough.
struct Body {
    stream: TcpStream,
    limits: Limits,
    begun: Instant,
    /// When the last stride was complete, and what has come of the next.
    strode: Instant,
    stride: u64,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let too_slow =
            || io::Error::other("it is too slow; DEBUGINFOD_TIMEOUT and DEBUGINFOD_MAXTIME give it more time");
        let whole = self.limits.whole.checked_sub(self.begun.elapsed()).ok_or_else(too_slow)?;
        let stride = self.limits.timeout.checked_sub(self.strode.elapsed()).ok_or_else(too_slow)?;
        self.stream.set_read_timeout(Some(whole.min(stride).max(Duration::from_millis(1))))?;
        let count = match self.stream.read(buffer) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(too_slow());
            }
            read => read?,
        };
        self.stride += count as u64;
        if self.stride >= STRIDE {
            (self.strode, self.stride) = (Instant::now(), 0);
        }
        Ok(count)
    }
}

/// What an answer says before its body.
#[derive(Default)]
struct Head {
    status: u16,
    length: Option<u64>,
    is_chunked: bool,
    location: Option<String>,
}

impl Head {
    fn read(reader: &mut impl BufRead) -> io::Result<Self> {
        let mut head = Self::default();
        let mut left = MOST_HEAD;
        let first = line(reader, &mut left)?;
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
        head.status = status.and_then(|text| text.parse().ok()).ok_or_else(|| io::Error::other("no HTTP server"))?;
        loop {
            let line = line(reader, &mut left)?;
            if line.is_empty() {
                return Ok(head);
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => head.length = value.parse().ok(),
                "transfer-encoding" => head.is_chunked = value.eq_ignore_ascii_case("chunked"),
                "location" => head.location = Some(value.to_owned()),
                _ => {}
            }
        }
    }

    fn body(
        &self,
        reader: &mut impl BufRead,
        limits: Limits,
        into: &mut impl Write,
        progress: &mut impl FnMut(u64, Option<u64>),
    ) -> io::Result<()> {
        let too_large = || io::Error::other("it sends more than DEBUGINFOD_MAXSIZE allows");
        let mut total = 0;
        let mut copy = |reader: &mut dyn Read, length: Option<u64>| -> io::Result<()> {
            let (mut buffer, mut left) = (vec![0; 1 << 16], length);
            loop {
                let most = left.map_or(buffer.len(), |left| {
                    usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()))
                });
                let count = if most == 0 { 0 } else { reader.read(&mut buffer[..most])? };
                if count == 0 {
                    return match left {
                        Some(1..) => Err(io::Error::other("it ends the connection too soon")),
                        _ => Ok(()),
                    };
                }
                total += count as u64;
                if total > limits.bytes {
                    return Err(too_large());
                }
                into.write_all(&buffer[..count])?;
                left = left.map(|left| left - count as u64);
                progress(total, self.length);
            }
        };
        if !self.is_chunked {
            if self.length.is_some_and(|length| length > limits.bytes) {
                return Err(too_large());
            }
            return copy(reader, self.length);
        }
        loop {
            let size = line(reader, &mut MOST_LINE.clone())?;
            let digits = size.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(digits, 16).map_err(|_| io::Error::other("a chunk without a size"))?;
            if size == 0 {
                return Ok(());
            }
            copy(reader, Some(size))?;
            line(reader, &mut MOST_LINE.clone())?;
        }
    }
}

/// A line without its end, of at most as many bytes as are left.
fn line(reader: &mut impl BufRead, left: &mut u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    reader.by_ref().take(*left).read_until(b'\n', &mut bytes)?;
    *left = left.saturating_sub(bytes.len() as u64);
    if bytes.pop() != Some(b'\n') {
        return Err(io::Error::other("it ends amid its answer, or says too much"));
    }
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.trim_end_matches('\r').to_owned())
}
