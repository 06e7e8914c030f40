//! aarch64: stacks that programs for that machine have recorded of themselves, every instruction of
//! one, and hostile ones.
//!
//! The programs are compiled by a cross-compiler and run by qemu-user, which authenticates pointers
//! as a CPU does. hangsnap itself runs on this machine and walks what was copied.

mod hostile;
mod recorded;
mod space;
mod stepped;
