//! One build, from its inputs to the shelf.

use std::sync::Arc;

use hostd_core::Recipe;

use super::{
    BuildEvent, EnvironmentError, Environments,
    bake::{self, Batch},
    base::Base,
    catalog::Current,
    files,
    manifest::{self, Manifest},
    progress::Progress,
};

/// What is to be built.
pub(super) struct Job {
    pub(super) recipe: Recipe,
    pub(super) progress: Arc<Progress>,
}

/// Builds, and says how it went: to the readers of its progress, and to those who watch environments.
pub(super) async fn run(environments: Arc<Environments>, job: Job) {
    let name = &job.recipe.name;
    let published = match in_turn(&environments, &job).await {
        Ok((manifest, cached)) => {
            let published = environments.catalog.publish(name, &manifest.id, &job.progress.recipe).await;
            published.map(|()| (Current { manifest, recipe: job.recipe.clone() }, cached))
        }
        Err(error) => Err(error),
    };
    match published {
        Ok((current, cached)) => {
            let info = environments.finished(&job, Ok(current));
            job.progress.end(BuildEvent::Done { info, cached });
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

/// The build, and whether it was there already. One at a time on a host: each fills its processors by itself.
async fn in_turn(environments: &Environments, job: &Job) -> Result<(Manifest, bool), EnvironmentError> {
    let _turn = environments.turn.lock().await;
    let made = tokio::select! {
        made = make(environments, job) => made,
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
    let (recipe, progress) = (&job.recipe, &*job.progress);
    super::fits(recipe)?;
    let commit = commit(environments, recipe).await?;
    let base = Base::of(recipe, &environments.shelf.bases);
    let id = manifest::id(recipe, &base, &commit);
    if let Some(manifest) = environments.shelf.find(&id).await? {
        // What every VM needs may have gone since.
        environments.vmm.prepare(&|line| progress.output(line)).await?;
        return Ok((manifest, true));
    }
    progress.plan(bake::steps(recipe) + 2);
    progress.step("kernel of the guests");
    environments.vmm.prepare(&|line| progress.output(line)).await?;
    progress.step(format!("base system: Debian {}", recipe.base.debian));
    let base_stat = base.make(progress).await?;
    let workshop = environments.shelf.workshop(&id).await?;
    let batch = Batch { id: &id, recipe, commit: &commit, base: base.path.clone(), workshop, progress };
    bake::bake(&*environments.vmm, environments.gateway.clone(), &batch).await?;

    let disk = batch.workshop.join("disk.qcow2");
    files::remove(&batch.workshop.join("vm")).await?;
    files::freeze(&disk).await?;
    let manifest = Manifest {
        format: manifest::FORMAT,
        id: id.clone(),
        environment: recipe.name.clone(),
        recipe: progress.recipe.clone(),
        commit: commit.clone(),
        base: base.hash.clone(),
        base_stamp: base_stat.stamp,
        created_at: jiff::Timestamp::now().as_millisecond(),
        size_bytes: files::stat(&disk).await.map_or(0, |stat| stat.on_disk),
        base_bytes: base_stat.on_disk,
    };
    manifest::write(&batch.workshop, &manifest).await?;
    files::write(&batch.workshop.join("log"), progress.log().as_bytes()).await?;
    let folder = environments.shelf.folder(&id);
    // What stands there was found not to be whole.
    files::remove(&folder).await?;
    files::publish(&batch.workshop, &folder).await?;
    Ok((manifest, false))
}

/// The commit at the head of the recipe's branch; empty where it has no repository.
async fn commit(environments: &Environments, recipe: &Recipe) -> Result<String, EnvironmentError> {
    let (Some(repository), Some(name)) = (&recipe.repository, recipe.local_repository()) else {
        return Ok(String::new());
    };
    let head = environments.forge.head(name, &repository.branch).await;
    head.map_err(|error| EnvironmentError::BuildFailed { step: "repository".into(), output: error.to_string() })
}
