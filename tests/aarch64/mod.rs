//! aarch64: stacks that programs for that machine have recorded of themselves, and every instruction of one.
//!
//! The programs are compiled by a cross-compiler and run by qemu-user, which authenticates pointers as a CPU does. hangsnap
//! itself runs on this machine and walks what was copied.

mod recorded;
mod space;
mod stepped;
