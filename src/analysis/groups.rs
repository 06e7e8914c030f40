//! Threads of one snapshot that have the same stack.

use std::collections::HashMap;

use crate::model::{Stack, Thread};

/// Threads with one stack, in the order of their ids.
pub struct Group<'a> {
    /// All of them.
    pub threads: Vec<&'a Thread>,
}

impl<'a> Group<'a> {
    /// The stack they all have.
    pub fn stack(&self) -> Option<&'a Stack> {
        self.threads.first().map(|thread| &*thread.stack)
    }
}

/// The threads of a snapshot by their stacks; the group of the lowest thread id first. Threads
/// without a known stack are not the same as each other.
pub fn groups<'a>(threads: impl IntoIterator<Item = &'a Thread>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut by_stack: HashMap<&Stack, usize> = HashMap::new();
    for thread in threads {
        let known = thread.is_captured().then(|| by_stack.get(&*thread.stack).copied()).flatten();
        match known {
            Some(group) => groups[group].threads.push(thread),
            None => {
                by_stack.insert(&*thread.stack, groups.len());
                groups.push(Group { threads: vec![thread] });
            }
        }
    }
    groups
}
