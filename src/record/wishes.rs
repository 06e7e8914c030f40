//! Memory that the user asked for by name: where it lies in one process.

use crate::capture::{Base, Wish};
use crate::elf::find_symbol;
use crate::model::{RuntimeAddress, SpecialRegister, X86_64Register};
use crate::proc::MemoryMap;
use crate::process::{Loader, ProcessAccess, Target, TimeoutWorker};
use crate::sys::memory::ProcessMemory;

/// A piece of memory as the user names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MemoryWish {
    /// This many bytes at an address.
    Address(RuntimeAddress, u64),
    /// This many bytes where a register of each thread points to.
    Register(X86_64Register, u64),
    /// The same for a special register.
    Special(SpecialRegister, u64),
    /// A variable, and how much of it: all, unless a length is given.
    Symbol(String, Option<u64>),
}

/// What is copied of a variable whose size nothing says.
const UNSIZED: u64 = 8;

/// Why a name has no place.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "--memory {symbol}: no symbol of that name in the files that {pid} ({program}) has loaded; give an address instead"
)]
pub struct NoSuchSymbol {
    symbol: String,
    pid: crate::model::Pid,
    program: String,
}

/// Where these pieces lie in this process, as it is now.
pub(super) fn locate(wishes: &[(String, MemoryWish)], target: &Target) -> Result<Vec<Wish>, NoSuchSymbol> {
    let mut loader = Loader::default();
    let mut located = Vec::with_capacity(wishes.len());
    for (text, wish) in wishes {
        let (base, length) = match wish {
            MemoryWish::Address(address, length) => (Base::Address(*address), *length),
            MemoryWish::Register(register, length) => (Base::Register(*register), *length),
            MemoryWish::Special(register, length) => (Base::Special(*register), *length),
            MemoryWish::Symbol(name, length) => {
                let (address, size) = symbol(name, target, &mut loader).ok_or_else(|| NoSuchSymbol {
                    symbol: name.clone(),
                    pid: target.pid(),
                    program: target.process.name.clone(),
                })?;
                let size = if size == 0 { UNSIZED } else { size };
                (Base::Address(address), length.unwrap_or(size))
            }
        };
        located.push(Wish { text: text.clone(), base, length });
    }
    Ok(located)
}

fn symbol(name: &str, target: &Target, loader: &mut Loader) -> Option<(RuntimeAddress, u64)> {
    let map = MemoryMap::parse(&target.directory.maps().ok()?).ok()?;
    let memory = ProcessMemory::open(target.directory.memory_owner().ok()?);
    let access = ProcessAccess::new(memory, true, TimeoutWorker::default());
    let source = loader.modules(target.process.id, target.directory.root(), &map, &access);
    source.modules.iter().find_map(|loaded| {
        let name = name.to_owned();
        let (address, size) = source.with_file(loaded, move |file| find_symbol(file, &name))??;
        Some((loaded.module.bias.to_runtime(address), size))
    })
}
