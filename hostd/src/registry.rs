//! Images of container registries: pulled by the host itself, kept by their digests.
//!
//! ```text
//! name ──▶ HEAD, GET manifests/TAG ──▶ index ──▶ manifest for this machine ──▶ configuration, layers ──▶ images/HEX
//!                 digest pinned          every manifest, configuration and layer: by its digest, or not at all
//! ```
//! A registry is not trusted further than the digest that names what it gives. Secrets come from a credential of the host that
//! the recipe's base names, and go to that credential's hosts alone.

mod blobs;
mod client;
mod error;
mod exchange;
mod hash;
mod pull;
#[cfg(test)]
pub(crate) mod tests;

use std::{path::PathBuf, sync::Arc, time::Duration};

use hostd_core::image::{Blob, Config, Digest, Manifest, Reference};

use crate::gateway::Gateway;
use blobs::Blobs;
pub(crate) use error::RegistryError;

/// Wait before a registry is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Who hears how a pull goes on.
pub(crate) trait Progress: Send + Sync {
    /// Takes a line that stays.
    fn line(&self, line: String);
    /// Takes a line that the next one replaces.
    fn passing(&self, line: String);
}

/// This machine's architecture, as Go and registries name it.
pub(crate) fn architecture() -> &'static str {
    pull::architecture()
}

/// An image that a name stands for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    /// Name of the image, with the digest that the name stood for.
    pub(crate) reference: Reference,
    /// Digest of the manifest for this machine.
    pub(crate) digest: Digest,
    pub(crate) manifest: Manifest,
}

/// An image whose parts are all here.
#[derive(Clone, Debug)]
pub(crate) struct Pulled {
    pub(crate) config: Config,
    /// Files of the layers, bottom first.
    pub(crate) layers: Vec<PathBuf>,
}

/// A feature of devcontainers that is here.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    /// Digest of the archive.
    pub(crate) digest: Digest,
    /// File of the archive, a tar.
    pub(crate) path: PathBuf,
}

/// Longest archive of a feature, in bytes.
pub(crate) const FEATURE_MAX: u64 = 16 << 20;

/// Images that were pulled, and the way to others.
#[derive(Debug)]
pub(crate) struct Images {
    blobs: Blobs,
    gateway: Arc<Gateway>,
    /// Wait before a registry is asked again; each further one is twice as long.
    pause: Duration,
}

impl Images {
    /// Keeps what is pulled in this folder, which is there.
    pub(crate) fn at(folder: PathBuf, gateway: Arc<Gateway>) -> Self {
        Self { blobs: Blobs::at(folder), gateway, pause: PAUSE }
    }

    /// Finds out which image a name stands for now. `credential` of the host is used for that where the environment may use it.
    pub(crate) async fn resolve(
        &self,
        reference: &Reference,
        credential: Option<&str>,
        environment: &str,
        progress: &dyn Progress,
    ) -> Result<Resolved, RegistryError> {
        let client = client::Client::of(&self.gateway, reference, credential, environment, self.pause).await?;
        pull::resolve(&client, &self.blobs, reference, progress).await
    }

    /// Fetches a feature of devcontainers, unless it is here.
    pub(crate) async fn feature(
        &self,
        reference: &Reference,
        credential: Option<&str>,
        environment: &str,
        progress: &dyn Progress,
    ) -> Result<Archive, RegistryError> {
        let client = client::Client::of(&self.gateway, reference, credential, environment, self.pause).await?;
        pull::feature(&client, &self.blobs, reference, progress).await
    }

    /// Fetches what is not here yet of an image, whose layers have `most` bytes together at most.
    pub(crate) async fn pull(
        &self,
        image: &Resolved,
        credential: Option<&str>,
        environment: &str,
        most: u64,
        progress: &dyn Progress,
    ) -> Result<Pulled, RegistryError> {
        let client = client::Client::of(&self.gateway, &image.reference, credential, environment, self.pause).await?;
        pull::pull(&client, &self.blobs, image, most, progress).await
    }

    /// Removes the oldest of what was pulled, beyond what is kept; nothing of this image, whole or not.
    pub(crate) async fn prune(&self, image: Option<&Resolved>) -> Result<(), RegistryError> {
        let parts = image.iter().flat_map(|image| image.manifest.layers.iter().chain([&image.manifest.config]));
        let own: Vec<&Blob> = parts.collect();
        self.blobs.prune(&own).await
    }
}
