//! The longest gap between two beats of a busy thread inside the target: what the target itself
//! sees of a stop.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::figures::percentile;
use crate::takers::scratch;

/// The file that the target keeps its longest gap in.
pub struct Heartbeat {
    path: PathBuf,
    file: File,
}

impl Heartbeat {
    pub fn new() -> Self {
        let path = scratch("heartbeat");
        fs::write(&path, [0; 4096]).expect("the shared file");
        let file = File::options().read(true).write(true).open(&path).expect("the shared file");
        Self { path, file }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The longest gap in each of some rounds; the median of the rounds, in microseconds.
    pub fn gap(&self, rounds: usize, mut round: impl FnMut()) -> f64 {
        let mut gaps: Vec<u64> = (0..rounds)
            .map(|_| {
                self.file.write_all_at(&[0; 8], 0).expect("the shared file");
                round();
                let mut longest = [0; 8];
                self.file.read_exact_at(&mut longest, 0).expect("the shared file");
                u64::from_ne_bytes(longest)
            })
            .collect();
        percentile(&mut gaps, 50)
    }
}
