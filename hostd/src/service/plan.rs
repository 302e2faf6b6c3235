//! What is to be done to install, replace or remove a service: listed first, and then carried out step by step.

use std::{
    fmt, fs, io,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use eyre::{Context as _, bail};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Copies a file. What is there is replaced at once, and who runs it runs on with what it was.
    Copy {
        /// Path of the file that is copied.
        from: PathBuf,
        /// Path of its copy.
        to: PathBuf,
    },
    /// Writes a file, as [`Step::Copy`] does.
    Write {
        /// Path of the file.
        to: PathBuf,
        /// What is in it.
        text: String,
    },
    /// Keeps a file by another name, where there is one.
    Keep {
        /// Path of the file.
        file: PathBuf,
        /// Path that it has then, too.
        by: PathBuf,
    },
    /// Removes a file. One that is not there is removed already.
    Remove(PathBuf),
    /// Runs a program.
    Run(Vec<String>),
}

/// Steps, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// What a person is to know, or do by hand.
    pub notes: Vec<String>,
}

impl Plan {
    /// Carries the steps out, and tells each.
    ///
    /// # Errors
    /// A step failed; those before it are done. The same can be asked for again.
    pub fn carry_out(&self, tell: &mut dyn FnMut(&Step)) -> eyre::Result<()> {
        for step in &self.steps {
            tell(step);
            step.carry_out().wrap_err_with(|| step.to_string())?;
        }
        Ok(())
    }
}

impl Step {
    fn carry_out(&self) -> eyre::Result<()> {
        match self {
            Self::Copy { from, to } => Ok(replace(to, 0o755, |file| {
                io::copy(&mut fs::File::open(from)?, file)?;
                Ok(())
            })?),
            Self::Write { to, text } => Ok(replace(to, 0o644, |file| file.write_all(text.as_bytes()))?),
            Self::Keep { file, by } => Ok(keep(file, by)?),
            Self::Remove(path) => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            },
            Self::Run(command) => run(command),
        }
    }
}

/// Puts a file there that is complete or is not there, with these rights.
fn replace(to: &Path, mode: u32, fill: impl FnOnce(&mut fs::File) -> io::Result<()>) -> io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder)?;
    let mut new = tempfile::Builder::new().prefix(".hostd-").tempfile_in(folder)?;
    fill(new.as_file_mut())?;
    new.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    new.as_file().sync_all()?;
    new.persist(to).map_err(|error| error.error)?;
    fs::File::open(folder)?.sync_all()
}

fn keep(file: &Path, by: &Path) -> io::Result<()> {
    match fs::remove_file(by) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match fs::hard_link(file, by) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        linked => linked,
    }
}

fn run(command: &[String]) -> eyre::Result<()> {
    let [program, arguments @ ..] = command else { return Ok(()) };
    let ended = Command::new(program).args(arguments).status();
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => bail!("it ended with {status}"),
        Err(error) => bail!("it does not start ({error})"),
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy { from, to } => write!(f, "copy {} to {}", from.display(), to.display()),
            Self::Write { to, .. } => write!(f, "write {}", to.display()),
            Self::Keep { file, by } => write!(f, "keep {} as {}", file.display(), by.display()),
            Self::Remove(path) => write!(f, "remove {}", path.display()),
            Self::Run(command) => write!(f, "run {}", command.join(" ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_at_once_and_the_old_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("new"), "2").unwrap();
        fs::create_dir(path("bin")).unwrap();
        fs::write(path("bin/hostd"), "1").unwrap();
        let open = fs::File::open(path("bin/hostd")).unwrap();
        let plan = Plan {
            steps: vec![
                Step::Keep { file: path("bin/hostd"), by: path("bin/hostd.old") },
                Step::Copy { from: path("new"), to: path("bin/hostd") },
                Step::Keep { file: path("none"), by: path("none.old") },
                Step::Remove(path("none")),
            ],
            notes: vec![],
        };
        // A second time is harmless but for what is kept.
        let mut told = vec![];
        plan.carry_out(&mut |step| told.push(step.to_string())).unwrap();
        assert_eq!(told.len(), 4);
        assert_eq!(io::read_to_string(open).unwrap(), "1", "who has it open has what it was");
        let text = |name: &str| fs::read_to_string(path(name)).unwrap();
        assert_eq!((text("bin/hostd.old"), text("bin/hostd")), ("1".into(), "2".into()));
        let mode = fs::metadata(path("bin/hostd")).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, fs::read_dir(path("bin")).unwrap().count()), (0o755, 2), "nothing else is left");
    }

    #[test]
    fn a_step_that_fails_says_which() {
        let plan = Plan { steps: vec![Step::Run(vec!["false".into()])], notes: vec![] };
        let error = plan.carry_out(&mut |_| ()).unwrap_err();
        assert!(format!("{error:#}").starts_with("run false: it ended with "), "{error:#}");
    }
}
