//! Whether a process is frozen by its control group: cgroups(7), freezer of version 1 and 2.

use std::fs;

use super::Reading;

/// The control group that is frozen.
pub(super) fn frozen(reading: &Reading<'_>) -> Option<String> {
    if !reading.sleeps_in(&["do_freezer_trap", "refrigerator", "freezer"]) {
        return None;
    }
    let groups = fs::read_to_string(reading.path("cgroup")).ok()?;
    let path = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        (controllers.is_empty() || controllers.split(',').any(|name| name == "freezer")).then(|| path.to_owned())
    };
    // The freezer's own hierarchy comes before the one without controllers.
    groups.lines().filter_map(path).find(|path| path != "/").or_else(|| Some("/".into()))
}
