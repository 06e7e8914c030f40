//! Names of code that a process makes while it runs, from the file that it writes for perf:
//! `/tmp/perf-PID.map`.
//!
//! Each line is the address and the size of a function, in hexadecimal digits, and its name. Java,
//! Node, .NET and others write such files on request. Promises: the file is as hostile as
//! all else that comes from a target. It is opened below the process's own root, has to belong to
//! the process's user or to root, is read once from its beginning to its end with a few kilobytes
//! of memory, and lines that make no sense are skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::ProcessAccess;
use crate::elf::{self, open_below};
use crate::model::{GeneratedCode, Notice, Process, ProcessId, Reason, RuntimeAddress, Subject};
use crate::proc::{self, ProcDir};

/// A program that has run for weeks has written a tenth of this.
const MAX_FILE: u64 = 256 << 20;
/// The part of a line that is looked at; names with the types of all their arguments are long.
const MAX_LINE: u64 = 4096;
/// How often lines may say something of addresses that are asked for. A process of ten thousand
/// threads whose code was all replaced a hundred times stays below.
const MAX_ANSWERS: usize = 1 << 22;
/// All names that are kept; a line may name as many addresses as there are.
const MAX_NAMES: usize = 64 << 20;

/// What a line says of an address.
struct Answer {
    range: Range<RuntimeAddress>,
    name: Vec<u8>,
}

/// Why there are no names although there is a file.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("could not be used ({0})")]
    File(#[from] elf::Error),
    #[error("could not be looked at ({0})")]
    Process(#[from] proc::Error),
    #[error("belongs neither to the process's user nor to root")]
    NotItsOwn,
    #[error("is larger than {} MiB", MAX_FILE >> 20)]
    TooLarge,
}

/// What the process calls the code at these addresses, in their order. A file that is there and
/// cannot be used is reported.
pub fn generated_code(
    process: &Process,
    root: &Path,
    access: &ProcessAccess,
    addresses: BTreeSet<RuntimeAddress>,
) -> (Vec<GeneratedCode>, Option<Notice>) {
    if addresses.is_empty() {
        return (Vec::new(), None);
    }
    let path = format!("/tmp/perf-{}.map", process.inner_pid);
    let found = {
        let (id, root) = (process.id, root.to_path_buf());
        access.file(move || match open(id, &root, &path) {
            Ok(file) => Ok(read(&file, &addresses)),
            Err(Refused::File(elf::Error::Io(error))) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(refused) => Err(refused.to_string()),
        })
    };
    match found.unwrap_or_else(|| Err("does not come".into())) {
        Ok(code) => (code, None),
        Err(why) => (Vec::new(), Some(Notice { subject: Subject::Process, reason: Reason::NamesUnreadable { why } })),
    }
}

fn open(id: ProcessId, root: &Path, path: &str) -> Result<File, Refused> {
    let directory = ProcDir::open(id.pid)?;
    let user = directory.credentials()?.users.effective;
    let file = open_below(root, path)?;
    let metadata = file.metadata().map_err(elf::Error::from)?;
    // Anybody may put a file into /tmp.
    if ![0, user].contains(&metadata.uid()) {
        return Err(Refused::NotItsOwn);
    }
    if metadata.len() > MAX_FILE {
        return Err(Refused::TooLarge);
    }
    // Whether all this was about the process that was meant can only be asked afterwards.
    if directory.id()? == id { Ok(file) } else { Err(Refused::Process(proc::Error::Gone)) }
}

fn read(file: impl Read, addresses: &BTreeSet<RuntimeAddress>) -> Vec<GeneratedCode> {
    let mut answers: BTreeMap<RuntimeAddress, Answer> = BTreeMap::new();
    let (mut answered, mut kept) = (0, 0);
    // It may grow while it is read.
    let mut reader = BufReader::new(file.take(MAX_FILE));
    let mut line = Vec::new();
    let mut is_continued = false;
    while answered < MAX_ANSWERS && kept < MAX_NAMES {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if !read.is_ok_and(|length| length > 0) {
            break;
        }
        let ends = line.last() == Some(&b'\n');
        // The last line may still be being written.
        let is_torn = !ends && (line.len() as u64) < MAX_LINE;
        let is_beginning = !std::mem::replace(&mut is_continued, !ends);
        if let (true, false, Some((range, name))) = (is_beginning, is_torn, parse(&line)) {
            for address in addresses.range(range.clone()) {
                // What was written last holds: the place of old code is given to new.
                let old = answers.insert(*address, Answer { range: range.clone(), name: name.to_vec() });
                kept = kept + name.len() - old.map_or(0, |old| old.name.len());
                answered += 1;
                if kept >= MAX_NAMES {
                    break;
                }
            }
        }
    }
    let told = |(address, Answer { range, name }): (RuntimeAddress, Answer)| GeneratedCode {
        address,
        range,
        name: String::from_utf8_lossy(&name).into_owned(),
    };
    answers.into_iter().map(told).collect()
}

fn parse(line: &[u8]) -> Option<(Range<RuntimeAddress>, &[u8])> {
    let (start, rest) = number(line)?;
    let (size, name) = number(rest)?;
    let end = start.checked_add(size).filter(|end| *end > start)?;
    let name = name.trim_ascii();
    (!name.is_empty()).then_some((RuntimeAddress(start)..RuntimeAddress(end), name))
}

/// A number in hexadecimal digits, and what follows the space after it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let end = text.iter().position(|byte| *byte == b' ')?;
    let (digits, rest) = text.split_at(end);
    let digits = std::str::from_utf8(digits.strip_prefix(b"0x").unwrap_or(digits)).ok()?;
    // Rust takes a sign, too.
    let is_number = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    Some((u64::from_str_radix(digits, 16).ok().filter(|_| is_number)?, &rest[1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of what lies at 0x1000, 0x1010 and 0x2000.
    fn names(text: &[u8]) -> Vec<(u64, String)> {
        let addresses = [0x1000, 0x1010, 0x2000].map(RuntimeAddress).into();
        read(text, &addresses).into_iter().map(|code| (code.address.0, code.name)).collect()
    }

    #[test]
    fn lines_of_several_writers() {
        assert_eq!(names(b"1000 10 f\n"), [(0x1000, "f".into())]);
        assert_eq!(names(b"0x1000 0x11 void Foo::bar(int) [Tier1]\n"), {
            let name = "void Foo::bar(int) [Tier1]".to_owned();
            [(0x1000, name.clone()), (0x1010, name)]
        });
        // The later line holds.
        assert_eq!(names(b"1000 20 old\n1010 8 new\n"), [(0x1000, "old".into()), (0x1010, "new".into())]);
    }

    #[test]
    fn hostile_lines_are_skipped() {
        let hostile: [&[u8]; 12] = [
            b"",
            b"\n",
            b"1000\n",
            b"1000 \n",
            b"1000 10\n",
            b"1000 10 \n",
            b"1000 0 f\n",
            b"ffffffffffffffff 10 f\n",
            b"11111111111111111111 10 f\n",
            b"+1000 +10 f\n",
            b"-1 10 f\n",
            b"\xff\xff \xff f\n",
        ];
        for line in hostile {
            assert_eq!(names(line), [], "{:?}", String::from_utf8_lossy(line));
            assert_eq!(names(&[line, b"\n2000 1 g\n"].concat()), [(0x2000, "g".into())]);
        }
        // Without its end a line is not whole, however much of it there is.
        assert_eq!(names(b"2000 1 g\n1000 10 f"), [(0x2000, "g".into())]);
        assert_eq!(names(b"1000 10 \xff\x1b[2J\n"), [(0x1000, "\u{fffd}\u{1b}[2J".into())]);
    }

    #[test]
    fn a_long_line_is_cut_and_the_rest_of_it_is_no_line() {
        let mut text = b"1000 10 ".to_vec();
        text.extend(std::iter::repeat_n(b'f', 4096 - 8));
        text.extend(b"1010 10 inside\n2000 1 g\n");
        let found = names(&text);
        assert_eq!(
            found.iter().map(|(address, name)| (*address, name.len())).collect::<Vec<_>>(),
            [(0x1000, 4088), (0x2000, 1)]
        );
    }

    #[test]
    fn one_long_name_for_all_addresses_is_not_kept_for_more_than_fit() {
        let addresses: BTreeSet<RuntimeAddress> = (0x1000..0x1000 + 40_000).map(RuntimeAddress).collect();
        let text = [b"0 ffffffff ", "f".repeat(4000).as_bytes(), b"\n"].concat();
        let kept: usize = read(&text[..], &addresses).iter().map(|code| code.name.len()).sum();
        assert!((MAX_NAMES..MAX_NAMES + 4000).contains(&kept), "{kept} bytes");
    }
}
