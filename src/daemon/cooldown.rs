//! When each trigger has fired, so that it keeps quiet for a while, also after the daemon was
//! started again.
//!
//! Promises: the file is replaced as a whole, so that it is whole whenever the daemon dies. A clock
//! that was set back makes no trigger quiet for longer than its time. What is kept is bounded, and
//! so are the incidents of one selector in an hour, however often its processes are restarted.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::files::replace;

/// For so long anything is remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// How many moments are remembered.
const MOST: usize = 4096;
/// Incidents of one selector in an hour.
const MOST_IN_AN_HOUR: usize = 20;
const HOUR: Duration = Duration::from_secs(3600);
const FILE: &str = "cooldowns.json";

/// Why a trigger may not fire now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Quiet {
    /// It has fired of the same process, and may again after this time.
    For(Duration),
    /// There have been too many incidents of these processes in the last hour.
    TooMany,
}

/// When each trigger has fired.
pub(super) struct Cooldowns {
    file: PathBuf,
    /// In seconds since 1970.
    fired: HashMap<String, u64>,
    recent: HashMap<String, VecDeque<u64>>,
}

impl Cooldowns {
    /// As the last run has left them in this directory. What is no such file counts as none.
    pub(super) fn load(directory: &Path) -> Self {
        let file = directory.join(FILE);
        let fired: HashMap<String, u64> =
            fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let mut cooldowns = Self { file, fired, recent: HashMap::new() };
        let now = now();
        // What fired in a time that has not come yet fired before the clock was set back.
        cooldowns.fired.values_mut().for_each(|at| *at = (*at).min(now));
        cooldowns.prune(now);
        cooldowns
    }

    /// Whether a trigger may fire for a process of this selector now; then it has.
    pub(super) fn fire(&mut self, selector: &str, key: &str, cooldown: Duration) -> Result<(), Quiet> {
        let now = now();
        if let Some(at) = self.fired.get(key) {
            let since = Duration::from_secs(now.saturating_sub(*at));
            // The clock was set back.
            let left = if *at > now { Duration::ZERO } else { cooldown.saturating_sub(since) };
            if !left.is_zero() {
                return Err(Quiet::For(left));
            }
        }
        let recent = self.recent.entry(selector.into()).or_default();
        recent.retain(|at| now.abs_diff(*at) < HOUR.as_secs());
        if recent.len() >= MOST_IN_AN_HOUR {
            return Err(Quiet::TooMany);
        }
        recent.push_back(now);
        self.fired.insert(key.into(), now);
        self.prune(now);
        Ok(())
    }

    /// Keeps what has fired for the next run. It is called when the first samples are there: a disk
    /// that is slow does not delay them.
    pub(super) fn save(&self) -> io::Result<()> {
        replace(&self.file, &serde_json::to_vec(&self.fired).unwrap_or_default())
    }

    fn prune(&mut self, now: u64) {
        self.fired.retain(|_, at| now.abs_diff(*at) < REMEMBERED.as_secs());
        while self.fired.len() > MOST {
            let oldest = self.fired.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
            oldest.map(|key| self.fired.remove(&key));
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_is_quiet_after_a_restart_too_and_the_clock_cannot_prolong_that() -> io::Result<()> {
        let place = tempfile::tempdir()?;
        let hour = Duration::from_secs(3600);
        let fire = |cooldowns: &mut Cooldowns, key| {
            let fired = cooldowns.fire("a", key, hour).map(|()| true);
            cooldowns.save().expect("it can be written");
            fired
        };
        let mut cooldowns = Cooldowns::load(place.path());
        assert_eq!(fire(&mut cooldowns, "one"), Ok(true));
        let mut again = Cooldowns::load(place.path());
        assert!(matches!(fire(&mut again, "one"), Err(Quiet::For(left)) if left <= hour));
        assert_eq!(fire(&mut again, "two"), Ok(true));
        let future = format!("{{\"one\":{}}}", now() + 1_000_000);
        fs::write(place.path().join(FILE), future)?;
        assert!(matches!(fire(&mut Cooldowns::load(place.path()), "one"), Err(Quiet::For(left)) if left <= hour));
        fs::write(place.path().join(FILE), "no JSON")?;
        assert_eq!(fire(&mut Cooldowns::load(place.path()), "one"), Ok(true));
        Ok(())
    }

    #[test]
    fn restarts_in_a_loop_make_no_endless_incidents() {
        let place = tempfile::tempdir().expect("a directory");
        let mut cooldowns = Cooldowns::load(place.path());
        let fired = (0..100).filter(|pid| cooldowns.fire("a", &pid.to_string(), HOUR).is_ok()).count();
        assert_eq!(fired, MOST_IN_AN_HOUR);
    }
}
