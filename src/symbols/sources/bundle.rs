//! Files that the recording keeps.
//!
//! Promises: a file is unpacked when it is asked for, into memory that ends with it, and to no more
//! bytes than what is packed makes likely.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use flate2::read::ZlibDecoder;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::found::{FoundBy, FoundFile};
use crate::elf::Links;
use crate::model::{BuildId, BundledFile, BundledRole, Module};

/// Deflate makes a thousandth of zeroes, and symbols and debug information a tenth.
const MAX_RATIO: u64 = 128;
const SMALL: u64 = 1 << 20;
const MAX_SIZE: u64 = 4 << 30;

/// The files, as they are packed.
#[derive(Clone, Default, Debug)]
pub(super) struct Bundle(pub(super) Arc<[BundledFile]>);

impl Bundle {
    /// What is kept of a module: the file with the most in it.
    pub(super) fn of(&self, module: &Module) -> Option<FoundFile> {
        let is_its = |file: &&BundledFile| match &module.build_id {
            Some(_) => file.build_id == module.build_id,
            None => file.build_id.is_none() && file.path == module.path,
        };
        let files = self.of_role(BundledRole::Module).filter(is_its).filter_map(unpack);
        let right = files.filter(|found| module.build_id.is_none() || found.links.build_id == module.build_id);
        right.max_by_key(|found| (found.links.has_debug_info, found.links.has_symbols))
    }

    /// What dwz moved out of several files.
    pub(super) fn supplementary(&self, id: &BuildId) -> Option<FoundFile> {
        let mut files = self.of_role(BundledRole::Supplementary).filter(|file| file.build_id.as_ref() == Some(id));
        files.find_map(unpack).filter(|found| found.links.has_id(id))
    }

    /// Units of debug information in files of this name.
    pub(super) fn split(&self, name: &str) -> impl Iterator<Item = FoundFile> {
        let is_called = move |file: &&BundledFile| file.path.rsplit('/').next() == Some(name);
        self.of_role(BundledRole::Split).filter(is_called).filter_map(unpack)
    }

    fn of_role(&self, role: BundledRole) -> impl Iterator<Item = &BundledFile> {
        self.0.iter().filter(move |file| file.role == role)
    }
}

fn unpack(bundled: &BundledFile) -> Option<FoundFile> {
    let likely = (bundled.packed.len() as u64).saturating_mul(MAX_RATIO).clamp(SMALL, MAX_SIZE);
    if bundled.size > likely {
        return None;
    }
    let mut file = File::from(memfd_create(c"hangsnap-bundle", MFdFlags::MFD_CLOEXEC).ok()?);
    let mut plain = ZlibDecoder::new(&*bundled.packed).take(bundled.size);
    let written = io::copy(&mut plain, &mut file).ok()?;
    let links = Links::read(&file).filter(|_| written == bundled.size)?;
    let (root, path) = ("/".into(), bundled.path.clone());
    Some(FoundFile { file, links, root, path, by: FoundBy::Bundle, is_unchecked: false })
}
