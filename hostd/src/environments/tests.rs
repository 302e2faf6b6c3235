//! Whole builds with pretended guests, real git and real files. Real VMs have their turn in the end-to-end tests.

mod devcontainers;
#[cfg(feature = "failpoints")]
mod faults;

use std::{os::unix::fs::PermissionsExt, time::Duration};

use rstest::rstest;
use tempfile::TempDir;

use super::*;
use crate::{
    admission::Kind,
    forge::BareRepositories,
    registry::tests::{FakeRegistry, Manner},
    testing::FakeVmm,
    vm::Memory,
};
use base::Base;
use hostd_core::capacity::Room;

pub(crate) const RECIPE: &str = r#"
name = "python"
base = { debian = "bookworm" }
repository = { url = "http://pilothouse.internal/git/widgets.git", path = "/work/widgets" }
setup = ["make all"]
agent = { command = ["sh"] }
size = { vcpus = 1, memory = "64MiB", disk = "1GiB" }
"#;

pub(crate) struct Fixture {
    pub(crate) data: TempDir,
    pub(crate) vmm: Arc<FakeVmm>,
    pub(crate) environments: Arc<Environments>,
    /// Of a host of 16 GiB, half of it available.
    pub(crate) admission: Admission,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let admission = admission();
        let (vmm, environments) = open_with(data.path(), admission.clone()).await;
        let fixture = Self { data, vmm, environments, admission };
        fixture.git(&["init", "-q", "--bare", "-b", "main", "git/widgets.git"]).await;
        fixture.commit().await;
        fixture.put_base(RECIPE);
        fixture
    }

    pub(crate) async fn git(&self, args: &[&str]) -> String {
        let mut git = crate::forge::git(self.data.path());
        let output = git.args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A new commit on main.
    async fn commit(&self) -> String {
        let tree = self.git(&["--git-dir=git/widgets.git", "mktree"]).await;
        let old = self.environments.mirror.head("widgets", "main").await.unwrap_or_default();
        let mut args = vec!["--git-dir=git/widgets.git", "commit-tree", "-m", "x", &tree];
        if !old.is_empty() {
            args.extend(["-p", &old]);
        }
        let commit = self.git(&args).await;
        self.git(&["--git-dir=git/widgets.git", "update-ref", "refs/heads/main", &commit]).await;
        commit
    }

    fn base_of(&self, recipe: &Recipe) -> Base {
        Base::of(recipe, None, &self.environments.shelf.bases).unwrap()
    }

    /// Pretends that the recipe's base was made already.
    fn put_base(&self, recipe: &str) -> Base {
        let base = self.base_of(&Recipe::parse("x", recipe).unwrap());
        std::fs::write(&base.path, "base").unwrap();
        base
    }

    pub(crate) async fn register(&self, recipe: &str) {
        self.environments.register("x.toml", recipe).await.unwrap();
    }

    async fn build(&self) -> Vec<BuildEvent> {
        all(self.environments.build("python").await.unwrap()).await
    }

    pub(crate) async fn built(&self) -> (EnvironmentInfo, bool) {
        match self.build().await.pop() {
            Some(BuildEvent::Done { info, cached }) => (*info, cached),
            other => panic!("{other:?}"),
        }
    }

    async fn failed(&self) -> (String, String) {
        match self.build().await.pop() {
            Some(BuildEvent::Failed(EnvironmentError::BuildFailed { step, output })) => (step, output),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.data.path().join(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn admission() -> Admission {
    Admission::measured(|| Room {
        memory_total: 16 << 30,
        memory_available: 8 << 30,
        memory_promised: 0,
        memory_limit: None,
        memory_used: 0,
        disk_total: 100 << 30,
        disk_available: 50 << 30,
        descriptors: 1024,
    })
}

async fn open(data: &Path) -> (Arc<FakeVmm>, Arc<Environments>) {
    open_with(data, admission()).await
}

async fn open_with(data: &Path, admission: Admission) -> (Arc<FakeVmm>, Arc<Environments>) {
    let vmm = Arc::new(FakeVmm::scripted());
    let mirror = BareRepositories::at(data.join("git"));
    let gateway = Arc::new(Gateway::new(mirror.clone()));
    (vmm.clone(), Environments::open(data, vmm, gateway, mirror, admission).await.unwrap())
}

async fn all(mut events: mpsc::Receiver<BuildEvent>) -> Vec<BuildEvent> {
    let mut all = vec![];
    while let Some(event) = events.recv().await {
        all.push(event);
    }
    all
}

#[tokio::test]
async fn a_build_waits_for_room_and_says_so() {
    let fixture = Fixture::new().await;
    fixture.register(RECIPE).await;
    let (_, reservation) = fixture.admission.decide(Kind::Session, |room| ((), Some(room.memory())));
    let mut events = fixture.environments.build("python").await.unwrap();
    let waits = |event: &BuildEvent| matches!(event, BuildEvent::Output(line) if line.starts_with("waits for memory"));
    while !waits(&events.recv().await.unwrap()) {}
    assert_eq!(fixture.vmm.running(), 0);
    drop(reservation);
    assert!(matches!(all(events).await.pop(), Some(BuildEvent::Done { .. })));
    assert_eq!(fixture.admission.room().memory_promised, 0);
}

#[tokio::test]
async fn a_build_is_made_once_and_kept() {
    let fixture = Fixture::new().await;
    fixture.register(RECIPE).await;
    assert_eq!(
        fixture.environments.ready("python").unwrap_err().to_string(),
        "environment `python` has no build yet; run `pilothouse env build python`"
    );
    let events = fixture.build().await;
    let steps = events.iter().filter_map(|event| match event {
        BuildEvent::Step { number, count, name } => Some(format!("{number}/{count} {name}")),
        _ => None,
    });
    let commit = fixture.environments.get("python").unwrap().build.unwrap().commit;
    let expected = [
        "1/10 kernel of the guests".into(),
        "2/10 base system: Debian bookworm".into(),
        "3/10 start a VM on the base".into(),
        format!("4/10 clone main at {}", &commit[..12]),
        "5/10 setup: make all".into(),
        "6/10 check the agent `sh` of root".into(),
        "7/10 power off and keep the disk".into(),
        "8/10 boot the template".into(),
        "9/10 freeze it".into(),
        "10/10 prove it by a clone".into(),
    ];
    assert_eq!(steps.collect::<Vec<_>>(), expected);
    let commands = fixture.vmm.commands();
    assert_eq!(commands[2], "/: git config --system --add safe.directory /work/widgets");
    assert_eq!(commands[4], "/: git clone --branch main -- http://pilothouse.internal/git/widgets.git /work/widgets");
    assert_eq!(commands[5], "/: git -C /work/widgets config include.path /run/pilothouse/gitconfig");
    assert_eq!(commands[6], format!("/: git -C /work/widgets reset --quiet --hard {commit}"));
    assert_eq!(commands[8..10], ["/work/widgets: sh -c make all", "/: true"]);
    assert!(commands[10].starts_with("/work/widgets: sh -c ") && commands[10].ends_with(" sh sh"), "{}", commands[10]);
    assert_eq!(commands[11..], ["/: true", ": sh -c exec true", "/: true"], "the template's two, and its clone's");

    let ready = fixture.environments.ready("python").unwrap();
    let mode = std::fs::metadata(&ready.layers[1]).unwrap().permissions().mode();
    assert_eq!((ready.layers.len(), mode & 0o777), (2, 0o444));
    assert_eq!(fixture.names(&format!("builds/{}", ready.id)), ["disk.qcow2", "log", "manifest.json", "template"]);
    let template = ready.template.clone().unwrap();
    assert_eq!(fixture.names(template.to_str().unwrap()), ["devices", "manifest.json", "ram"]);
    let memories: Vec<_> = fixture.vmm.specs().iter().map(|spec| spec.memory.clone()).collect();
    assert!(matches!(&memories[..], [Memory::Own, Memory::Template(_), Memory::Clone(_)]), "{memories:?}");

    assert!(fixture.built().await.1, "the second time it is there already");
    assert_eq!(open(fixture.data.path()).await.1.ready("python").unwrap(), ready);
    fixture.commit().await;
    let (info, cached) = fixture.built().await;
    assert!(!cached && info.build.unwrap().id != ready.id);
}

#[tokio::test]
async fn the_default_branch_is_the_repositorys_own_and_goes_with_the_build() {
    let fixture = Fixture::new().await;
    fixture.register(RECIPE).await;
    fixture.built().await;
    let on_main = fixture.environments.ready("python").unwrap();
    fixture.register(&RECIPE.replace("git\", path", "git\", branch = \"main\", path")).await;
    assert!(fixture.built().await.1, "it says what was the default anyway");
    fixture.git(&["--git-dir=git/widgets.git", "branch", "trunk", "main"]).await;
    fixture.git(&["--git-dir=git/widgets.git", "symbolic-ref", "HEAD", "refs/heads/trunk"]).await;
    assert!(fixture.built().await.1, "it names its branch");
    fixture.register(RECIPE).await;
    assert!(!fixture.built().await.1);
    let clones = fixture.vmm.commands();
    let clones: Vec<_> = clones.iter().filter(|command| command.contains("clone --branch")).collect();
    assert!(clones.len() == 2 && clones[1].contains("clone --branch trunk -- "), "{clones:?}");
    let on_trunk = fixture.environments.ready("python").unwrap();
    assert_eq!((on_main.branch.as_str(), on_trunk.branch.as_str()), ("main", "trunk"));
    // What HEAD names later is not what this build was cloned of.
    fixture.git(&["--git-dir=git/widgets.git", "symbolic-ref", "HEAD", "refs/heads/gone"]).await;
    assert_eq!(open(fixture.data.path()).await.1.ready("python").unwrap(), on_trunk);
    let (step, output) = fixture.failed().await;
    assert_eq!(step, "repository");
    assert!(
        output.ends_with("is not there; name a `branch` in the recipe's `repository`, of: main, trunk"),
        "{output}"
    );
}

#[tokio::test]
async fn a_recipe_that_changes_nothing_on_disk_takes_effect_without_a_build() {
    let fixture = Fixture::new().await;
    fixture.register(RECIPE).await;
    let (before, _) = fixture.built().await;
    fixture.register(&RECIPE.replace(r#"["sh"]"#, r#"["bash"]"#)).await;
    assert_eq!(fixture.environments.ready("python").unwrap().recipe.agent.command, ["sh"]);
    let (after, cached) = fixture.built().await;
    assert!(cached && after.build == before.build);
    assert_eq!(fixture.environments.ready("python").unwrap().recipe.agent.command, ["bash"]);
}

#[tokio::test]
async fn a_destination_that_is_allowed_is_in_the_recipe_and_in_use_where_that_was() {
    let fixture = Fixture::new().await;
    let egress = |to: &str| Egress { to: to.into(), private: false };
    let (one, other) = (egress("a.example:443"), egress("b.example:443"));
    fixture.register(RECIPE).await;
    let allow = async |egress: &Egress| fixture.environments.allow("python", egress).await;
    let not_built = AllowedInRecipe { source: "x.toml".into(), next_build: true };
    assert_eq!(allow(&one).await.unwrap(), not_built);
    let (built, _) = fixture.built().await;
    assert!(built.recipe.contains("name = \"python\"\negress = [\"a.example:443\"]\n"), "{}", built.recipe);
    assert!(!allow(&other).await.unwrap().next_build);
    assert_eq!(fixture.environments.ready("python").unwrap().recipe.egress, [other.clone(), one.clone()]);
    // Also for the hostd after this one.
    let (_, again) = open(fixture.data.path()).await;
    assert_eq!(again.ready("python").unwrap().recipe.egress, [other.clone(), one.clone()]);
    let (_, cached) = fixture.built().await;
    assert!(cached, "it is nothing that a build is made of");
    // What a build that failed has said stays.
    fixture.environments.catalog.keep_failure("python", "no disk", "all that it said").await.unwrap();
    assert!(!allow(&egress("d.example:443")).await.unwrap().next_build);
    assert!(["error", "log"].iter().all(|name| fixture.names("environments/python").contains(&(*name).to_owned())));
    let in_use = fixture.environments.ready("python").unwrap().recipe.egress;
    // Where another recipe waits for its build, that one has it.
    fixture.register(&built.recipe.replace("make all", "make most")).await;
    assert!(allow(&egress("c.example:443")).await.unwrap().next_build);
    assert_eq!(fixture.environments.ready("python").unwrap().recipe.egress, in_use);
    assert!(matches!(
        fixture.environments.allow("nothing", &egress("a.example:1")).await,
        Err(EnvironmentError::NotFound { .. })
    ));
}

#[tokio::test]
async fn a_failed_build_leaves_the_old_one_in_use() {
    let fixture = Fixture::new().await;
    fixture.register(RECIPE).await;
    let ready = {
        fixture.built().await;
        fixture.environments.ready("python").unwrap()
    };
    fixture.register(&RECIPE.replace("make all", "make fail")).await;
    let (step, output) = fixture.failed().await;
    assert_eq!(
        (step.as_str(), output.as_str()),
        ("setup: make fail", "ran sh -c make fail\nsh ended with exit code 3")
    );
    let info = fixture.environments.get("python").unwrap();
    assert_eq!((info.state, info.error.contains("make fail")), (EnvironmentState::Failed, true));
    assert_eq!(fixture.environments.ready("python").unwrap(), ready);
    assert_eq!(fixture.names("builds"), std::slice::from_ref(&ready.id));
    assert!(fixture.names("environments/python").contains(&"log".to_owned()));
    assert_eq!(open(fixture.data.path()).await.1.get("python").unwrap(), info);
}

#[tokio::test]
async fn an_agent_that_is_not_there_fails_the_build() {
    let fixture = Fixture::new().await;
    fixture.register(&RECIPE.replace(r#"["sh"]"#, r#"["fail"]"#)).await;
    let (step, output) = fixture.failed().await;
    assert_eq!(step, "check the agent `fail` of root");
    assert!(output.ends_with("install it, or correct `agent.command`"), "{output}");
    assert!(fixture.names("builds").is_empty());

    // Also where what is built is there already: then a clone is looked at, once for each other agent.
    fixture.register(RECIPE).await;
    fixture.built().await;
    let started = || fixture.vmm.specs().len();
    let before = started();
    fixture.register(&RECIPE.replace(r#"["sh"]"#, r#"["fail"]"#)).await;
    let (step, _) = fixture.failed().await;
    assert_eq!((step.as_str(), started()), ("look for the agent `fail` in a clone", before + 1));
    fixture.register(&RECIPE.replace(r#"["sh"]"#, r#"["bash", "-l"]"#)).await;
    assert!(fixture.built().await.1);
    assert_eq!((started(), fixture.vmm.running()), (before + 2, 0));
    let last = fixture.vmm.specs().last().unwrap().memory.clone();
    assert!(matches!(last, Memory::Clone(_)));
    assert_eq!(fixture.names("builds").len(), 1);
}

#[tokio::test]
async fn the_working_tree_is_handed_over_to_the_agents_user() {
    let fixture = Fixture::new().await;
    fixture.register(&RECIPE.replace("agent =", "user = \"dev\"\nagent =")).await;
    fixture.built().await;
    let commands = fixture.vmm.commands();
    assert!(commands[9].starts_with("/: sh -c # ") && commands[9].ends_with(" sh dev no"), "{}", commands[9]);
    assert_eq!(commands[8], "/work/widgets: sh -c make all");
    assert_eq!(commands[10..12], ["dev@/: true", "/: chown -Rh dev: -- /work/widgets"]);
    assert!(commands[12].starts_with("dev@/work/widgets: sh -c "), "{}", commands[12]);
    let as_dev = fixture.environments.ready("python").unwrap();
    assert_eq!(as_dev.recipe.user, "dev");
    fixture.register(RECIPE).await;
    assert!(!fixture.built().await.1, "another user's working tree is another build");
}

#[tokio::test]
async fn what_a_recipe_will_not_do_as_meant_is_told() {
    let fixture = Fixture::new().await;
    let recipe = RECIPE.replace("path = \"/work/widgets\"", "path = \"/work/widgets\", read = [\"lib\"]");
    fixture.register(&format!("{recipe}\negress = [\"127.0.0.1:11434\"]")).await;
    for again in [false, true] {
        let events = fixture.build().await;
        let told: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                BuildEvent::Output(line) => line.strip_prefix("warning: "),
                _ => None,
            })
            .collect();
        assert!(told.len() == 2 && told[0].contains("\"host.pilothouse.internal:11434\""), "{told:?}");
        assert!(told[1].starts_with("`read` names lib"), "{told:?}");
        assert!(matches!(events.last(), Some(BuildEvent::Done { cached, .. }) if *cached == again));
    }
}

#[tokio::test]
async fn a_template_whose_clone_is_no_clone_is_not_published() {
    let fixture = Fixture::new().await;
    fixture.register(RECIPE).await;
    fixture.vmm.forgets.store(true, std::sync::atomic::Ordering::Relaxed);
    let (step, output) = fixture.failed().await;
    assert_eq!(step, "prove it by a clone");
    assert!(output.contains("booted, instead of going on"), "{output}");
    assert!(fixture.names("builds").is_empty());
}

#[tokio::test]
async fn another_machine_makes_another_build_and_leaves_the_old_one() {
    let fixture = Fixture::new().await;
    fixture.register(RECIPE).await;
    fixture.built().await;
    let old = fixture.environments.ready("python").unwrap();
    *fixture.vmm.fingerprint.lock().unwrap() = Some("a newer qemu".into());
    assert!(!fixture.built().await.1);
    let new = fixture.environments.ready("python").unwrap();
    assert!(new.id != old.id && new.template != old.template && old.layers[1].exists());
    *fixture.vmm.fingerprint.lock().unwrap() = None;
    let events = fixture.build().await;
    assert!(matches!(events.last(), Some(BuildEvent::Done { cached: false, .. })));
    assert!(events.iter().any(|event| matches!(event, BuildEvent::Step { number: 7, count: 7, .. })), "{events:?}");
    assert_eq!(fixture.environments.ready("python").unwrap().template, None);
}

#[rstest]
#[case::gone(|template: &Path| std::fs::remove_dir_all(template).unwrap())]
#[case::damaged(|template: &Path| crate::vm::snapshot::store::Manifest::mark_damaged(template).unwrap())]
#[tokio::test]
async fn a_template_of_no_use_is_made_again_beside(#[case] spoil: fn(&Path)) {
    let fixture = Fixture::new().await;
    fixture.register(RECIPE).await;
    fixture.built().await;
    let old = fixture.environments.ready("python").unwrap();
    spoil(old.template.as_ref().unwrap());
    assert_eq!(open(fixture.data.path()).await.1.ready("python").unwrap(), old, "its sessions boot");
    assert!(!fixture.built().await.1);
    let new = fixture.environments.ready("python").unwrap();
    assert!(new.id != old.id && old.layers[1].exists());
    assert!(fixture.built().await.1);
}

#[tokio::test]
async fn what_nobody_needs_any_more_is_removed() {
    let fixture = Fixture::new().await;
    fixture.register(RECIPE).await;
    fixture.built().await;
    let old = fixture.environments.ready("python").unwrap();
    let stray = fixture.data.path().join("bases/0123456789abcdef.ext4");
    std::fs::write(&stray, "no recipe asks for it").unwrap();
    fixture.commit().await;
    fixture.built().await;
    let new = fixture.environments.ready("python").unwrap();

    fixture.environments.collect(&old.layers).await.unwrap();
    let info = fixture.environments.get("python").unwrap();
    assert_eq!(info.older.iter().map(|build| &build.id).collect::<Vec<_>>(), [&old.id]);
    assert!(old.layers.iter().all(|layer| layer.exists()) && !stray.exists());

    fixture.environments.collect(&[]).await.unwrap();
    assert_eq!(fixture.names("builds"), std::slice::from_ref(&new.id));
    assert!(new.layers.iter().all(|layer| layer.exists()));
    assert!(fixture.environments.get("python").unwrap().older.is_empty());
    assert_eq!(open(fixture.data.path()).await.1.ready("python").unwrap(), new);
}

#[tokio::test]
async fn nothing_is_removed_while_a_build_is_under_way_or_its_users_are_unknown() {
    let fixture = Fixture::new().await;
    fixture.register(RECIPE).await;
    fixture.built().await;
    fixture.register(&RECIPE.replace("make all", "make hang")).await;
    let mut events = fixture.environments.build("python").await.unwrap();
    while !matches!(events.recv().await, Some(BuildEvent::Step { number: 5, .. })) {}
    fixture.environments.collect(&[]).await.unwrap();
    assert_eq!(fixture.names("builds").len(), 2);
    fixture.environments.close().await;
    let pointer = fixture.data.path().join("environments/python/current.json");
    std::fs::write(pointer, "garbage").unwrap();
    let (_, environments) = open(fixture.data.path()).await;
    environments.collect(&[]).await.unwrap();
    assert_eq!(fixture.names("builds").len(), 1);
}

#[tokio::test]
async fn a_vm_that_dies_is_reported_with_its_last_words() {
    let fixture = Fixture::new().await;
    fixture.register(&RECIPE.replace("make all", "make die")).await;
    let (step, output) = fixture.failed().await;
    assert_eq!(step, "setup: make die");
    assert!(output.starts_with("kernel: last words\nthe VM ended too early:"), "{output}");
    assert!(fixture.names("builds").is_empty());
}

#[tokio::test]
async fn builds_of_one_recipe_are_joined_and_others_wait() {
    let fixture = Fixture::new().await;
    fixture.register(RECIPE).await;
    let first = fixture.environments.build("python").await.unwrap();
    let second = fixture.environments.build("python").await.unwrap();
    let changed = RECIPE.replace("make all", "make more");
    fixture.register(&changed).await;
    let third = fixture.environments.build("python").await.unwrap();
    let (first, second, third) = tokio::join!(all(first), all(second), all(third));
    assert_eq!(format!("{first:?}"), format!("{second:?}"));
    assert_ne!(format!("{first:?}"), format!("{third:?}"));
    assert_eq!(fixture.vmm.specs().len(), 6, "of each build three");
    assert_eq!(fixture.environments.get("python").unwrap().state, EnvironmentState::Ready);
    assert_eq!(fixture.environments.ready("python").unwrap().recipe.setup, ["make more"]);
}

#[tokio::test]
async fn a_base_made_anew_is_another_base() {
    let fixture = Fixture::new().await;
    fixture.register(RECIPE).await;
    fixture.built().await;
    let base = fixture.put_base(RECIPE);
    let later = std::time::SystemTime::now() + Duration::from_secs(60);
    std::fs::File::options().write(true).open(&base.path).unwrap().set_modified(later).unwrap();
    let environments = open(fixture.data.path()).await.1;
    assert!(matches!(environments.ready("python"), Err(EnvironmentError::NoBuild { .. })));
    assert!(!fixture.built().await.1, "it is built again");
}

#[tokio::test]
async fn what_was_cut_off_is_swept() {
    let fixture = Fixture::new().await;
    let workshop = fixture.data.path().join("builds/new-0123");
    std::fs::create_dir_all(workshop.join("vm")).unwrap();
    std::fs::write(fixture.data.path().join("bases/4567.new"), "").unwrap();
    let (vmm, _environments) = open(fixture.data.path()).await;
    assert_eq!(*vmm.orphans.lock().unwrap(), [workshop.join("vm")]);
    assert!(fixture.names("builds").is_empty() && fixture.names("bases").len() == 1);
}

#[tokio::test]
async fn closing_ends_a_build() {
    let fixture = Fixture::new().await;
    fixture.register(&RECIPE.replace("make all", "make hang")).await;
    let mut events = fixture.environments.build("python").await.unwrap();
    while !matches!(events.recv().await, Some(BuildEvent::Step { number: 5, .. })) {}
    tokio::time::timeout(Duration::from_secs(20), fixture.environments.close()).await.unwrap();
    assert!(
        matches!(all(events).await.pop(), Some(BuildEvent::Failed(error)) if error.to_string().ends_with("hostd was ended"))
    );
    assert_eq!(fixture.vmm.orphans.lock().unwrap().len(), 1);
    assert!(fixture.names("builds").is_empty());
}

#[tokio::test]
async fn errors_say_what_to_do_and_leave_nothing_behind() {
    let fixture = Fixture::new().await;
    let unknown = fixture.environments.get("demoo").unwrap_err();
    assert_eq!(unknown.to_string(), "there is no environment `demoo`; known are: demo");
    let unknown = fixture.environments.build("demoo").await.unwrap_err();
    assert!(matches!(unknown, EnvironmentError::NotFound { .. }));
    let bad = fixture.environments.register("a/bad.toml", "name = 3").await.unwrap_err();
    assert_eq!(bad.to_string(), "a/bad.toml:1:8: invalid type: integer `3`, expected a string");
    let large = fixture.environments.register("x", &RECIPE.replace("64MiB", "1TiB")).await.unwrap_err();
    assert!(large.to_string().starts_with("environment `python` asks for 1048576 MiB of memory, but this host has "));
    assert!(fixture.names("environments").is_empty());
    fixture.register(&RECIPE.replace("widgets.git", "gadgets.git")).await;
    let (step, output) = fixture.failed().await;
    assert_eq!(step, "repository");
    assert!(output.starts_with("there is no repository `gadgets`; add it with `pilothouse repo add "), "{output}");
}

/// A host's own profile; every program of a guest that is a fake says that it is version 1.2.3.
const PROFILE: &str = r#"
name = "mine"
about = "x"
command = ["sh", "-i"]
user = "agent"
memory = "64MiB"
check = { command = ["mine", "--version"], prints = "1.2.3" }
files = [{ path = "/etc/mine", mode = "0600", text = "{directory}" }, { path = "~/.mine", text = "" }]
"#;

fn own(fixture: &Fixture, profile: &str) {
    let folder = fixture.data.path().join("agents");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("mine.toml"), profile).unwrap();
}

#[tokio::test]
async fn a_profile_makes_its_user_and_its_files_and_goes_with_the_build() {
    let fixture = Fixture::new().await;
    own(&fixture, PROFILE);
    let recipe = RECIPE.replace(r#"{ command = ["sh"] }"#, r#""mine""#);
    let recipe = recipe.replace("size = ", "user.sudo = true\nsize = ");
    let profiles = fixture.environments.profiles().await.unwrap();
    let base = fixture.base_of(&Recipe::parse_with("x", &recipe, &profiles).unwrap());
    std::fs::write(&base.path, "base").unwrap();
    fixture.register(&recipe).await;
    let events = fixture.build().await;
    assert!(matches!(events.last(), Some(BuildEvent::Done { .. })), "{events:?}");
    let commands = fixture.vmm.commands();
    let made = commands.iter().position(|command| command.ends_with(" sh agent yes")).unwrap();
    assert_eq!(commands[made + 1..made + 3], ["agent@/: true", "/: chown -Rh agent: -- /work/widgets"]);
    assert!(commands[made + 4].ends_with(" sh /etc/mine /work/widgets 600"), "{}", commands[made + 4]);
    let in_home = &commands[made + 5];
    assert!(in_home.starts_with("agent@/: sh -c ") && in_home.ends_with(" sh /home/agent/.mine  644"), "{in_home}");
    assert_eq!(commands[made + 7], "agent@/: mine --version");
    let ready = fixture.environments.ready("python").unwrap();
    assert_eq!(ready.recipe.profile.as_ref().unwrap().name, "mine");

    // Another profile of the name makes another build, asked for or not; the one in use keeps its own.
    own(&fixture, &PROFILE.replace("{directory}", "else"));
    let later = open(fixture.data.path()).await.1;
    assert_eq!(later.ready("python").unwrap(), ready);
    let egress = Egress { to: "a.example:443".into(), private: false };
    assert!(later.allow("python", &egress).await.unwrap().next_build);
    assert_eq!(later.ready("python").unwrap(), ready, "a profile of its own does not come into use with a destination");
    assert!(!fixture.built().await.1);
    assert_ne!(fixture.environments.ready("python").unwrap().id, ready.id);
}

#[tokio::test]
async fn a_wrong_profile_of_the_hosts_own_is_never_left_out() {
    let fixture = Fixture::new().await;
    own(&fixture, PROFILE);
    let recipe = RECIPE.replace(r#"{ command = ["sh"] }"#, r#""mine""#);
    fixture.register(&recipe).await;
    std::fs::write(fixture.data.path().join("agents/codex.toml"), "name = 3").unwrap();
    let error = fixture.environments.register("x", &recipe.replace("mine\"", "codex\"")).await.unwrap_err().to_string();
    assert!(error.contains("agent profile `codex` cannot be used") && error.contains("codex.toml:1:8: "), "{error}");
    std::fs::write(fixture.data.path().join("agents/codex.toml"), [0xff]).unwrap();
    let error = fixture.environments.register("x", &recipe.replace("mine\"", "codex\"")).await.unwrap_err().to_string();
    assert!(error.contains("codex.toml:1:1: it is no text in UTF-8"), "{error}");
    own(&fixture, "name = 'mine'");
    let error = fixture.environments.build("python").await.unwrap_err().to_string();
    assert!(error.contains("agent profile `mine` cannot be used") && error.contains("missing key"), "{error}");
}

#[tokio::test]
async fn a_program_of_another_version_fails_the_build_and_says_which() {
    let fixture = Fixture::new().await;
    own(&fixture, &PROFILE.replace("1.2.3", "1.2.4"));
    fixture.register(&RECIPE.replace(r#"{ command = ["sh"] }"#, r#""mine""#)).await;
    let profiles = fixture.environments.profiles().await.unwrap();
    let recipe = RECIPE.replace(r#"{ command = ["sh"] }"#, r#""mine""#);
    let base = fixture.base_of(&Recipe::parse_with("x", &recipe, &profiles).unwrap());
    std::fs::write(&base.path, "base").unwrap();
    let (step, output) = fixture.failed().await;
    assert_eq!(step, "check the agent `sh` of agent");
    let end = "`mine --version` prints \"agent 1.2.3\", and not 1.2.4, which the agent's profile wants";
    assert!(output.ends_with(end), "{output}");
    assert!(fixture.names("builds").is_empty());
}

#[tokio::test]
async fn the_files_of_a_profile_do_not_get_into_the_working_tree() {
    let fixture = Fixture::new().await;
    own(&fixture, &PROFILE.replace("/etc/mine", "/work/widgets/AGENTS.md"));
    let recipe = RECIPE.replace(r#"{ command = ["sh"] }"#, r#""mine""#);
    let profiles = fixture.environments.profiles().await.unwrap();
    let base = fixture.base_of(&Recipe::parse_with("x", &recipe, &profiles).unwrap());
    std::fs::write(&base.path, "base").unwrap();
    fixture.register(&recipe).await;
    let (_, output) = fixture.failed().await;
    assert!(
        output.ends_with("/work/widgets/AGENTS.md of the profile would be in the repository's working tree"),
        "{output}"
    );
}

/// A layer with these files; those in `bin` can be executed.
fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        let mode = if name.starts_with("bin/") { 0o755 } else { 0o644 };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let tar = std::process::Command::new("tar").args(["-c", "-C"]).arg(folder.path()).arg(".").output().unwrap();
    assert!(tar.status.success());
    tar.stdout
}

const IMAGE: &str = r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=image","B=image","PATH=/bin"],
    "WorkingDir":"/srv","User":"7","Cmd":["x"]}}"#;

fn on_image(registry: &FakeRegistry, disk: &str) -> String {
    let base = format!("base.oci = '{}/team/app:1'", registry.address);
    format!("name = 'python'\n{base}\nagent = {{ command = ['sh'] }}\nsize = {{ memory = '64MiB', disk = '{disk}' }}")
}

#[tokio::test]
async fn an_environment_on_an_image_has_what_the_image_says() {
    let (fixture, registry) = (Fixture::new().await, FakeRegistry::new(Manner::Open).await);
    let below = layer(&[("bin/sh", "a shell"), ("etc/passwd", "root:x:0:0::/root:/bin/sh\n")]);
    let reference = registry.push("1", IMAGE, &[below.clone(), layer(&[("srv/app", "app")])]);
    let recipe = format!(
        "name = 'python'\nbase = {{ oci = '{}/team/app:1', packages = ['jq'] }}\nsetup = ['make all']\n\
         agent = {{ command = ['sh'] }}\nenvironment = {{ A = 'own' }}\nsize = {{ memory = '64MiB', disk = '1GiB' }}",
        registry.address
    );
    fixture.register(&recipe).await;
    let events = fixture.build().await;
    let Some(BuildEvent::Done { info, cached: false }) = events.last() else { panic!("{events:?}") };
    let image = info.build.as_ref().unwrap().image.clone();
    assert!(image.starts_with(&format!("{reference}@sha256:")), "{image}");
    let said: Vec<_> = events
        .iter()
        .filter_map(|event| if let BuildEvent::Output(line) = event { Some(line) } else { None })
        .collect();
    assert!(said.iter().any(|line| line.contains("the image's CMD is not run")), "{said:?}");
    let steps = events.iter().filter_map(|event| {
        if let BuildEvent::Step { number, count, .. } = event { Some((number, count)) } else { None }
    });
    let steps: Vec<_> = steps.collect();
    assert_eq!(steps.last().map(|(number, _)| **number), steps.last().map(|(_, count)| **count));
    let commands = fixture.vmm.commands();
    assert!(commands[0].starts_with("/: sh -c ") && commands[0].ends_with(" jq"), "{}", commands[0]);
    assert_eq!(commands[1], "/srv: sh -c make all");
    assert!(commands.iter().any(|command| command == "user7@/: true"), "{commands:?}");

    let (ready, reopened) = (fixture.environments.ready("python").unwrap(), open(fixture.data.path()).await.1);
    assert_eq!(reopened.ready("python").unwrap(), ready);
    assert_eq!((ready.recipe.user.as_str(), ready.recipe.directory()), ("user7", "/srv"));
    let variables = &ready.recipe.environment;
    assert_eq!((variables["A"].as_str(), variables["B"].as_str()), ("own", "image"));
    assert_eq!(variables["PATH"], "/run/pilothouse/bin:/bin");
    let base = ready.layers[0].to_str().unwrap().to_owned();
    let cat = |path: &str| {
        std::process::Command::new("/sbin/debugfs").args(["-R", &format!("cat {path}"), &base]).output().unwrap().stdout
    };
    assert_eq!(cat("/srv/app"), b"app");
    assert!(String::from_utf8(cat("/etc/passwd")).unwrap().ends_with("user7:x:7:0::/:/bin/sh\n"));

    assert!(fixture.built().await.1, "nothing has changed");
    let before = fixture.names("bases");
    // A tag that stands for something else is another build.
    registry.push("1", IMAGE, &[below, layer(&[("srv/app", "newer")])]);
    let (info, cached) = fixture.built().await;
    assert!(!cached && info.build.unwrap().image != image);
    assert_eq!((before.len(), fixture.names("bases").len()), (3, 5));
    fixture.environments.collect(&[]).await.unwrap();
    let left = fixture.names("bases");
    assert!(left.len() == 2 && left.iter().all(|name| !before.contains(name)), "{left:?}");
}

#[tokio::test]
async fn what_says_what_an_image_says_is_made_again_where_it_is_lost() {
    let (fixture, registry) = (Fixture::new().await, FakeRegistry::new(Manner::Open).await);
    registry.push("1", IMAGE, &[layer(&[("bin/sh", "a shell")])]);
    fixture.register(&on_image(&registry, "1GiB")).await;
    fixture.built().await;
    let record = fixture.names("bases").into_iter().find(|name| name.ends_with(".json")).unwrap();
    std::fs::remove_file(fixture.data.path().join("bases").join(&record)).unwrap();
    // Of another size it is the same image.
    fixture.register(&on_image(&registry, "2GiB")).await;
    assert!(!fixture.built().await.1);
    assert_eq!(fixture.names("bases").iter().filter(|name| **name == record).count(), 1);
    assert_eq!(fixture.environments.ready("python").unwrap().recipe.user, "user7");
}

#[tokio::test]
async fn an_image_without_a_shell_does_for_programs_alone() {
    let (fixture, registry) = (Fixture::new().await, FakeRegistry::new(Manner::Open).await);
    registry.push("1", IMAGE, &[layer(&[("bin/server", "a program")])]);
    let recipe = format!(
        "name = 'python'\nbase.oci = '{}/team/app:1'\nagent = {{ command = ['/bin/server'] }}\nsize = {{ memory = '64MiB', disk = '1GiB' }}\n",
        registry.address
    );
    for more in [
        "setup = ['true']",
        "base.packages = ['jq']",
        "repository = { url = 'http://pilothouse.internal/git/widgets.git', path = '/w' }",
    ] {
        fixture.register(&format!("{more}\n{recipe}")).await;
        let (step, output) = fixture.failed().await;
        assert!(step.starts_with("base system: ") && output.contains("the image has no /bin/sh"), "{step}: {output}");
    }
    fixture.register(&recipe).await;
    fixture.built().await;
    let commands = fixture.vmm.commands();
    let own = |command: &&String| !command.ends_with(": /run/pilothouse/bin/session --version");
    // The rehearsal is tried, and may fail.
    assert_eq!(commands.iter().filter(own).collect::<Vec<_>>(), [": sh -c exec true"]);
}

#[tokio::test]
async fn a_build_whose_image_is_not_to_be_had_says_why() {
    let (fixture, registry) = (Fixture::new().await, FakeRegistry::new(Manner::Open).await);
    let reference = registry.push("1", IMAGE, &[b"no layer at all".repeat(100)]);
    let recipe = |tag: &str| {
        format!("name = 'python'\nbase.oci = '{}/team/app:{tag}'\nagent.command = ['sh']", registry.address)
    };
    fixture.register(&recipe("2")).await;
    let (step, output) = fixture.failed().await;
    assert!(step.starts_with("image 127.0.0.1:") && output.contains("check its name and tag"), "{step}: {output}");
    fixture.register(&recipe("1")).await;
    let (step, output) = fixture.failed().await;
    assert!(step == format!("base system: {reference}@{}", step.split('@').nth(1).unwrap()), "{step}");
    assert!(
        output.contains("layer 1: a header's sum is wrong") || output.contains("layer 1: a number in a header"),
        "{output}"
    );
    assert_eq!(fixture.names("bases").len(), 1, "nothing is left of it");
}
