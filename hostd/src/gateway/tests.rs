//! The gateway with real git on both sides; only the VM is missing: its connections come over TCP.

mod ask;
mod credentials;
mod git;
mod world;

use std::{path::Path, process::Output, sync::Arc};

use hostd_core::recipe::Egress;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::forge::BareRepositories;

/// A gateway with the repository `widgets`, a proxy in front of it, and a folder for clones.
struct Fixture {
    folder: TempDir,
    proxy: String,
    gateway: Arc<Gateway>,
    _accept: AbortOnDropHandle<()>,
}

impl Fixture {
    async fn new(caller: Caller) -> Self {
        Self::with(caller, |gateway, _| gateway).await
    }

    async fn with(caller: Caller, made: impl FnOnce(Gateway, &Path) -> Gateway) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("git");
        std::fs::create_dir_all(&root).unwrap();
        let fixture_git = async |args: &[&str]| {
            let output = crate::forge::git(folder.path()).args(AUTHOR).args(args).output().await.unwrap();
            assert!(output.status.success(), "{args:?}: {}", text(&output));
        };
        fixture_git(&["init", "-q", "-b", "main", "source"]).await;
        std::fs::write(folder.path().join("source/README"), "widgets\n").unwrap();
        fixture_git(&["-C", "source", "add", "."]).await;
        fixture_git(&["-C", "source", "commit", "-q", "-m", "Begin"]).await;
        fixture_git(&["clone", "-q", "--bare", "source", "git/widgets.git"]).await;
        fixture_git(&["clone", "-q", "--bare", "source", "git/secrets.git"]).await;

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = listener.local_addr().unwrap().to_string();
        let gateway = Arc::new(made(Gateway::new(BareRepositories::at(root)), folder.path()));
        let (served_by, caller) = (gateway.clone(), Arc::new(caller));
        let accept = tokio::spawn(async move {
            let mut served = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (gateway, caller) = (served_by.clone(), caller.clone());
                served.spawn(async move { gateway.serve(&caller, stream).await.unwrap_or_default() });
            }
        });
        Self { folder, proxy, gateway, _accept: AbortOnDropHandle::new(accept) }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// git as it runs in a guest.
    async fn git(&self, directory: &str, args: &[&str]) -> Output {
        let mut git = crate::forge::git(&self.path(directory));
        git.args(AUTHOR).args(["-c", &format!("http.proxy=http://{}", self.proxy)]).args(args);
        git.output().await.unwrap()
    }

    async fn git_works(&self, directory: &str, args: &[&str]) {
        let output = self.git(directory, args).await;
        assert!(output.status.success(), "{args:?}: {}", text(&output));
    }

    async fn clone_widgets(&self) {
        self.git_works(".", &["clone", "-q", "http://pilothouse.internal/git/widgets.git"]).await;
    }

    /// Sends bytes to the proxy and reads until it closes.
    async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.proxy).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![];
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }
}

const AUTHOR: [&str; 4] = ["-c", "user.name=a", "-c", "user.email=a@example.com"];

fn caller() -> Caller {
    Caller {
        session_id: "01J".into(),
        slug: "fix-parser-3f".into(),
        environment: "demo".into(),
        repository: Some("widgets".into()),
        branch_prefix: Some("agent/fix-parser-3f/".into()),
        opens_pulls: None,
        also_read: vec![],
        egress: vec![],
        beside: Beside::default(),
        access: Access::default(),
    }
}

fn egress<const N: usize>(entries: [&str; N]) -> Vec<Egress> {
    entries.map(|to| Egress { to: to.into(), private: false }).into()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn commit_of(repository: &Path, reference: &str) -> String {
    std::fs::read_to_string(repository.join(reference)).unwrap_or_default().trim().to_owned()
}
