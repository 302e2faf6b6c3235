//! The golden data folder: kernel, initramfs, base image, build and template of the `tools` environment, made once by the real
//! programs and given to every test as links.

use std::{
    fs::{self, DirBuilder},
    io::Read,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use rustix::fs::{FlockOperation, flock};

use crate::{host::Host, paths, run};

/// Names in the golden data folder that a test's folder shares: files that are never changed in place.
const LINKED: [&str; 4] = ["kernel", "initramfs", "bases", "builds"];
/// Names in the golden data folder that a test's folder gets a copy of.
const COPIED: [&str; 3] = ["environments", "git", "selftest"];

/// Fills the data folder `data` from the golden one.
pub fn give(data: &Path) {
    let golden = golden();
    for (names, flags) in [(&LINKED[..], "-al"), (&COPIED[..], "-a")] {
        for name in names.iter().filter(|name| golden.join(name).exists()) {
            let _ = run(Command::new("cp").arg(flags).arg(golden.join(name)).arg(data), &[]).text();
        }
    }
}

/// Path of the golden folder, baked if anything that it is made from has changed. Other processes wait meanwhile.
fn golden() -> &'static Path {
    static GOLDEN: OnceLock<PathBuf> = OnceLock::new();
    GOLDEN.get_or_init(|| {
        let folder = paths::cache().join("golden");
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).unwrap();
        let lock = fs::File::create(paths::cache().join("golden.lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        let stamp = paths::cache().join("golden.stamp");
        let inputs = inputs();
        if fs::read_to_string(&stamp).ok().as_deref() != Some(&inputs) {
            let _ = fs::remove_file(&stamp);
            bake(&folder);
            fs::write(&stamp, inputs).unwrap();
        }
        folder
    })
}

fn bake(folder: &Path) {
    import_widgets(folder);
    let host = Host::on(folder.to_owned());
    let recipe = paths::root().join("tests/environments/tools.toml");
    let _ = host.cli(["env", "build", recipe.to_str().unwrap()]).text();
}

/// Puts the sample repository into a data folder.
pub fn import_widgets(data: &Path) {
    let _ = run(Command::new(paths::root().join("demos/import-widgets.sh")).arg(data), &[]).text();
}

/// A hash of what the golden folder is made from: the programs, the recipe, the sample repository.
fn inputs() -> String {
    let mut files = vec![paths::program("hostd"), paths::program("pilothouse-guest-static")];
    // A template is of one QEMU.
    files.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()).map(|p| p.join("qemu-system-x86_64")));
    files.extend(
        ["demos/widgets", "tests/environments"].into_iter().flat_map(|name| files_in(&paths::root().join(name))),
    );
    let mut hash = blake3::Hasher::new();
    for file in files {
        let mut bytes = Vec::new();
        if let Ok(mut open) = fs::File::open(&file) {
            open.read_to_end(&mut bytes).unwrap();
        }
        hash.update(&bytes);
    }
    hash.finalize().to_hex().to_string()
}

/// Paths of all files below a folder, in an order that stays.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.into_iter().flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect()
}
