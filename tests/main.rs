//! All tests that need a real process, a real peer or the whole program. `tests/run` installs what
//! they need and runs them.
//!
//! Tests that take long have a short form, and their long form when HANGSNAP_LONG=1 is set.

#![allow(unreachable_pub, reason = "`pub` is what the modules of one program offer each other")]

mod aarch64;
mod corpus;
mod deep;
mod doctor;
mod ends;
mod executes;
mod footprint;
mod framehop;
mod front;
mod hangs;
mod harmless;
mod hostile;
mod input;
mod interop;
mod layers;
mod lifecycle;
mod limits;
mod locals;
mod names;
mod namespaces;
mod oracle;
mod proto;
mod record;
mod recover;
mod sameness;
mod service;
mod sources;
mod support;
mod waits;
