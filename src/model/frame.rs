//! A stack as it was walked: frames from the innermost outwards, how each was found, and why the
//! walk ended.

use std::fmt;

use super::{AnyRegister, CodeAddress, FileAddress, ModuleIndex, RuntimeAddress};

/// Where an instruction lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Place {
    /// In an ELF image.
    InModule {
        /// Which of the snapshot's modules.
        module: ModuleIndex,
        /// The address in its file.
        address: FileAddress,
    },
    /// In no module: generated code, or a wild pointer.
    Outside(RuntimeAddress),
}

/// One activation of a function. In sixteen bytes: a snapshot of thousands of threads has a hundred
/// thousand of them, and they are compared in each sample.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Frame {
    address: u64,
    /// The number of the module that the address is counted in, or `OUTSIDE`.
    module: u32,
    is_return: bool,
    found: FoundBy,
}

/// In no module; the address is a run-time one. A process cannot have this many mappings
/// (vm.max_map_count is an `int`).
const OUTSIDE: u32 = u32::MAX;

const _: () = assert!(size_of::<Frame>() == 16);

impl Frame {
    /// A frame at this place.
    #[inline]
    pub fn new(code: CodeAddress<Place>, found: FoundBy) -> Self {
        let is_return = matches!(code, CodeAddress::Return(_));
        match code.exact() {
            Place::InModule { module, address } => Self { address: address.0, module: module.0, is_return, found },
            Place::Outside(address) => Self { address: address.0, module: OUTSIDE, is_return, found },
        }
    }

    /// Where it is, as a pc or a return address.
    #[inline]
    pub fn code(&self) -> CodeAddress<Place> {
        if self.is_return { CodeAddress::Return(self.place()) } else { CodeAddress::Pc(self.place()) }
    }

    /// Where it is, by the address that the register or the stack held.
    #[inline]
    pub fn place(&self) -> Place {
        match self.module {
            OUTSIDE => Place::Outside(RuntimeAddress(self.address)),
            module => Place::InModule { module: ModuleIndex(module), address: FileAddress(self.address) },
        }
    }

    /// How it was found.
    #[inline]
    pub fn found(&self) -> FoundBy {
        self.found
    }

    /// An address inside the instruction that the frame is about, where it lies in a module.
    #[inline]
    pub fn inside(&self) -> Option<(ModuleIndex, FileAddress)> {
        match self.place() {
            Place::InModule { module, address } if self.is_return => {
                Some((module, CodeAddress::Return(address).lookup()))
            }
            Place::InModule { module, address } => Some((module, address)),
            Place::Outside(_) => None,
        }
    }

    /// The same, where it lies in no module.
    pub fn outside(&self) -> Option<RuntimeAddress> {
        match self.code() {
            CodeAddress::Pc(Place::Outside(address)) => Some(CodeAddress::Pc(address).lookup()),
            CodeAddress::Return(Place::Outside(address)) => Some(CodeAddress::Return(address).lookup()),
            CodeAddress::Pc(Place::InModule { .. }) | CodeAddress::Return(Place::InModule { .. }) => None,
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame").field("code", &self.code()).field("found", &self.found).finish()
    }
}

/// How a frame came to be known, from the surest to the least sure.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FoundBy {
    /// It is the thread's own instruction pointer.
    Context,
    /// Call frame information of the frame inside it said where its return address is.
    Cfi,
    /// The frame inside it is a signal trampoline, whose call frame information points into the
    /// kernel's saved context.
    SignalFrame,
    /// A return address after a call of the frame inside it lies at a place that call frame
    /// information alone did not give: a register that it needs was unknown and was recovered, or
    /// there is none and the frame's own instructions said how deep its stack is, or Go has changed
    /// to another stack. Frames further out were found from there, each in the way that it says.
    Inferred,
    /// A chain of saved frame pointers, where no call frame information was found.
    FramePointer,
    /// A word of the stack was taken for a return address: after a call through a bad pointer, in
    /// code without call frame information, or after a part of the stack that was not copied.
    Guess,
    /// In a way that the version of hangsnap which reads the recording does not know.
    Unknown,
}

/// The frames of one thread, innermost first, and why there are no more.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Stack {
    /// Innermost first.
    pub frames: Vec<Frame>,
    /// Where frames of a very long stack were left out.
    pub gap: Option<Gap>,
    /// Why there are no more.
    pub end: WalkEnd,
}

/// The middle of a stack that is too long to be kept whole, or that does not lie on the stack; then
/// nothing is counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Gap {
    /// How many of the frames lie before it.
    pub after: usize,
    /// How many frames were walked and are not kept.
    pub frames: u64,
    /// How many bytes of the stack were not copied, with an unknown number of frames in them.
    pub bytes: u64,
}

impl Gap {
    /// What is missing, in words.
    pub fn describe(self) -> String {
        match (self.frames, self.bytes) {
            (0, 0) => "more frames, which are not on the stack".into(),
            (frames, 0) => format!("{frames} more frames, which are not kept"),
            (0, bytes) => format!("{bytes} bytes of stack were not copied, with more frames in them"),
            (frames, bytes) => format!("{frames} more frames, and {bytes} bytes of stack that were not copied"),
        }
    }
}

/// Why a walk ended. Anything but `Root` means that callers may be missing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum WalkEnd {
    /// The outermost frame: its call frame information declares that nothing called it, or the
    /// return address is zero.
    Root,
    /// Neither registers nor memory of the thread could be had.
    NotCaptured,
    /// The word at this address is needed and was not copied.
    MemoryNotCopied(RuntimeAddress),
    /// The call frame information needs a register whose value is unknown.
    UnknownRegister(AnyRegister),
    /// No call frame information covers the address, and no chain of frame pointers goes on from
    /// it.
    NoUnwindInfo(RuntimeAddress),
    /// There is call frame information for the address, but it cannot be evaluated.
    BadUnwindInfo(RuntimeAddress),
    /// The value found as return address does not point into executable memory.
    BadReturnAddress(RuntimeAddress),
    /// The caller's frame would not lie further up the stack.
    NoProgress,
    /// More frames than any stack has that can be copied, or more of them without plain call frame
    /// information than are walked.
    TooManyFrames,
    /// One that the version of hangsnap which reads the recording does not know.
    Unknown,
}

impl WalkEnd {
    /// Why, in words; the addresses and registers are the facts it follows from.
    pub fn describe(self) -> String {
        match self {
            Self::Root => "the outermost frame".into(),
            Self::NotCaptured => "the thread was not captured".into(),
            Self::MemoryNotCopied(at) => format!("the stack at {at} was not copied"),
            Self::UnknownRegister(register) => {
                format!("the caller depends on {}, whose value is unknown", register.name())
            }
            Self::NoUnwindInfo(at) => {
                format!("no unwind information for {at} and no frame pointer")
            }
            Self::BadUnwindInfo(at) => {
                format!("the unwind information for {at} cannot be evaluated")
            }
            Self::BadReturnAddress(at) => {
                format!("the return address {at} lies in no executable memory")
            }
            Self::NoProgress => "the next frame would not lie further up the stack".into(),
            Self::TooManyFrames => "more frames than are walked".into(),
            Self::Unknown => "a reason that only a newer hangsnap knows".into(),
        }
    }
}
