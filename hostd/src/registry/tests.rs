//! Pulls from a registry that is made up: one that wants all media types named, asks who is there, cuts off and lies.

use std::{
    collections::HashMap,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hostd_core::image::Reference;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tempfile::TempDir;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::{credentials::Credentials, forge::BareRepositories, gateway::Gateway};

/// Images for which nobody asks.
pub(crate) fn none() -> Images {
    let folder = std::env::temp_dir();
    Images::at(folder.clone(), Arc::new(Gateway::new(BareRepositories::at(folder))))
}

/// What a registry does beside answering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It gives all to everybody.
    #[default]
    Open,
    /// It wants a token, which is given to `anna` with the password `canary`.
    Token,
    /// It wants a user and a password.
    Basic,
}

#[derive(Default)]
struct Shelf {
    manner: Manner,
    /// Manifests by tag and by digest, with their media types.
    manifests: Mutex<HashMap<String, (String, Vec<u8>)>>,
    blobs: Mutex<HashMap<String, Vec<u8>>>,
    /// Bytes after which each answer with a blob ends; 0: it is not.
    cut: AtomicUsize,
    /// What was asked for.
    asked: Mutex<Vec<String>>,
    /// Requests for manifests that it has no time for.
    busy: AtomicUsize,
    /// Who gives out tokens; None: it does itself.
    realm: Mutex<Option<String>>,
    /// Where its blobs lie; None: with itself.
    store: Mutex<Option<String>>,
    /// Status that the store answers with.
    status: Mutex<Option<StatusCode>>,
    /// Who was said to ask for tokens and of the store; empty: nobody.
    callers: Mutex<Vec<String>>,
}

/// A registry on a port of its own.
pub(crate) struct FakeRegistry {
    shelf: Arc<Shelf>,
    pub(crate) address: String,
    _serving: AbortOnDropHandle<()>,
}

pub(crate) const OCI: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl FakeRegistry {
    pub(crate) async fn new(manner: Manner) -> Self {
        let shelf = Arc::new(Shelf { manner, ..Shelf::default() });
        let router = Router::new()
            .route("/v2/{owner}/{name}/manifests/{wanted}", get(manifest))
            .route("/v2/{owner}/{name}/blobs/{digest}", get(blob))
            .route("/elsewhere/{digest}", get(elsewhere))
            .route("/token", get(token))
            .with_state(shelf.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(router.clone());
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { shelf, address, _serving: AbortOnDropHandle::new(serving) }
    }

    /// Puts an image of these layers there, behind an index; returns its reference.
    pub(crate) fn push(&self, tag: &str, config: &str, layers: &[Vec<u8>]) -> Reference {
        let blob = |kind: &str, bytes: &[u8]| {
            let digest = hash::of(bytes).to_string();
            self.shelf.blobs.lock().unwrap().insert(digest.clone(), bytes.to_vec());
            format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":{}}}"#, bytes.len())
        };
        let config = blob("config.v1+json", config.as_bytes());
        let layers: Vec<String> = layers.iter().map(|bytes| blob("layer.v1.tar", bytes)).collect();
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#, layers.join(","));
        let digest = self.keep(OCI, manifest.as_bytes(), None);
        let platform = |name: &str| format!(r#""platform":{{"os":"linux","architecture":"{name}"}}"#);
        let entry = |name: &str| format!(r#"{{"digest":"{digest}","size":{},{}}}"#, manifest.len(), platform(name));
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#, entry("amd64"), entry("arm64"));
        self.keep(INDEX, index.as_bytes(), Some(tag));
        Reference::parse(&format!("{}/team/app:{tag}", self.address)).unwrap()
    }

    /// Puts a feature of devcontainers there, with this tag.
    pub(crate) fn push_feature(&self, tag: &str, archive: &[u8]) {
        let digest = hash::of(archive).to_string();
        self.shelf.blobs.lock().unwrap().insert(digest.clone(), archive.to_vec());
        let kind = "application/vnd.devcontainers.layer.v1+tar";
        let layer = format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{}}}"#, archive.len());
        let config = format!(r#"{{"mediaType":"application/vnd.devcontainers","digest":"{digest}","size":2}}"#);
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{layer}]}}"#);
        self.keep(OCI, manifest.as_bytes(), Some(tag));
    }

    fn keep(&self, kind: &str, bytes: &[u8], tag: Option<&str>) -> String {
        let digest = hash::of(bytes).to_string();
        let mut manifests = self.shelf.manifests.lock().unwrap();
        for name in tag.into_iter().chain([digest.as_str()]) {
            manifests.insert(name.into(), (kind.into(), bytes.to_vec()));
        }
        digest
    }

    fn callers(&self) -> Vec<String> {
        std::mem::take(&mut self.shelf.callers.lock().unwrap())
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.shelf.asked.lock().unwrap())
    }
}

fn refused(shelf: &Shelf, headers: &HeaderMap) -> Option<Response> {
    let said = headers.get("authorization").and_then(|value| value.to_str().ok());
    let (want, challenge) = match shelf.manner {
        Manner::Open => return None,
        Manner::Token => {
            let own = format!("http://{}/token", headers["host"].to_str().unwrap());
            let realm = shelf.realm.lock().unwrap().clone().unwrap_or(own);
            // It asks for more than it needs.
            let scope = "repository:team/app:pull,push,delete";
            ("Bearer let-me-in".to_owned(), format!(r#"Bearer realm="{realm}",service="s",scope="{scope}""#))
        }
        Manner::Basic => (basic(), r#"Basic realm="r""#.into()),
    };
    (said != Some(&want)).then(|| (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response())
}

fn basic() -> String {
    format!("Basic {}", STANDARD.encode("anna:canary"))
}

fn caller(headers: &HeaderMap) -> String {
    headers.get("authorization").map_or(String::new(), |value| value.to_str().unwrap().to_owned())
}

async fn token(State(shelf): State<Arc<Shelf>>, uri: Uri, headers: HeaderMap) -> Response {
    shelf.callers.lock().unwrap().push(caller(&headers));
    let known = headers.get("authorization").is_some_and(|value| value.to_str().unwrap() == basic());
    if known && uri.query() == Some("service=s&scope=repository:team/app:pull") {
        return r#"{"access_token":"let-me-in"}"#.into_response();
    }
    StatusCode::UNAUTHORIZED.into_response()
}

async fn manifest(
    State(shelf): State<Arc<Shelf>>,
    method: Method,
    Path((_, _, wanted)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refused(&shelf, &headers) {
        return refused;
    }
    if shelf.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    shelf.asked.lock().unwrap().push(format!("{method} {wanted}"));
    let found = shelf.manifests.lock().unwrap().get(&wanted).cloned();
    // As docker-registry 2.8 does it: nothing is there whose type was not named.
    let accepts = headers["accept"].to_str().unwrap().split(", ").map(str::to_owned).collect::<Vec<_>>();
    match found.filter(|(kind, _)| accepts.contains(kind)) {
        Some((kind, bytes)) => {
            let digest = hash::of(&bytes).to_string();
            ([("content-type", kind), ("docker-content-digest", digest)], bytes).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Blobs lie elsewhere, as with most registries.
async fn blob(
    State(shelf): State<Arc<Shelf>>,
    Path((_, _, digest)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refused(&shelf, &headers) {
        return refused;
    }
    let store = shelf.store.lock().unwrap().clone().unwrap_or_default();
    (StatusCode::TEMPORARY_REDIRECT, [("location", format!("{store}/elsewhere/{digest}"))]).into_response()
}

async fn elsewhere(State(shelf): State<Arc<Shelf>>, Path(digest): Path<String>, headers: HeaderMap) -> Response {
    shelf.callers.lock().unwrap().push(caller(&headers));
    if let Some(status) = *shelf.status.lock().unwrap() {
        return status.into_response();
    }
    let range = headers.get("range").map(|range| range.to_str().unwrap().to_owned());
    shelf.asked.lock().unwrap().push(format!("blob {}", range.clone().unwrap_or_default()));
    let Some(bytes) = shelf.blobs.lock().unwrap().get(&digest).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let from = range.map_or(0, |range| range[6..range.len() - 1].parse().unwrap());
    let status = if from > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let rest = bytes[from..].to_vec();
    let cut = shelf.cut.load(Ordering::Relaxed);
    if cut == 0 || cut >= rest.len() {
        return (status, rest).into_response();
    }
    (status, rest[..cut].to_vec()).into_response()
}

pub(crate) struct Lines(Mutex<Vec<String>>);

impl Progress for Lines {
    fn line(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn passing(&self, _: String) {}
}

struct World {
    data: TempDir,
    images: Images,
    lines: Lines,
}

impl World {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let credentials = Arc::new(Credentials::of(data.path()));
        let gateway = Gateway::new(BareRepositories::at(data.path().join("git"))).with_credentials(credentials);
        fs::create_dir(data.path().join("images")).unwrap();
        let mut images = Images::at(data.path().join("images"), Arc::new(gateway));
        images.pause = Duration::from_millis(1);
        Self { images, data, lines: Lines(Mutex::default()) }
    }

    fn credential(&self, hosts: &str, more: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let secret = self.data.path().join("secret");
        fs::write(&secret, "canary").unwrap();
        let text = format!(
            "[[credential]]\nname = \"reg\"\nhosts = [\"{hosts}\"]\nsecret = {{ file = \"{}\" }}\n{more}\n",
            secret.display()
        );
        let file = self.data.path().join("credentials.toml");
        fs::write(&file, text).unwrap();
        for path in [secret, file] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    async fn pulled(&self, reference: &Reference, credential: Option<&str>) -> Result<(Resolved, Pulled), String> {
        let resolved =
            self.images.resolve(reference, credential, "env", &self.lines).await.map_err(|error| error.to_string())?;
        let pulled = self
            .images
            .pull(&resolved, credential, "env", MOST, &self.lines)
            .await
            .map_err(|error| error.to_string())?;
        Ok((resolved, pulled))
    }

    fn names(&self) -> usize {
        fs::read_dir(self.data.path().join("images")).unwrap().count()
    }
}

/// Most bytes of all layers of an image here.
const MOST: u64 = 1 << 20;
const CONFIG: &str = r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=b"]}}"#;

#[tokio::test]
async fn an_image_is_pulled_once_and_its_digest_pinned() {
    let (world, registry) = (World::new(), FakeRegistry::new(Manner::Open).await);
    let reference = registry.push("1", CONFIG, &[b"one".to_vec(), b"two".to_vec()]);
    let (first, pulled) = world.pulled(&reference, None).await.unwrap();
    assert_eq!(pulled.config.environment["A"], "b");
    let texts: Vec<_> = pulled.layers.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    assert_eq!(texts, ["one", "two"]);
    assert!(
        first.reference.to_string().contains(":1@sha256:") && first.reference.digest.as_ref() != Some(&first.digest)
    );
    assert!(world.lines.0.lock().unwrap().iter().any(|line| line == "layer 2 of 2: 0.0 MiB"));
    registry.asked();
    world.pulled(&reference, None).await.unwrap();
    assert_eq!(registry.asked(), ["HEAD 1"], "all of it was here");
    // By its digest nobody is asked at all.
    world.pulled(&first.reference, None).await.unwrap();
    assert_eq!(registry.asked(), Vec::<String>::new());
    let other = registry.push("1", CONFIG, &[b"one".to_vec(), b"three".to_vec()]);
    assert_ne!(world.pulled(&other, None).await.unwrap().0.digest, first.digest);
    assert_eq!(registry.asked().iter().filter(|what| what.starts_with("blob")).count(), 1, "the other layer was here");
    let error =
        world.pulled(&Reference::parse(&format!("{}/team/app:2", registry.address)).unwrap(), None).await.unwrap_err();
    assert!(error.contains("answers 404; check its name and tag, or name a `credential`"), "{error}");
}

#[tokio::test]
async fn what_is_cut_off_goes_on_where_it_was() {
    let (world, registry) = (World::new(), FakeRegistry::new(Manner::Open).await);
    let layer: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let reference = registry.push("1", CONFIG, std::slice::from_ref(&layer));
    registry.shelf.cut.store(250_000, Ordering::Relaxed);
    let (_, pulled) = world.pulled(&reference, None).await.unwrap();
    assert!(fs::read(&pulled.layers[0]).unwrap() == layer);
    let asked = registry.asked();
    assert!(asked.iter().any(|what| what == "blob bytes=250000-"), "{asked:?}");
    assert!(world.lines.0.lock().unwrap().iter().any(|line| line.contains("it is tried again")));
}

#[tokio::test]
async fn what_is_damaged_is_found_and_fetched_again() {
    let (world, registry) = (World::new(), FakeRegistry::new(Manner::Open).await);
    let reference = registry.push("1", CONFIG, &[b"layer".to_vec()]);
    let (resolved, pulled) = world.pulled(&reference, None).await.unwrap();
    // Here.
    fs::write(&pulled.layers[0], "lazer").unwrap();
    let (_, again) = world.pulled(&reference, None).await.unwrap();
    assert_eq!(fs::read(&again.layers[0]).unwrap(), b"layer");
    // A beginning that is another's, of the same length or longer.
    for beginning in ["la", "xx", "longer than it"] {
        fs::remove_file(&again.layers[0]).unwrap();
        fs::write(again.layers[0].with_extension("part"), beginning).unwrap();
        let (_, again) = world.pulled(&reference, None).await.unwrap();
        assert_eq!(fs::read(&again.layers[0]).unwrap(), b"layer");
    }
    // There, and for good.
    fs::remove_file(&again.layers[0]).unwrap();
    let digest = resolved.manifest.layers[0].digest.to_string();
    registry.shelf.blobs.lock().unwrap().insert(digest.clone(), b"lazer".to_vec());
    let error = world.pulled(&reference, None).await.unwrap_err();
    assert!(error.contains(&format!("something else than {digest}")), "{error}");
    assert!(!again.layers[0].exists() && !again.layers[0].with_extension("part").exists());
    // A manifest under another's digest.
    let manifest = resolved.reference.digest.clone().unwrap().to_string();
    registry.shelf.manifests.lock().unwrap().insert(manifest.clone(), (OCI.into(), b"{}".to_vec()));
    let fresh = World::new();
    let error = fresh.pulled(&resolved.reference, None).await.unwrap_err();
    assert!(error.contains(&format!("something else than {manifest}")), "{error}");
    assert_eq!(fresh.names(), 0);
}

#[tokio::test]
async fn who_asks_is_said_where_the_registry_wants_to_know_and_to_nobody_else() {
    for manner in [Manner::Token, Manner::Basic] {
        let (world, registry) = (World::new(), FakeRegistry::new(manner).await);
        let reference = registry.push("1", CONFIG, &[b"layer".to_vec()]);
        let pull = async |credential: Option<&str>| world.pulled(&reference, credential).await;
        let error = pull(None).await.unwrap_err();
        assert!(error.contains("name a `credential` of this host in the recipe's base"), "{error}");
        let error = pull(Some("reg")).await.unwrap_err();
        assert!(error.contains("this host has none of that name"), "{error}");
        world.credential("example.com:1", "basic = \"anna\"");
        let error = pull(Some("reg")).await.unwrap_err();
        assert!(error.contains("`hosts` do not have 127.0.0.1:"), "{error}");
        world.credential(&registry.address, "basic = \"anna\"\nenvironments = [\"other\"]");
        let error = pull(Some("reg")).await.unwrap_err();
        assert!(error.contains("`environments` do not have this one"), "{error}");
        world.credential(&registry.address, "basic = \"bert\"");
        let error = pull(Some("reg")).await.unwrap_err();
        assert!(error.contains("pilothouse credential check reg"), "{error}");
        world.credential(&registry.address, "basic = \"anna\"");
        assert_eq!(fs::read(&pull(Some("reg")).await.unwrap().1.layers[0]).unwrap(), b"layer");
        assert!(world.lines.0.lock().unwrap().iter().all(|line| !line.contains("canary")));
    }
}

#[tokio::test]
async fn a_store_that_a_registry_leads_on_to_is_not_told_who_asks() {
    for manner in [Manner::Token, Manner::Basic] {
        let (world, registry) = (World::new(), FakeRegistry::new(manner).await);
        let store = FakeRegistry::new(Manner::Open).await;
        let reference = registry.push("1", CONFIG, &[b"layer".to_vec()]);
        *store.shelf.blobs.lock().unwrap() = registry.shelf.blobs.lock().unwrap().clone();
        *registry.shelf.store.lock().unwrap() = Some(format!("http://{}", store.address));
        world.credential(&registry.address, "basic = \"anna\"");
        assert_eq!(fs::read(&world.pulled(&reference, Some("reg")).await.unwrap().1.layers[0]).unwrap(), b"layer");
        assert_eq!(store.callers(), ["", ""], "the configuration and the layer");
        // What it says is not what the registry says of the credential.
        *store.shelf.status.lock().unwrap() = Some(StatusCode::FORBIDDEN);
        let other = registry.push("1", CONFIG, &[b"another".to_vec()]);
        let error = world.pulled(&other, Some("reg")).await.unwrap_err();
        assert!(error.contains("where it leads on to, answers 403") && !error.contains("credential"), "{error}");
    }
}

#[tokio::test]
async fn a_registry_gets_no_token_of_a_credential_that_is_for_another() {
    let (world, registry) = (World::new(), FakeRegistry::new(Manner::Token).await);
    let giver = FakeRegistry::new(Manner::Open).await;
    let reference = registry.push("1", CONFIG, &[b"layer".to_vec()]);
    *registry.shelf.realm.lock().unwrap() = Some(format!("http://{}/token", giver.address));
    world.credential(&giver.address, "basic = \"anna\"");
    let error = world.pulled(&reference, Some("reg")).await.unwrap_err();
    assert!(error.contains(&format!("`hosts` do not have {}", registry.address)), "{error}");
    assert_eq!(giver.callers(), Vec::<String>::new());
    // Both of them.
    world.credential(&format!("{}\", \"{}", giver.address, registry.address), "basic = \"anna\"");
    world.pulled(&reference, Some("reg")).await.unwrap();
    assert_eq!(giver.callers(), [basic(), basic()], "for the manifests, and for the layers");
    // A secret that is for part of a host alone goes along with no other request there.
    let (world, registry) = (World::new(), FakeRegistry::new(Manner::Basic).await);
    let reference = registry.push("1", CONFIG, &[b"layer".to_vec()]);
    world.credential(&registry.address, "basic = \"anna\"\npath = \"/v2/team/\"");
    world.pulled(&reference, Some("reg")).await.unwrap();
    assert_eq!(registry.callers(), ["", ""]);
}

#[tokio::test]
async fn a_registry_without_time_is_asked_again() {
    let (world, registry) = (World::new(), FakeRegistry::new(Manner::Open).await);
    let reference = registry.push("1", CONFIG, &[b"layer".to_vec()]);
    registry.shelf.busy.store(2, Ordering::Relaxed);
    world.pulled(&reference, None).await.unwrap();
    registry.shelf.busy.store(100, Ordering::Relaxed);
    assert!(world.pulled(&reference, None).await.unwrap_err().contains("asked too often (503)"));
}

#[tokio::test]
async fn what_is_too_large_is_not_fetched() {
    let (world, registry) = (World::new(), FakeRegistry::new(Manner::Open).await);
    let reference = registry.push("1", CONFIG, &[vec![7; MOST as usize], b"x".to_vec()]);
    let error = world.pulled(&reference, None).await.unwrap_err();
    assert!(error.contains("raise `size.disk`"), "{error}");
    assert_eq!(registry.asked().iter().filter(|what| what.starts_with("blob")).count(), 1, "the configuration");
    assert!(pull::too_much((9, 9), (4, 4)).is_none());
    assert!(pull::too_much((9, 9), (4 << 20, 3 << 20)).unwrap().contains("4.0 MiB of it are to be fetched, and 3.0"));
}

#[tokio::test]
async fn images_for_others_are_refused() {
    let (world, registry) = (World::new(), FakeRegistry::new(Manner::Open).await);
    let reference = registry.push("1", r#"{"architecture":"sparc"}"#, &[]);
    let error = world.pulled(&reference, None).await.unwrap_err();
    assert!(error.contains("it is for sparc"), "{error}");
    registry.keep(OCI, br#"{"schemaVersion":1}"#, Some("old"));
    let old = Reference::parse(&format!("{}/team/app:old", registry.address)).unwrap();
    assert!(world.pulled(&old, None).await.unwrap_err().contains("schema 1"));
}

#[tokio::test]
async fn the_oldest_of_what_was_pulled_goes_first() {
    let (world, registry) = (World::new(), FakeRegistry::new(Manner::Open).await);
    let mut images = vec![];
    for tag in ["1", "2", "3"] {
        let reference = registry.push(tag, CONFIG, &[tag.repeat(1000).into_bytes()]);
        images.push(world.pulled(&reference, None).await.unwrap());
    }
    let unfinished = world.data.path().join("images/x.part");
    fs::write(&unfinished, "x").unwrap();
    let last: Vec<&Blob> = images[2].0.manifest.layers.iter().collect();
    world.images.blobs.prune_to(&last, 2000).await.unwrap();
    let there: Vec<bool> = images.iter().map(|(_, pulled)| pulled.layers[0].exists()).collect();
    assert_eq!((there[0], there[2], unfinished.exists()), (false, true, false));
    // The last one's own may go on next time.
    let begun = images[2].1.layers[0].with_extension("part");
    fs::write(&begun, "x").unwrap();
    world.images.prune(Some(&images[2].0)).await.unwrap();
    assert!(images[2].1.layers[0].exists() && begun.exists());
    world.images.prune(None).await.unwrap();
    assert!(!begun.exists());
}
