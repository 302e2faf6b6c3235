//! What a build does for a devcontainer.json, once its image and its features are known.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Command, Dockerfile, Feature, File, Metadata, Place, Source, Variables,
    json::shown,
    metadata::IGNORED_MAX,
    variables::{TEXT_MAX, bounded, of_container},
};
use crate::{image::Defaults, recipe::ROOT};

/// PATH of an image that says none.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Most commands that are run, those of all moments together.
const COMMANDS_MAX: usize = 512;
/// Most ports that are shown.
const PORTS_MAX: usize = 64;

/// A devcontainer.json with all that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The devcontainer.json.
    pub file: File,
    /// Its Dockerfile; None: it names an image.
    pub dockerfile: Option<Dockerfile>,
    /// Its features, in the order in which they are installed.
    pub features: Vec<Feature>,
    /// What its variables stand for.
    pub variables: Variables,
    /// What was found not to be honoured on the way here.
    pub ignored: Vec<String>,
}

/// What a plan comes to on its image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Steps that make the system: those of the Dockerfile, and of features.
    pub system: Vec<Step>,
    /// Commands that are run once the user and the working tree are there.
    pub commands: Vec<Step>,
    /// Commands that are run whenever the system has started.
    pub start: Vec<Step>,
    /// What the environment has where its recipe does not say otherwise.
    pub defaults: Defaults,
    /// Ports of servers that people want to look at.
    pub ports: Vec<u16>,
    /// What is not honoured: a line each, for people.
    pub ignored: Vec<String>,
}

/// A step of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is, for people.
    pub title: String,
    /// User that it runs as; empty: the environment's.
    pub user: String,
    /// Absolute path of the folder that it runs in.
    pub directory: String,
    /// All variables of it.
    pub environment: Arc<BTreeMap<String, String>>,
    /// What it does.
    pub task: Task,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Runs a program; never empty.
    Run(Vec<String>),
    /// Copies files from a folder of the guest to another place in it.
    Copy {
        /// Absolute path of the folder.
        context: String,
        /// Paths in it, which may have `*`, `?` and `[...]`.
        sources: Vec<String>,
        /// Absolute path; with a slash at its end it is a folder.
        target: String,
        /// Whom the copies belong to, as `chown` takes it; empty: root.
        owner: String,
        /// Permissions of the copies, as `chmod` takes them; empty: as they were.
        mode: String,
    },
    /// Installs the feature of this number, whose folder is to be there first.
    Install {
        /// Number of the feature in [`Plan::features`].
        feature: usize,
        /// Absolute path of the feature's folder in the guest; None: it comes from a registry.
        folder: Option<String>,
    },
}

impl Plan {
    /// What is to be done on an image that says this. `user` is the environment's, where its recipe names one; `architecture`
    /// the guests' as Go has it.
    ///
    /// # Errors
    /// What cannot be followed, for people.
    pub fn work(&self, image: &Defaults, user: Option<&str>, architecture: &str) -> Result<Work, String> {
        let mut ignored = self.ignored.clone();
        ignored.extend(self.file.metadata.ignored.iter().cloned());
        let labels = match image.metadata.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => Metadata::of_label(text, &self.variables).unwrap_or_else(|why| {
                ignored.push(why);
                vec![]
            }),
            None => vec![],
        };
        let mut image = image.clone();
        image.environment.entry("PATH".into()).or_insert_with(|| PATH.into());
        let (mut system, mut defaults) = match (&self.dockerfile, &self.file.source) {
            (Some(dockerfile), Source::Dockerfile { context, arguments, .. }) => {
                ignored.extend(dockerfile.ignored.iter().cloned());
                let context = format!("{}/{context}", self.variables.folder);
                dockerfile.steps(&image, arguments, &context, architecture)?
            }
            _ => (vec![], image),
        };
        let own = &self.file.metadata;
        let all = || labels.iter().chain(self.features.iter().map(|feature| &feature.metadata)).chain([own]);
        let last = |of: fn(&Metadata) -> Option<&String>| all().filter_map(of).next_back().cloned();
        let container = last(|one| one.container_user.as_ref()).unwrap_or_else(|| defaults.login().to_owned());
        let remote = last(|one| one.remote_user.as_ref()).unwrap_or_else(|| container.clone());
        let remote = user.map_or(remote, str::to_owned);
        self.install(&mut system, &mut defaults, [&container, &remote])?;
        for name in labels.iter().flat_map(|label| &label.container_env) {
            defaults.environment.entry(name.0.clone()).or_insert_with(|| name.1.clone());
        }
        let of_image = defaults.environment.clone();
        for (name, value) in &own.container_env {
            let value = of_container(value, &of_image).map_err(|why| format!("containerEnv {name}: {why}"))?;
            defaults.environment.insert(name.clone(), value);
        }
        bounded(&defaults.environment)?;
        let of_container_now = defaults.environment.clone();
        for (name, value) in all().flat_map(|one| &one.remote_env) {
            match value {
                Some(value) => {
                    let value = of_container(value, &of_container_now);
                    let value = value.map_err(|why| format!("remoteEnv {name}: {why}"))?;
                    defaults.environment.insert(name.clone(), value);
                    bounded(&defaults.environment)?;
                }
                None => drop(defaults.environment.remove(name)),
            }
        }
        bounded(&defaults.environment)?;
        defaults.user = remote;
        for label in &labels {
            ignored.extend(label.ignored.iter().cloned());
        }
        ignored.extend(self.features.iter().flat_map(|feature| feature.metadata.ignored.iter().cloned()));
        let mut seen = std::collections::BTreeSet::new();
        ignored.retain(|line| seen.insert(line.clone()));
        if let Some(more) = ignored.len().checked_sub(IGNORED_MAX).filter(|more| *more > 0) {
            ignored.truncate(IGNORED_MAX);
            ignored.push(format!("and {more} more"));
        }
        let mut ports = vec![];
        for port in all().flat_map(|one| &one.ports) {
            if !ports.contains(port) && ports.len() < PORTS_MAX {
                ports.push(*port);
            }
        }
        let moments: [fn(&Metadata) -> &Vec<Command>; 3] =
            [|one| &one.on_create, |one| &one.update_content, |one| &one.post_create];
        let once = || moments.iter().flat_map(|moment| all().flat_map(moment));
        let count = once().count() + all().map(|one| one.post_start.len()).sum::<usize>();
        if count > COMMANDS_MAX {
            return Err(format!(
                "it has {count} commands, those of its image and its features with it; at most {COMMANDS_MAX} are run"
            ));
        }
        let environment = Arc::new(defaults.environment.clone());
        let step = |command: &Command| self.command(command, &environment);
        let commands = once().map(step).collect::<Result<_, _>>()?;
        let start = all().flat_map(|one| &one.post_start).map(step).collect::<Result<_, _>>()?;
        Ok(Work { system, commands, start, ports, ignored, defaults })
    }

    /// Adds the steps of the features, and the variables that they say.
    fn install(
        &self,
        steps: &mut Vec<Step>,
        defaults: &mut Defaults,
        [container, remote]: [&String; 2],
    ) -> Result<(), String> {
        for (feature, it) in self.features.iter().enumerate() {
            for (name, value) in &it.metadata.container_env {
                let known = &defaults.environment;
                let value = of_container(value, known).and_then(|value| super::dockerfile::expand_one(&value, known));
                let value = value.map_err(|why| format!("{}: containerEnv {name}: {why}", shown(&it.asked.name)))?;
                defaults.environment.insert(name.clone(), value);
            }
            bounded(&defaults.environment)?;
            let mut environment = defaults.environment.clone();
            environment.extend(it.variables());
            environment.insert("_CONTAINER_USER".into(), container.clone());
            environment.insert("_REMOTE_USER".into(), remote.clone());
            let folder = match &it.place {
                Place::Registry(_) => None,
                Place::Folder(path) => Some(format!("{}/{path}", self.variables.folder)),
            };
            steps.push(Step {
                title: format!("feature {}", shown(&it.asked.name)),
                user: ROOT.into(),
                directory: "/".into(),
                environment: Arc::new(environment),
                task: Task::Install { feature, folder },
            });
        }
        Ok(())
    }

    fn command(&self, command: &Command, environment: &Arc<BTreeMap<String, String>>) -> Result<Step, String> {
        let (mut words, mut bytes) = (vec![], 0);
        for word in &command.words {
            let word = of_container(word, environment).map_err(|why| format!("{}: {why}", command.title))?;
            bytes += word.len();
            if bytes > TEXT_MAX {
                return Err(format!("{}: its variables make a command of more than {TEXT_MAX} bytes", command.title));
            }
            words.push(word);
        }
        Ok(Step {
            title: command.title.clone(),
            user: String::new(),
            directory: self.variables.folder.clone(),
            environment: environment.clone(),
            task: Task::Run(words),
        })
    }
}
