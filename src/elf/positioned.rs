//! A file for the object crate's `ReadCache`, which wants Read and Seek: by pread, which needs no exclusive use of the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A file with a position of its own.
pub struct PositionedFile<'a> {
    file: &'a File,
    position: u64,
    length: u64,
}

impl<'a> PositionedFile<'a> {
    pub fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self { file, position: 0, length: file.metadata()?.len() })
    }
}

impl io::Read for PositionedFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
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
