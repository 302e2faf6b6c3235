//! The manifest of a snapshot.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use hostd::vm::snapshot::store::Manifest;
use libfuzzer_sys::fuzz_target;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = pilothouse_fuzz::scratch();
    for (name, contents) in [("memory", &b"pages"[..]), ("devices", b"state")] {
        fs::write(folder.join(name), contents).expect("a file to be written");
    }
    folder
});

fuzz_target!(|data: &[u8]| {
    fs::write(FOLDER.join("manifest.json"), data).expect("the manifest to be written");
    if let Ok(manifest) = Manifest::read(&FOLDER) {
        let whole = manifest.check(&FOLDER, &manifest.requirements).and_then(|()| manifest.verify(&FOLDER));
        let known = ["memory", "devices", "manifest.json"];
        assert!(whole.is_err() || known.contains(&manifest.memory.name.as_str()), "{:?}", manifest.memory);
    }
    let _ = Manifest::template(&FOLDER);
});
