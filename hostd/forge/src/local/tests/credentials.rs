//! Upstreams that ask who one is.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::{
    super::{Import, Keeper as _},
    world::World,
};

const SECRET: &str = "a-very-secret-word";
/// `ann:a-very-secret-word`.
const AUTHORIZATION: &str = "Basic YW5uOmEtdmVyeS1zZWNyZXQtd29yZA==";

/// Serves a folder's files over HTTP to whoever knows the word: a repository, to git.
struct Upstream {
    address: String,
    served: Arc<AtomicU32>,
}

impl Upstream {
    async fn start(folder: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let served = Arc::new(AtomicU32::new(0));
        let count = served.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                answer(stream, &folder, &count).await;
            }
        });
        Self { address, served }
    }
}

async fn answer(stream: TcpStream, folder: &Path, served: &AtomicU32) {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next_line().await.unwrap().unwrap_or_default();
    let mut knows = false;
    while let Some(line) = lines.next_line().await.unwrap().filter(|line| !line.is_empty()) {
        knows |= line.to_lowercase().starts_with("authorization:") && line.contains(AUTHORIZATION);
    }
    let path = first.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let (status, body) = match fs::read(folder.join(path.trim_start_matches('/'))) {
        _ if !knows => ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"here\"", vec![]),
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", vec![]),
    };
    if knows {
        // git runs now, and so do those that it has asked.
        told_in_public();
        served.fetch_add(1, Ordering::SeqCst);
    }
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut stream = lines.into_inner();
    stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
}

/// No process of this machine has the word in its arguments.
fn told_in_public() {
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let arguments = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let told = String::from_utf8_lossy(&arguments).contains(SECRET);
        assert!(!told, "{}", String::from_utf8_lossy(&arguments));
    }
}

/// A repository with a commit, as a plain web server has it.
async fn published(world: &World) -> Upstream {
    world.git(&["clone", "-q", "--bare", "work", "public/private.git"]).await;
    world.git(&["--git-dir=public/private.git", "update-server-info"]).await;
    Upstream::start(world.path("public")).await
}

async fn add(world: &World, source: String) -> Result<(), String> {
    let import = Import { source, name: "mine".into(), branch: String::new() };
    world.forge.import(import, mpsc::channel(1).0).await.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn an_upstream_that_asks_is_told_from_the_file_of_the_data_folder() {
    let world = World::new().await;
    let upstream = published(&world).await;
    let url = format!("http://{}/private.git", upstream.address);
    let error = add(&world, url.clone()).await.unwrap_err();
    let file = world.path("git-credentials");
    assert!(error.contains(&format!("into {} on the host", file.display())), "{error}");

    let line = format!("http://ann:{SECRET}@{}\n", upstream.address);
    fs::write(&file, &line).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let error = add(&world, url.clone()).await.unwrap_err();
    assert!(error.contains("chmod 600 it"), "{error}");
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    add(&world, url).await.unwrap();
    let before = upstream.served.load(Ordering::SeqCst);
    world.forge.fetch("mine", mpsc::channel(1).0).await.unwrap();
    assert!(upstream.served.load(Ordering::SeqCst) > before);

    // What is refused is told without it, and nothing of it is taken away or added.
    fs::write(&file, line.replace("word", "none")).unwrap();
    let error = world.forge.fetch("mine", mpsc::channel(1).0).await.unwrap_err().to_string();
    assert!(error.contains("git-credentials") && !error.contains("secret"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), line.replace("word", "none"));
    let error = world.forge.push("mine", vec!["main".into()], mpsc::channel(1).0).await.unwrap_err().to_string();
    assert!(error.contains("git-credentials") && !error.contains("secret"), "{error}");
}

#[tokio::test]
async fn what_is_secret_in_a_url_is_told_to_the_upstream_alone() {
    let world = World::new().await;
    let upstream = published(&world).await;
    add(&world, format!("http://ann:{SECRET}@{}/private.git", upstream.address)).await.unwrap();
    world.forge.fetch("mine", mpsc::channel(1).0).await.unwrap();
    let config = fs::read_to_string(world.path("git/mine.git/config")).unwrap();
    assert!(config.contains("private.git") && !config.contains(SECRET), "{config}");
    let shown = world.forge.upstream("mine").await.unwrap().shown();
    assert_eq!(shown, format!("http://***@{}/private.git", upstream.address));
}
