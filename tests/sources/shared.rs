//! Debug information that dwz moved to a file that others share.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Built, assert_whole};
use crate::names::array;
use crate::support::succeed;

/// Builds the program, and moves what it shares with a copy of it to `common.debug`.
fn shared(version: &str, options: &[&str]) -> Built {
    Built::with("g++", &["-O2", "-g", version], |at: &Path| {
        fs::copy(at.join("routes"), at.join("other")).expect("a copy");
        let mut dwz = Command::new("dwz");
        dwz.current_dir(at).args(options).args(["-m", "common.debug", "routes", "other"]);
        succeed(&mut dwz);
        assert!(at.join("common.debug").exists(), "dwz found nothing to share");
    })
}

#[test]
fn what_dwz_moved_is_found_beside_the_file_that_names_it() {
    for (version, options) in [("-gdwarf-4", &[][..]), ("-gdwarf-5", &[]), ("-gdwarf-5", &["--dwarf-5"])] {
        let what = format!("{version} {options:?}");
        let options = [options, &["-M", "common.debug"]].concat();
        let built = shared(version, &options);
        assert_whole(&what, &built.show(&[]));
        // Elsewhere, under any name.
        fs::create_dir(built.path("kept")).expect("a directory");
        fs::rename(built.path("common.debug"), built.path("kept/of-another-name")).expect("it is ours");
        let report = built.report(&[]);
        assert_eq!(report["missing"][0]["what"], "supplementary", "{what}: {report:#}");
        let kept = built.path("kept").display().to_string();
        assert_whole(&format!("{what}: in a directory"), &built.show(&["--symbols", &kept]));
        assert!(array(&built.report(&["--symbols", &kept])["missing"]).is_empty(), "{what}");
        // One of another build is not used.
        let other = shared(version, &options);
        let source = fs::read_to_string(other.path("routes.cc")).expect("the source").replace("RouteTable", "Changed");
        fs::write(other.path("routes.cc"), source).expect("it is ours");
        let flags = ["-O2", "-g", version, "routes.cc", "-o", "routes"];
        succeed(Command::new("g++").current_dir(other.directory.path()).args(flags));
        fs::copy(other.path("routes"), other.path("other")).expect("a copy");
        let at = other.directory.path();
        succeed(Command::new("dwz").current_dir(at).args(&options).args(["-m", "common.debug", "routes", "other"]));
        fs::copy(other.path("common.debug"), built.path("common.debug")).expect("a copy");
        assert_eq!(built.report(&[])["missing"][0]["what"], "supplementary", "{what}: another build's was used");
    }
}
