//! The memory map of a process.
//!
//! A process with a thousand threads has twice as many mappings, which are read in every sample;
//! and what it calls the files that it maps is its own choice.

use std::ops::Range;
use std::str;

use super::Error;
use crate::model::{RuntimeAddress, text_of};

/// What a mapping is backed by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Backing {
    /// A file, by device, inode and path. The path is what the kernel prints: in the target's mount
    /// namespace, with ` (deleted)` after it where that is so, and whatever the file's owner chose
    /// to call it.
    File {
        /// Major and minor number of the file system's device.
        device: (i32, i32),
        /// The inode's number.
        inode: u64,
        /// The path that the kernel prints.
        path: String,
    },
    /// The stack of the main thread.
    MainStack,
    /// The kernel's shared object (vdso(7)).
    Vdso,
    /// Where the kernel keeps what it needs of its own in a process that is probed
    /// (kernel/events/uprobes.c).
    Uprobes,
    /// Anonymous memory and the kernel's other special mappings.
    Anonymous,
}

/// One line of /proc/PID/maps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// From its first byte to its end.
    pub range: Range<RuntimeAddress>,
    /// Whether its memory may be executed.
    pub executable: bool,
    /// Whether its memory may be written.
    pub writable: bool,
    /// Whether nothing may be done with the memory: below a thread's stack lies such a mapping, to
    /// catch its overflow.
    pub forbidden: bool,
    /// Where in the file the mapping begins.
    pub offset: u64,
    /// What is mapped.
    pub backing: Backing,
}

/// All mappings, in the order of their addresses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MemoryMap {
    mappings: Vec<Mapping>,
}

impl MemoryMap {
    /// Reads the text of /proc/PID/maps.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let mappings = lines.map(mapping).collect::<Option<_>>();
        let mappings = mappings.ok_or_else(|| Error::Other("its `maps` is not as it should be".into()))?;
        Ok(Self { mappings })
    }

    /// The mappings, in the order of their addresses.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Mapping> {
        self.mappings.iter()
    }

    /// The mapping that holds this address. Allocates nothing: it is called while a thread is held.
    pub fn find(&self, address: RuntimeAddress) -> Option<&Mapping> {
        let after = self.mappings.partition_point(|mapping| mapping.range.start <= address);
        self.mappings[..after].last().filter(|mapping| mapping.range.contains(&address))
    }

    /// Where the memory ends that can be written to without a gap from this mapping on. Allocates
    /// nothing.
    pub fn writable_end(&self, from: &Mapping) -> RuntimeAddress {
        let after = self.mappings.partition_point(|mapping| mapping.range.start <= from.range.start);
        let mut end = from.range.end;
        for mapping in &self.mappings[after..] {
            if mapping.range.start != end || !mapping.writable || mapping.backing == Backing::MainStack {
                break;
            }
            end = mapping.range.end;
        }
        end
    }

    /// The mappings that begin in this range.
    pub fn within(&self, range: &Range<RuntimeAddress>) -> impl Iterator<Item = &Mapping> {
        let first = self.mappings.partition_point(|mapping| mapping.range.start < range.start);
        let end = range.end;
        self.mappings[first..].iter().take_while(move |mapping| mapping.range.start < end)
    }

    /// Whether right below the mapping that holds this address there is one that nothing may be
    /// done with.
    pub fn is_guarded(&self, address: RuntimeAddress) -> bool {
        let after = self.mappings.partition_point(|mapping| mapping.range.start <= address);
        match &self.mappings[..after] {
            [.., below, this] => below.forbidden && below.range.end == this.range.start,
            _ => false,
        }
    }
}

/// A line: `7f5c0000-7f5c1000 r-xp 00002000 08:01 4711      /usr/lib/libc.so.6`.
fn mapping(line: &[u8]) -> Option<Mapping> {
    let mut words = line.splitn(6, |&byte| byte == b' ');
    let (start, end) = two(words.next()?, '-')?;
    let permissions = words.next()?;
    let offset = hexadecimal(str::from_utf8(words.next()?).ok()?)?;
    let (major, minor) = two(words.next()?, ':')?;
    let inode = str::from_utf8(words.next()?).ok()?.parse().ok()?;
    // Blanks come before it, and may be its last characters.
    let path = words.next().unwrap_or_default().trim_ascii_start();
    let may = |letter| permissions.contains(&letter);
    Some(Mapping {
        range: RuntimeAddress(start)..RuntimeAddress(end),
        executable: may(b'x'),
        writable: may(b'w'),
        forbidden: !(may(b'r') || may(b'w') || may(b'x')),
        offset,
        backing: match path {
            b"[stack]" => Backing::MainStack,
            b"[vdso]" => Backing::Vdso,
            b"[uprobes]" => Backing::Uprobes,
            [] | [b'[', ..] => Backing::Anonymous,
            _ if inode == 0 || is_shared_segment(path) => Backing::Anonymous,
            path => Backing::File {
                device: (i32::try_from(major).ok()?, i32::try_from(minor).ok()?),
                inode,
                path: text_of(path),
            },
        },
    })
}

/// Whether this is what the kernel calls a segment of System V shared memory (`newseg`, ipc/shm.c):
/// no file has that path.
fn is_shared_segment(path: &[u8]) -> bool {
    let key = path.strip_prefix(b"/SYSV").and_then(|rest| rest.strip_suffix(b" (deleted)"));
    key.is_some_and(|key| key.len() == 8 && key.iter().all(u8::is_ascii_hexdigit))
}

fn two(word: &[u8], between: char) -> Option<(u64, u64)> {
    let (one, other) = str::from_utf8(word).ok()?.split_once(between)?;
    Some((hexadecimal(one)?, hexadecimal(other)?))
}

fn hexadecimal(word: &str) -> Option<u64> {
    u64::from_str_radix(word, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_that_is_not_utf8_does_not_hide_the_other_mappings() {
        let text = b"1000-2000 r-xp 00000000 08:01 42                         /tmp/\xff\xfe\n\
                     3000-4000 rw-p 00000000 00:00 0                          [stack]\n";
        let map = MemoryMap::parse(text).expect("both lines are well-formed");
        assert_eq!(map.iter().count(), 2);
        assert_eq!(map.find(RuntimeAddress(0x3fff)).map(|m| &m.backing), Some(&Backing::MainStack));
        assert_eq!(map.find(RuntimeAddress(0x2000)), None);
        assert!(map.find(RuntimeAddress(0x1000)).is_some_and(|m| m.executable));
    }

    /// A path that began like a shared segment's was cut at its thirteenth byte, whether or not it
    /// had as many.
    #[test]
    fn a_file_may_be_called_like_a_shared_segment() {
        let text = b"1000-2000 r-xp 00003000 fe:01 42                         /SYSV\n\
                     2000-3000 rw-s 00000000 00:01 7                          /SYSV0000002a (deleted)\n\
                     3000-4000 ---p 00000000 00:00 0 \n\
                     4000-5000 r--p 00000000 fe:01 43                         /two words \n";
        let map = MemoryMap::parse(text).expect("all lines are well-formed");
        let file = |path: &str, inode| Backing::File { device: (0xfe, 1), inode, path: path.into() };
        let backings: Vec<&Backing> = map.iter().map(|mapping| &mapping.backing).collect();
        assert_eq!(backings, [&file("/SYSV", 42), &Backing::Anonymous, &Backing::Anonymous, &file("/two words ", 43)]);
        let first = map.find(RuntimeAddress(0x1000)).expect("the first");
        assert_eq!((first.offset, first.executable, first.forbidden), (0x3000, true, false));
        assert!(map.is_guarded(RuntimeAddress(0x4000)));
    }

    #[test]
    fn what_is_no_memory_map_is_refused() {
        for text in ["1000", "1000-2000 r-xp 0 08:01", "1000 r-xp 0 08:01 42 /x", "1000-x r-xp 0 08:01 42 /x"] {
            assert!(MemoryMap::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
