//! Lines of source: at their path, at another, and embedded in the debug information.

use std::fs;

use super::Built;
use crate::support::{hangsnap, succeed};

fn shown(built: &Built, options: &[&str]) -> String {
    succeed(hangsnap().arg("show").arg(&built.snapshot).args(["--source", "--wide"]).args(options))
}

#[test]
fn lines_of_source_are_printed_around_each_place() {
    let built = Built::with("g++", &["-O2", "-g"], |_| {});
    let all = ["10 >     pause();", "19 >         int r = waits(n + size);", "38 >     int r = pool.take(n);"];
    let here = shown(&built, &[]);
    assert!(all.iter().all(|line| here.contains(line)), "{here}");
    assert!(here.contains("9   __attribute__((noinline)) int waits(int n) {"), "{here}");
    // At another place.
    fs::create_dir(built.path("src")).expect("a directory");
    fs::rename(built.path("routes.cc"), built.path("src/routes.cc")).expect("it is ours");
    assert!(!shown(&built, &[]).contains(" > "), "it is not there");
    let map = format!("{}={}", built.directory.path().display(), built.path("src").display());
    let mapped = shown(&built, &["--source-map", "/nowhere=/neither", "--source-map", &map]);
    assert!(all.iter().all(|line| mapped.contains(line)), "{mapped}");
}

#[test]
fn source_that_the_compiler_has_embedded_is_printed() {
    let built = Built::with("clang++", &["-O2", "-g", "-gdwarf-5", "-gembed-source"], |_| {});
    fs::remove_file(built.path("routes.cc")).expect("it is ours");
    let shown = shown(&built, &[]);
    assert!(shown.contains("10 >     pause();"), "{shown}");
}
