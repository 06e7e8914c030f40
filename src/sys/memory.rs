//! Reading the memory of another process. Never writing it.

use std::fs::File;
use std::io::IoSliceMut;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};

use crate::model::{RuntimeAddress, Tid};

/// The memory of one process.
///
/// It is read through /proc/PID/mem. process_vm_readv(2) would take 0.6 times as long, but where a
/// thread of the target sleeps in the kernel with the memory map locked it waits beyond the reach
/// of SIGKILL, and a thread that its caller holds waits with it; a read of the file can be killed.
/// Only where the file may not be opened is there no choice.
pub struct ProcessMemory {
    way: Way,
}

enum Way {
    File(File),
    Call(nix::unistd::Pid),
}

impl ProcessMemory {
    /// Opens what there is to open now, so that reading needs no more than one system call. Any
    /// thread of the process that has not exited will do.
    pub fn open(owner: Tid) -> Self {
        Self {
            way: match File::open(format!("/proc/{owner}/mem")) {
                Ok(file) => Way::File(file),
                Err(_) => Way::Call(nix::unistd::Pid::from_raw(owner.0)),
            },
        }
    }

    /// Copies what lies at `address` into the buffer and returns how many bytes there were: fewer
    /// than asked for when the memory ends before, and an error when there is none.
    pub fn read(&self, address: RuntimeAddress, buffer: &mut [u8]) -> Result<usize, Errno> {
        match &self.way {
            Way::File(file) => file
                .read_at(buffer, address.0)
                .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)),
            Way::Call(owner) => {
                let (Ok(base), len) = (usize::try_from(address.0), buffer.len()) else {
                    return Err(Errno::EFAULT);
                };
                process_vm_readv(*owner, &mut [IoSliceMut::new(buffer)], &[RemoteIoVec { base, len }])
            }
        }
    }
}
