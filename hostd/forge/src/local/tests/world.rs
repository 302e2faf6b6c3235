use std::{path::PathBuf, sync::Arc};

use hostd_core::{
    ForgeId,
    pulls::{Author, NewPull, NewReview, Verdict, Who},
};
use tempfile::TempDir;

use crate::{Local, Pull, PullId, Pulls as _, git, testing::MemoryStorage};

/// A reviewer.
pub(super) const ANN: &str = "ann";

/// A data folder with the repository `widgets`, and a clone of it for pushes.
pub(super) struct World {
    pub(super) folder: TempDir,
    pub(super) storage: Arc<MemoryStorage>,
    pub(super) forge: Local,
}

impl World {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = Arc::new(MemoryStorage::default());
        let forge = Local::new(storage.clone(), folder.path());
        let world = Self { folder, storage, forge };
        world.git(&["init", "-q", "-b", "main", "work"]).await;
        std::fs::create_dir(world.path("work/sub")).unwrap();
        std::fs::write(world.path("work/README"), "widgets\n").unwrap();
        std::fs::write(world.path("work/sub/x"), "x\n").unwrap();
        world.git(&["-C", "work", "add", "."]).await;
        world.git(&["-C", "work", "commit", "-q", "-m", "Begin"]).await;
        world.git(&["clone", "-q", "--bare", "work", "git/widgets.git"]).await;
        world.git(&["--git-dir=git/widgets.git", "config", "core.logAllRefUpdates", "always"]).await;
        world
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The forge as a next hostd has it.
    pub(super) fn restarted(&self) -> Local {
        Local::new(self.storage.clone(), self.folder.path())
    }

    /// Runs git, which must work, and returns its output.
    pub(super) async fn git(&self, args: &[&str]) -> String {
        let mut command = git(self.folder.path());
        command.args(["-c", "user.name=agent", "-c", "user.email=agent@example.com"]).args(args);
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(super) async fn tip(&self, branch: &str) -> String {
        self.tip_of(&format!("refs/heads/{branch}")).await
    }

    pub(super) async fn tip_of(&self, name: &str) -> String {
        self.git(&["--git-dir=git/widgets.git", "rev-parse", name]).await
    }

    /// Commits a file onto what the branch had, and pushes it.
    pub(super) async fn push(&self, session: &str, file: &str, text: &str) {
        let branch = format!("agent/{session}/work");
        let known = self.git(&["--git-dir=git/widgets.git", "for-each-ref", &format!("refs/heads/{branch}")]).await;
        let onto = if known.is_empty() { "main".to_owned() } else { self.tip(&branch).await };
        self.git(&["-C", "work", "checkout", "-q", "--detach", &onto]).await;
        std::fs::write(self.path("work").join(file), text).unwrap();
        self.git(&["-C", "work", "add", "."]).await;
        self.git(&["-C", "work", "commit", "-q", "-m", &format!("Write {file}")]).await;
        self.send(&branch).await;
    }

    /// Replaces the branch's newest commit.
    pub(super) async fn force_push(&self, session: &str) {
        let branch = format!("agent/{session}/work");
        let onto = self.tip(&branch).await;
        self.git(&["-C", "work", "checkout", "-q", "--detach", &onto]).await;
        self.git(&["-C", "work", "commit", "-q", "--amend", "-m", "Write it otherwise"]).await;
        self.send(&branch).await;
    }

    /// Moves main on.
    pub(super) async fn push_main(&self, file: &str, text: &str) {
        self.git(&["-C", "work", "checkout", "-q", "--detach", &self.tip("main").await]).await;
        std::fs::write(self.path("work").join(file), text).unwrap();
        self.git(&["-C", "work", "add", "."]).await;
        self.git(&["-C", "work", "commit", "-q", "-m", &format!("Write {file}")]).await;
        self.send("main").await;
    }

    async fn send(&self, branch: &str) {
        let target = format!("+HEAD:refs/heads/{branch}");
        self.git(&["-C", "work", "push", "-q", "../git/widgets.git", &target]).await;
    }

    pub(super) fn id(&self, number: u64) -> PullId {
        PullId::new(ForgeId::local(), "widgets", number)
    }

    pub(super) fn new_pull(&self, session: &str) -> NewPull {
        NewPull {
            forge: ForgeId::local(),
            repository: "widgets".into(),
            title: format!("Work of {session}"),
            body: "Because.".into(),
            author: Author { session: format!("01{session}"), slug: session.into() },
            head_branch: format!("agent/{session}/work"),
            base_branch: String::new(),
        }
    }

    /// Pushes a file and opens a pull request.
    pub(super) async fn open(&self, session: &str, file: &str, text: &str) -> Pull {
        self.push(session, file, text).await;
        self.forge.open(self.new_pull(session)).await.unwrap()
    }

    /// Approves its head.
    pub(super) async fn approve(&self, number: u64) -> String {
        let id = self.id(number);
        let head = self.forge.pull(&id).await.unwrap().pull.head().to_owned();
        let who = Who::person(ANN);
        let (verdict, body, comments) = (Verdict::Approve, String::new(), vec![]);
        let review = NewReview { who, head: head.clone(), older: false, verdict, body, comments };
        self.forge.review(&id, review).await.unwrap();
        head
    }
}
