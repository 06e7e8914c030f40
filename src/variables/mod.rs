//! What the variables of each frame held, from what a snapshot keeps and what debug information
//! says.
//!
//! Promises: works on snapshots and files, never on a live process. A value that is shown is what
//! lay there when the thread was copied; where that is not known, the reason is given in place of
//! it: the compiler keeps it nowhere (`optimized out`), it was in a register that a call may use
//! (`not saved`), the snapshot does not have it (`not captured`), or it cannot be followed
//! (`unreadable`). Debug information is hostile input: types, lists and expressions are followed
//! within bounds, and nothing panics.
//!
//! Registers of outer frames come from walking the stack again (`unwind`), which takes the bytes of
//! the stacks: snapshots have them if they were taken with `--locals` or `--keep stacks`. It looks
//! for no names of functions (`symbols`), and reads thread-local variables of no kind.

mod cpp;
mod debug;
mod decode;
mod entry_value;
mod fields;
mod frames;
mod index;
mod location;
mod memory;
mod object;
mod path;
mod record;
mod rust;
mod scalar;
mod scopes;
mod sequence;
mod space;
mod types;
mod value;

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};

use gimli::constants as dw;

use crate::model::{
    CodeAddress, FoundBy, Frame, MemoryOf, MemoryPiece, ModuleIndex, Place, RuntimeAddress, Snapshot, Thread, Tid,
    X86_64Register,
};
use crate::symbols::{DebugInformation, Finder, debug_information};
use crate::unwind::{FrameRegisters, RecordedFrame, StackMemory, Unwinder};
use debug::{Debug, Die};
use decode::{Decoder, Typed, Types};
use frames::{Context, Stack};
use memory::{Constants, Memory};
use object::Object;
use scopes::Declared;
use space::RecordedSpace;
use types::{Record, Type};

pub use path::{NoPath, Path};
pub use value::{Absent, Scope, Value, Variable};

/// What expressions of one thread may take in all, in bytes of them.
const MOST_STEPS: u64 = 1 << 20;
/// Variables of one thread that are looked at.
const MOST_VARIABLES: usize = 1 << 16;
/// Frames of one thread whose variables are looked at.
const MOST_FRAMES: usize = 1 << 10;

/// Which variables to show.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    /// What of them; all that are in scope, if none is given.
    pub paths: Vec<Path>,
    /// Only those of the frame that is printed with this number.
    pub frame: Option<usize>,
}

/// The variables of the frames of some threads.
#[derive(Default)]
pub struct Locals {
    /// By thread and by the number of the frame, from the innermost; of each frame first the scope
    /// of the innermost function that was inlined there.
    frames: HashMap<(Tid, usize), Vec<Scope>>,
    without_stack: bool,
    paths_in_vain: Vec<String>,
}

impl Locals {
    /// The variables in scope at a frame: of the functions inlined there, innermost first, and of
    /// the function whose code it is. Empty where there is no debug information.
    pub fn of(&self, thread: Tid, frame: usize) -> &[Scope] {
        self.frames.get(&(thread, frame)).map_or(&[], Vec::as_slice)
    }

    /// Whether the bytes of a stack are missing from the snapshot, and most values with them.
    pub fn are_without_stack(&self) -> bool {
        self.without_stack
    }

    /// The paths that led to nothing in any frame.
    pub fn paths_in_vain(&self) -> &[String] {
        &self.paths_in_vain
    }

    /// Looks at the variables of these threads: at all of them, or at what these paths lead to.
    pub fn resolve(finder: &Finder, snapshot: &Snapshot, threads: &[&Thread], paths: &[Path]) -> Self {
        let frames = threads.iter().flat_map(|thread| &thread.stack.frames);
        let wanted: BTreeSet<ModuleIndex> = frames.filter_map(|frame| Some(frame.inside()?.0)).collect();
        let found: HashMap<ModuleIndex, DebugInformation> = wanted
            .into_iter()
            .filter_map(|index| Some((index, debug_information(finder, snapshot.modules.get(index.0 as usize)?))))
            .collect();
        let debugs: HashMap<ModuleIndex, Debug<'_>> =
            found.iter().map(|(index, found)| (*index, Debug::new(found))).filter(|(_, it)| !it.is_empty()).collect();
        let types: HashMap<ModuleIndex, Types> = debugs.keys().map(|index| (*index, Types::default())).collect();
        let constants: Vec<Constants<'_>> = snapshot
            .modules
            .iter()
            .zip(0..)
            .map(|(module, index)| {
                Constants::of(module, found.get(&ModuleIndex(index)).and_then(|it| it.program.as_ref()))
            })
            .collect();
        let mut space = RecordedSpace::new(&snapshot.modules, &found, &constants);
        let mut unwinder = Unwinder::default();
        let mut locals = Self::default();
        let mut in_vain: BTreeSet<&Path> = paths.iter().collect();
        for thread in threads {
            locals.without_stack |= thread.is_captured() && stack_pieces(thread).next().is_none();
            let registers = registers_of(snapshot, thread, &mut unwinder, &mut space);
            let memory = Memory::new(snapshot, thread, &constants);
            let stack = stack_of(snapshot, thread, &registers, &debugs, memory);
            for number in 0..stack.frames.len() {
                let Some(index) = thread.stack.frames.get(number).and_then(|frame| Some(frame.inside()?.0)) else {
                    continue;
                };
                if let (Some(debug), Some(types)) = (debugs.get(&index), types.get(&index)) {
                    let scopes = scopes_of(&stack, number, debug, types, paths, &mut in_vain);
                    locals.frames.insert((thread.tid, number), scopes);
                }
            }
        }
        locals.paths_in_vain = in_vain.into_iter().map(|path| path.text.clone()).collect();
        locals
    }
}

fn stack_pieces(thread: &Thread) -> impl Iterator<Item = &MemoryPiece> {
    thread.memory.iter().filter(|piece| piece.what == MemoryOf::Stack)
}

/// The registers of a thread's frames, as far as they can be had again.
fn registers_of(
    snapshot: &Snapshot,
    thread: &Thread,
    unwinder: &mut Unwinder<X86_64Register>,
    space: &mut RecordedSpace<'_>,
) -> Vec<FrameRegisters<X86_64Register>> {
    let end = thread.stack.gap.map_or(thread.stack.frames.len(), |gap| gap.after).min(MOST_FRAMES);
    let frames: Vec<RecordedFrame> = thread
        .stack
        .frames
        .iter()
        .take(end)
        .map_while(|frame| Some(RecordedFrame { code: runtime(snapshot, frame)?, found: frame.found() }))
        .collect();
    if frames.is_empty() {
        return Vec::new();
    }
    let mut pieces: Vec<MemoryPiece> = stack_pieces(thread).cloned().collect();
    let newest = if pieces.is_empty() { None } else { Some(pieces.remove(0)) };
    let stack = match &newest {
        Some(newest) => StackMemory::new(newest.address, &newest.bytes).with_pieces(&pieces),
        None => StackMemory::new(RuntimeAddress(0), &[]),
    };
    unwinder.registers_of(&frames, &thread.registers.general, stack, space)
}

/// Where a frame is in the process.
fn runtime(snapshot: &Snapshot, frame: &Frame) -> Option<CodeAddress<RuntimeAddress>> {
    let address = match frame.place() {
        Place::InModule { module, address } => snapshot.modules.get(module.0 as usize)?.bias.to_runtime(address),
        Place::Outside(address) => address,
    };
    Some(frame.code().map(|_| address))
}

/// What the variables of each frame depend on.
fn stack_of<'c, 'a>(
    snapshot: &Snapshot,
    thread: &'c Thread,
    registers: &[FrameRegisters<X86_64Register>],
    debugs: &'c HashMap<ModuleIndex, Debug<'a>>,
    memory: Memory<'c>,
) -> Stack<'c, 'a> {
    let context = |(number, (frame, known)): (usize, (&Frame, &FrameRegisters<X86_64Register>))| {
        let (index, _) = frame.inside()?;
        let debug = debugs.get(&index)?;
        let Place::InModule { address, .. } = frame.place() else { return None };
        let code = frame.code().map(|_| address);
        Some(Context {
            debug,
            function: debug.function_at(code.lookup())?,
            code,
            bias: snapshot.modules.get(index.0 as usize)?.bias,
            registers: known.registers,
            cfa: known.cfa,
            has_all_registers: number == 0 || frame.found() == FoundBy::SignalFrame,
            floating: thread.registers.floating.as_ref().filter(|_| number == 0),
        })
    };
    let frames = thread.stack.frames.iter().zip(registers).enumerate().map(context).collect();
    Stack { frames, memory, steps: Cell::new(MOST_STEPS) }
}

/// The variables in scope at a frame.
fn scopes_of<'a, 'p>(
    stack: &Stack<'_, 'a>,
    number: usize,
    debug: &Debug<'a>,
    types: &Types,
    paths: &'p [Path],
    in_vain: &mut BTreeSet<&'p Path>,
) -> Vec<Scope> {
    let Some(context) = stack.frames.get(number).and_then(Option::as_ref) else { return Vec::new() };
    let scopes = scopes::at(debug, &context.function, context.code.lookup());
    let mut left = MOST_VARIABLES;
    let mut shown = Vec::with_capacity(scopes.len());
    for declared in scopes {
        let mut scope = Scope::default();
        for Declared { die, is_argument } in declared.iter().take(left) {
            let Some(name) = debug.name(die) else { continue };
            if debug.with(die, dw::DW_AT_artificial).is_some() && name != "this" {
                continue;
            }
            let decoder = Decoder::new(stack, number, debug, types, known);
            let of = debug.referred_by_origin(die, dw::DW_AT_type);
            let object = locate(stack, number, debug, die);
            if paths.is_empty() {
                let value = match object {
                    Ok(object) => decoder.value(&Typed { of, object }, 0),
                    Err(absent) => Value::Absent(absent),
                };
                let type_name = decoder.type_name(of);
                scope.variables.push(Variable { name, type_name, is_argument: *is_argument, value });
                continue;
            }
            for path in paths.iter().filter(|path| path.begins_at(&name)) {
                let led = object.clone().and_then(|object| path.follow(&decoder, Typed { of, object }));
                let (type_name, value) = match led {
                    Ok(typed) => (decoder.type_name(typed.of), decoder.value(&typed, 1)),
                    Err(absent) => (String::new(), Value::Absent(absent)),
                };
                in_vain.remove(path);
                let name = path.text.clone();
                scope.variables.push(Variable { name, type_name, is_argument: *is_argument, value });
            }
        }
        left = left.saturating_sub(declared.len());
        shown.push(scope);
    }
    shown
}

/// The value of a type of the standard library of the language that a type is of.
fn known(
    decoder: &Decoder<'_, '_, '_>,
    of: &Type,
    record: &Record,
    typed: &Typed,
    follow: usize,
    depth: usize,
) -> Option<Value> {
    match decoder.is_rust(typed.of?) {
        true => rust::known(decoder, of, record, typed, follow, depth),
        false => cpp::known(decoder, of, record, typed, follow, depth),
    }
}

/// Where a variable is, or the constant that it is.
fn locate<'a>(stack: &Stack<'_, 'a>, number: usize, debug: &Debug<'a>, die: &Die<'a>) -> Result<Object, Absent> {
    match debug.with(die, dw::DW_AT_const_value) {
        None => stack.locate(number, die),
        Some((_, gimli::AttributeValue::Block(bytes))) => Ok(Object::of(bytes.slice().to_vec())),
        Some((owner, value)) => {
            let text = debug.dwarf(owner.place).attr_string(&owner.unit, value).ok();
            let bytes = match (types::constant(&owner, dw::DW_AT_const_value), text) {
                (Some(number), _) => number.to_le_bytes().to_vec(),
                (None, Some(text)) => [text.slice(), b"\0"].concat(),
                (None, None) => return Err(Absent::Unreadable),
            };
            Ok(Object::of(bytes))
        }
    }
}
