//! `env`: lists, shows, builds.

use crate::{fake::Fake, program::until};

#[tokio::test(flavor = "multi_thread")]
async fn a_build_shows_its_steps() {
    let fake = Fake::start(vec![]).await;
    let ran = fake.run(&["env", "build", "demo"]).await;
    assert_eq!(ran.code, 0);
    assert_eq!(ran.stderr, "[1/2] base system\n      unpacking[2J\n[2/2] setup\n      running\n");
    assert!(ran.text().starts_with("demo is ready (built in "), "{}", ran.text());
    assert_eq!(fake.run(&["env", "build", "demo", "--json"]).await.json()["name"], "demo");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_build_is_a_failure() {
    let fake = Fake::start(vec![]).await;
    let ran = fake.run(&["env", "build", "broken"]).await;
    assert!(ran.code == 1 && ran.stderr.ends_with("      running\nerror: setup failed: exit code 3\n"), "{ran:?}");
    assert_eq!(fake.run(&["env", "build", "nothing"]).await.code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_recipe_is_wrong_usage() {
    let fake = Fake::start(vec![]).await;
    let file = fake.folder.path().join("mine.toml");
    std::fs::write(&file, "nam = 1").unwrap();
    let ran = fake.run(&["env", "build", file.to_str().unwrap()]).await;
    assert_eq!((ran.code, ran.stderr), (2, format!("error: {}:1:1: unknown key\n", file.display())));
    let ran = fake.run(&["env", "build", "./nowhere.toml"]).await;
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (2, "error: cannot read ./nowhere.toml: No such file or directory (os error 2)\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_leaves_the_build_running() {
    let fake = Fake::start(vec![]).await;
    let log = fake.folder.path().join("stderr");
    let mut command = fake.command(&["env", "build", "endless"]);
    let mut child = command.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    until("it builds", || said().contains("running")).await;
    let pid = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    assert!(said().contains("the build goes on"), "{}", said());
}

#[tokio::test(flavor = "multi_thread")]
async fn environments_are_listed_and_shown() {
    let fake = Fake::start(vec![]).await;
    assert!(fake.run(&["env", "ls"]).await.text().contains("demo         ready"));
    assert_eq!(fake.run(&["env", "ls", "--json"]).await.json()[0]["state"], "ready");
    assert!(fake.run(&["env", "show", "demo"]).await.text().ends_with("\n\nname = \"demo\"\n"));
    assert_eq!(fake.run(&["env", "show", "other"]).await.code, 3);
}
