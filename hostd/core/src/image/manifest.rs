//! Manifests of images, and the indexes that name one for each platform.

use serde::Deserialize;

use super::reference::Digest;

/// Media types that are asked for, all in one header: a registry may say that there is nothing where the type of what it has
/// is not among them.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                          application/vnd.docker.distribution.manifest.list.v2+json, \
                          application/vnd.docker.distribution.manifest.v2+json";
/// Longest manifest or index, in bytes.
pub const DOCUMENT_MAX: u64 = 4 << 20;
/// Longest configuration of an image, in bytes.
pub const CONFIG_MAX: u64 = 4 << 20;
/// Most bytes of all layers of an image, as they come.
pub const IMAGE_MAX: u64 = 64 << 30;
/// Most layers of an image. Docker itself makes at most 127.
const LAYERS_MAX: usize = 512;
/// Most entries of an index.
const VARIANTS_MAX: usize = 1024;

/// What a registry names by a tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Document {
    /// An index: a manifest for each platform.
    Index(Vec<Variant>),
    /// The manifest of one image.
    Manifest(Manifest),
}

/// The image for one platform, as an index names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The image's manifest.
    pub manifest: Blob,
    /// Platform of the image; None: the index does not say.
    pub platform: Option<Platform>,
}

/// What an image's programs run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Name of the operating system, e.g. `linux`.
    pub os: String,
    /// Name of the processor's architecture, as Go has it: `amd64`.
    pub architecture: String,
    /// Which of the architecture's processors; empty: all.
    pub variant: String,
}

/// The manifest of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The image's configuration.
    pub config: Blob,
    /// The image's layers, bottom first.
    pub layers: Vec<Blob>,
}

/// Bytes that a registry keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Digest of the bytes.
    pub digest: Digest,
    /// Number of the bytes.
    pub size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    config: Option<RawBlob>,
    layers: Option<Vec<RawBlob>>,
    /// Each on its own: one that makes no sense does not spoil the others.
    manifests: Option<Vec<serde_json::Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawBlob {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<RawPlatform>,
}

#[derive(Deserialize)]
struct RawPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

impl Document {
    /// Reads a manifest or an index by what it has: registries are not of one mind about its media type.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() as u64 > DOCUMENT_MAX {
            return Err(format!("its manifest is longer than {DOCUMENT_MAX} bytes"));
        }
        let raw: Raw =
            serde_json::from_slice(bytes).map_err(|error| format!("its manifest makes no sense: {error}"))?;
        if raw.schema_version == 1 {
            return Err("its manifest is of the old schema 1; push the image again with a newer program".into());
        }
        match (raw.manifests, raw.config, raw.layers) {
            (Some(manifests), None, None) => variants(manifests).map(Self::Index),
            (None, Some(config), Some(layers)) => manifest(&raw.media_type, config, layers).map(Self::Manifest),
            _ => Err("its manifest is neither an index nor an image's".into()),
        }
    }
}

/// The archive of a feature of devcontainers, as its manifest names it; of at most `most` bytes.
///
/// # Errors
/// What is wrong with it, for people.
pub fn feature_archive(bytes: &[u8], most: u64) -> Result<Blob, String> {
    if bytes.len() as u64 > DOCUMENT_MAX {
        return Err(format!("its manifest is longer than {DOCUMENT_MAX} bytes"));
    }
    let raw: Raw = serde_json::from_slice(bytes).map_err(|error| format!("its manifest makes no sense: {error}"))?;
    let mut layers = raw.layers.unwrap_or_default().into_iter();
    let is_archive = |layer: &RawBlob| layer.media_type.starts_with("application/vnd.devcontainers.layer.v1+tar");
    match layers.find(is_archive) {
        Some(layer) => blob(&layer, most),
        None => Err("it is no feature of devcontainers, but something else that registries keep".into()),
    }
}

/// The entries of an index that name a manifest or an index: there may be others, such as signatures.
fn variants(raw: Vec<serde_json::Value>) -> Result<Vec<Variant>, String> {
    if raw.len() > VARIANTS_MAX {
        return Err(format!("its index has {} entries; at most {VARIANTS_MAX} are read", raw.len()));
    }
    let variant = |raw: serde_json::Value| -> Result<Variant, String> {
        let mut raw: RawBlob = serde_json::from_value(raw).map_err(|error| error.to_string())?;
        if !(raw.media_type.is_empty() || ACCEPT.split(", ").any(|kind| kind == raw.media_type)) {
            let kind = crate::text::one_line(&crate::text::clean(&raw.media_type, 64));
            return Err(format!("it is of the type {kind}"));
        }
        let platform = raw.platform.take().map(|platform| Platform {
            os: crate::text::clean(&platform.os, 32),
            architecture: crate::text::clean(&platform.architecture, 32),
            variant: crate::text::clean(&platform.variant, 32),
        });
        Ok(Variant { manifest: blob(&raw, DOCUMENT_MAX)?, platform })
    };
    let (mut variants, mut bad) = (vec![], None);
    for raw in raw {
        match variant(raw) {
            Ok(variant) => variants.push(variant),
            Err(why) => bad = bad.or(Some(why)),
        }
    }
    match bad.filter(|_| variants.is_empty()) {
        Some(why) => Err(format!("no entry of its index is of use; of the first, {why}")),
        None => Ok(variants),
    }
}

fn manifest(media_type: &str, config: RawBlob, layers: Vec<RawBlob>) -> Result<Manifest, String> {
    const NO_IMAGE: &str = "it is no image of a root file system, but something else that registries keep";
    let images = ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
    // Very old ones name no type here.
    let generic = ["", "application/octet-stream"].contains(&config.media_type.as_str());
    if !(images.contains(&config.media_type.as_str()) || generic && media_type.contains("docker")) {
        return Err(NO_IMAGE.into());
    }
    if layers.len() > LAYERS_MAX {
        return Err(format!("it has {} layers; at most {LAYERS_MAX} are read", layers.len()));
    }
    for layer in &layers {
        let kind = layer.media_type.as_str();
        if kind.contains("encrypted") {
            return Err("its layers are encrypted, and there is no key for them here".into());
        }
        let oci = kind.starts_with("application/vnd.oci.image.layer.");
        let docker = kind.starts_with("application/vnd.docker.image.rootfs.");
        if !(oci || docker) {
            return Err(NO_IMAGE.into());
        }
    }
    let config = blob(&config, CONFIG_MAX)?;
    let layers: Vec<Blob> = layers.iter().map(|raw| blob(raw, IMAGE_MAX)).collect::<Result<_, _>>()?;
    let total = layers.iter().fold(0, |total: u64, layer| total.saturating_add(layer.size));
    if total > IMAGE_MAX {
        return Err(format!("its layers have {} GiB; at most {} GiB are read", total >> 30, IMAGE_MAX >> 30));
    }
    Ok(Manifest { config, layers })
}

fn blob(raw: &RawBlob, most: u64) -> Result<Blob, String> {
    if raw.size > most {
        return Err(format!("one of its parts has {} bytes; at most {most} are read", raw.size));
    }
    let digest = Digest::parse(&raw.digest)
        .map_err(|why| format!("it names a part {:?}; {why}", raw.digest.chars().take(80).collect::<String>()))?;
    Ok(Blob { digest, size: raw.size })
}

/// Of these the image for Linux on this architecture, as Go names it.
///
/// # Errors
/// There is none; says which there are.
pub(super) fn choose<'a>(variants: &'a [Variant], architecture: &str) -> Result<&'a Blob, String> {
    let fits = |variant: &&Variant| {
        let platform = variant.platform.as_ref();
        platform.is_some_and(|platform| platform.os == "linux" && platform.architecture == architecture)
    };
    // One without a variant runs everywhere.
    let plain = |variant: &&Variant| variant.platform.as_ref().is_some_and(|platform| platform.variant.is_empty());
    let fitting = || variants.iter().filter(fits);
    if let Some(variant) = fitting().find(plain).or_else(|| fitting().next()) {
        return Ok(&variant.manifest);
    }
    // One that says nothing of its platform is for all, where it is the only one.
    if let [Variant { manifest, platform: None }] = variants {
        return Ok(manifest);
    }
    let known = variants.iter().filter_map(|variant| variant.platform.as_ref()).filter(|known| known.os != "unknown");
    let mut names: Vec<String> = known.map(|known| format!("{}/{}", known.os, known.architecture)).collect();
    names.sort();
    names.dedup();
    names.truncate(20);
    let names = if names.is_empty() { "none".into() } else { names.join(", ") };
    Err(format!("there is no image for linux/{architecture}; there are: {names}"))
}

impl Variant {
    /// Of these the manifest of the image for Linux on this architecture, as Go names it: `amd64`.
    ///
    /// # Errors
    /// There is none; says which there are.
    pub fn choose<'a>(variants: &'a [Self], architecture: &str) -> Result<&'a Blob, String> {
        choose(variants, architecture)
    }
}
