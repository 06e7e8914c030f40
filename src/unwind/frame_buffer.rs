//! The frames of a walk that are kept: all of a usual stack, and of a very long one the newest and
//! the oldest.

use crate::model::{Frame, Gap, Stack, WalkEnd};

/// Room for the frames of nearly every stack.
const USUAL: usize = 64;
/// How many of the newest frames are kept, and how many of the oldest at least.
const NEWEST: usize = 2048;
const OLDEST: usize = 512;

/// Frames, innermost first.
pub(super) struct FrameBuffer {
    frames: Vec<Frame>,
    /// How many are kept for good; of those after them, the oldest are.
    newest: usize,
    /// What was left out after those.
    left_out: u64,
    bytes: u64,
    /// Whether there are others there; their number is unknown.
    has_gap: bool,
}

impl FrameBuffer {
    #[inline]
    pub(super) fn new(first: Frame) -> Self {
        let mut frames = Vec::with_capacity(USUAL);
        frames.push(first);
        Self { frames, newest: NEWEST, left_out: 0, bytes: 0, has_gap: false }
    }

    #[inline]
    pub(super) fn push(&mut self, frame: Frame) {
        // Twice as many are kept for a while, so that moving them costs each frame no more than one
        // move.
        if self.frames.len() == self.newest + 2 * OLDEST {
            self.frames.drain(self.newest..self.newest + OLDEST);
            self.left_out += OLDEST as u64;
        }
        self.frames.push(frame);
    }

    /// How many frames were walked so far.
    #[inline]
    pub(super) fn count(&self) -> u64 {
        self.frames.len() as u64 + self.left_out
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Frame> {
        self.frames.last_mut()
    }

    /// This many bytes of stack, and the frames in them, are missing here.
    pub(super) fn skip(&mut self, bytes: u64) {
        let beyond = self.frames.len().saturating_sub(self.newest);
        self.left_out += beyond as u64;
        self.frames.truncate(self.newest);
        self.newest = self.frames.len();
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Frames between the last but one and the last are missing, which lie somewhere else.
    pub(super) fn gap_before_last(&mut self) {
        let last = self.frames.pop();
        self.skip(0);
        self.has_gap = true;
        self.frames.extend(last);
    }

    pub(super) fn into_stack(self, end: WalkEnd) -> Stack {
        let Self { frames, newest, left_out, bytes, has_gap } = self;
        let gap = (left_out > 0 || bytes > 0 || has_gap).then_some(Gap { after: newest, frames: left_out, bytes });
        Stack { frames, gap, end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CodeAddress, FoundBy, Place, RuntimeAddress};

    fn frame(number: u64) -> Frame {
        Frame::new(CodeAddress::Return(Place::Outside(RuntimeAddress(number))), FoundBy::Cfi)
    }

    fn walked(count: u64) -> Stack {
        let mut buffer = FrameBuffer::new(frame(0));
        (1..count).for_each(|number| buffer.push(frame(number)));
        buffer.into_stack(WalkEnd::Root)
    }

    #[test]
    fn nothing_is_left_out_of_a_usual_stack() {
        let stack = walked(3000);
        assert_eq!((stack.frames.len(), stack.gap), (3000, None));
    }

    #[test]
    fn the_newest_and_the_oldest_of_a_long_one_are_kept_and_the_others_counted() {
        let stack = walked(100_000);
        let gap = stack.gap.expect("a gap");
        assert_eq!(stack.frames.len() as u64 + gap.frames, 100_000);
        assert_eq!(stack.frames[..gap.after], (0..2048).map(frame).collect::<Vec<_>>());
        let oldest = 2048 + gap.frames..100_000;
        assert!(oldest.clone().count() >= 512);
        assert_eq!(stack.frames[gap.after..], oldest.map(frame).collect::<Vec<_>>());
    }

    #[test]
    fn bytes_that_are_missing_early_make_the_gap_there() {
        let mut buffer = FrameBuffer::new(frame(0));
        (1..10).for_each(|number| buffer.push(frame(number)));
        buffer.skip(1 << 20);
        (20..30).for_each(|number| buffer.push(frame(number)));
        let stack = buffer.into_stack(WalkEnd::Root);
        assert_eq!((stack.frames.len(), stack.gap), (20, Some(Gap { after: 10, frames: 0, bytes: 1 << 20 })));
    }

    #[test]
    fn frames_that_lie_elsewhere_make_a_gap_before_the_last() {
        let mut buffer = FrameBuffer::new(frame(0));
        (1..10).for_each(|number| buffer.push(frame(number)));
        buffer.gap_before_last();
        (10..12).for_each(|number| buffer.push(frame(number)));
        let stack = buffer.into_stack(WalkEnd::Root);
        assert_eq!((stack.frames.len(), stack.gap), (12, Some(Gap { after: 9, frames: 0, bytes: 0 })));
    }

    #[test]
    fn bytes_that_are_missing_late_take_what_lies_between_with_them() {
        let mut buffer = FrameBuffer::new(frame(0));
        (1..5000).for_each(|number| buffer.push(frame(number)));
        buffer.skip(8);
        (6000..6003).for_each(|number| buffer.push(frame(number)));
        let stack = buffer.into_stack(WalkEnd::Root);
        assert_eq!(stack.gap, Some(Gap { after: 2048, frames: 5000 - 2048, bytes: 8 }));
        assert_eq!(stack.frames[2048..], (6000..6003).map(frame).collect::<Vec<_>>());
    }
}
