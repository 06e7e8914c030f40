//! Decompressing `.debug_info` of a file before it is known how much of it is wanted.
//!
//! The frames of a thread that waits lie in the C library, whose debug information distributions
//! compress; to decompress it takes longer than all else that a look at one small process does. So
//! a thread begins with it while the process is being looked at. Promises: what is handed out is
//! what the section would be read as; of another file, or of a larger section, nothing is; when
//! no more is waited for the thread ends. It keeps nothing but what it decompresses.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::sections::decoder_of_info;

/// A larger section is left alone: most of it would be decompressed in vain.
const MOST: u64 = 32 << 20;
/// How much is decompressed before it is looked whether somebody waits for it.
const STEP: usize = 256 << 10;

/// What a thread decompresses ahead of its use, if anything.
#[derive(Clone, Default, Debug)]
pub(super) struct Ahead(Option<Arc<Shared>>);

#[derive(Default, Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// Which file it is: device, inode, size and time of change.
type Identity = (u64, u64, u64, i64, i64);

#[derive(Default, Debug)]
struct State {
    /// None until the file has been found.
    file: Option<Identity>,
    bytes: Vec<u8>,
    /// No more is needed than there is, or there is no more.
    is_over: bool,
}

impl Ahead {
    /// Begins with the file that this finds, on a thread of its own.
    pub(super) fn begin(find: impl FnOnce() -> Option<File> + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        // Without a thread it is read when it is needed.
        let begun = thread::Builder::new().spawn(move || {
            if let Some(file) = find() {
                theirs.decompress(&file);
            }
            theirs.end();
        });
        Self(begun.is_ok().then_some(shared))
    }

    /// The first `most` bytes of the section of this file, or all. None where that is not what is
    /// being decompressed.
    pub(super) fn debug_info(&self, file: &File, most: Option<usize>) -> Option<Vec<u8>> {
        let shared = self.0.as_ref()?;
        let mut state = shared.lock();
        if state.file.is_none() || state.file != identity(file) {
            return None;
        }
        while !state.is_over && most.is_none_or(|most| state.bytes.len() < most) {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = std::mem::take(&mut state.bytes);
        state.is_over = true;
        state.file = None;
        match most {
            Some(most) if bytes.len() < most => return None,
            Some(most) => bytes.truncate(most),
            None => {}
        }
        Some(bytes)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decompress(&self, file: &File) {
        let Some((mut decoder, size)) = decoder_of_info(file).filter(|(_, size)| *size <= MOST) else {
            return;
        };
        let size = usize::try_from(size).unwrap_or_default();
        let mut state = self.lock();
        state.file = identity(file);
        state.bytes.reserve_exact(size);
        drop(state);
        let mut step = vec![0; STEP.min(size)];
        let mut done = 0;
        while done < size {
            let step = &mut step[..STEP.min(size - done)];
            let read = decoder.read_exact(step);
            let mut state = self.lock();
            if state.is_over {
                return;
            }
            if read.is_err() {
                // The one that wants it finds out what of it can be read.
                state.file = None;
                return;
            }
            state.bytes.extend_from_slice(step);
            done += step.len();
            self.changed.notify_all();
        }
    }

    fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }
}

fn identity(file: &File) -> Option<Identity> {
    let found = file.metadata().ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use gimli::SectionId;

    use super::super::sections::one_section;
    use super::*;

    fn program(directory: &tempfile::TempDir, name: &str, flag: &str) -> PathBuf {
        let (source, program) = (directory.path().join("many.c"), directory.path().join(name));
        let functions: String = (0..500).map(|n| format!("int f{n}(int a) {{ return a + {n}; }}\n")).collect();
        std::fs::write(&source, functions + "int main(void) { return 0; }\n").expect("room for it");
        let gcc = Command::new("gcc").args(["-g", flag, "-o"]).args([&program, &source]).status();
        assert!(gcc.is_ok_and(|status| status.success()), "gcc is needed");
        program
    }

    fn begun_with(path: &Path) -> Ahead {
        let path = path.to_path_buf();
        let ahead = Ahead::begin(move || File::open(path).ok());
        let shared = ahead.0.as_ref().expect("a thread");
        loop {
            let state = shared.lock();
            if state.file.is_some() || state.is_over {
                break;
            }
            drop(state);
            thread::yield_now();
        }
        ahead
    }

    /// All of the C library's debug information was decompressed after its process had been looked
    /// at.
    #[test]
    fn what_was_decompressed_ahead_is_what_the_section_is_read_as() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = program(&directory, "compressed", "-gz=zlib");
        let file = File::open(&path).expect("it was compiled");
        let whole = one_section(&file, SectionId::DebugInfo, None).expect("it has some");
        assert!(whole.len() > 20_000, "{} bytes are too few to say anything", whole.len());
        for most in [None, Some(20), Some(whole.len() / 2), Some(whole.len())] {
            let found = begun_with(&path).debug_info(&file, most);
            assert_eq!(found.as_deref(), Some(&whole[..most.unwrap_or(whole.len())]), "{most:?}");
        }
        let ahead = begun_with(&path);
        assert_eq!(ahead.debug_info(&file, Some(whole.len() + 1)), None);
        assert_eq!(ahead.debug_info(&file, None), None, "it is handed out once");
    }

    #[test]
    fn of_another_file_and_of_one_that_is_not_compressed_nothing_is_handed_out() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = program(&directory, "compressed", "-gz=zlib");
        let other = program(&directory, "plain", "-gz=none");
        let file = File::open(&other).expect("it was compiled");
        assert_eq!(begun_with(&path).debug_info(&file, None), None);
        assert_eq!(begun_with(&other).debug_info(&file, None), None);
        assert_eq!(Ahead::default().debug_info(&file, None), None);
    }
}
