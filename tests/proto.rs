//! The generated code in the tree is what the .proto file generates.
//!
//! After a change to proto/: `HANGSNAP_REGENERATE=1 cargo test proto`, then commit both.

use std::fs;
use std::path::Path;

#[test]
fn the_checked_in_code_is_what_the_proto_file_generates() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().expect("a temporary directory");
    let descriptors =
        protox::compile(["hangsnap/v1/snapshot.proto"], [root.join("proto")]).expect("a valid .proto file");
    prost_build::Config::new().out_dir(out.path()).compile_fds(descriptors).expect("code");
    let generated = fs::read_to_string(out.path().join("hangsnap.v1.rs")).expect("the generated file");
    let checked_in = root.join("src/wire/pb.rs");
    if std::env::var_os("HANGSNAP_REGENERATE").is_some() {
        fs::write(&checked_in, &generated).expect("writing the generated code");
    }
    let present = fs::read_to_string(&checked_in).unwrap_or_default();
    assert!(
        present == generated,
        "src/wire/pb.rs is not what proto/ generates; run HANGSNAP_REGENERATE=1 cargo test proto"
    );
}
