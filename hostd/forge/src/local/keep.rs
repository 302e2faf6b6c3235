//! Removing and renaming repositories, and serving them to people's git.

use std::path::PathBuf;

use hostd_core::pulls::Who;
use tokio::{fs, process::Command};

use super::{
    Local, Service,
    import::{GONE, check_name},
    turns::Turn,
};
use crate::{BOUNDS, FSCK, ForgeError, Mirror as _, Pulls as _, RepositoryInfo, git, hooks, trust};

impl Local {
    pub(super) async fn remove_repository(&self, name: &str) -> Result<(), ForgeError> {
        let (place, _turn) = self.for_itself(name)?;
        let root = self.repositories.root();
        let failed = |error| ForgeError::File { path: place.clone(), error };
        // Out of sight in one step; what is left of it after a death goes with the next start.
        let gone = tempfile::Builder::new().prefix(GONE).tempdir_in(root).map_err(failed)?;
        let aside = gone.path().join("repository.git");
        fs::rename(&place, &aside).await.map_err(failed)?;
        if let Err(error) = self.storage.forget_repository(name).await {
            fs::rename(&aside, &place).await.map_err(failed)?;
            return Err(error.into());
        }
        self.hint_at_repository(name);
        let removed = tokio::task::spawn_blocking(move || gone.close()).await;
        removed.map_err(|error| failed(std::io::Error::other(error)))?.map_err(failed)
    }

    pub(super) async fn rename_repository(&self, name: &str, new: &str) -> Result<RepositoryInfo, ForgeError> {
        check_name(new)?;
        let (place, _turn) = self.for_itself(name)?;
        if new == name {
            return self.repositories.info(name).await;
        }
        let target = self.repositories.path(new);
        if fs::try_exists(&target).await.unwrap_or(true) {
            return Err(ForgeError::Taken(new.into()));
        }
        let failed = |error| ForgeError::File { path: place.clone(), error };
        fs::rename(&place, &target).await.map_err(failed)?;
        if let Err(error) = self.storage.rename_repository(name, new).await {
            fs::rename(&target, &place).await.map_err(failed)?;
            return Err(error.into());
        }
        for name in [name, new] {
            self.hint_at_repository(name);
        }
        self.repositories.info(new).await
    }

    /// Path of a repository, and the turn for it; an error while somebody fetches into it or merges.
    fn for_itself(&self, name: &str) -> Result<(PathBuf, Turn<String>), ForgeError> {
        let place = self.repositories.open(name)?.path;
        let busy = || ForgeError::Busy(name.into());
        let turn = self.upkeep.take(&name.to_owned()).ok_or_else(busy)?;
        if self.merges.any(|id| id.repository == name) {
            return Err(busy());
        }
        Ok((place, turn))
    }

    pub(super) async fn serve_git(
        &self,
        name: &str,
        service: Service,
        who: &Who,
        protocol: &str,
    ) -> Result<Command, ForgeError> {
        let repository = self.repositories.open(name)?;
        let mut command = git::git(&repository.path);
        // The reflog says who pushed.
        command.env("GIT_COMMITTER_NAME", &who.name).env("GIT_COMMITTER_EMAIL", "");
        if ["version=0", "version=1", "version=2"].contains(&protocol) {
            command.env("GIT_PROTOCOL", protocol);
        }
        if service == Service::Fetch {
            let settings = [("uploadpack.allowFilter", "true"), ("uploadpack.allowReachableSHA1InWant", "true")];
            trust(&mut command, &repository.path, &[&settings[..], &BOUNDS[..]].concat());
            command.args(["upload-pack", "--strict"]).arg(&repository.path);
            return Ok(command);
        }
        let most = self.room_for_a_push()?;
        let root = self.repositories.root();
        let hooks = hooks::install_for_people(root);
        let hooks = hooks.await.map_err(|error| ForgeError::File { path: root.into(), error })?;
        let hooks = hooks.to_string_lossy();
        let rules = self.storage.rules(name).await?;
        command
            .env(hooks::REPOSITORY_VARIABLE, name)
            .env(hooks::DEFAULT_BRANCH_VARIABLE, repository.head_branch().await?)
            .env(hooks::DIRECT_PUSH_VARIABLE, rules.direct_push.word());
        let settings = [
            ("core.hooksPath", hooks.as_ref()),
            ("receive.maxInputSize", most.as_str()),
            // Pull requests read from it what was pushed, and what a force-push replaced.
            ("core.logAllRefUpdates", "always"),
            // In the background it would outlive the process that we watch.
            ("gc.autoDetach", "false"),
            ("maintenance.autoDetach", "false"),
        ];
        trust(&mut command, &repository.path, &[&settings[..], &FSCK[..], &BOUNDS[..]].concat());
        command.arg("receive-pack").arg(&repository.path);
        Ok(command)
    }

    /// Bytes that the disk has room for, beside what it keeps free.
    fn room_for_a_push(&self) -> Result<String, ForgeError> {
        // A disk that cannot be measured does not stand in the way; 0: without bounds.
        let Some(disk) = (self.disk)(self.repositories.root()) else { return Ok("0".into()) };
        match disk.below_reserve() {
            Some(why) => Err(ForgeError::NoRoom(format!("the push was refused: {why}"))),
            None => Ok(disk.free().to_string()),
        }
    }

    pub(super) async fn look_after_push(&self, name: &str) {
        if let Err(error) = self.refresh(name, "").await {
            tracing::warn!(repository = name, %error, "what was pushed cannot be read yet");
        }
        self.hint_at_repository(name);
    }
}
