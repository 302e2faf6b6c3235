use std::path::{Path, PathBuf};

use eyre::OptionExt as _;

/// Whose service hostd is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A person's own, of the person's systemd.
    User,
    /// The machine's, run as a user of its own.
    System,
}

/// Where a service and its files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose service it is.
    pub scope: Scope,
    /// Folder in which all of it is put, in place of `/`, as for a package; None: it is this machine's, and systemd is told.
    pub root: Option<PathBuf>,
    /// Folder of programs.
    programs: PathBuf,
    /// Folder of what belongs to programs.
    share: PathBuf,
    /// Folder of units.
    units: PathBuf,
    /// The person's home folder.
    home: Option<PathBuf>,
}

impl Place {
    /// The places of a person's own service, in this home folder.
    #[must_use]
    pub fn of_user(home: &Path, root: Option<PathBuf>) -> Self {
        let (local, units) = (home.join(".local"), home.join(".config/systemd/user"));
        let (programs, share) = (local.join("bin"), local.join("share"));
        Self { scope: Scope::User, root, programs, share, units, home: Some(home.to_owned()) }
    }

    /// The places of the machine's service.
    #[must_use]
    pub fn of_system(root: Option<PathBuf>) -> Self {
        Self {
            scope: Scope::System,
            root,
            programs: "/usr/local/bin".into(),
            share: "/usr/local/share".into(),
            units: "/etc/systemd/system".into(),
            home: None,
        }
    }

    /// The places that are asked for: those of the machine where root asks and nothing else is said.
    ///
    /// # Errors
    /// This user has no home folder.
    pub fn chosen(scope: Option<Scope>, root: Option<PathBuf>) -> eyre::Result<Self> {
        let is_root = rustix::process::geteuid().is_root();
        match scope.unwrap_or(if is_root { Scope::System } else { Scope::User }) {
            Scope::System => Ok(Self::of_system(root)),
            Scope::User => {
                let home = directories::BaseDirs::new().map(|folders| folders.home_dir().to_owned());
                Ok(Self::of_user(&home.ok_or_eyre("this user has no home folder; say --system")?, root))
            }
        }
    }

    /// Where the home folder of the service's person is on this machine; None: it is the machine's service.
    #[must_use]
    pub fn home(&self) -> Option<PathBuf> {
        self.home.as_deref().map(|home| self.on_disk(home))
    }

    /// Path of a program, as the unit names it.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Path of the unit.
    #[must_use]
    pub fn unit(&self) -> PathBuf {
        self.units.join(super::UNIT)
    }

    /// Path of the list of what was installed: not in a folder `pilothouse`, which is a person's data folder.
    #[must_use]
    pub fn list(&self) -> PathBuf {
        self.share.join("hostd/installed")
    }

    /// Path of the completions of `pilothouse` for a shell; None: hostd knows of no folder for them.
    #[must_use]
    pub fn completions(&self, shell: &str) -> Option<PathBuf> {
        let file = match shell {
            "bash" => "bash-completion/completions/pilothouse",
            "zsh" => "zsh/site-functions/_pilothouse",
            "fish" => "fish/vendor_completions.d/pilothouse.fish",
            _ => return None,
        };
        Some(self.share.join(file))
    }

    /// Where this path is on the machine that it is written on.
    #[must_use]
    pub fn on_disk(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    /// A command of systemd's that is about this service.
    #[must_use]
    pub fn systemctl(&self, arguments: &[&str]) -> Vec<String> {
        let user = (self.scope == Scope::User).then_some("--user");
        ["systemctl"].into_iter().chain(user).chain(arguments.iter().copied()).map(Into::into).collect()
    }
}
