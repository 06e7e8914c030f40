//! Debug information from Debian's debuginfod on the loopback interface, and what a hostile server
//! costs.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Built, assert_whole};
use crate::names::{array, read};
use crate::support::{PATIENCE, hangsnap, succeed, until};

/// A server that is ended with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Builds a program that is stripped, with its debug file where only a server looks.
fn stripped() -> Built {
    let built = Built::with("g++", &["-O2", "-g"], |at| {
        fs::create_dir(at.join("served")).expect("a directory");
        succeed(Command::new("objcopy").current_dir(at).args(["--only-keep-debug", "routes", "served/routes.debug"]));
        fs::copy(at.join("routes"), at.join("served/routes")).expect("a copy");
        succeed(Command::new("strip").current_dir(at).arg("routes"));
    });
    fs::remove_file(built.path("routes")).expect("it is there");
    built
}

fn asked(built: &Built, command: &str, urls: &str, cache: &Path, options: &[(&str, &str)]) -> serde_json::Value {
    let mut hangsnap = hangsnap();
    hangsnap.arg(command).arg(&built.snapshot).arg("--json").env("DEBUGINFOD_CACHE_PATH", cache);
    hangsnap.env("DEBUGINFOD_URLS", urls).envs(options.iter().copied());
    read(&mut hangsnap)
}

#[test]
fn debians_debuginfod_has_names_lines_and_sources_and_the_directory_is_shared_with_its_client() {
    let built = stripped();
    // The program finds a free port by itself only if it is asked for one that is free.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let mut command = Command::new("debuginfod");
    command.args(["-p", &port.to_string(), "-d", ":memory:", "-F"]).arg(built.path("served"));
    command.stdout(Stdio::null()).stderr(Stdio::null()).env_remove("DEBUGINFOD_URLS");
    let _server = Server(command.spawn().expect("debuginfod runs; tests/run installs it"));
    let url = format!("http://127.0.0.1:{port}");
    let id = array(&asked(&built, "symbols", "", &built.path("none"), &[])["modules"])
        .iter()
        .find(|module| super::is_program(module["path"].as_str()))
        .and_then(|module| module["build_id"].as_str().map(str::to_owned))
        .expect("the program has one");
    assert!(!built.path("none").exists(), "without a server nothing is written");
    let is_there = || {
        let mut command = Command::new("curl");
        let place = format!("{url}/buildid/{id}/debuginfo");
        command.args(["-sf", "-o", "/dev/null", &place]).status().is_ok_and(|status| status.success())
    };
    until("debuginfod has read its directory", PATIENCE, is_there);

    let cache = built.path("cache");
    assert_whole("from the server", &asked(&built, "show", &url, &cache, &[]));
    assert!(cache.join(&id).join("debuginfo").exists(), "it is kept as elfutils' client keeps it");
    // Without a server what is kept is used; that of the other client, too.
    assert_whole("kept", &asked(&built, "show", "", &cache, &[]));
    let theirs = built.path("theirs");
    let mut find = Command::new("debuginfod-find");
    find.args(["debuginfo", &id]).env("DEBUGINFOD_URLS", &url).env("DEBUGINFOD_CACHE_PATH", &theirs);
    succeed(&mut find);
    assert_whole("kept by elfutils' client", &asked(&built, "show", "", &theirs, &[]));
    let report = asked(&built, "symbols", "", &theirs, &[]);
    assert!(array(&report["modules"]).iter().any(|module| module["files"][0]["found"] == "debuginfod"), "{report:#}");

    // Sources that are no longer here.
    fs::rename(built.path("routes.cc"), built.path("served/elsewhere.cc")).expect("it is ours");
    let source = |urls: &str| {
        let mut command = hangsnap();
        command.arg("show").arg(&built.snapshot).args(["--source", "--wide"]);
        succeed(command.env("DEBUGINFOD_CACHE_PATH", &cache).env("DEBUGINFOD_URLS", urls))
    };
    assert!(!source("").contains("> "), "there is no source");
    fs::rename(built.path("served/elsewhere.cc"), built.path("routes.cc")).expect("it is ours");
    let shown = source("");
    assert!(shown.contains("10 >     pause();"), "{shown}");
}

/// A server that answers each connection in this way.
fn serve(answer: impl Fn(&mut TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            answer(&mut stream);
        }
    });
    format!("http://{address}")
}

#[test]
fn a_hostile_server_costs_bounded_time_and_disk_and_its_files_are_not_used() {
    let built = stripped();
    let ok = "HTTP/1.1 200 OK\r\n\r\n";
    let endless = serve(move |stream| {
        let _ = stream.write_all(ok.as_bytes());
        while stream.write_all(&[0; 1 << 16]).is_ok() {}
    });
    let lying = serve(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\nx");
    });
    let silent = serve(|stream| {
        let _ = stream.read(&mut [0; 1]);
    });
    let trickling = serve(move |stream| {
        let _ = stream.write_all(ok.as_bytes());
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let wordy = serve(|stream| while stream.write_all(b"HTTP/1.1 200 OK\r\nX: y\r\n").is_ok() {});
    let turning = serve(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /again\r\n\r\n");
    });
    let chunked = serve(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx");
    });
    // One that has another build-id.
    let other = fs::read(built.path("served/routes.debug")).expect("readable");
    let wrong = serve(move |stream| {
        let mut other = other.clone();
        // The note's header: lengths of name and id, and its type.
        let head = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
        let at = other.windows(head.len()).position(|bytes| bytes == head).expect("its build-id") + head.len();
        other[at] ^= 1;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").and_then(|()| stream.write_all(&other));
    });
    let bounds = [("DEBUGINFOD_TIMEOUT", "1"), ("DEBUGINFOD_MAXTIME", "3"), ("DEBUGINFOD_MAXSIZE", "50000000")];
    for (what, url) in [
        ("endless", endless),
        ("lying", lying),
        ("silent", silent),
        ("trickling", trickling),
        ("wordy", wordy),
        ("turning", turning),
        ("chunked", chunked),
        ("wrong", wrong),
        ("https", "https://127.0.0.1:1".into()),
        ("nothing", "http://127.0.0.1:1".into()),
        ("nonsense", "gopher:x".into()),
    ] {
        let cache = built.path(what);
        let begun = Instant::now();
        let report = asked(&built, "symbols", &url, &cache, &bounds);
        let took = begun.elapsed();
        let remarks = array(&report["remarks"]);
        println!("{what}: {took:.1?}, {remarks:?}");
        assert!(took < Duration::from_secs(20), "{what} took {took:?}");
        assert_eq!(remarks.len(), 1, "{what}: {report:#}");
        let program = array(&report["modules"]).iter().find(|module| super::is_program(module["path"].as_str()));
        assert_eq!(program.expect("it is on the stack")["missing"][0]["what"], "file", "{what}");
        let kept: u64 = walk(&cache);
        assert_eq!(kept, 0, "{what} left {kept} bytes");
    }
}

/// How many bytes are in the files of a directory.
fn walk(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let size = |path: std::path::PathBuf| match path.is_dir() {
        true => walk(&path),
        false => path.metadata().map_or(0, |metadata| metadata.len()),
    };
    entries.map(|entry| size(entry.expect("an entry").path())).sum()
}
