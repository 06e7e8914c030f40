//! The reader's time zone: what TZ names, or else what the machine is set to.
//!
//! Promises: a zone is taken from the machine's own files where it has them, which know of last
//! year's change of law, and from those in this program where it has none. One that cannot be found
//! is UTC, and as every time is printed with its offset that is seen. It is looked up once.

use std::env;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use jiff::tz::TimeZone;

/// Where systems keep their zones.
const PLACES: [&str; 3] = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo"];
const LOCAL: &str = "/etc/localtime";
/// More than any zone's file has.
const LARGEST: u64 = 1 << 20;

/// The reader's time zone.
pub fn zone() -> TimeZone {
    static ZONE: LazyLock<TimeZone> = LazyLock::new(|| {
        let file = match env::var("TZ") {
            Ok(name) => of_name(name.strip_prefix(':').unwrap_or(&name)),
            Err(env::VarError::NotPresent) => of_file(Path::new(LOCAL)),
            Err(env::VarError::NotUnicode(_)) => None,
        };
        // Rules that are written out, files named by their path, and zones that this program has.
        file.unwrap_or_else(TimeZone::system)
    });
    ZONE.clone()
}

/// A zone by its name, such as `Europe/Berlin`.
fn of_name(name: &str) -> Option<TimeZone> {
    let is_name = !name.is_empty() && Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    let own = env::var_os("TZDIR").map(PathBuf::from);
    let places = own.into_iter().chain(PLACES.map(PathBuf::from));
    is_name.then(|| places.map(|place| place.join(name)).find_map(|path| of_file(&path)))?
}

fn of_file(path: &Path) -> Option<TimeZone> {
    let metadata = fs::metadata(path).ok()?;
    let is_readable = metadata.is_file() && metadata.len() <= LARGEST;
    TimeZone::tzif("", &is_readable.then(|| fs::read(path).ok())??).ok()
}
