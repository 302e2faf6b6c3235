//! Where things lie.

use std::{
    env,
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// The tree; a test program that was taken elsewhere, to another user, finds the part that it needs at
/// `PILOTHOUSE_TEST_TREE`.
#[must_use]
pub fn root() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    env::var_os("PILOTHOUSE_TEST_TREE").map_or_else(built, PathBuf::from)
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

/// A new folder beside those of other tests, which nobody else may look into: hostd takes no other for its data.
#[must_use]
pub fn folder() -> TempDir {
    let private = Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("run-").permissions(private).tempdir_in(cache()).unwrap()
}
