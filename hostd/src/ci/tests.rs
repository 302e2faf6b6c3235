//! Runs with pretended guests, real git and a real forge. Real VMs have their turn in the end-to-end tests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hostd_core::{
    ForgeId,
    checks::{Check, CheckState},
    ci::{Key, SUPERSEDED},
    pulls::{Author, NewPull, Rules},
};

use super::{Ci, Deps, RerunError, Sessions};
use crate::{
    admission::Kind,
    environments::tests::{Fixture, RECIPE},
    forge::{BareRepositories, Checks as _, Forge as _, Local, Pulls as _, Repositories as _},
    gateway::Gateway,
    store::Store,
    vm::Memory,
};

/// Longest that anything here may take.
const DEADLINE: Duration = Duration::from_secs(60);
const BRANCH: &str = "agent/fixer/work";

/// How many sessions wait for a place.
struct Waiting(AtomicUsize);

impl Sessions for Waiting {
    fn waiting(&self) -> usize {
        self.0.load(Relaxed)
    }

    fn environment(&self, _: &str) -> Option<String> {
        Some("python".into())
    }
}

/// A host with an environment that was built, and a pull request.
struct World {
    fixture: Fixture,
    forge: Local,
    waiting: Arc<Waiting>,
    most: usize,
}

impl World {
    /// With these checks, each a name and the last word of its command.
    async fn new(checks: &[(&str, &str)]) -> Self {
        let fixture = Fixture::new().await;
        let tables = checks.iter().map(|(name, word)| {
            format!("[[ci.checks]]\nname = '{name}'\ncommand = ['./ci', '{name}', '{word}']\ntimeout = '5s'\n")
        });
        fixture.register(&format!("{RECIPE}{}", tables.collect::<String>())).await;
        fixture.built().await;
        let (store, _) = Store::open(&fixture.data.path().join("store.sqlite")).unwrap();
        let forge = Local::new(Arc::new(store), fixture.data.path());
        fixture.git(&["--git-dir=git/widgets.git", "config", "core.logAllRefUpdates", "always"]).await;
        let waiting = Arc::new(Waiting(AtomicUsize::default()));
        let world = Self { fixture, forge, waiting, most: 4 };
        world.push("first").await;
        world
    }

    /// A commit on the pull request's branch.
    async fn push(&self, message: &str) -> String {
        let tree = self.git(&["mktree"]).await;
        let commit = self.git(&["commit-tree", "-m", message, "-p", "refs/heads/main", &tree]).await;
        self.git(&["update-ref", &format!("refs/heads/{BRANCH}"), &commit]).await;
        self.forge.refresh("widgets", BRANCH).await.unwrap();
        commit
    }

    async fn git(&self, args: &[&str]) -> String {
        self.fixture.git(&[&["--git-dir=git/widgets.git"], args].concat()).await
    }

    /// Opens the pull request; its head.
    async fn open(&self) -> String {
        let author = Author { session: "01".into(), slug: "fixer".into() };
        let (title, body, base_branch) = ("Fix".into(), String::new(), "main".into());
        let (repository, head_branch) = ("widgets".into(), BRANCH.into());
        let new = NewPull { forge: ForgeId::local(), repository, title, body, author, head_branch, base_branch };
        self.forge.open(new).await.unwrap().pull.head().to_owned()
    }

    fn start(&self) -> Arc<Ci> {
        let Fixture { data, vmm, environments, .. } = &self.fixture;
        Ci::start(Deps {
            data: data.path().into(),
            forge: Arc::new(self.forge.clone()),
            environments: environments.clone(),
            vmm: vmm.clone(),
            gateway: Arc::new(Gateway::new(BareRepositories::at(data.path().join("git")))),
            admission: self.fixture.admission.clone(),
            sessions: self.waiting.clone(),
            most: Some(self.most),
            look_again: Duration::from_secs(1),
        })
    }

    async fn check(&self, commit: &str, name: &str) -> Option<Check> {
        self.forge.checks("widgets", commit).await.unwrap().into_iter().find(|check| check.name == name)
    }

    /// Waits until a check stands so.
    async fn wait_for(&self, commit: &str, name: &str, state: CheckState) -> Check {
        let mut hints = self.forge.hints();
        let reached = async {
            loop {
                if let Some(check) = self.check(commit, name).await.filter(|check| check.state == state) {
                    return check;
                }
                let _ = hints.next().await;
            }
        };
        let reached = tokio::time::timeout(DEADLINE, reached).await;
        match reached {
            Ok(check) => check,
            Err(_) => panic!("{name} never was {state:?}: {:?}", self.check(commit, name).await),
        }
    }

    async fn log(&self, check: &Check) -> String {
        String::from_utf8(self.forge.log("widgets", check).await.unwrap().unwrap()).unwrap()
    }

    /// How often CI has started a VM: the build has started three.
    fn started(&self) -> usize {
        self.fixture.vmm.specs().len() - 3
    }
}

#[tokio::test]
async fn every_check_of_a_head_runs_in_a_clone_of_its_own() {
    let world = World::new(&[("unit", "well"), ("style", "fail")]).await;
    let ci = world.start();
    let head = world.open().await;
    let unit = world.wait_for(&head, "unit", CheckState::Passed).await;
    let style = world.wait_for(&head, "style", CheckState::Failed).await;
    assert_eq!(unit.summary, "ran ./ci unit well");
    assert_eq!(style.summary, "ended with exit code 3: ran ./ci style fail");
    let log = world.log(&style).await;
    assert!(log.contains("pilothouse: ./ci style fail\nran ./ci style fail\npilothouse: failed: "), "{log}");
    let commands = world.fixture.vmm.commands();
    assert!(commands.contains(&format!("/work/widgets: git fetch --quiet origin {head}")), "{commands:?}");
    assert!(commands.contains(&"/work/widgets: ./ci unit well".into()), "{commands:?}");
    let specs = world.fixture.vmm.specs()[3..].to_vec();
    assert!(specs.len() == 2 && specs.iter().all(|spec| matches!(spec.memory, Memory::Clone(_))), "{specs:?}");
    assert_ne!(specs[0].disk, specs[1].disk);
    assert_eq!(world.forge.rules("widgets").await.unwrap().required_checks, ["unit", "style"]);
    assert_eq!(super::checks_of(&world.fixture.environments, "widgets"), ["style", "unit"]);
    assert!(super::checks_of(&world.fixture.environments, "other").is_empty());
    ci.close().await;
    assert!(world.fixture.names("ci").is_empty() && world.fixture.vmm.running() == 0);

    let next = world.start();
    let main = world.git(&["rev-parse", "main"]).await;
    next.rerun("widgets", &main, Some("unit")).await.unwrap();
    world.wait_for(&main, "unit", CheckState::Passed).await;
    next.close().await;
    assert_eq!(world.started(), 3, "what is over is not run again");
}

#[tokio::test]
async fn a_vm_that_dies_is_tried_once_more_and_says_nothing_of_the_commit() {
    let world = World::new(&[("once", "die-once"), ("always", "die")]).await;
    let ci = world.start();
    let head = world.open().await;
    let once = world.wait_for(&head, "once", CheckState::Passed).await;
    let log = world.log(&once).await;
    assert!(log.contains("kernel: last words") && log.contains("it is tried once more"), "{log}");
    let always = world.wait_for(&head, "always", CheckState::Errored).await;
    assert!(always.summary.starts_with("its VM ended: "), "{}", always.summary);
    assert_eq!(world.started(), 4);
    ci.close().await;
}

#[tokio::test]
async fn what_takes_too_long_fails_with_its_log() {
    let world = World::new(&[("unit", "hang")]).await;
    let ci = world.start();
    let head = world.open().await;
    let unit = world.wait_for(&head, "unit", CheckState::Failed).await;
    assert_eq!(unit.summary, "timed out after 5 s");
    assert!(world.log(&unit).await.contains("pilothouse: ./ci unit hang\n"));
    ci.close().await;
    assert_eq!(world.fixture.vmm.running(), 0);
}

#[tokio::test]
async fn a_newer_head_cancels_the_run_of_the_older() {
    let world = World::new(&[("unit", "hang")]).await;
    let ci = world.start();
    let old = world.open().await;
    world.wait_for(&old, "unit", CheckState::Running).await;
    let new = world.push("second").await;
    let cancelled = world.wait_for(&old, "unit", CheckState::Cancelled).await;
    assert_eq!(cancelled.summary, SUPERSEDED);
    world.wait_for(&new, "unit", CheckState::Running).await;
    world.git(&["update-ref", "-d", &format!("refs/heads/{BRANCH}")]).await;
    world.forge.refresh("widgets", BRANCH).await.unwrap();
    world.wait_for(&new, "unit", CheckState::Cancelled).await;
    ci.close().await;
    assert!(world.fixture.vmm.running() == 0 && world.fixture.names("ci").is_empty());
}

#[tokio::test]
async fn a_commit_that_is_the_head_again_is_run_again() {
    let world = World::new(&[("unit", "hang")]).await;
    let ci = world.start();
    let head = world.open().await;
    world.wait_for(&head, "unit", CheckState::Running).await;
    // As when another commit was pushed, and this one again before its run had ended.
    ci.supersede(&Key { repository: "widgets".into(), commit: head.clone(), name: "unit".into() }).await;
    world.wait_for(&head, "unit", CheckState::Failed).await;
    assert_eq!(world.started(), 2);
    ci.close().await;
}

#[tokio::test]
async fn what_a_hostd_that_ends_was_at_begins_again_with_the_next() {
    let world = World::new(&[("unit", "hang")]).await;
    let ci = world.start();
    let head = world.open().await;
    world.wait_for(&head, "unit", CheckState::Running).await;
    ci.close().await;
    assert_eq!(world.check(&head, "unit").await.unwrap().state, CheckState::Running);
    let left = world.fixture.data.path().join("ci/01LEFT");
    std::fs::create_dir_all(&left).unwrap();
    // A push that nobody was there to see.
    let newer = world.push("second").await;
    let ci = world.start();
    world.wait_for(&head, "unit", CheckState::Cancelled).await;
    world.wait_for(&newer, "unit", CheckState::Running).await;
    assert!(!left.exists() && world.fixture.vmm.orphans.lock().unwrap().contains(&left));
    ci.close().await;
}

#[tokio::test]
async fn sessions_go_first_and_runs_wait_for_each_other() {
    let world = World { most: 1, ..World::new(&[("a", "hang"), ("b", "well")]).await };
    world.waiting.0.store(1, Relaxed);
    let ci = world.start();
    let head = world.open().await;
    world.wait_for(&head, "b", CheckState::Queued).await;
    assert_eq!((world.started(), world.check(&head, "a").await.unwrap().state), (0, CheckState::Queued));
    world.waiting.0.store(0, Relaxed);
    world.wait_for(&head, "a", CheckState::Running).await;
    assert_eq!(world.check(&head, "b").await.unwrap().state, CheckState::Queued);
    world.wait_for(&head, "b", CheckState::Passed).await;
    assert!(world.check(&head, "a").await.unwrap().state.is_over());
    ci.close().await;
}

#[tokio::test]
async fn checks_run_again_by_name() {
    let world = World::new(&[("unit", "well"), ("style", "fail")]).await;
    let ci = world.start();
    let head = world.open().await;
    world.wait_for(&head, "unit", CheckState::Passed).await;
    let first = world.wait_for(&head, "style", CheckState::Failed).await;
    assert_eq!(ci.rerun("widgets", &head[..12], None).await.unwrap(), ["style"], "the one that is bad");
    let log = first.log.clone();
    let mut hints = world.forge.hints();
    while world.check(&head, "style").await.unwrap().log == log
        || world.check(&head, "style").await.unwrap().state != CheckState::Failed
    {
        tokio::time::timeout(DEADLINE, hints.next()).await.unwrap().unwrap();
    }
    assert_eq!(world.started(), 3);
    let error = ci.rerun("widgets", &head, Some("lint")).await.unwrap_err();
    assert_eq!(error.to_string(), "`lint` is not run here (run here: unit, style); whoever reports it runs it again");
    let main = world.git(&["rev-parse", "main"]).await;
    assert!(matches!(ci.rerun("widgets", &main, None).await, Err(RerunError::NothingBad)));
    ci.rerun("widgets", &main, Some("unit")).await.unwrap();
    world.wait_for(&main, "unit", CheckState::Passed).await;
    ci.close().await;
}

#[tokio::test]
async fn a_flood_is_bounded_and_can_be_followed() {
    let world = World::new(&[("unit", "flood")]).await;
    let ci = world.start();
    let head = world.open().await;
    let unit = world.wait_for(&head, "unit", CheckState::Passed).await;
    let log = world.log(&unit).await;
    assert!(log.len() <= 4 << 20 && log.ends_with("\nthe end\npilothouse: passed: the end\n"));
    assert!(log.starts_with("pilothouse: "), "{:?}", &log[..80]);
    ci.close().await;
}

#[tokio::test]
async fn rules_that_a_person_gave_are_left_alone() {
    let world = World::new(&[("unit", "well")]).await;
    let rules = Rules { required_checks: vec!["elsewhere".into()], ..Rules::default() };
    world.forge.set_rules("widgets", rules.clone()).await.unwrap();
    let ci = world.start();
    let head = world.open().await;
    world.wait_for(&head, "unit", CheckState::Passed).await;
    assert_eq!(world.forge.rules("widgets").await.unwrap(), rules);
    ci.close().await;
}

#[tokio::test]
async fn what_sessions_were_promised_is_not_given_to_runs_and_the_other_way_round() {
    let world = World::new(&[("unit", "hang")]).await;
    let admission = world.fixture.admission.clone();
    let all = admission.room().memory();
    let (_, session) = admission.decide(Kind::Session, |_| ((), Some(all)));
    let head = world.open().await;
    let ci = world.start();
    world.wait_for(&head, "unit", CheckState::Queued).await;
    drop(session);
    world.wait_for(&head, "unit", CheckState::Running).await;
    assert_eq!(admission.room().memory(), all - (64 << 20));
    ci.close().await;
}
