//! Pages of a process's memory, each read once while a snapshot is put together.
//!
//! Finding out what called a function takes many looks of a few bytes at the same few pages of
//! code, and each reading of a process's memory takes two switches between threads. What was read
//! stays as it was first seen. Not for stacks and data, whose bytes have to be of one moment.

use std::collections::HashMap;

use super::ProcessAccess;
use crate::model::RuntimeAddress;

const PAGE: usize = 4096;
/// As much is read at once.
const TOGETHER: u64 = 16 << 10;
/// Pages kept: 4 MiB. Threads stand still in few places.
const MAX_PAGES: usize = 1024;

/// Pages of a process's memory. Each is read once.
pub struct Pages<'a> {
    access: &'a ProcessAccess,
    /// By their addresses. One that cannot be read is empty.
    pages: HashMap<u64, Box<[u8]>>,
}

impl<'a> Pages<'a> {
    /// No pages yet.
    pub fn new(access: &'a ProcessAccess) -> Self {
        Self { access, pages: HashMap::new() }
    }

    /// Copies what lies at `address` into the buffer and returns how many bytes there were.
    pub fn read(&mut self, address: RuntimeAddress, buffer: &mut [u8]) -> usize {
        let mut copied = 0;
        while copied < buffer.len() {
            let Some(at) = address.0.checked_add(copied as u64) else {
                break;
            };
            let offset = at % PAGE as u64;
            let page = self.page(at - offset);
            let rest = usize::try_from(offset).ok().and_then(|offset| page.get(offset..)).unwrap_or_default();
            let length = rest.len().min(buffer.len() - copied);
            if length == 0 {
                break;
            }
            buffer[copied..copied + length].copy_from_slice(&rest[..length]);
            copied += length;
        }
        copied
    }

    fn page(&mut self, start: u64) -> &[u8] {
        if self.pages.len() >= MAX_PAGES && !self.pages.contains_key(&start) {
            self.pages.clear();
        }
        if !self.pages.contains_key(&start) {
            self.read_around(start);
        }
        self.pages.entry(start).or_insert_with(|| read_at(self.access, start, PAGE))
    }

    /// Reads a page with its neighbours, which are often asked for next; fewer where memory ends
    /// among them.
    fn read_around(&mut self, start: u64) {
        let first = start - start % TOGETHER;
        let together = read_at(self.access, first, TOGETHER as usize);
        for (page, address) in together.chunks_exact(PAGE).zip((first..).step_by(PAGE)) {
            self.pages.entry(address).or_insert_with(|| page.into());
        }
    }
}

/// What lies there, as far as it can be read.
fn read_at(access: &ProcessAccess, start: u64, length: usize) -> Box<[u8]> {
    let mut bytes = vec![0; length];
    let length = access.read(RuntimeAddress(start), &mut bytes).unwrap_or(0);
    bytes.truncate(length);
    bytes.into()
}
