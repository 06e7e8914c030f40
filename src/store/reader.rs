//! Reading a recording from its beginning to its end, snapshot by snapshot.

use std::path::{Path, PathBuf};

use super::chain::{Chain, ChainStep, Damage};
use super::origin::Origin;
use super::{Error, layout};
use crate::model::{Recording, Snapshot};
use crate::wire::{Decoder, Record};

/// A recording that is being read: an iterator over its snapshots.
pub struct Reader {
    path: PathBuf,
    segments: std::vec::IntoIter<PathBuf>,
    current: Option<Current>,
    recording: Option<Recording>,
    /// Whose the last segment was that a snapshot could be read from.
    origin: Origin,
    /// Read, and reported after what is to be said of its segment.
    behind: Option<Snapshot>,
    /// The number of the last snapshot.
    last: u64,
    /// Whether a file that is no segment is damage among others, and not all there is.
    is_directory: bool,
    /// Segments that are gone, reported after all others. None until then.
    lost: Option<std::vec::IntoIter<Damage>>,
}

/// The segment that is being read.
struct Current {
    path: PathBuf,
    chain: Chain,
    decoder: Decoder,
    recording: Option<Recording>,
    /// Whether none of its snapshots has been read.
    is_new: bool,
}

impl Reader {
    /// Opens a recording, or a segment of one, and reads what its snapshots have in common.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let segments = layout::segments_of(path)?;
        let is_directory = path.is_dir();
        let mut recording = None;
        for segment in &segments {
            match describe(segment) {
                Ok(None) => continue,
                Ok(described) => recording = described,
                // That is said when it is its turn.
                Err(_) if is_directory => continue,
                Err(error) => return Err(error),
            }
            break;
        }
        Ok(Self {
            path: path.into(),
            segments: segments.into_iter(),
            current: None,
            recording,
            origin: Origin::default(),
            behind: None,
            last: 0,
            is_directory,
            lost: None,
        })
    }

    /// None when that is what was damaged.
    pub fn recording(&self) -> Option<&Recording> {
        self.recording.as_ref()
    }

    /// The next snapshot, or what is lost before it; at the end what else is lost, and then None.
    pub fn next_snapshot(&mut self) -> Result<Option<Result<Snapshot, Damage>>, Error> {
        if let Some(snapshot) = self.behind.take() {
            return Ok(Some(Ok(snapshot)));
        }
        loop {
            let Some(current) = &mut self.current else {
                let Some(path) = self.segments.next() else { return self.next_lost() };
                match Chain::open(&path) {
                    Ok(chain) => {
                        let decoder = Decoder::default();
                        self.current = Some(Current { path, chain, decoder, recording: None, is_new: true });
                    }
                    Err(error) if error.is_gone() && self.is_directory => {}
                    Err(error) if self.is_directory => return Ok(Some(Err(error.into_damage(self.last)?))),
                    Err(error) => return Err(error),
                }
                continue;
            };
            let step = match current.chain.step() {
                Err(error) if self.is_directory => {
                    self.current = None;
                    return Ok(Some(Err(error.into_damage(self.last)?)));
                }
                step => step?,
            };
            match step {
                ChainStep::Snapshot(place, _) | ChainStep::Other(place) => {
                    match current.decoder.record(current.chain.payload(place)?) {
                        Ok(Record::Snapshot(snapshot)) => {
                            let stranger = self.stranger(&snapshot);
                            self.last = snapshot.number;
                            return Ok(Some(match stranger {
                                Some(stranger) => {
                                    self.behind = Some(*snapshot);
                                    Err(stranger)
                                }
                                None => Ok(*snapshot),
                            }));
                        }
                        Ok(Record::Recording(recording)) => current.recording = Some(recording),
                        Ok(Record::Bundled(_) | Record::Unknown) => {}
                        Err(error) => current.chain.reject(place, self.last, &error),
                    }
                }
                ChainStep::Damage(mut damage) => {
                    damage.after = damage.after.max(self.last);
                    return Ok(Some(Err(damage)));
                }
                ChainStep::End => self.current = None,
            }
        }
    }

    /// What is to be said of the segment that begins with this snapshot, if it does not belong to
    /// the one before.
    fn stranger(&mut self, snapshot: &Snapshot) -> Option<Damage> {
        let current = self.current.as_mut().filter(|current| current.is_new && self.is_directory)?;
        current.is_new = false;
        let origin = Origin::new(current.recording.take(), Some(snapshot.process.id));
        self.origin.go_on_to(origin, &current.path, self.last)
    }

    fn next_lost(&mut self) -> Result<Option<Result<Snapshot, Damage>>, Error> {
        let lost = match &mut self.lost {
            Some(lost) => lost,
            None => {
                let lost = if self.is_directory { layout::damage_of_lost(&self.path, self.last)? } else { Vec::new() };
                self.lost.insert(lost.into_iter())
            }
        };
        Ok(lost.next().map(Err))
    }
}

/// What a segment says of its recording; None when that is damaged.
fn describe(segment: &Path) -> Result<Option<Recording>, Error> {
    let mut chain = Chain::open(segment)?;
    let ChainStep::Other(place) = chain.step()? else { return Ok(None) };
    Ok(match Decoder::default().record(chain.payload(place)?) {
        Ok(Record::Recording(recording)) => Some(recording),
        _ => None,
    })
}
