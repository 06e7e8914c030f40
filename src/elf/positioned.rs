//! A file for the object crate's `ReadCache`, which wants Read and Seek: by pread, which needs no
//! exclusive use of the file.
//!
//! That crate reads names one by one, and a symbol table has thousands next to each other. So a
//! block is read at once, unless it asks for more.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What is read at once, from a multiple of it on.
const BLOCK: usize = 8 << 10;

/// A file with a position of its own.
pub struct PositionedFile<'a> {
    file: &'a File,
    position: u64,
    length: u64,
    /// What was read last, and from where.
    block: Vec<u8>,
    block_at: u64,
}

impl<'a> PositionedFile<'a> {
    /// A file that is read from its beginning.
    pub fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self { file, position: 0, length: file.metadata()?.len(), block: Vec::new(), block_at: 0 })
    }
}

impl PositionedFile<'_> {
    /// What there is from the position to the end of its block; nothing at the end of the file.
    fn rest_of_block(&mut self) -> io::Result<&[u8]> {
        let start = self.position - self.position % BLOCK as u64;
        let is_inside = |at: u64, block: &[u8]| at == start && self.position - at < block.len() as u64;
        if !is_inside(self.block_at, &self.block) {
            self.block.resize(BLOCK, 0);
            self.block_at = start;
            let count = self.file.read_at(&mut self.block, start);
            self.block.truncate(count.as_ref().map_or(0, |count| *count));
            count?;
        }
        let inside = usize::try_from(self.position - start).unwrap_or(BLOCK);
        Ok(self.block.get(inside..).unwrap_or_default())
    }
}

impl io::Read for PositionedFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match buffer.len() {
            BLOCK.. => self.file.read_at(buffer, self.position)?,
            wanted => {
                let rest = self.rest_of_block()?;
                let count = wanted.min(rest.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                count
            }
        };
        self.position += count as u64;
        Ok(count)
    }
}

impl io::Seek for PositionedFile<'_> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let target = match to {
            io::SeekFrom::Start(offset) => Some(offset),
            io::SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            io::SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, SeekFrom, Write};

    use super::*;

    #[test]
    fn small_and_large_pieces_are_those_of_the_file_wherever_they_begin() {
        let bytes: Vec<u8> = (0..3 * BLOCK as u32 + 100).map(|number| (number * 7 / 3) as u8).collect();
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(&bytes).expect("room for it");
        let mut positioned = PositionedFile::new(&file).expect("readable");
        for start in (0..bytes.len()).step_by(511) {
            for length in [1, 100, BLOCK - 1, BLOCK, 2 * BLOCK] {
                let mut read = vec![0; length];
                positioned.seek(SeekFrom::Start(start as u64)).expect("it has a place");
                match bytes.get(start..start + length) {
                    Some(expected) => {
                        positioned.read_exact(&mut read).expect("there is as much");
                        assert_eq!(read, expected, "{length} from {start} on");
                    }
                    None => assert!(positioned.read_exact(&mut read).is_err(), "{length} from {start} on"),
                }
            }
        }
    }
}
