//! What is to be done to install, replace or remove a service: listed first, and then carried out step by step.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use eyre::{Context as _, bail, eyre};
use tempfile::NamedTempFile;

use super::{
    UNIT, files,
    kill_mode::{Verdict, of_unit},
    place::Scope,
};

/// One step of what `install`, `upgrade` and `uninstall` do, which are carried out in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Asks a person whether to go on.
    Ask(String),
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
    /// Looks whether VMs of sessions outlive a stop of the unit, as systemd has it with all drop-ins: goes no further where they do
    /// not, and asks where systemd does not say.
    VmsOutlive(Scope),
}

/// Steps, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps.
    pub steps: Vec<Step>,
    /// What a person is to know, or do by hand.
    pub notes: Vec<String>,
    /// Folder below which folders that are made are their user's alone; others are open to all.
    pub home: Option<PathBuf>,
    /// Commands that undo it, should a step fail once files are replaced.
    pub back: Vec<String>,
}

/// Puts a question to a person; false: the answer is no.
pub type Ask<'a> = &'a mut dyn FnMut(&str) -> eyre::Result<bool>;

impl Plan {
    /// Carries the steps out, and tells each. False: a person did not want to go on.
    ///
    /// # Errors
    /// A step failed; those before it are done. The same can be asked for again. No file is replaced before all that replace one
    /// are complete.
    pub fn carry_out(&self, tell: &mut dyn FnMut(&Step), ask: Ask<'_>) -> eyre::Result<bool> {
        let mut new = None;
        for (place, step) in self.steps.iter().enumerate() {
            let wanted = match step {
                Step::Ask(question) => ask(question)?,
                Step::VmsOutlive(scope) => {
                    tell(step);
                    match of_unit(UNIT, *scope == Scope::User).verdict() {
                        Verdict::Outlive => true,
                        Verdict::End(trouble) => bail!(trouble),
                        Verdict::Unknown(question) => ask(&question)?,
                    }
                }
                _ => {
                    if new.is_none() && step.replaces() {
                        new = Some(self.prepared()?);
                    }
                    tell(step);
                    let file = new.as_mut().and_then(|new| new.remove(&place));
                    step.carry_out(file).map_err(|error| self.failed(step, &error, new.is_some()))?;
                    true
                }
            };
            if !wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Everything that is put somewhere, by its step's number: beside its place, but not in it.
    fn prepared(&self) -> eyre::Result<BTreeMap<usize, NamedTempFile>> {
        let all = self.steps.iter().enumerate();
        let made = all.filter_map(|(place, step)| {
            let file = step.prepared(self.home.as_deref())?;
            Some(file.wrap_err_with(|| step.to_string()).map(|file| (place, file)))
        });
        made.collect()
    }

    fn failed(&self, step: &Step, error: &eyre::Report, replaced: bool) -> eyre::Report {
        match replaced && !self.back.is_empty() {
            true => eyre!(
                "{step}: {error:#}\nWhat was there comes back by these commands; it does not read what a newer hostd has \
                 stored, should that have run already:\n  {}",
                self.back.join("\n  ")
            ),
            false => eyre!("{step}: {error:#}"),
        }
    }
}

impl Step {
    fn replaces(&self) -> bool {
        matches!(self, Self::Copy { .. } | Self::Write { .. } | Self::Keep { .. })
    }

    /// The file that this step puts somewhere; None: it puts none.
    fn prepared(&self, home: Option<&Path>) -> Option<eyre::Result<NamedTempFile>> {
        let file = match self {
            Self::Copy { from, to } => files::beside(to, 0o755, home, |file| {
                io::copy(&mut fs::File::open(from)?, file)?;
                Ok(())
            }),
            Self::Write { to, text } => files::beside(to, 0o644, home, |file| file.write_all(text.as_bytes())),
            _ => return None,
        };
        Some(file.map_err(Into::into))
    }

    fn carry_out(&self, prepared: Option<NamedTempFile>) -> eyre::Result<()> {
        match (self, prepared) {
            (Self::Copy { to, .. } | Self::Write { to, .. }, Some(file)) => Ok(files::put(file, to)?),
            (Self::Keep { file, by }, _) => Ok(files::keep(file, by)?),
            (Self::Remove(path), _) => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            },
            (Self::Run(command), _) => run(command),
            (Self::Copy { .. } | Self::Write { .. } | Self::Ask(_) | Self::VmsOutlive(_), _) => Ok(()),
        }
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
            Self::Ask(question) => write!(f, "ask: {question}"),
            Self::Copy { from, to } => write!(f, "copy {} to {}", from.display(), to.display()),
            Self::Write { to, .. } => write!(f, "write {}", to.display()),
            Self::Keep { file, by } => write!(f, "keep {} as {}", file.display(), by.display()),
            Self::Remove(path) => write!(f, "remove {}", path.display()),
            Self::Run(command) => write!(f, "run {}", command.join(" ")),
            Self::VmsOutlive(_) => write!(f, "look whether VMs outlive a stop of {UNIT} (KillMode)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn all(steps: Vec<Step>) -> Plan {
        Plan { steps, ..Plan::default() }
    }

    #[test]
    fn a_file_is_replaced_at_once_and_the_old_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("new"), "2").unwrap();
        fs::create_dir(path("bin")).unwrap();
        fs::write(path("bin/hostd"), "1").unwrap();
        let open = fs::File::open(path("bin/hostd")).unwrap();
        let plan = all(vec![
            Step::Keep { file: path("bin/hostd"), by: path("bin/hostd.old") },
            Step::Copy { from: path("new"), to: path("bin/hostd") },
            Step::Keep { file: path("none"), by: path("none.old") },
            Step::Remove(path("none")),
        ]);
        let mut told = vec![];
        assert!(plan.carry_out(&mut |step| told.push(step.to_string()), &mut |_| panic!("a question")).unwrap());
        assert_eq!(told.len(), 4);
        assert_eq!(io::read_to_string(open).unwrap(), "1", "who has it open has what it was");
        let text = |name: &str| fs::read_to_string(path(name)).unwrap();
        assert_eq!((text("bin/hostd.old"), text("bin/hostd")), ("1".into(), "2".into()));
        let mode = fs::metadata(path("bin/hostd")).unwrap().permissions().mode();
        assert_eq!((mode & 0o777, fs::read_dir(path("bin")).unwrap().count()), (0o755, 2), "nothing else is left");
    }

    #[test]
    fn nothing_is_replaced_where_a_file_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("hostd"), "1").unwrap();
        fs::write(path("new"), "2").unwrap();
        let mut plan = all(vec![
            Step::Keep { file: path("hostd"), by: path("hostd.old") },
            Step::Copy { from: path("new"), to: path("hostd") },
            Step::Copy { from: path("missing"), to: path("guest") },
        ]);
        let error = plan.carry_out(&mut |_| (), &mut |_| Ok(true)).unwrap_err();
        assert!(format!("{error:#}").contains("missing"), "{error:#}");
        assert_eq!(fs::read_to_string(path("hostd")).unwrap(), "1");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left behind");
        // Nor before a person has said yes.
        plan.steps.insert(0, Step::Ask("Go on?".into()));
        assert!(!plan.carry_out(&mut |_| (), &mut |question| Ok(question != "Go on?")).unwrap());
    }

    #[test]
    fn what_fails_once_files_are_replaced_names_the_way_back() {
        let folder = tempfile::tempdir().unwrap();
        let fails = Step::Run(vec!["false".into()]);
        let mut plan = all(vec![Step::Write { to: folder.path().join("hostd"), text: String::new() }, fails.clone()]);
        plan.back = vec!["mv -f hostd.old hostd".into()];
        let error = plan.carry_out(&mut |_| (), &mut |_| Ok(true)).unwrap_err().to_string();
        assert!(error.starts_with("run false: it ended") && error.ends_with("\n  mv -f hostd.old hostd"), "{error}");
        plan.steps = vec![fails];
        let error = plan.carry_out(&mut |_| (), &mut |_| Ok(true)).unwrap_err().to_string();
        assert!(!error.contains("mv"), "{error}");
    }

    #[test]
    fn folders_that_are_made_are_open_to_all_but_in_a_home() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        let write = |to: PathBuf| Step::Write { to, text: String::new() };
        let steps = vec![write(at("usr/local/share/zsh/x")), write(at("home/me/.local/bin/x"))];
        Plan { steps, home: Some(at("home/me")), ..Plan::default() }.carry_out(&mut |_| (), &mut |_| Ok(true)).unwrap();
        let mode = |path: &str| fs::metadata(at(path)).unwrap().permissions().mode() & 0o777;
        let made = ["usr", "usr/local", "usr/local/share", "usr/local/share/zsh", "home"];
        assert_eq!(made.map(mode), [0o755; 5]);
        assert_eq!(["home/me", "home/me/.local", "home/me/.local/bin"].map(mode), [0o700; 3]);
    }

    #[test]
    fn a_step_that_fails_says_which() {
        let plan = all(vec![Step::Run(vec!["false".into()])]);
        let error = plan.carry_out(&mut |_| (), &mut |_| Ok(true)).unwrap_err();
        assert!(format!("{error:#}").starts_with("run false: it ended with "), "{error:#}");
    }
}
