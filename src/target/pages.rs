//! Pages of a process's memory, each read once while a snapshot is put together.
//!
//! Finding out what called a function takes many looks of a few bytes at the same few pages of code, and each reading of
//! a process's memory takes two switches between threads. What was read stays as it was first seen. Not for stacks and data,
//! whose bytes have to be of one moment.

use std::collections::HashMap;

use super::Reach;
use crate::model::RuntimeAddress;

const PAGE: usize = 4096;
/// Pages kept: 4 MiB. Threads stand still in few places.
const MAX_PAGES: usize = 1024;

pub struct Pages<'a> {
    reach: &'a Reach,
    /// By their addresses. One that cannot be read is empty.
    pages: HashMap<u64, Box<[u8]>>,
}

impl<'a> Pages<'a> {
    pub fn new(reach: &'a Reach) -> Self {
        Self { reach, pages: HashMap::new() }
    }

    /// Copies what lies at `address` into the buffer and tells how many bytes there were.
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
        if self.pages.len() == MAX_PAGES && !self.pages.contains_key(&start) {
            self.pages.clear();
        }
        self.pages.entry(start).or_insert_with(|| {
            let mut page = vec![0; PAGE];
            let length = self.reach.read(RuntimeAddress(start), &mut page).unwrap_or(0);
            page.truncate(length);
            page.into()
        })
    }
}
