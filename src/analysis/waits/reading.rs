//! A futex wait while it is read: the thread, its functions, its word, and the scene that it is in.

use super::futex::Futex;
use super::{Calls, Kind, Resource, Scene, Wait};
use crate::model::Thread;

/// A futex wait with all that explains it.
pub(super) struct Reading<'s, 'a> {
    pub(super) scene: &'s Scene<'a>,
    pub(super) thread: &'s Thread,
    pub(super) calls: &'s Calls<'a>,
    pub(super) futex: &'s Futex<'s>,
    /// The function that decides what the word means.
    pub(super) name: &'s str,
}

impl Reading<'_, '_> {
    /// A wait for this kind of thing, this many bytes before the word.
    pub(super) fn wait(&self, kind: Kind, offset: u64) -> Wait {
        self.wait_for(Resource::at(kind, self.futex.base(offset)))
    }

    pub(super) fn wait_for(&self, resource: Resource) -> Wait {
        Wait {
            is_private: self.futex.is_private,
            is_word_other: self.futex.is_other(),
            ..Wait::for_what(resource).timed(self.futex.is_timed)
        }
    }
}

/// A word that lies in a lock as the address of a thread's own structure.
pub(super) fn thread_of_pointer(scene: &Scene<'_>, pointer: u64) -> Option<i32> {
    scene.index.thread_of_pointer(pointer)
}
