//! The kernel's modules.

use std::{fs, path::PathBuf};

use rustix::{io::Errno, system::finit_module};

use super::error::{BootError, Doing as _};

/// Flag `MODULE_INIT_COMPRESSED_FILE` of `finit_module`.
const COMPRESSED: i32 = 4;

/// Loads every file of a folder in the order of their names, and then removes it: its memory is wanted. No folder: no modules.
pub(super) fn load_all(folder: &str) -> Result<(), BootError> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in &paths {
        let what = format!("loading {}", path.display());
        let file = fs::File::open(path).doing(&what)?;
        let flags = if path.extension().is_some_and(|e| e == "ko") { 0 } else { COMPRESSED };
        match finit_module(&file, c"", flags) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).doing(&what),
        }
    }
    let _ = fs::remove_dir_all(folder);
    Ok(())
}
