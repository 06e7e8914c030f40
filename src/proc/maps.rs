//! The memory map of a process.

use std::ops::Range;

use procfs::FromBufRead;
use procfs::process::{MMPermissions, MMapPath, MemoryMaps};

use super::Error;
use crate::model::RuntimeAddress;

/// What lies behind a mapping.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Backing {
    /// A file, by device, inode and path. The path is what the kernel prints: in the target's mount namespace, with
    /// ` (deleted)` behind it where that is so, and whatever the file's owner chose to call it.
    File {
        device: (i32, i32),
        inode: u64,
        path: String,
    },
    MainStack,
    Vdso,
    /// Anonymous memory and the kernel's other special mappings.
    Anonymous,
}

/// One line of /proc/PID/maps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mapping {
    pub range: Range<RuntimeAddress>,
    pub executable: bool,
    /// Whether nothing may be done with the memory: below a thread's stack lies such a mapping, to catch its overflow.
    pub forbidden: bool,
    /// Where in the file the mapping begins.
    pub offset: u64,
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
        // The crate reads lines of UTF-8; a file name need not be that.
        let text = String::from_utf8_lossy(text);
        let maps = MemoryMaps::from_buf_read(text.as_bytes())?;
        let mappings = maps
            .into_iter()
            .map(|map| Mapping {
                range: RuntimeAddress(map.address.0)..RuntimeAddress(map.address.1),
                executable: map.perms.contains(MMPermissions::EXECUTE),
                forbidden: !map.perms.intersects(MMPermissions::READ | MMPermissions::WRITE | MMPermissions::EXECUTE),
                offset: map.offset,
                backing: match map.pathname {
                    MMapPath::Path(path) if map.inode != 0 => {
                        Backing::File { device: map.dev, inode: map.inode, path: path.to_string_lossy().into_owned() }
                    }
                    MMapPath::Stack => Backing::MainStack,
                    MMapPath::Vdso => Backing::Vdso,
                    _ => Backing::Anonymous,
                },
            })
            .collect();
        Ok(Self { mappings })
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Mapping> {
        self.mappings.iter()
    }

    /// The mapping that holds this address. Allocates nothing: it is called while a thread is held.
    pub fn find(&self, address: RuntimeAddress) -> Option<&Mapping> {
        let after = self.mappings.partition_point(|mapping| mapping.range.start <= address);
        self.mappings[..after].last().filter(|mapping| mapping.range.contains(&address))
    }

    /// Whether right below the mapping that holds this address there is one that nothing may be done with.
    pub fn is_guarded(&self, address: RuntimeAddress) -> bool {
        let after = self.mappings.partition_point(|mapping| mapping.range.start <= address);
        match &self.mappings[..after] {
            [.., below, this] => below.forbidden && below.range.end == this.range.start,
            _ => false,
        }
    }
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
}
