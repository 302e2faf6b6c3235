//! Environment recipes: TOML in, a checked [`Recipe`] out, errors with line and column.
//!
//! What a checked recipe holds is safe to use as it is: no name, package, suite, branch, path or destination in it can be
//! taken for an option, a pattern or a piece of shell. Setup commands alone are shell, and run in the guest only.

mod check;
mod edit;
mod egress;
mod raw;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    checked_toml,
    image::{Defaults, Reference},
    profile::{Profile, Profiles, Task},
    session::{RestartPolicy, Size, TypedEvents},
};

pub use crate::checked_toml::{TextError as RecipeError, bytes, is_branch_name, is_repository_name};
pub use edit::with_egress;
pub(crate) use egress::{DESTINATION, destination};
pub use egress::{Egress, Speaks, is_in_private_network};

/// Host name by which guests reach the local forge.
pub const INTERNAL_HOST: &str = checked_toml::INTERNAL;
/// Host name by which guests reach their host's loopback, where an [`Egress`] names a port of it.
pub const HOST_LOOPBACK: &str = checked_toml::HOST_LOOPBACK;
/// User that the agent runs as where the recipe names none.
pub const ROOT: &str = "root";

/// A recipe that was checked: base system, packages, repository, setup, agent, size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Name of the environment: lower-case letters, digits and dashes; at most 40.
    pub name: String,
    /// What the root file system is made from.
    pub base: Base,
    /// Repository that is cloned into the environment; None: it has none.
    pub repository: Option<Repository>,
    /// Shell commands that the build runs once, as root, in the repository (or `/`).
    pub setup: Vec<String>,
    /// Name of the guest's user that the agent and the checks run as, and that the working tree belongs to once `setup` is done.
    /// The build makes the user where there is none of this name by then.
    pub user: String,
    /// Whether the recipe or its profile names that user; false: an image may.
    pub names_user: bool,
    /// Whether that user may become root, by sudo and without a password.
    pub sudo: bool,
    /// Variables of the agent, and of commands that are run beside it; the profile's among them.
    pub environment: BTreeMap<String, String>,
    /// Profile of the agent; None: the recipe says itself all that there is to know.
    pub profile: Option<Box<Profile>>,
    /// The agent that works in the environment.
    pub agent: Agent,
    /// Checks that are run on each revision of a pull request, in this order; their names differ.
    pub ci: Vec<CiCheck>,
    /// Size of the environment's VMs.
    pub size: Size,
    /// What the environment's guests get of the host's processor beside the usual.
    pub cpu: Cpu,
    /// Numbers of VMs that stand ready for sessions.
    pub warm: Warm,
    /// Seconds that a waiting session runs on before it is suspended.
    pub suspend_after: u64,
    /// Whether and how a session starts again by itself after its VM has crashed; None: it does not.
    pub restart: Option<RestartPolicy>,
    /// How often checkpoints are taken of sessions that run; None: only when a person asks.
    pub checkpoint: Option<Checkpoints>,
    /// Amount in millionths of a US dollar that answers of models may cost each session; None: any.
    pub budget: Option<u64>,
    /// Destinations that the environment's guests may reach.
    pub egress: Vec<Egress>,
    /// Names of credentials of the host that the environment's guests may use; the host has them, or does not.
    pub credentials: Vec<String>,
    /// What the image that it is based on says, in [`Recipe::on`]; None: it is not known yet, or there is none.
    pub image: Option<Box<Defaults>>,
}

/// How often checkpoints are taken of a session that runs, and how many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoints {
    /// Seconds from one checkpoint to the next.
    pub every: u64,
    /// Most checkpoints of the schedule that are kept: older ones go. Those that people ask for are counted apart.
    pub keep: u32,
}

impl Checkpoints {
    /// Number of checkpoints that are kept where nobody says another.
    pub const KEEP: u32 = 3;
}

/// What an environment is based on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// The system itself.
    pub system: System,
    /// Names of packages that are installed beside what is in the system.
    pub packages: Vec<String>,
}

/// A system that a root file system is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum System {
    /// The Debian suite of this name, e.g. bookworm.
    Debian(String),
    /// An image of a container registry.
    Image {
        /// Name of the image.
        reference: Reference,
        /// Name of the host's credential that the registry wants; None: it wants none. Guests do not get it.
        credential: Option<String>,
    },
    /// What a devcontainer.json of the repository says.
    Devcontainer {
        /// Path of the file in the repository; None: the first of [`crate::devcontainer::PLACES`] that is there.
        path: Option<String>,
        /// Name of the host's credential that the registry of its image wants; None: it wants none. Guests do not get it.
        credential: Option<String>,
        /// Registries that it may name though they are not public or have no TLS: a host, and a port where it is not the usual one.
        registries: Vec<String>,
    },
}

/// The repository that an environment works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// URL of the repository in the local forge: `http://pilothouse.internal/git/NAME.git`.
    pub url: String,
    /// Name of the branch that is checked out; None: the default branch of the repository, whatever that is at the build.
    pub branch: Option<String>,
    /// Absolute path of the working tree in the guest.
    pub path: String,
    /// Names of other repositories of the local forge that the environment's guests may read, e.g. those of its submodules.
    pub read: Vec<String>,
    /// When branches of the environment's sessions become pull requests.
    pub pull_requests: PullRequests,
}

/// When branches that a session pushes become pull requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PullRequests {
    /// When the session asks for it: `session pr open`.
    #[default]
    OnRequest,
    /// With the first push of each branch.
    OnPush,
}

/// The agent of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Program and arguments that start the agent.
    pub command: Vec<String>,
    /// How the agent is given the session's task.
    pub task: Task,
    /// Which results of checks and reviews are typed into the agent's terminal.
    pub typed_events: TypedEvents,
}

/// One of the checks of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CiCheck {
    /// Name of the check: letters, digits, dot, underscore, slash and dash; at most 64.
    pub name: String,
    /// Program and arguments of the check, run in the repository.
    pub command: Vec<String>,
    /// Seconds that a run of the check may take.
    pub timeout: u64,
    /// Whether a pull request may be merged only when the check has passed.
    pub required: bool,
}

/// Features of the host's processor that guests get only where it is asked for. Of no effect where the processor is emulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cpu {
    /// Whether guests get virtualization, so that VMs run in them.
    #[serde(default)]
    pub nested: bool,
    /// Whether guests get the processor's performance counters.
    #[serde(default)]
    pub counters: bool,
}

/// Numbers of VMs that stand ready for sessions to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warm {
    /// Least number of VMs that stand ready.
    pub min: u32,
    /// Greatest number of VMs that stand ready; not below `min`.
    pub max: u32,
}

impl Recipe {
    /// Parses and checks a recipe, which may name one of the shipped profiles. `source_name` stands in errors only.
    ///
    /// # Errors
    /// As of [`Recipe::parse_with`].
    pub fn parse(source_name: &str, text: &str) -> Result<Self, RecipeError> {
        Self::parse_with(source_name, text, Profiles::shipped())
    }

    /// Parses and checks a recipe, which may name one of these profiles. `source_name` stands in errors only.
    ///
    /// # Errors
    /// [`RecipeError`] for anything that is not TOML, an unknown or missing key, a wrong type, a value out of bounds, or a
    /// profile that is not there or cannot be used.
    pub fn parse_with(source_name: &str, text: &str, profiles: &Profiles) -> Result<Self, RecipeError> {
        checked_toml::read(source_name, text, |raw| check::recipe(raw, profiles))
    }

    /// The recipe of an environment whose base says this of how programs run, where the recipe does not say otherwise. `folder`
    /// has the guest's own programs, which stay in front of whatever PATH the image has.
    #[must_use]
    pub fn on(&self, image: Option<&Defaults>, folder: &str) -> Self {
        let mut recipe = self.clone();
        let Some(image) = image else { return recipe };
        // An agent that its profile does not run as root is not made to by who made the image.
        let is_fit = !(recipe.profile.is_some() && image.login() == ROOT);
        if !recipe.names_user && !image.user.is_empty() && is_fit {
            recipe.user.clone_from(&image.user);
        }
        let mut environment = image.variables(&recipe.user, folder);
        environment.extend(recipe.environment);
        recipe.environment = environment;
        recipe.image = Some(Box::new(image.clone()));
        recipe
    }

    /// Absolute path of the folder in the guest where setup, agent, commands and checks begin.
    #[must_use]
    pub fn directory(&self) -> &str {
        let of_image = || self.image.as_ref().map(|image| image.directory.as_str()).filter(|path| !path.is_empty());
        self.repository.as_ref().map(|repository| repository.path.as_str()).or_else(of_image).unwrap_or("/")
    }

    /// The recipe on this image in place of what its base says.
    #[must_use]
    pub fn on_image(&self, reference: Reference) -> Self {
        let mut recipe = self.clone();
        if let System::Devcontainer { credential, .. } = &self.base.system {
            recipe.base.system = System::Image { reference, credential: credential.clone() };
        }
        recipe
    }

    /// Whether there is no shell in the environment.
    #[must_use]
    pub fn lacks_shell(&self) -> bool {
        self.image.as_ref().is_some_and(|image| !image.shell)
    }

    /// Debian packages that the environment needs: the recipe's own, the profile's, and what the build itself takes. Each once,
    /// in order.
    #[must_use]
    pub fn packages(&self) -> Vec<String> {
        let mut packages = self.base.packages.clone();
        packages.extend(self.repository.iter().map(|_| "git".to_owned()));
        if let Some(profile) = &self.profile {
            packages.extend(profile.packages.iter().cloned());
            // Which has useradd: not every Debian that can boot does.
            packages.push("passwd".into());
        }
        if self.sudo {
            packages.push("sudo".into());
        }
        packages.sort();
        packages.dedup();
        packages
    }

    /// The name of the repository in the local forge, e.g. `widgets`.
    #[must_use]
    pub fn local_repository(&self) -> Option<&str> {
        checked_toml::repository_of(&self.repository.as_ref()?.url)
    }

    /// Names of the other repositories of the local forge that the environment's guests may read.
    #[must_use]
    pub fn also_read(&self) -> &[String] {
        self.repository.as_ref().map_or(&[], |repository| &repository.read)
    }

    /// What the recipe may say and will not do what was meant: a line each, for people.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.egress.iter().filter_map(Egress::warning).collect()
    }
}
