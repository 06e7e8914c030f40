//! What people and scripts read: text and JSON of snapshots, comparisons and lists.
//!
//! Promises: the same snapshot gives the same output wherever it came from; what the target chose
//! (names, paths) cannot reach the terminal as control characters. JSON field names and meanings
//! are kept; fields are only added. It computes nothing that `analysis` or `symbols` should.

mod blocked_call;
mod call_sets;
mod details;
mod diff;
mod doctor;
mod fold;
pub mod json;
mod list;
mod locals;
mod paths;
mod shorten;
mod show;
mod style;
mod symbols;
mod system_call;
mod value;
mod why;
mod width;
mod zone;

pub use diff::diff;
pub use doctor::{doctor, doctor_json};
pub use list::{ListedRecording, list};
pub use show::{Lookups, Selection, show};
pub use symbols::symbols;
pub use value::{bytes, duration, printable, time};
pub use why::why;
pub use width::Width;
pub use zone::zone;
