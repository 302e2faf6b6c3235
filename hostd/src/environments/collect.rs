//! Takes off the shelf what nobody needs any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use hostd_core::shelf::{Shelved, unneeded};

use super::{
    Environments, base,
    catalog::Entry,
    files,
    manifest::Manifest,
    types::{BuildInfo, EnvironmentError},
};

impl Environments {
    /// Removes builds and bases that are no environment's, and that nothing of `used` (sessions' layers and templates) is or
    /// lies in. While a build is under way nothing is: it is asked for again when that has ended.
    ///
    /// # Errors
    /// [`EnvironmentError::File`]; what is left then goes another time.
    pub async fn collect(&self, used: &[PathBuf]) -> Result<(), EnvironmentError> {
        let Ok(_turn) = self.turn.try_lock() else { return Ok(()) };
        let Some(mut current) = self.catalog.pointers().await? else { return Ok(()) };
        // What a session may be made from this moment, though a newer build has just been published.
        current.extend(self.lock().values().filter_map(|entry| Some(entry.current.as_ref()?.manifest.id.clone())));
        let builds = self.shelf.all().await?;
        let mut used = used.to_vec();
        // What the next build will lie on: one that failed in its set-up is tried again soon.
        let debians = |entry: &Entry| base::Base::of(&entry.recipe, None, &self.shelf.bases).map(|base| base.path);
        used.extend(self.lock().values().filter_map(debians));
        used.extend(self.bases_of_images().values().cloned());
        let shelved: Vec<_> = builds.iter().map(|(id, manifest)| self.shelved(id, manifest.as_ref())).collect();
        let gone = unneeded(&shelved, &base::finished(&self.shelf.bases).await?, &current, &used);
        for folder in &gone.builds {
            tracing::info!(folder = %folder.display(), "a build that nobody needs any more is removed");
            files::withdraw(folder).await?;
        }
        for image in &gone.bases {
            tracing::info!(image = %image.display(), "a base that nobody needs any more is removed");
            files::remove(image).await?;
            let record = base::record(image);
            let left = base::finished(&self.shelf.bases).await?;
            if !left.iter().any(|other| base::record(other) == record) {
                files::remove(&record).await?;
            }
        }
        let stays = |id: &str| !gone.builds.contains(&self.shelf.folder(id));
        self.show_older(builds.into_iter().filter(|(id, _)| stays(id)).filter_map(|(_, manifest)| manifest));
        Ok(())
    }

    fn shelved(&self, id: &str, manifest: Option<&Manifest>) -> Shelved {
        let base = manifest.map(|manifest| self.shelf.base(manifest));
        Shelved { id: id.into(), folder: self.shelf.folder(id), base }
    }

    /// Tells of builds that are in nobody's way but still there.
    fn show_older(&self, builds: impl Iterator<Item = Manifest>) {
        let mut older: BTreeMap<String, Vec<BuildInfo>> = BTreeMap::new();
        let in_use: BTreeSet<String> = {
            let entries = self.lock();
            entries.values().filter_map(|entry| Some(entry.current.as_ref()?.manifest.id.clone())).collect()
        };
        for manifest in builds.filter(|manifest| !in_use.contains(&manifest.id)) {
            older.entry(manifest.environment.clone()).or_default().push(manifest.info());
        }
        let changed: Vec<_> = {
            let mut entries = self.lock();
            let changed = entries.iter_mut().filter_map(|(name, entry)| {
                let now = older.remove(name).unwrap_or_default();
                let before = std::mem::replace(&mut entry.older, now);
                (before != entry.older).then(|| Entry::info(entry))
            });
            changed.collect()
        };
        changed.into_iter().for_each(|info| self.tell(info));
    }
}
