//! One build, from its inputs to the shelf.

use std::sync::Arc;

use hostd_core::{Recipe, capacity::Need, profile::Profiles, queue::Purpose, recipe::System};

use super::{
    Environments,
    bake::{self, Batch},
    base::Base,
    catalog::Current,
    devcontainer::{self, Found},
    exec, files,
    manifest::{self, BuiltOn, Manifest},
    packages,
    progress::Progress,
    template,
    types::{BuildEvent, EnvironmentError, EnvironmentInfo},
};
use crate::{
    admission::{Kind, Reservation},
    forge::Head,
    registry::Resolved,
};

/// A build that was asked for: its recipe, and where its progress goes.
pub(super) struct Job {
    pub(super) recipe: Recipe,
    pub(super) progress: Arc<Progress>,
}

/// Makes a build, and says how it went: to the readers of its progress, and to those who watch environments.
pub(super) async fn run(environments: Arc<Environments>, job: Job) {
    let name = &job.recipe.name;
    match in_turn(&environments, &job).await {
        Ok((info, cached)) => {
            job.progress.end(BuildEvent::Done { info: Box::new(info), cached });
        }
        Err(error) => {
            let kept = environments.catalog.keep_failure(name, &error.to_string(), &job.progress.log()).await;
            if let Err(error) = kept {
                tracing::warn!(%error, "the log of a failed build is lost");
            }
            environments.finished(&job, Err(error.to_string()));
            job.progress.end(BuildEvent::Failed(error));
        }
    }
}

/// Makes a build in its turn, and puts it into use; returns the environment, and whether the build was there already. One at a time
/// on a host: each fills its processors by itself.
async fn in_turn(environments: &Environments, job: &Job) -> Result<(EnvironmentInfo, bool), EnvironmentError> {
    let _turn = environments.turn.lock().await;
    let made = async {
        let (manifest, cached) = make(environments, job).await?;
        // Whoever changes the recipe finds the build in use, or under way, and not between the two.
        let _one = environments.registering.lock().await;
        environments.catalog.publish(&manifest.id, &job.progress.recipe, &job.recipe).await?;
        let current = Current { recipe: manifest.with_image(&job.recipe), manifest };
        Ok((environments.finished(job, Ok(current)), cached))
    };
    let made = tokio::select! {
        made = made => made,
        () = environments.closing.cancelled() => Err(job.progress.failure("hostd was ended")),
    };
    if made.is_err()
        && let Err(error) = environments.sweep().await
    {
        tracing::warn!(%error, "a build that failed was not cleaned up");
    }
    made
}

async fn make(environments: &Environments, job: &Job) -> Result<(Manifest, bool), EnvironmentError> {
    let (recipe, progress) = (&job.recipe, &job.progress);
    super::fits(recipe)?;
    warn(environments, recipe, progress);
    let head = &head(environments, recipe).await?;
    let is_devcontainer = matches!(recipe.base.system, System::Devcontainer { .. });
    let is_image = is_devcontainer || matches!(recipe.base.system, System::Image { .. });
    let mut steps = bake::steps(recipe) + 2 + u32::from(is_image) + u32::from(is_devcontainer);
    progress.plan(steps + template::STEPS);
    let devcontainer = devcontainer::find(environments, recipe, head, progress).await?;
    let found = devcontainer.as_ref();
    let recipe = &found.map_or_else(|| recipe.clone(), |found| recipe.on_image(found.reference.clone()));
    steps = steps.max(bake::steps(recipe) + 2 + u32::from(is_image) + u32::from(is_devcontainer));
    let inputs = found.map(Found::inputs);
    let image = image(environments, recipe, progress).await?;
    let base = Base::of(recipe, image.as_ref(), &environments.shelf.bases);
    let base = base.ok_or_else(|| progress.failure("the base's image is not known"))?;
    environments.bases_of_images().insert(recipe.name.clone(), base.path.clone());
    progress.step("kernel of the guests");
    environments.vmm.prepare(&|line| progress.output(line)).await?;
    let machine = environments.vmm.fingerprint(recipe.size, recipe.cpu).await?;
    let id = match place(environments, |attempt| {
        manifest::id(recipe, &base, head, inputs.as_ref(), machine.as_deref(), attempt)
    })
    .await?
    {
        Place::Taken(manifest) => {
            let ignored = manifest.image.iter().filter_map(|image| image.devcontainer.as_ref());
            for line in ignored.flat_map(|kept| &kept.ignored) {
                progress.output(format!("not honoured: {line}"));
            }
            recheck(environments, job, head, &base, &manifest).await?;
            return Ok((*manifest, true));
        }
        Place::Free(id) => id,
    };
    if machine.is_none() {
        progress.plan(steps);
    }
    progress.step(format!("base system: {}", base.title()));
    let base_stat = base.make(&environments.programs, &environments.images, progress).await?;
    let mut built_on = match (base.defaults(&environments.images, is_devcontainer, progress).await?, &image) {
        (Some(defaults), Some(image)) => {
            Some(BuiltOn { name: image.reference.to_string(), defaults, devcontainer: None })
        }
        _ => None,
    };
    let ready = match (devcontainer, &mut built_on) {
        (Some(found), Some(built_on)) => {
            let ready = found.ready(&built_on.defaults, progress)?;
            steps = steps.saturating_add(u32::try_from(ready.steps()).unwrap_or(u32::MAX));
            progress.plan(if machine.is_some() { steps + template::STEPS } else { steps });
            built_on.defaults = ready.work.defaults.clone();
            built_on.devcontainer = Some(ready.kept.clone());
            Some(ready)
        }
        _ => None,
    };
    let recipe = &recipe.on(built_on.as_ref().map(|image| &image.defaults), exec::OWN_PROGRAMS);
    packages::without_shell(recipe).map_err(|why| progress.failure(&why))?;
    let workshop = environments.shelf.workshop(&id).await?;
    let reservation = &room(environments, job).await?;
    let batch = Batch {
        id: &id,
        recipe,
        head,
        base: base.path.clone(),
        workshop,
        devcontainer: ready.as_ref(),
        progress,
        reservation,
    };
    let vmm = &*environments.vmm;
    bake::bake(vmm, &environments.gateway, &batch).await?;
    if machine.is_some() {
        template::make(vmm, &environments.gateway, &batch).await?;
    }

    let disk = batch.disk();
    files::remove(&batch.vm()).await?;
    files::freeze(&disk).await?;
    let manifest = Manifest {
        format: manifest::FORMAT,
        id: id.clone(),
        environment: recipe.name.clone(),
        recipe: progress.recipe.clone(),
        profile: recipe.profile.as_deref().cloned(),
        commit: head.commit.clone(),
        branch: head.branch.clone(),
        image: built_on,
        base: base.hash.clone(),
        base_stamp: base_stat.stamp,
        created_at: jiff::Timestamp::now().as_millisecond(),
        size_bytes: files::stat(&disk).await.map_or(0, |stat| stat.on_disk),
        base_bytes: base_stat.on_disk,
        template_bytes: match machine {
            Some(_) => Some(files::on_disk(&batch.workshop.join(template::FOLDER)).await?),
            None => None,
        },
    };
    manifest::write(&batch.workshop, &manifest).await?;
    files::write(&batch.workshop.join("log"), progress.log().as_bytes()).await?;
    files::publish(&batch.workshop, &environments.shelf.folder(&id)).await?;
    Ok((manifest, false))
}

/// The container image that a recipe's base names, as it is now; None: it names none.
async fn image(
    environments: &Environments,
    recipe: &Recipe,
    progress: &Progress,
) -> Result<Option<Resolved>, EnvironmentError> {
    let System::Image { reference, credential } = &recipe.base.system else { return Ok(None) };
    progress.step(format!("image {reference}"));
    let resolved = environments.images.resolve(reference, credential.as_deref(), &recipe.name, progress).await;
    resolved.map(Some).map_err(|error| progress.failure(&error.to_string()))
}

/// Adds to the progress what the recipe will not do as it was meant.
fn warn(environments: &Environments, recipe: &Recipe, progress: &Progress) {
    for warning in recipe.warnings() {
        progress.output(format!("warning: {warning}"));
    }
    for name in recipe.also_read().iter().filter(|name| environments.mirror.repository(name).is_none()) {
        progress
            .output(format!("warning: `read` names {name}, which is not on this host; `pilothouse repo add` adds it"));
    }
}

/// Looks for the agent in a build that is there: the agent is no part of what is built, and the recipe may name another one
/// now.
async fn recheck(
    environments: &Environments,
    job: &Job,
    head: &Head,
    base: &Base,
    manifest: &Manifest,
) -> Result<(), EnvironmentError> {
    let (recipe, progress) = (&manifest.with_image(&job.recipe), &*job.progress);
    let profiles = Profiles::of(manifest.profile.clone());
    let before = Recipe::parse_with("manifest", &manifest.recipe, &profiles).ok();
    if before.is_some_and(|before| before.agent.command.first() == recipe.agent.command.first()) {
        return Ok(());
    }
    let shelf = &environments.shelf;
    let workshop = shelf.workshop(&manifest.id).await?;
    let reservation = &room(environments, job).await?;
    let batch = Batch {
        id: &manifest.id,
        recipe,
        head,
        base: base.path.clone(),
        workshop,
        devcontainer: None,
        progress,
        reservation,
    };
    let template = manifest.template_bytes.map(|_| shelf.template(&manifest.id));
    let layers = vec![base.path.clone(), shelf.disk(&manifest.id)];
    progress.step(format!("look for the agent `{}` in a clone", hostd_core::text::one_line(&recipe.agent.command[0])));
    template::find_agent(&*environments.vmm, &environments.gateway, &batch, layers, template).await?;
    files::remove(&batch.workshop).await
}

/// Waits for memory for the VMs of a build, one at a time, behind sessions.
async fn room(environments: &Environments, job: &Job) -> Result<Reservation, EnvironmentError> {
    let need = Need { memory: job.recipe.size.memory, disk: 0 };
    let say = |why| {
        job.progress.output(why);
        std::future::ready(())
    };
    let admitted = environments.admission.admit(Kind::Build, Purpose::Build, need, say).await;
    admitted.map_err(|why| job.progress.failure(&why))
}

/// Whether a build is on the shelf, or under which id it is to be made.
enum Place {
    /// The build is on the shelf, whole.
    Taken(Box<Manifest>),
    /// No folder has this id yet.
    Free(String),
}

/// Takes the first of these ids whose build is whole, or whose folder is free. A folder that is not whole any more is left
/// alone: sessions may lie on it.
async fn place(environments: &Environments, id: impl Fn(u32) -> String) -> Result<Place, EnvironmentError> {
    let shelf = &environments.shelf;
    let mut attempt = 0;
    loop {
        let id = id(attempt);
        match shelf.find(&id).await? {
            Some(manifest) if shelf.can_be_cloned(&manifest).await => return Ok(Place::Taken(Box::new(manifest))),
            None if !files::exists(&shelf.folder(&id)).await => return Ok(Place::Free(id)),
            Some(_) | None => attempt += 1,
        }
    }
}

/// Branch and commit that are cloned: of the recipe's branch, or else of the repository's default one. Empty where there is no
/// repository.
async fn head(environments: &Environments, recipe: &Recipe) -> Result<Head, EnvironmentError> {
    let (Some(repository), Some(name)) = (&recipe.repository, recipe.local_repository()) else {
        return Ok(Head::default());
    };
    let mirror = &environments.mirror;
    let head = match &repository.branch {
        Some(branch) => mirror.head(name, branch).await.map(|commit| Head { branch: branch.clone(), commit }),
        None => mirror.default_head(name, "name a `branch` in the recipe's `repository`").await,
    };
    head.map_err(|error| EnvironmentError::BuildFailed { step: "repository".into(), output: error.to_string() })
}
