//! From a name to files.

use std::time::Duration;

use hostd_core::image::{
    ACCEPT, Blob, CONFIG_MAX, Config, DOCUMENT_MAX, Digest, Document, Reference, Variant, feature_archive,
};
use hyper::{
    Method, StatusCode,
    header::{ACCEPT as ACCEPT_HEADER, RANGE},
};
use tokio::{
    fs,
    io::AsyncWriteExt as _,
    time::{Instant, sleep},
};

use super::{
    Archive, FEATURE_MAX, Progress, Pulled, Resolved,
    blobs::Blobs,
    client::{self, Client},
    error::RegistryError,
    hash::{self, Hash},
};

/// Tries of one part that is cut off or wrong, without any step forward.
const TRIES: u32 = 5;
/// Bytes that are a step forward; with fewer, one who sends a few at a time would hold up all other builds.
const STEP: u64 = 1 << 20;
/// Least rate at which a part comes, in bytes a second, and how long it may come slower.
const RATE_MIN: u64 = 4 << 10;
const SLOW_MAX: Duration = Duration::from_secs(120);
/// Longest wait before a further try, in waits before the second.
const PAUSES_MAX: u32 = 16;
/// Time between two lines that say how far a part has come.
const TELL: Duration = Duration::from_millis(500);
/// Most indexes on the way from a name to an image.
const INDEXES: usize = 2;
/// Header that names what is answered.
const DIGEST: &str = "docker-content-digest";

/// Which image a name stands for now.
pub(super) async fn resolve(
    client: &Client,
    blobs: &Blobs,
    reference: &Reference,
    progress: &dyn Progress,
) -> Result<Resolved, RegistryError> {
    let digest = match &reference.digest {
        Some(digest) => Some(digest.clone()),
        None => head(client, reference).await?,
    };
    let (mut digest, mut document) = document(client, blobs, digest, &reference.wanted()).await?;
    let pinned = reference.pinned(&digest);
    progress.line(format!("{reference} is {digest}"));
    for _ in 0..INDEXES {
        let variants = match document {
            Document::Manifest(manifest) => return Ok(Resolved { reference: pinned, digest, manifest }),
            Document::Index(variants) => variants,
        };
        let chosen = Variant::choose(&variants, architecture()).map_err(|why| unusable(reference, why))?;
        (digest, document) =
            self::document(client, blobs, Some(chosen.digest.clone()), &chosen.digest.to_string()).await?;
    }
    match document {
        Document::Manifest(manifest) => Ok(Resolved { reference: pinned, digest, manifest }),
        Document::Index(_) => Err(unusable(reference, "its indexes name only further ones".into())),
    }
}

/// Fetches a feature of devcontainers: its manifest, and the archive that this names.
pub(super) async fn feature(
    client: &Client,
    blobs: &Blobs,
    reference: &Reference,
    progress: &dyn Progress,
) -> Result<Archive, RegistryError> {
    let (said, bytes) = asked(client, Method::GET, &reference.wanted()).await?;
    let found = hash::of(&bytes);
    if let Some(digest) = reference.digest.as_ref().or(said.as_ref()).filter(|digest| **digest != found) {
        return Err(RegistryError::Damaged { host: client.host().into(), digest: digest.to_string() });
    }
    let blob = feature_archive(&bytes, FEATURE_MAX).map_err(|why| unusable(reference, why))?;
    progress.line(format!("{reference} is {found}"));
    fetch(client, blobs, &blob, "archive", progress).await?;
    Ok(Archive { path: blobs.path(&blob.digest), digest: blob.digest })
}

/// The digest that a tag stands for, as the registry says; None: it does not, and is asked for all of it.
async fn head(client: &Client, reference: &Reference) -> Result<Option<Digest>, RegistryError> {
    match asked(client, Method::HEAD, &reference.wanted()).await {
        Ok((digest, _)) => Ok(digest),
        // Some know no HEAD.
        Err(RegistryError::Unreachable { why, .. }) if why.ends_with(" 405") => Ok(None),
        Err(error) => Err(error),
    }
}

/// A manifest or an index: from here, where its digest is known and it is kept; and checked against that.
async fn document(
    client: &Client,
    blobs: &Blobs,
    digest: Option<Digest>,
    wanted: &str,
) -> Result<(Digest, Document), RegistryError> {
    let parsed =
        |bytes: &[u8]| Document::parse(bytes).map_err(|why| RegistryError::Unusable { image: client.image(), why });
    if let Some(digest) = &digest
        && let Some(bytes) = blobs.read(digest, DOCUMENT_MAX).await?
    {
        return Ok((digest.clone(), parsed(&bytes)?));
    }
    // By its digest, where that is known: a tag may stand for something else a moment later.
    let wanted = digest.as_ref().map_or_else(|| wanted.to_owned(), Digest::to_string);
    let (_, bytes) = asked(client, Method::GET, &wanted).await?;
    let found = hash::of(&bytes);
    if let Some(digest) = digest.filter(|digest| *digest != found) {
        return Err(RegistryError::Damaged { host: client.host().into(), digest: digest.to_string() });
    }
    let document = parsed(&bytes)?;
    blobs.keep(&found, &bytes).await?;
    Ok((found, document))
}

/// Fetches all parts of an image that are not here.
pub(super) async fn pull(
    client: &Client,
    blobs: &Blobs,
    image: &Resolved,
    most: u64,
    progress: &dyn Progress,
) -> Result<Pulled, RegistryError> {
    let unusable = |why: String| unusable(&image.reference, why);
    fetch(client, blobs, &image.manifest.config, "configuration", progress).await?;
    let config = blobs.read(&image.manifest.config.digest, CONFIG_MAX).await?;
    let config = Config::parse(&config.unwrap_or_default()).map_err(unusable)?;
    if !config.architecture.is_empty() && config.architecture != architecture() {
        let why = format!("it is for {}, and this machine is {}", config.architecture, architecture());
        return Err(unusable(why));
    }
    let Room { layers, missing, free } = room(blobs, image).await?;
    if let Some(why) = too_much((layers, most), (missing, free)) {
        return Err(unusable(why));
    }
    let (count, mut layers) = (image.manifest.layers.len(), vec![]);
    for (number, layer) in image.manifest.layers.iter().enumerate() {
        fail::fail_point!("image::before-layer");
        fetch(client, blobs, layer, &format!("layer {} of {count}", number + 1), progress).await?;
        layers.push(blobs.path(&layer.digest));
    }
    Ok(Pulled { config, layers })
}

/// Room that an image takes, in bytes.
struct Room {
    /// Of all its layers.
    layers: u64,
    /// Of those that are not here.
    missing: u64,
    free: u64,
}

async fn room(blobs: &Blobs, image: &Resolved) -> Result<Room, RegistryError> {
    let (mut layers, mut missing) = (0u64, 0u64);
    for layer in &image.manifest.layers {
        let (whole, part) = (blobs.path(&layer.digest), blobs.part(&layer.digest));
        let here = match fs::metadata(&whole).await {
            Ok(is) => is.len(),
            Err(_) => fs::metadata(&part).await.map_or(0, |is| is.len()),
        };
        layers = layers.saturating_add(layer.size);
        missing = missing.saturating_add(layer.size.saturating_sub(here));
    }
    Ok(Room { layers, missing, free: blobs.free().await? })
}

/// Why an image is not fetched at all: its layers are longer than they may unpack to, or than there is room for.
pub(super) fn too_much((layers, most): (u64, u64), (missing, free): (u64, u64)) -> Option<String> {
    if layers > most {
        let (layers, most) = (mebibytes(layers), mebibytes(most));
        return Some(format!("its layers have {layers}, and may unpack to {most} at most; raise `size.disk`"));
    }
    let why =
        || format!("{} of it are to be fetched, and {} are free on the host", mebibytes(missing), mebibytes(free));
    (missing > free).then(|| why() + "; make room, or take a smaller image")
}

/// Fetches one part. What was fetched of it before it was cut off is not fetched again.
async fn fetch(
    client: &Client,
    blobs: &Blobs,
    blob: &Blob,
    name: &str,
    progress: &dyn Progress,
) -> Result<(), RegistryError> {
    if blobs.has(&blob.digest).await? {
        return Ok(());
    }
    let part = blobs.part(&blob.digest);
    let (mut tries, mut pause) = (0, client.pause);
    loop {
        let before = fs::metadata(&part).await.map_or(0, |is| is.len());
        let why = match attempt(client, blobs, blob, name, progress).await {
            Ok(()) => return Ok(()),
            Err(
                error @ (RegistryError::Unreachable { .. }
                | RegistryError::TooOften { .. }
                | RegistryError::Damaged { .. }),
            ) => error,
            Err(error) => return Err(error),
        };
        let after = fs::metadata(&part).await.map_or(0, |is| is.len());
        tries = if after >= before.saturating_add(STEP) { 0 } else { tries + 1 };
        if tries >= TRIES {
            return Err(why);
        }
        progress.line(format!("{name}: {why}; it is tried again"));
        sleep(pause).await;
        pause = (pause * 2).min(client.pause * PAUSES_MAX);
    }
}

async fn attempt(
    client: &Client,
    blobs: &Blobs,
    blob: &Blob,
    name: &str,
    progress: &dyn Progress,
) -> Result<(), RegistryError> {
    let part = blobs.part(&blob.digest);
    let failed = || RegistryError::at(&part);
    let (mut hash, mut length) = begun(&part).await?;
    if length > blob.size {
        (hash, length) = (Hash::new(), 0);
    }
    if length < blob.size || blob.size == 0 {
        let range = if length > 0 { vec![(RANGE, format!("bytes={length}-"))] } else { vec![] };
        let what = format!("blobs/{}", blob.digest);
        let mut answer = client.ask(Method::GET, &what, client::headers(&range)).await?;
        if answer.status != StatusCode::PARTIAL_CONTENT {
            (hash, length) = (Hash::new(), 0);
        }
        let mut file =
            fs::File::options().create(true).write(true).truncate(false).open(&part).await.map_err(failed())?;
        file.set_len(length).await.map_err(failed())?;
        tokio::io::AsyncSeekExt::seek(&mut file, std::io::SeekFrom::End(0)).await.map_err(failed())?;
        let written = body(&mut answer, &mut file, (&mut hash, &mut length), blob, |length| {
            progress.passing(format!("{name}: {} of {}", mebibytes(length), mebibytes(blob.size)));
        });
        let written = written.await;
        // Also where it was cut off: that much is not asked for again.
        file.flush().await.map_err(failed())?;
        written.map_err(|why| match why {
            Cut::Said(why) => client.unreachable(why),
            Cut::File(error) => failed()(error),
        })?;
    }
    if length != blob.size || hash.digest() != blob.digest {
        fs::remove_file(&part).await.map_err(failed())?;
        return Err(RegistryError::Damaged { host: client.host().into(), digest: blob.digest.to_string() });
    }
    blobs.publish(&blob.digest).await?;
    progress.line(format!("{name}: {}", mebibytes(blob.size)));
    Ok(())
}

/// Why a body did not come whole.
enum Cut {
    Said(String),
    File(std::io::Error),
}

async fn body(
    answer: &mut super::exchange::Answer,
    file: &mut fs::File,
    (hash, length): (&mut Hash, &mut u64),
    blob: &Blob,
    tell: impl Fn(u64),
) -> Result<(), Cut> {
    let (mut told, mut window, mut came) = (Instant::now(), Instant::now(), 0);
    while let Some(piece) = answer.next().await.map_err(Cut::Said)? {
        *length += piece.len() as u64;
        if *length > blob.size {
            return Err(Cut::Said("it says more than the image's manifest has".into()));
        }
        came += piece.len() as u64;
        if window.elapsed() >= SLOW_MAX {
            if came < RATE_MIN * SLOW_MAX.as_secs() {
                return Err(Cut::Said(format!("it sends {came} bytes in {} s", SLOW_MAX.as_secs())));
            }
            (window, came) = (Instant::now(), 0);
        }
        hash.add(&piece);
        file.write_all(&piece).await.map_err(Cut::File)?;
        if told.elapsed() >= TELL {
            told = Instant::now();
            tell(*length);
        }
    }
    if *length < blob.size { Err(Cut::Said("it ends too early".into())) } else { Ok(()) }
}

/// What there is of a part already.
async fn begun(part: &std::path::Path) -> Result<(Hash, u64), RegistryError> {
    let own = part.to_owned();
    let hashed = tokio::task::spawn_blocking(move || hash::of_file(&own)).await;
    match hashed.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
        Ok(begun) => Ok(begun),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((Hash::new(), 0)),
        Err(error) => Err(RegistryError::at(part)(error)),
    }
}

/// Asks for a manifest or an index, and again where the registry is not reached; returns the digest that it says, and what it is.
async fn asked(client: &Client, method: Method, wanted: &str) -> Result<(Option<Digest>, Vec<u8>), RegistryError> {
    let what = format!("manifests/{wanted}");
    let mut pause = client.pause;
    for tries in 1.. {
        match ask(client, method.clone(), &what).await {
            Err(error) if tries < 3 && is_passing(&error) => {
                tracing::debug!(image = client.image(), "a registry is asked again: {error}");
                sleep(pause).await;
                pause *= 2;
            }
            answered => return answered,
        }
    }
    Err(client.unreachable("it does not answer".into()))
}

/// Whether another try may go better.
fn is_passing(error: &RegistryError) -> bool {
    match error {
        RegistryError::Unreachable { why, .. } => !why.contains("it answers 4"),
        RegistryError::TooOften { .. } => true,
        _ => false,
    }
}

async fn ask(client: &Client, method: Method, what: &str) -> Result<(Option<Digest>, Vec<u8>), RegistryError> {
    let accept = client::headers(&[(ACCEPT_HEADER, ACCEPT.into())]);
    let mut answer = client.ask(method, what, accept).await?;
    let said = answer.headers.get(DIGEST).and_then(|said| said.to_str().ok());
    let digest = said.and_then(|said| Digest::parse(said).ok());
    let bytes = answer.all(DOCUMENT_MAX).await.map_err(|why| client.unreachable(why))?;
    Ok((digest, bytes))
}

fn unusable(reference: &Reference, why: String) -> RegistryError {
    RegistryError::Unusable { image: reference.to_string(), why }
}

/// This machine's, as Go names it.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}
