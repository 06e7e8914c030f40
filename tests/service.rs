//! The daemon: which processes it looks at, what makes it take an incident, and what it answers.
//! All on real processes.

mod bad_input;
mod booted;
mod daemon;
mod frozen;
mod killed;
mod packaged;
mod reload;
mod scale;
mod targets;
mod triggers;
