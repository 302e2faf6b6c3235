//! Where things lie.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The tree.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The folder of the binaries built with the same profile as the running test, e.g. `target/release`.
#[must_use]
pub fn bin() -> PathBuf {
    let test = env::current_exe().unwrap();
    test.ancestors().find(|folder| folder.ends_with("deps")).and_then(Path::parent).unwrap().to_owned()
}

/// A built program; panics with what to do where it is not there.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = bin().join(name);
    assert!(
        path.exists(),
        "{} is not built; run tests/run.sh build, or cargo build --workspace and tests/build-guest.sh",
        path.display()
    );
    path
}

/// What lasts from run to run, and the data folders of running tests; one file system, so that files can be linked.
#[must_use]
pub fn cache() -> PathBuf {
    let folder = bin().parent().unwrap().join("pilothouse-test-data");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
