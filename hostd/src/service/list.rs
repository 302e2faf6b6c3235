//! The list of what hostd has installed: nothing else is ever removed.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use eyre::{Context as _, bail};

use super::{
    files,
    place::Place,
    plan::{Plan, Step},
};

/// The programs that belong together, and whether hostd does without.
pub(super) const PROGRAMS: [(&str, bool); 4] =
    [("hostd", false), ("pilothouse-guest-static", false), ("pilothouse", true), ("git-remote-pilothouse", true)];
/// Shells that the console's completions are installed for.
pub(super) const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];
/// Ending of what a file was before.
const OLD: &str = "old";

/// Paths of what is installed, as the machine has them, and of programs that were kept for them.
#[derive(Debug, Default)]
pub(super) struct List(BTreeSet<PathBuf>);

impl List {
    /// The list of this place; None: nothing was installed there.
    ///
    /// # Errors
    /// The list cannot be read, or names what hostd does not install.
    pub(super) fn read(place: &Place) -> eyre::Result<Option<Self>> {
        let path = place.on_disk(&place.list());
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.wrap_err_with(|| path.display().to_string())?,
        };
        let listed: BTreeSet<_> = text.lines().map(PathBuf::from).collect();
        let known = known(place);
        if let Some(other) = listed.iter().find(|path| !known.contains(*path)) {
            bail!("{} lists {}, which hostd does not install; take it off the list", path.display(), other.display());
        }
        Ok(Some(Self(listed)))
    }

    pub(super) fn add(&mut self, path: PathBuf) {
        self.0.insert(path);
    }

    /// All that is listed.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(PathBuf::as_path)
    }

    /// The step that writes the list.
    pub(super) fn write(&self, place: &Place) -> Step {
        let text = self.paths().map(|path| format!("{}\n", path.display())).collect();
        Step::Write { to: place.on_disk(&place.list()), text }
    }

    /// Adds to a plan that programs are put in their places. Those that are there are kept, all of them, so that what is kept belongs
    /// together; but not where the same was done before, whole or by half, for then what is kept is what was there at first.
    ///
    /// # Errors
    /// A program cannot be read.
    pub(super) fn put(&mut self, plan: &mut Plan, place: &Place, programs: &[(&str, PathBuf)]) -> eyre::Result<()> {
        let mut copies = vec![];
        let mut differs = false;
        // hostd comes last, here and below: where its kept file is still the file itself, all are kept and not all are replaced.
        for (name, file) in programs.iter().rev() {
            let path = place.program(name);
            let to = place.on_disk(&path);
            differs |= to.exists() && !files::same(file, &to).wrap_err_with(|| to.display().to_string())?;
            copies.push(Step::Copy { from: file.clone(), to });
            self.add(path);
        }
        let hostd = place.on_disk(&place.program("hostd"));
        if differs && !files::is_kept(&hostd, &old(&hostd)) {
            for path in PROGRAMS.iter().rev().map(|(name, _)| place.program(name)) {
                let file = place.on_disk(&path);
                if file.exists() {
                    plan.steps.push(Step::Keep { by: old(&file), file });
                    self.add(old(&path));
                }
            }
        }
        plan.steps.extend(copies);
        Ok(())
    }
}

/// All that `hostd install` and `hostd upgrade` may put there.
fn known(place: &Place) -> Vec<PathBuf> {
    let programs = PROGRAMS.iter().map(|(name, _)| place.program(name));
    let kept = programs.clone().map(|path| old(&path));
    let completions = SHELLS.iter().filter_map(|shell| place.completions(shell));
    programs.chain(kept).chain(completions).chain([place.unit()]).collect()
}

/// The path of what a file was before.
pub(super) fn old(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(OLD);
    name.into()
}
