//! Reading a recording, as far as it goes.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::{EXTENSION, Error, HEAD, MAGIC};
use crate::model::{Recording, Snapshot};
use crate::wire::{self, Decoder, Record};

/// Where a file stops making sense, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    pub path: PathBuf,
    /// The first byte that could not be used.
    pub at: u64,
    /// How many bytes from there on are lost.
    pub lost: u64,
    /// The number of the last snapshot that could be read; 0 for none.
    pub last_whole: u64,
    pub what: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, at, lost, last_whole, what } = self;
        write!(f, "{}: {what} at byte {at}; its last {lost} bytes are lost", path.display())?;
        match last_whole {
            0 => f.write_str(", and no snapshot comes before them; record again, or look for another copy of the file"),
            last => write!(f, "; everything up to snapshot {last} is whole and can be shown with --at N"),
        }
    }
}

/// A recording that is being read: an iterator over its snapshots.
pub struct Reader {
    input: BufReader<File>,
    path: PathBuf,
    decoder: Decoder,
    recording: Recording,
    position: u64,
    length: u64,
    last_whole: u64,
    ended: bool,
}

enum Next {
    Record(Record),
    End,
    Damaged(String),
}

impl Reader {
    /// Opens a recording and reads what its snapshots have in common. A file that breaks off before that has been
    /// written is reported as damage.
    pub fn open(path: &Path) -> Result<Result<Self, Damage>, Error> {
        let open = |source| Error::Open { path: path.into(), source };
        // Looked at before it is opened: opening a FIFO waits for somebody to write to it.
        let metadata = fs::metadata(path).map_err(open)?;
        if metadata.is_dir() {
            return Err(open(io::ErrorKind::IsADirectory.into()));
        }
        if !metadata.is_file() {
            return Err(Error::NotOurs { path: path.into() });
        }
        let file = File::open(path).map_err(open)?;
        let mut input = BufReader::with_capacity(1 << 16, file);
        let mut magic = Vec::new();
        let read = |source| Error::Read { path: path.into(), source };
        input.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(read)?;
        if magic.is_empty() || !MAGIC.starts_with(&magic) {
            return Err(Error::NotOurs { path: path.into() });
        }
        let recording = Recording {
            version: String::new(),
            host: String::new(),
            kernel: String::new(),
            boot_id: String::new(),
            machine: String::new(),
            interval: None,
        };
        let mut reader = Self {
            input,
            path: path.into(),
            decoder: Decoder::default(),
            recording,
            position: magic.len() as u64,
            length: metadata.len(),
            last_whole: 0,
            ended: false,
        };
        Ok(match reader.next_record()? {
            Next::Record(Record::Recording(recording)) => {
                reader.recording = recording;
                Ok(reader)
            }
            Next::Record(_) => Err(reader.damage("no description of the recording".into())),
            Next::End => Err(reader.damage("the file is cut short".into())),
            Next::Damaged(what) => Err(reader.damage(what)),
        })
    }

    pub fn recording(&self) -> &Recording {
        &self.recording
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next snapshot. None at the end; damage once, where the file stops making sense, and then None.
    pub fn next_snapshot(&mut self) -> Result<Option<Result<Snapshot, Damage>>, Error> {
        while !self.ended {
            match self.next_record()? {
                Next::Record(Record::Snapshot(snapshot)) => {
                    self.last_whole = snapshot.number;
                    return Ok(Some(Ok(*snapshot)));
                }
                Next::Record(Record::Recording(_) | Record::Unknown) => {}
                Next::End => self.ended = true,
                Next::Damaged(what) => {
                    self.ended = true;
                    return Ok(Some(Err(self.damage(what))));
                }
            }
        }
        Ok(None)
    }

    fn damage(&self, what: String) -> Damage {
        Damage {
            path: self.path.clone(),
            at: self.position,
            lost: self.length.saturating_sub(self.position),
            last_whole: self.last_whole,
            what,
        }
    }

    fn next_record(&mut self) -> Result<Next, Error> {
        let mut head = Vec::new();
        self.read(HEAD as u64, &mut head)?;
        if head.is_empty() {
            return Ok(Next::End);
        }
        let (Some(length), Some(checksum)) = (head.first_chunk::<4>(), head.last_chunk::<4>()) else {
            return Ok(Next::Damaged("the file is cut short".into()));
        };
        if head.len() < HEAD {
            return Ok(Next::Damaged("the file is cut short".into()));
        }
        if head.iter().all(|&byte| byte == 0) {
            // A file system may leave zeroes where a write was under way; they even have the right checksum.
            return Ok(Next::Damaged("a record without contents".into()));
        }
        let (length, checksum) = (u64::from(u32::from_le_bytes(*length)), u32::from_le_bytes(*checksum));
        // What is read is bounded by what is there, not by what the length claims.
        let mut payload = Vec::new();
        self.read(length, &mut payload)?;
        if (payload.len() as u64) < length {
            return Ok(Next::Damaged("the file is cut short".into()));
        }
        if crc32fast::hash(&payload) != checksum {
            return Ok(Next::Damaged("a record does not agree with its checksum".into()));
        }
        match self.decoder.record(&payload) {
            Ok(record) => {
                self.position += HEAD as u64 + length;
                Ok(Next::Record(record))
            }
            Err(error) => Ok(Next::Damaged(describe(&error))),
        }
    }

    fn read(&mut self, length: u64, into: &mut Vec<u8>) -> Result<(), Error> {
        match self.input.by_ref().take(length).read_to_end(into) {
            Ok(_) => Ok(()),
            Err(source) => Err(Error::Read { path: self.path.clone(), source }),
        }
    }
}

fn describe(error: &wire::Error) -> String {
    format!("a record cannot be understood ({error})")
}

/// The recordings that a path means: itself, or those in a directory, in the order of their names.
pub fn recordings_in(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let open = |source| Error::Open { path: path.into(), source };
    if !fs::metadata(path).map_err(open)?.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(open)? {
        let file = entry.map_err(open)?.path();
        if file.extension().is_some_and(|extension| extension == EXTENSION) {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Error::Empty { path: path.into() });
    }
    files.sort_unstable();
    Ok(files)
}
