//! The registers of frames that a walk has found before: from the same copied bytes, and with the
//! recorded frames as a guide.
//!
//! Promises: a register is known here only if the walk to its frame comes past every recorded frame
//! before it, each at its recorded place. Where a frame needs a register that was never read, each
//! word of the stack is supposed to be it, and one is believed only if it alone leads on through
//! the recorded frames further than any other. What is asked for is bounded. It does not look for
//! frames: those that cannot be followed have no registers.

use super::machine::Machine;
use super::{StackMemory, Unwinder, Walk};
use crate::model::{CodeAddress, FoundBy, Register, RegisterFile, RuntimeAddress, WalkEnd};

/// Words of the stack that one retracing supposes to be a register.
const MOST_WORDS: usize = 1 << 16;
/// Frames that it follows in all, in trials too.
const MOST_FRAMES: usize = 1 << 15;
/// Trials within trials: frames further out may need another register.
const DEEPEST: usize = 3;

/// What is known of a frame besides where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameRegisters<R: Register> {
    /// The registers as the frame's function had them.
    pub registers: RegisterFile<R>,
    /// The canonical frame address, where call frame information gives it.
    pub cfa: Option<u64>,
}

/// A frame as it was recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordedFrame {
    /// Where it is in the process.
    pub code: CodeAddress<RuntimeAddress>,
    /// How it was found.
    pub found: FoundBy,
}

/// What may still be spent.
struct Left {
    words: usize,
    frames: usize,
}

impl<R: Machine> Unwinder<R> {
    /// The registers of each of these frames, innermost first, as far as they can be followed.
    pub fn registers_of(
        &mut self,
        frames: &[RecordedFrame],
        registers: &RegisterFile<R>,
        stack: StackMemory<'_>,
        space: &mut dyn super::CodeSpace,
    ) -> Vec<FrameRegisters<R>> {
        let mut walk = Walk::new(self, stack, space);
        let mut left = Left { words: MOST_WORDS, frames: MOST_FRAMES };
        walk.retrace(frames, *registers, DEEPEST, &mut left)
    }
}

impl<R: Machine> Walk<'_, R> {
    /// Follows the frames for as long as the next one is where it was recorded.
    fn retrace(
        &mut self,
        frames: &[RecordedFrame],
        registers: RegisterFile<R>,
        depth: usize,
        left: &mut Left,
    ) -> Vec<FrameRegisters<R>> {
        let mut followed = vec![FrameRegisters { registers, cfa: None }];
        for (position, pair) in frames.windows(2).enumerate() {
            let [frame, next] = pair else { break };
            let Some(inner) = followed.last_mut() else { break };
            left.frames = match left.frames.checked_sub(1) {
                Some(fewer) => fewer,
                None => break,
            };
            match self.known_caller(frame.code, &inner.registers) {
                Ok(caller) if caller.code.exact() == next.code.exact() => {
                    let is_of_cfi = matches!(caller.found, FoundBy::Cfi) && next.found != FoundBy::Guess;
                    inner.cfa = caller.registers.get(R::SP).filter(|_| is_of_cfi);
                    if next.found == FoundBy::Guess {
                        break;
                    }
                    let registers = caller.registers;
                    followed.push(FrameRegisters { registers, cfa: None });
                }
                Err(WalkEnd::UnknownRegister(unknown)) if depth > 0 => {
                    let Some(register) = R::try_from(unknown).ok().filter(|register| register.is_callee_saved()) else {
                        break;
                    };
                    let registers = inner.registers;
                    followed.pop();
                    let rest = frames.get(position..).unwrap_or_default();
                    followed.extend(self.supposed(rest, registers, register, depth, left));
                    break;
                }
                Ok(_) | Err(_) => break,
            }
        }
        followed
    }

    /// The same, where a register has to be found for the first of them.
    fn supposed(
        &mut self,
        frames: &[RecordedFrame],
        registers: RegisterFile<R>,
        register: R,
        depth: usize,
        left: &mut Left,
    ) -> Vec<FrameRegisters<R>> {
        let unknown = vec![FrameRegisters { registers, cfa: None }];
        let stack = registers.get(R::SP).and_then(|sp| self.stack.from(sp.checked_next_multiple_of(8)?));
        let (Some(words), [frame, next, ..]) = (stack, frames) else { return unknown };
        let mut best = unknown.clone();
        let mut is_alone = true;
        for value in words.step_by(8) {
            left.words = match left.words.checked_sub(1) {
                Some(fewer) => fewer,
                None => return unknown,
            };
            let mut supposed = registers;
            supposed.set(register, value);
            let leads = self.known_caller(frame.code, &supposed).is_ok_and(|it| it.code.exact() == next.code.exact());
            if !leads {
                continue;
            }
            let found = self.retrace(frames, supposed, depth - 1, left);
            if found.len() > best.len() {
                (best, is_alone) = (found, true);
            } else if found.len() == best.len() && best.len() > 1 {
                is_alone = false;
            }
        }
        if is_alone && left.frames > 0 { best } else { unknown }
    }
}
