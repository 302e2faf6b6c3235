//! What a build is, beside its disk: `builds/ID/manifest.json`.

use std::path::{Path, PathBuf};

use hostd_core::{
    Recipe, UnixMillis,
    image::Defaults,
    profile::{Profile, SESSION_HELP},
};
use serde::{Deserialize, Serialize};

use super::{
    base::Base,
    exec, files, packages, template,
    types::{BuildInfo, DevcontainerInfo, EnvironmentError},
};
use crate::{forge::Head, vm::snapshot::store::DAMAGED};

/// Format of builds; raised when the same inputs would give another build.
pub(super) const FORMAT: u32 = 3;

/// Description of a finished build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) id: String,
    /// Name of the environment that the build was first made for.
    pub(super) environment: String,
    /// Text of the recipe as it was then.
    pub(super) recipe: String,
    /// Profile that the recipe named, as it was then; None: it named none.
    #[serde(default)]
    pub(super) profile: Option<Profile>,
    /// Commit of the repository; empty: the recipe has none.
    pub(super) commit: String,
    /// Branch of the repository that was cloned; empty: there is none, or the manifest is older than this field.
    #[serde(default)]
    pub(super) branch: String,
    /// Container image that the base is made from; None: there is none.
    #[serde(default)]
    pub(super) image: Option<BuiltOn>,
    /// Hash of the base image's inputs.
    pub(super) base: String,
    /// When the base image was written, in nanoseconds since the Unix epoch. A base made anew from the same inputs is another
    /// file system: a disk on top of it would be garbage.
    pub(super) base_stamp: u64,
    pub(super) created_at: UnixMillis,
    pub(super) size_bytes: u64,
    pub(super) base_bytes: u64,
    /// Bytes on disk of the build's template; None: it has none, and its sessions boot.
    pub(super) template_bytes: Option<u64>,
}

/// A container image that a base is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BuiltOn {
    /// Name of the image, with the digest that it had.
    pub(super) name: String,
    /// What the image says of how programs run in it, or a devcontainer.json on it.
    pub(super) defaults: Defaults,
    /// What is to be known of the devcontainer.json; None: there is none.
    #[serde(default)]
    pub(super) devcontainer: Option<DevcontainerInfo>,
}

impl Manifest {
    /// The recipe, with what the build's image says where the recipe does not say otherwise.
    pub(super) fn with_image(&self, recipe: &Recipe) -> Recipe {
        recipe.on(self.image.as_ref().map(|image| &image.defaults), exec::OWN_PROGRAMS)
    }

    pub(super) fn info(&self) -> BuildInfo {
        let devcontainer = self.image.as_ref().and_then(|image| image.devcontainer.clone());
        BuildInfo {
            id: self.id.clone(),
            commit: self.commit.clone(),
            image: self.image.as_ref().map(|image| image.name.clone()).unwrap_or_default(),
            devcontainer: devcontainer.map(Box::new),
            created_at: self.created_at,
            size_bytes: self.size_bytes,
            base_bytes: self.base_bytes,
            template_bytes: self.template_bytes.unwrap_or(0),
        }
    }
}

/// The id of the build that a recipe gives at a commit: whatever decides what is on its disk and in its template, and nothing
/// else. `machine` is the fingerprint of the VM that its template is (see `Vmm::fingerprint`), so that an upgrade of QEMU or
/// of the kernel makes another build. `attempt` counts those of the same inputs whose files have gone since.
/// `devcontainer` is what a devcontainer.json adds to that.
pub(super) fn id(
    recipe: &Recipe,
    base: &Base,
    head: &Head,
    devcontainer: Option<&serde_json::Value>,
    machine: Option<&str>,
    attempt: u32,
) -> String {
    let repository = recipe.repository.as_ref().map(|r| [&r.url, &head.branch, &r.path]);
    // JSON, so that no two lists of words look alike.
    let (setup, user) = (&recipe.setup, &recipe.user);
    let mut inputs = serde_json::json!([FORMAT, base.hash, repository, head.commit, setup, user, machine, attempt]);
    // What came later goes behind, where it says anything: a build of before is still the build of its recipe.
    let files = recipe.profile.as_ref().map(|profile| (&profile.name, &profile.files, &profile.check));
    if let (Some(inputs), true) = (inputs.as_array_mut(), files.is_some() || recipe.sudo) {
        inputs.push(serde_json::json!([files, recipe.sudo, recipe.profile.as_ref().map(|_| SESSION_HELP)]));
    }
    // Of an image they are installed in the VM, and not in the base.
    if let (Some(inputs), true) = (inputs.as_array_mut(), packages::wanted(recipe)) {
        inputs.push(serde_json::json!({ "packages": recipe.packages() }));
    }
    if let (Some(inputs), Some(devcontainer)) = (inputs.as_array_mut(), devcontainer) {
        inputs.push(serde_json::json!({ "devcontainer": devcontainer }));
    }
    blake3::hash(inputs.to_string().as_bytes()).to_hex()[..16].to_owned()
}

/// The folders of builds and base images.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    pub(super) builds: PathBuf,
    pub(super) bases: PathBuf,
}

impl Shelf {
    pub(super) fn folder(&self, id: &str) -> PathBuf {
        self.builds.join(id)
    }

    pub(super) fn disk(&self, id: &str) -> PathBuf {
        self.folder(id).join("disk.qcow2")
    }

    pub(super) fn template(&self, id: &str) -> PathBuf {
        self.folder(id).join(template::FOLDER)
    }

    pub(super) fn base(&self, manifest: &Manifest) -> PathBuf {
        self.bases.join(format!("{}.ext4", manifest.base))
    }

    /// The build of this id, if it is whole and its base is still the one that it was made on.
    pub(super) async fn find(&self, id: &str) -> Result<Option<Manifest>, EnvironmentError> {
        let Some(text) = files::read(&self.folder(id).join("manifest.json")).await? else { return Ok(None) };
        let Ok(manifest) = serde_json::from_str::<Manifest>(&text) else { return Ok(None) };
        let base = files::stat(&self.base(&manifest)).await;
        let whole = manifest.id == id
            && manifest.format == FORMAT
            && base.is_some_and(|base| base.stamp == manifest.base_stamp)
            && files::stat(&self.disk(id)).await.is_some();
        Ok(whole.then_some(manifest))
    }

    /// Whether a build has the template that it was made with, as far as is known.
    pub(super) async fn can_be_cloned(&self, manifest: &Manifest) -> bool {
        let template = self.template(&manifest.id);
        let lies_there = files::stat(&template.join("manifest.json")).await.is_some();
        manifest.template_bytes.is_none() || lies_there && !files::exists(&template.join(DAMAGED)).await
    }

    /// Ids of all builds, with the manifests of those that have one that can be read.
    pub(super) async fn all(&self) -> Result<Vec<(String, Option<Manifest>)>, EnvironmentError> {
        let mut all = vec![];
        for id in files::names(&self.builds).await?.into_iter().filter(|name| !name.starts_with(WORKSHOP)) {
            let text = files::read(&self.folder(&id).join("manifest.json")).await?;
            let manifest = text.and_then(|text| serde_json::from_str(&text).ok());
            all.push((id, manifest));
        }
        Ok(all)
    }

    /// A fresh folder to build in, on the same file system.
    pub(super) async fn workshop(&self, id: &str) -> Result<PathBuf, EnvironmentError> {
        let folder = self.builds.join(format!("{WORKSHOP}{id}"));
        files::remove(&folder).await?;
        files::folder(folder).await
    }

    /// Folders of builds that were never finished.
    pub(super) async fn workshops(&self) -> Result<Vec<PathBuf>, EnvironmentError> {
        let names = files::names(&self.builds).await?;
        Ok(names.iter().filter(|name| name.starts_with(WORKSHOP)).map(|name| self.builds.join(name)).collect())
    }
}

const WORKSHOP: &str = "new-";

/// Writes a manifest into a build's folder.
pub(super) async fn write(folder: &Path, manifest: &Manifest) -> Result<(), EnvironmentError> {
    let text = serde_json::to_string_pretty(manifest).unwrap_or_default();
    files::write(&folder.join("manifest.json"), text.as_bytes()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_depends_on_what_is_built_alone() {
        let on = |text: &str, commit: &str, machine: &str| {
            let text = format!("name='a'\nbase.debian='bookworm'\nagent.command=['sh']\n{text}");
            let recipe = Recipe::parse("x", &text).unwrap();
            let head = Head { branch: String::new(), commit: commit.into() };
            id(&recipe, &Base::of(&recipe, None, Path::new("/b")).unwrap(), &head, None, Some(machine), 0)
        };
        let of = |text: &str, commit: &str| on(text, commit, "qemu");
        let one = of("setup=['a b']", "c0ffee");
        assert_eq!(one, of("setup=['a b']\nsize.vcpus=2\nci.command=['x']\negress=['a:1']", "c0ffee"));
        for other in [
            of("setup=['a','b']", "c0ffee"),
            of("setup=['a b']\nuser='dev'", "c0ffee"),
            of("setup=['a b']\nuser={name='dev',sudo=true}", "c0ffee"),
            of("setup=['a b']", "decaf"),
            of("setup=['a b']\nsize.disk='9GiB'", "c0ffee"),
            on("setup=['a b']", "c0ffee", "a newer qemu"),
        ] {
            assert_ne!(one, other);
        }
        assert!(one.len() == 16 && one.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
