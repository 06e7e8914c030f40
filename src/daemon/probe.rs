//! Asks a service whether it answers, as an orchestrator's probe does, a little earlier.
//!
//! Promises: only this host's own addresses are asked, so that a mistake in a configuration sends
//! nothing elsewhere; names are not resolved, which could hang. A probe ends at its deadline,
//! whatever the service does, and reads at most one line of its answer.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// More than a status line has.
const LONGEST_LINE: usize = 1024;
const HTTP_PORT: u16 = 80;

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    address: SocketAddr,
    /// The path of a request by HTTP; None to connect and no more.
    path: Option<String>,
    host: String,
    /// An answer must be there in this time.
    pub slow: Duration,
}

impl Probe {
    /// From `http://HOST[:PORT]/PATH` or `tcp://HOST:PORT`. Errors if it is no address of this
    /// host.
    pub fn parse(url: &str, slow: Duration) -> Result<Self, String> {
        let (is_http, rest) = match (url.strip_prefix("http://"), url.strip_prefix("tcp://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            _ if url.starts_with("https://") => {
                return Err("TLS is not spoken; write tcp://HOST:PORT, which sees whether it accepts".into());
            }
            _ => return Err("write http://HOST:PORT/PATH or tcp://HOST:PORT first".into()),
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if path.contains(|c: char| c.is_control() || c == ' ') {
            return Err("a path has no spaces; write %20".into());
        }
        let numeric = host.replace("localhost", "127.0.0.1");
        let address =
            numeric.parse().or_else(|_| match (is_http, numeric.trim_matches(['[', ']']).parse::<IpAddr>()) {
                (true, Ok(address)) => Ok(SocketAddr::new(address, HTTP_PORT)),
                _ => {
                    Err(format!("`{host}` is no address: write 127.0.0.1:8080 (names are not resolved: that may hang)"))
                }
            })?;
        if !is_own(address.ip()) {
            return Err(format!("{} is not an address of this host or pod; ask 127.0.0.1", address.ip()));
        }
        let path = is_http.then(|| if path.is_empty() { "/".into() } else { path.to_owned() });
        Ok(Self { address, path, host: host.into(), slow })
    }

    /// Asks once. Errors say why the answer is none, in words for the log.
    pub fn ask(&self) -> Result<(), String> {
        let deadline = Instant::now() + self.slow;
        let slow = || format!("no answer within {:?}", self.slow);
        let mut stream = TcpStream::connect_timeout(&self.address, self.slow).map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => slow(),
            _ => format!("cannot connect: {error}"),
        })?;
        let Some(path) = &self.path else { return Ok(()) };
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: hangsnap\r\nConnection: close\r\n\r\n", self.host);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => slow(),
            _ => format!("no answer: {error}"),
        };
        stream.set_write_timeout(Some(self.slow)).map_err(failed)?;
        stream.write_all(request.as_bytes()).map_err(failed)?;
        let mut line = Vec::new();
        while !line.contains(&b'\n') && line.len() < LONGEST_LINE {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(slow());
            }
            stream.set_read_timeout(Some(left)).map_err(failed)?;
            let mut piece = [0; 256];
            match stream.read(&mut piece).map_err(failed)? {
                0 => return Err("the connection was closed without an answer".into()),
                read => line.extend_from_slice(&piece[..read]),
            }
        }
        let line = String::from_utf8_lossy(&line);
        let status = line.split_whitespace().nth(1).and_then(|word| word.parse::<u16>().ok());
        match status {
            Some(200..=399) => Ok(()),
            Some(status) => Err(format!("it answers with status {status}")),
            None => Err("it does not answer by HTTP".into()),
        }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "http://{}{path}", self.host),
            None => write!(f, "tcp://{}", self.host),
        }
    }
}

/// Whether a socket here can have this address.
fn is_own(address: IpAddr) -> bool {
    let is_any = address == IpAddr::V4(Ipv4Addr::UNSPECIFIED) || address.is_unspecified();
    !is_any && (address.is_loopback() || TcpListener::bind((address, 0)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_is_asked() {
        let parse = |url| Probe::parse(url, Duration::from_secs(1));
        for url in ["http://localhost:8080/health", "http://127.0.0.1", "tcp://127.0.0.1:6379", "http://[::1]:80/"] {
            assert!(parse(url).is_ok(), "{url}: {:?}", parse(url));
        }
        for (url, why) in [
            ("http://192.0.2.1:80/", "not an address of this host"),
            ("http://0.0.0.0:80/", "not an address of this host"),
            ("http://example.org/", "names are not resolved"),
            ("https://127.0.0.1/", "TLS is not spoken"),
            ("tcp://127.0.0.1", "is no address"),
            ("ftp://127.0.0.1", "write http://"),
        ] {
            assert!(parse(url).is_err_and(|error| error.contains(why)), "{url}");
        }
    }
}
