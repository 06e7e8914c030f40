//! What makes a stack the same stack in another snapshot: the same instructions of the same files,
//! wherever they are loaded.

use std::collections::HashMap;

use crate::model::{BuildId, CodeAddress, Frame, Gap, Place, Snapshot, Stack};

/// One frame's instruction, without anything that differs between two loadings of the same files.
/// Comparable within one `Signatures`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct FrameSignature {
    /// None when the address lies in no module.
    module: Option<u32>,
    address: u64,
    is_return: bool,
}

/// A stack's number: equal stacks have equal numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct StackNumber(u32);

/// Numbers for what was seen in all snapshots compared with one another.
#[derive(Default)]
pub(super) struct Signatures {
    modules: HashMap<(String, Option<BuildId>), u32>,
    stacks: HashMap<(Vec<FrameSignature>, Option<Gap>), StackNumber>,
}

impl Signatures {
    /// The numbers of a snapshot's modules, in its order.
    pub(super) fn modules(&mut self, snapshot: &Snapshot) -> Vec<u32> {
        let number = |module: &crate::model::Module| {
            let next = u32::try_from(self.modules.len()).unwrap_or(u32::MAX);
            *self.modules.entry((module.path.clone(), module.build_id.clone())).or_insert(next)
        };
        snapshot.modules.iter().map(number).collect()
    }

    pub(super) fn stack(&mut self, modules: &[u32], stack: &Stack) -> StackNumber {
        let next = StackNumber(u32::try_from(self.stacks.len()).unwrap_or(u32::MAX));
        let frames = stack.frames.iter().map(|frame| of_frame(modules, frame)).collect();
        *self.stacks.entry((frames, stack.gap)).or_insert(next)
    }
}

pub(super) fn of_frame(modules: &[u32], frame: &Frame) -> FrameSignature {
    let (module, address) = match frame.place() {
        Place::InModule { module, address } => (modules.get(module.0 as usize).copied(), address.0),
        Place::Outside(address) => (None, address.0),
    };
    FrameSignature { module, address, is_return: matches!(frame.code(), CodeAddress::Return(_)) }
}
