//! Which process, and what is loaded into it.
//!
//! `select` turns what the user typed into one live process and refuses what cannot be looked at,
//! saying why and what would help. `selector` has criteria that several processes may meet,
//! `discovery` finds those that do, again and again; `cgroup` and `container_names` know units,
//! containers and pods. `modules` turns the process's memory map into modules with build-ids, and
//! finds the call frame information of each; `places` opens files to which their paths do not lead.
//! `perf_map` names code that the process made, `registered` that which it registered for
//! debuggers, `exported` finds variables of programs. None of them holds a thread.

mod access;
mod cgroup;
mod container_names;
mod discovery;
mod exported;
mod groups;
mod images;
mod loaded;
mod modules;
mod pages;
mod perf_map;
mod places;
mod registered;
mod select;
mod selector;

pub use access::{ProcessAccess, TimeoutWorker};
pub use cgroup::Cgroup;
pub use discovery::{Discovery, Found, Scan};
pub use exported::Exported;
pub use loaded::LoadedModule;
pub use modules::{Loader, Source};
pub use pages::Pages;
pub use perf_map::generated_code;
pub use registered::{Registered, Registry};
pub(crate) use select::explain;
pub use select::{Error, Target, Wanted};
pub use selector::{Criterion, Selector};
