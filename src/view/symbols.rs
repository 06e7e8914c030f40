//! Says of each module on stacks where its names come from, and what would supply those that are
//! missing.

use std::io::Write;
use std::path::Path;

use super::{Aside, At, Error, Format, select};
use crate::render::{self, json};
use crate::store::{self, Contents, Reader};
use crate::symbols::{Finder, Names};

/// Prints it of one snapshot of a recording, or of all.
pub fn symbols(
    out: &mut dyn Write,
    path: &Path,
    at: Option<&At>,
    finder: &Finder,
    format: Format,
) -> Result<Aside, Error> {
    let path = store::recording_at(path)?;
    let mut aside = Aside::default();
    let finder = &finder.with_bundle(store::bundled(&path));
    let names = match at {
        Some(at) => {
            let mut contents = Contents::open(&path)?;
            let chosen = select::choose(&mut contents, &path, at)?;
            aside.remarks.extend(chosen.remark);
            aside.damage = contents.damage();
            Names::resolve(finder, [chosen.snapshot])
        }
        None => {
            let mut reader = Reader::open(&path)?;
            let mut failed = None;
            let snapshots = std::iter::from_fn(|| {
                loop {
                    match reader.next_snapshot() {
                        Ok(Some(Ok(snapshot))) => return Some(snapshot),
                        Ok(Some(Err(damage))) => aside.damage.push(damage),
                        Ok(None) => return None,
                        Err(error) => {
                            failed = Some(error);
                            return None;
                        }
                    }
                }
            });
            let names = Names::resolve(finder, snapshots);
            if let Some(error) = failed {
                return Err(error.into());
            }
            names
        }
    };
    match format {
        Format::Text(_) => render::symbols(out, names.reports(), names.remarks())?,
        Format::Json => json::symbols(out, names.reports(), names.remarks())?,
    }
    Ok(aside)
}
