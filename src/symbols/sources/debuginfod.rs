//! Files from debuginfod servers, and from the directory in which debuginfod's clients keep them.
//!
//! `DEBUGINFOD_URLS` says which servers; without it nothing is sent, and only what is kept is used.
//! Promises: what comes is believed only if it has the build-id that was asked for. A server costs
//! bounded time and disk: `DEBUGINFOD_TIMEOUT` (seconds for each 100 KiB), `DEBUGINFOD_MAXTIME`
//! (seconds for one file), `DEBUGINFOD_MAXSIZE` (bytes of one); one that does not answer is not
//! asked again. Names and places in the directory are elfutils' own, so that each client finds what
//! another has got. `https` is not spoken: `debuginfod-find` is named for that.

use std::collections::{BTreeSet, HashSet};
use std::env;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::http::{self, Fetch, Limits};
use crate::model::BuildId;

/// For how long a file that no server has is not asked for again, as elfutils has it.
const MISSING_FOR: Duration = Duration::from_secs(600);
const TIMEOUT: Duration = Duration::from_secs(90);
const MAX_TIME: Duration = Duration::from_secs(600);
const MAX_SIZE: u64 = 4 << 30;

/// What of a build-id is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::symbols) enum Wanted<'a> {
    DebugInfo,
    Executable,
    /// A source file, by the whole path that the debug information has.
    Source(&'a str),
}

/// The servers, and where files are kept.
#[derive(Clone, Debug)]
pub struct Debuginfod {
    servers: Vec<String>,
    directory: Option<PathBuf>,
    limits: Limits,
    /// What is said while a file comes: what it is, bytes so far, and all of them if that is known.
    progress: fn(&str, u64, Option<u64>),
    state: Arc<Mutex<State>>,
}

#[derive(Default, Debug)]
struct State {
    /// Servers that have not answered.
    dead: HashSet<String>,
    /// What went wrong, once each.
    remarks: BTreeSet<String>,
}

impl Debuginfod {
    /// As the environment says.
    pub fn from_environment(progress: fn(&str, u64, Option<u64>)) -> Self {
        let seconds = |name| Some(Duration::from_secs(env::var(name).ok()?.trim().parse().ok()?));
        let positive = |time: &Duration| !time.is_zero();
        let urls = env::var("DEBUGINFOD_URLS").unwrap_or_default();
        Self {
            servers: urls.split_whitespace().map(|url| url.trim_end_matches('/').to_owned()).collect(),
            directory: directory(),
            limits: Limits {
                timeout: seconds("DEBUGINFOD_TIMEOUT").filter(positive).unwrap_or(TIMEOUT),
                whole: seconds("DEBUGINFOD_MAXTIME").filter(positive).unwrap_or(MAX_TIME),
                bytes: env::var("DEBUGINFOD_MAXSIZE")
                    .ok()
                    .and_then(|text| text.trim().parse().ok())
                    .unwrap_or(MAX_SIZE),
            },
            progress,
            state: Arc::default(),
        }
    }

    /// What went wrong so far.
    pub(in crate::symbols) fn remarks(&self) -> Vec<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).remarks.iter().cloned().collect()
    }

    /// A file of a build-id that is right: what is kept of it, or what a server sends.
    pub(super) fn find<T>(
        &self,
        id: &BuildId,
        wanted: Wanted<'_>,
        is_right: impl Fn(&Path, File) -> Option<T>,
    ) -> Option<T> {
        let directory = self.directory.as_ref()?.join(id.to_string());
        let kept = directory.join(match wanted {
            Wanted::DebugInfo => "debuginfo".to_owned(),
            Wanted::Executable => "executable".to_owned(),
            Wanted::Source(path) => format!("source{}", path.replace('/', "#")),
        });
        if let Ok(metadata) = kept.symlink_metadata() {
            if metadata.is_file() && metadata.len() > 0 {
                return is_right(&kept, File::open(&kept).ok()?);
            }
            let age = metadata.modified().ok().and_then(|since| SystemTime::now().duration_since(since).ok());
            if age.is_some_and(|age| age < MISSING_FOR) {
                return None;
            }
        }
        self.download(id, wanted, &directory, &kept).then(|| is_right(&kept, File::open(&kept).ok()?)).flatten()
    }

    /// Asks one server after another. Whether there is a file now.
    fn download(&self, id: &BuildId, wanted: Wanted<'_>, directory: &Path, kept: &Path) -> bool {
        let path = match wanted {
            Wanted::DebugInfo => format!("buildid/{id}/debuginfo"),
            Wanted::Executable => format!("buildid/{id}/executable"),
            Wanted::Source(path) => format!("buildid/{id}/source{}", http::escaped(path)),
        };
        let mut is_missing = !self.servers.is_empty();
        for server in &self.servers {
            if self.state.lock().unwrap_or_else(PoisonError::into_inner).dead.contains(server) {
                is_missing = false;
                continue;
            }
            match self.fetch(&format!("{server}/{path}"), directory, kept) {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => {
                    is_missing = false;
                    let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                    state.remarks.insert(format!("debuginfod {server}: {error}"));
                    state.dead.insert(server.clone());
                }
            }
        }
        if is_missing {
            // As elfutils says that no server has it.
            let _ = fs::remove_file(kept);
            let _ = OpenOptions::new().write(true).create_new(true).mode(0o400).open(kept);
        }
        false
    }

    fn fetch(&self, url: &str, directory: &Path, kept: &Path) -> io::Result<bool> {
        fs::create_dir_all(directory)?;
        // Of this process and thread alone, and in its place only when it is whole.
        let begun = directory.join(format!(".hangsnap-{}-{:?}", std::process::id(), std::thread::current().id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&begun)?;
        let what = url.rsplit("/buildid/").next().unwrap_or(url);
        let fetched = http::get(url, self.limits, &mut file, |bytes, of| (self.progress)(what, bytes, of));
        let done = match fetched {
            Ok(Fetch::Whole) => fs::rename(&begun, kept).map(|()| true),
            Ok(Fetch::NotThere) => Ok(false),
            Err(error) => Err(error),
        };
        if !matches!(done, Ok(true)) {
            let _ = fs::remove_file(&begun);
        }
        done
    }

    /// What was kept turned out to be another file.
    pub(super) fn reject(&self, kept: &Path, id: &BuildId) {
        let _ = fs::remove_file(kept);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.remarks.insert(format!("debuginfod: what was sent for build-id {id} is another file, and is not used"));
    }
}

/// Where elfutils' client keeps files.
fn directory() -> Option<PathBuf> {
    if let Some(path) = env::var_os("DEBUGINFOD_CACHE_PATH").filter(|path| !path.is_empty()) {
        return Some(path.into());
    }
    let home = env::var_os("HOME").map(PathBuf::from);
    // The one of early versions, where there is one.
    if let Some(old) = home.as_ref().map(|home| home.join(".debuginfod_client_cache")).filter(|old| old.is_dir()) {
        return Some(old);
    }
    let cache = env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    Some(cache.or_else(|| Some(home?.join(".cache")))?.join("debuginfod_client"))
}
