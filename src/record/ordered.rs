//! What to ask for of a process for as long as it runs one image of a program, and samples that are of one image only.
//!
//! Promises: a sample that was taken while the process executed another program is taken again. Of a process that executes faster
//! than it can be looked at, the sample says so, and has nothing that might be of two programs mixed.

use super::{Error, Manner, Sample};
use crate::capture::Order;
use crate::model::{Notice, Reason, Subject};
use crate::proc::ImageId;
use crate::target::Target;

/// How often a process is looked at for one sample.
const MOST_LOOKS: usize = 8;

/// An order, and the image for which it is one: the variables of another lie somewhere else.
pub(super) struct Ordered {
    order: Order,
    image: Option<ImageId>,
    /// Memory that was asked for by name and that the program which runs now has not.
    nameless: Vec<Notice>,
}

impl Ordered {
    /// What to ask for of a process as it is now. Errors if memory is asked for by a name that it does not have.
    pub(super) fn new(target: &Target, manner: &Manner) -> Result<Self, Error> {
        let image = target.directory.image().ok().flatten();
        Ok(Self { order: manner.order(target)?, image, nameless: Vec::new() })
    }

    /// The same for a recording, of which the pipeline has the last sample and needs no more than what has changed since, unless the
    /// bytes of all stacks are to be kept.
    pub(super) fn for_changes(target: &Target, manner: &Manner) -> Result<Self, Error> {
        let mut ordered = Self::new(target, manner)?;
        ordered.order.after = (!manner.keep_stacks).then_some(0);
        Ok(ordered)
    }

    /// Takes a sample by `take`, which is to be called with an order, as often as is needed for one that is of one image. The sample
    /// has to be handed on: the next one may refer to it.
    pub(super) fn sample(
        &mut self,
        target: &Target,
        manner: &Manner,
        mut take: impl FnMut(&Order) -> Result<Option<Sample>, Error>,
    ) -> Result<Option<Sample>, Error> {
        let mut looks = 0;
        loop {
            looks += 1;
            self.renew(target, manner);
            let Some(mut sample) = take(&self.order)? else {
                return Ok(None);
            };
            // What was copied of a process that has ended since is still true. Between two images it may have been twice.
            let is_of_one = target.directory.image().map_or(true, |now| now.is_some() && now == self.image);
            if !is_of_one && looks < MOST_LOOKS {
                continue;
            }
            if !is_of_one {
                sample.captured.leave_out_stacks();
            }
            self.refer_to(if is_of_one { sample.captured.number } else { 0 });
            sample.captured.notices.extend(self.nameless.iter().cloned());
            sample.image = self.image;
            return Ok(Some(sample));
        }
    }

    /// From now on only what has changed since this snapshot is needed; since none, if it is 0.
    fn refer_to(&mut self, number: u64) {
        self.order.after = self.order.after.map(|_| number);
    }

    /// Orders anew if the process has executed another program since.
    fn renew(&mut self, target: &Target, manner: &Manner) {
        let Ok(image) = target.directory.image() else {
            return;
        };
        if image == self.image {
            return;
        }
        self.image = image;
        self.order.is_go = target.is_go();
        self.order.memory.clear();
        self.nameless.clear();
        for wish in &manner.memory {
            match super::wishes::locate(std::slice::from_ref(wish), target) {
                Ok(located) => self.order.memory.extend(located),
                Err(_) => {
                    let what = format!("finding --memory {} in the program that it executes now", wish.0);
                    let reason = Reason::Refused { what, errno: libc::ENOENT };
                    self.nameless.push(Notice { subject: Subject::Process, reason });
                }
            }
        }
    }
}
