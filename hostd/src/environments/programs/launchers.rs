//! What the PATH of a guest has for a profile's programs.

use std::{os::unix::fs::PermissionsExt, path::Path};

use hostd_core::profile::{Profile, Program, Starts};
use tokio::fs;

use super::fetch::PYTHON;
use crate::environments::{
    files::{self, at},
    progress::Progress,
    types::EnvironmentError,
};

/// Folder of the guest's PATH.
const BIN: &str = "usr/local/bin";

/// Puts a link or a script for each program of the profile below `root`; `packages` is its folder there.
pub(super) async fn put(
    profile: &Profile,
    packages: &Path,
    root: &Path,
    progress: &Progress,
) -> Result<(), EnvironmentError> {
    let bin = files::folder(root.join(BIN)).await?;
    let folder = profile.folder();
    for Program { name, starts } in &profile.programs {
        let launcher = bin.join(name);
        match starts {
            Starts::File(file) => {
                has(packages, file, progress).await?;
                fs::symlink(format!("{folder}/{file}"), &launcher).await.map_err(at(&launcher))?;
            }
            Starts::Script { interpreter, file } => {
                has(packages, interpreter, progress).await?;
                has(packages, file, progress).await?;
                script(&launcher, &format!("#!/bin/sh\nexec {folder}/{interpreter} {folder}/{file} \"$@\"\n")).await?;
            }
            // In its own process alone: programs that it starts find Debian's modules and none of these.
            Starts::Module(module) => {
                let text = format!(
                    "#!/usr/bin/python3\nimport runpy, sys\nsys.path.insert(0, \"{folder}/{PYTHON}\")\n\
                     runpy.run_module(\"{module}\", run_name=\"__main__\", alter_sys=True)\n"
                );
                script(&launcher, &text).await?;
            }
        }
    }
    Ok(())
}

/// Checks whether the packages hold this file, and no link that leads elsewhere.
async fn has(packages: &Path, file: &str, progress: &Progress) -> Result<(), EnvironmentError> {
    let real = fs::canonicalize(packages.join(file)).await;
    let folder = fs::canonicalize(packages).await.map_err(at(packages))?;
    match real {
        Ok(real) if real.starts_with(&folder) && real.is_file() => Ok(()),
        _ => Err(progress
            .failure(&format!("the packages hold no {file}; the profile's `programs` must name what they hold"))),
    }
}

async fn script(path: &Path, text: &str) -> Result<(), EnvironmentError> {
    fs::write(path, text).await.map_err(at(path))?;
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).await.map_err(at(path))
}
