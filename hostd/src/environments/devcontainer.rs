//! Environments of a devcontainer.json: what it names is found before anything is built, and its steps are run in the build's VM.

use std::{collections::BTreeMap, path::PathBuf};

use hostd_core::{
    Recipe,
    devcontainer::{
        Asked, Dockerfile, FEATURE_FILE, FEATURES_MAX, Feature, File, PLACES, Place, Plan, Source, Step, TEXT_MAX,
        Task, Variables, Work, folder_of, in_order,
    },
    image::{Defaults, Reference},
    recipe::System,
};

use super::{
    Environments, agent,
    exec::{self, Inside},
    files,
    progress::Progress,
    types::{DevcontainerInfo, EnvironmentError},
};
use crate::{
    forge::{Head, Mirror},
    registry::{self, Archive},
};

/// Script that copies files as a Dockerfile says.
const COPY: &str = include_str!("copy.sh");
/// Script that installs a feature.
const INSTALL: &str = include_str!("feature.sh");
/// Most bytes that the archive of a feature unpacks to before its description is found.
const UNPACKED_MAX: u64 = 64 << 20;

/// A devcontainer.json with all that it names.
pub(super) struct Found {
    plan: Plan,
    /// Image that it is made from.
    pub(super) reference: Reference,
    /// Archives of its features; None: that one is in the repository.
    archives: Vec<Option<Archive>>,
    /// User that the recipe names; None: whom the devcontainer says.
    user: Option<String>,
}

/// What is to be done in a build's VM.
pub(super) struct Ready {
    pub(super) work: Work,
    /// Files of the archives of its features; None: that one is in the repository.
    archives: Vec<Option<PathBuf>>,
    /// What is kept with the build.
    pub(super) kept: DevcontainerInfo,
}

/// Finds what the recipe's devcontainer.json says and names; None: its base is none.
pub(super) async fn find(
    environments: &Environments,
    recipe: &Recipe,
    head: &Head,
    progress: &Progress,
) -> Result<Option<Found>, EnvironmentError> {
    let System::Devcontainer { path, credential, registries } = &recipe.base.system else { return Ok(None) };
    progress.step(path.as_deref().unwrap_or("devcontainer.json"));
    let repository = recipe.local_repository().unwrap_or_default();
    let tree = Tree { mirror: &*environments.mirror, repository, head, progress };
    let (path, text) = tree.devcontainer(path.as_deref()).await?;
    let failed = |why: String| progress.failure(&why);
    let id = blake3::hash(recipe.name.as_bytes()).to_hex()[..32].to_owned();
    let variables = Variables { folder: recipe.directory().into(), id };
    let file = File::parse(&path, &text, &variables).map_err(failed)?;
    let (reference, dockerfile) = match &file.source {
        Source::Image(name) => {
            let parsed = Reference::parse(name);
            let shown = hostd_core::text::one_line(&hostd_core::text::clean(name, 160));
            (parsed.map_err(|why| failed(format!("{path}: image is {shown:?}, and {why}")))?, None)
        }
        Source::Dockerfile { path, arguments, target, .. } => {
            let text = tree.text(path).await?.ok_or_else(|| failed(format!("there is no {path} in the repository")))?;
            let dockerfile = Dockerfile::parse(path, &text, target.as_deref()).map_err(failed)?;
            (dockerfile.image(arguments).map_err(failed)?, Some(dockerfile))
        }
    };
    let name = reference.to_string();
    let reference = reference.by_repository(registries);
    let reference = reference.map_err(|why| failed(format!("{path}: the image {name}: {why}")))?;
    let mut plan = Plan { file, dockerfile, features: vec![], variables, ignored: vec![] };
    let own = credential.as_deref().map(|name| (name, reference.host()));
    let archives = features(environments, recipe, &tree, (own, registries), &mut plan).await?;
    let user = recipe.names_user.then(|| recipe.user.clone());
    Ok(Some(Found { plan, reference, archives, user }))
}

/// The repository as it is at the commit that is built.
struct Tree<'a> {
    mirror: &'a dyn Mirror,
    repository: &'a str,
    head: &'a Head,
    progress: &'a Progress,
}

impl Tree<'_> {
    /// A text of the repository; None: there is none at this path.
    async fn text(&self, path: &str) -> Result<Option<String>, EnvironmentError> {
        let read = self.mirror.file(self.repository, &self.head.commit, path, TEXT_MAX).await;
        let bytes = read.map_err(|error| self.progress.failure(&error.to_string()))?;
        let text = bytes.map(String::from_utf8).transpose();
        text.map_err(|_| self.progress.failure(&format!("{path} is no text in UTF-8")))
    }

    /// Path and text of the devcontainer.json.
    async fn devcontainer(&self, named: Option<&str>) -> Result<(String, String), EnvironmentError> {
        let usual = PLACES.as_slice();
        for path in named.as_ref().map_or(usual, std::slice::from_ref) {
            if let Some(text) = self.text(path).await? {
                return Ok(((*path).to_owned(), text));
            }
        }
        let why = format!(
            "there is no {} at {} of the repository {}; push one, or name it in the recipe's `base.devcontainer`",
            named.map_or_else(|| PLACES.join(" and no "), str::to_owned),
            self.head.branch,
            self.repository
        );
        Err(self.progress.failure(&why))
    }
}

/// Finds the features of a plan, and all that they depend on, and puts them into it in their order; returns their archives.
async fn features(
    environments: &Environments,
    recipe: &Recipe,
    tree: &Tree<'_>,
    (credential, registries): (Option<(&str, &str)>, &[String]),
    plan: &mut Plan,
) -> Result<Vec<Option<Archive>>, EnvironmentError> {
    let progress = tree.progress;
    let folder = folder_of(&plan.file.path).to_owned();
    let mut waiting: Vec<(Asked, bool)> = plan.file.features.iter().map(|asked| (asked.clone(), true)).collect();
    waiting.reverse();
    let (mut found, mut archives): (Vec<Feature>, BTreeMap<_, _>) = (vec![], BTreeMap::new());
    while let Some((asked, is_own)) = waiting.pop() {
        let name = hostd_core::text::one_line(&hostd_core::text::clean(&asked.name, 200));
        let place = match asked.place(&folder) {
            Ok(place) => place,
            Err(why) if is_own => {
                plan.ignored.push(format!("feature {name}: {why}"));
                continue;
            }
            Err(why) => return Err(progress.failure(&format!("feature {name}, which another depends on: {why}"))),
        };
        if found.iter().any(|one| one.place == place && one.asked.options == asked.options) {
            continue;
        }
        if found.len() == FEATURES_MAX {
            return Err(progress.failure(&format!("it has more than {FEATURES_MAX} features")));
        }
        let (text, archive) = match &place {
            Place::Folder(path) => (tree.text(&format!("{path}/{FEATURE_FILE}")).await?, None),
            Place::Registry(reference) => {
                let reference = &reference
                    .clone()
                    .by_repository(registries)
                    .map_err(|why| progress.failure(&format!("feature {name}: {why}")))?;
                // Another registry is to know nothing of it.
                let credential = credential.filter(|(_, host)| *host == reference.host()).map(|(name, _)| name);
                let pulled = environments.images.feature(reference, credential, &recipe.name, progress).await;
                let archive = pulled.map_err(|error| progress.failure(&error.to_string()))?;
                (described(&archive, progress).await?, Some(archive))
            }
        };
        let text =
            text.ok_or_else(|| progress.failure(&format!("feature {name}: there is no {FEATURE_FILE} in it")))?;
        archives.insert((asked.name.clone(), asked.options.clone()), archive);
        let feature = Feature::parse(asked, place, &text, &plan.variables);
        let feature = feature.map_err(|why| progress.failure(&format!("feature {name}: {why}")))?;
        waiting.extend(feature.depends_on.iter().map(|asked| (asked.clone(), false)));
        found.push(feature);
    }
    plan.features = in_order(found, &plan.file.order, &folder).map_err(|why| progress.failure(&why))?;
    let archive =
        |feature: &Feature| archives.remove(&(feature.asked.name.clone(), feature.asked.options.clone())).flatten();
    Ok(plan.features.iter().map(archive).collect())
}

/// The description in an archive of a feature.
async fn described(archive: &Archive, progress: &Progress) -> Result<Option<String>, EnvironmentError> {
    let path = archive.path.clone();
    let read = tokio::task::spawn_blocking(move || hostd_image::one_file(&path, FEATURE_FILE, UNPACKED_MAX, TEXT_MAX));
    let read = read.await.map_err(|error| progress.failure(&error.to_string()))?;
    let bytes = read.map_err(|error| progress.failure(&error.to_string()))?;
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|_| progress.failure(&format!("{FEATURE_FILE} is no text in UTF-8")))
}

impl Found {
    /// What it adds to what a build is named by: all else is named by the commit.
    pub(super) fn inputs(&self) -> serde_json::Value {
        let archives: Vec<_> = self.archives.iter().map(|one| one.as_ref().map(|one| one.digest.to_string())).collect();
        serde_json::json!([2, self.plan.file.path, archives, self.user])
    }

    /// What is to be done on an image that says this; says what is not honoured.
    pub(super) fn ready(self, image: &Defaults, progress: &Progress) -> Result<Ready, EnvironmentError> {
        let work = self
            .plan
            .work(image, self.user.as_deref(), registry::architecture())
            .map_err(|why| progress.failure(&why))?;
        for line in &work.ignored {
            progress.output(format!("not honoured: {line}"));
        }
        let archives = self.archives.into_iter().map(|archive| archive.map(|archive| archive.path)).collect();
        let kept =
            DevcontainerInfo { path: self.plan.file.path, ports: work.ports.clone(), ignored: work.ignored.clone() };
        Ok(Ready { work, archives, kept })
    }
}

impl Ready {
    /// Number of steps that [`Ready::make`] and [`Ready::create`] take.
    pub(super) fn steps(&self) -> usize {
        self.work.system.len() + self.work.commands.len()
    }

    /// Makes the system: what the Dockerfile says, and the features.
    pub(super) async fn make(&self, inside: &Inside, progress: &Progress) -> Result<(), EnvironmentError> {
        for step in &self.work.system {
            progress.step(step.title.clone());
            fail::fail_point!("devcontainer::before-step");
            let on = &inside.with(&Defaults { environment: (*step.environment).clone(), ..self.work.defaults.clone() });
            match &step.task {
                Task::Run(words) => self.run(on, &step.user, step, words, progress).await?,
                Task::Copy { context, sources, target, owner, mode } => {
                    let mut words = ["sh", "-c", COPY, "sh", context, target, owner, mode].map(str::to_owned).to_vec();
                    words.extend(sources.iter().cloned());
                    self.run(on, &step.user, step, &words, progress).await?;
                }
                Task::Install { feature, folder } => {
                    let archive = match self.archives.get(*feature).and_then(Option::as_ref) {
                        Some(path) if folder.is_none() => tokio::fs::read(path).await.map_err(files::at(path))?,
                        _ => vec![],
                    };
                    let command = ["sh", "-c", INSTALL, "sh", folder.as_deref().unwrap_or_default()];
                    exec::run_with(on, &command, archive.into(), progress).await?;
                }
            }
        }
        Ok(())
    }

    /// Runs what is to be run once, when the user and the working tree are there.
    pub(super) async fn create(
        &self,
        inside: &Inside,
        recipe: &Recipe,
        progress: &Progress,
    ) -> Result<(), EnvironmentError> {
        if !self.work.commands.is_empty() {
            agent::hand_over(inside, recipe, progress).await?;
        }
        for step in &self.work.commands {
            progress.step(step.title.clone());
            fail::fail_point!("devcontainer::before-command");
            self.command(inside, recipe, step, progress).await?;
        }
        Ok(())
    }

    /// Runs what is to be run whenever the system has started.
    pub(super) async fn start(
        &self,
        inside: &Inside,
        recipe: &Recipe,
        progress: &Progress,
    ) -> Result<(), EnvironmentError> {
        for step in &self.work.start {
            progress.output(step.title.clone());
            self.command(inside, recipe, step, progress).await?;
        }
        Ok(())
    }

    async fn command(
        &self,
        inside: &Inside,
        recipe: &Recipe,
        step: &Step,
        progress: &Progress,
    ) -> Result<(), EnvironmentError> {
        let Task::Run(words) = &step.task else { return Ok(()) };
        let on = &inside.with(&self.work.defaults);
        self.run(on, &recipe.user, step, words, progress).await
    }

    async fn run(
        &self,
        inside: &Inside,
        user: &str,
        step: &Step,
        words: &[String],
        progress: &Progress,
    ) -> Result<(), EnvironmentError> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match exec::run_as(inside, user, &words, &step.directory, progress).await? {
            None => Ok(()),
            Some(end) => {
                let why = format!("it {end}; what it fetches from the network, the recipe's `egress` must list");
                Err(progress.failure(&why))
            }
        }
    }
}
