//! `env`: lists, shows, builds.

use rustix::process::Signal;

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

#[tokio::test(flavor = "multi_thread")]
async fn agent_profiles_are_listed_and_shown() {
    let fake = Fake::start(vec![]).await;
    let ran = fake.run(&["agent", "ls"]).await;
    let listed = ran.text();
    assert!(listed.contains("codex") && listed.contains("1.2.3"), "{listed}");
    assert!(listed.contains("missing key `name`") && !listed.contains('\x1b'), "{listed}");
    let all = fake.run(&["agent", "ls", "--json"]).await.json();
    assert_eq!(
        (&all[0]["error"], &all[1]["error"]),
        (&"/data/agents/broken.toml:1:1: missing key `name`".into(), &serde_json::Value::Null)
    );
    let ran = fake.run(&["agent", "show", "codex"]).await;
    let shown = ran.text();
    assert!(shown.contains("npm") && shown.contains("@openai/codex@1.2.3") && shown.contains("A=1"), "{shown}");
    assert_eq!(fake.run(&["agent", "show", "codex", "--json"]).await.json()["user"], "agent");
    let missing = fake.run(&["agent", "show", "cdex"]).await;
    assert_eq!(
        (missing.code, missing.stderr.as_str()),
        (3, "error: there is no agent profile `cdex`; there are: broken, codex, fails, mute, plain\n")
    );
    let broken = fake.run(&["agent", "try", "broken"]).await;
    assert!(broken.code == 1 && broken.stderr.contains("missing key `name`"), "{broken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tried_agent_is_asked_and_its_session_is_gone() {
    let fake = Fake::start(vec![]).await;
    let tried = fake.run(&["agent", "try", "codex", "--env", "demo"]).await;
    let said = tried.text();
    for part in ["  │ hello from the session\n", "  │   AMBERFALCON\n", "starts      yes, first output after"] {
        assert!(said.contains(part), "{part:?}: {said}");
    }
    assert!(said.contains("version     codex 1.2.3[2J\n") && said.contains("answers     yes, after "), "{said}");
    assert!(said.contains("reaches     model.example:443: no, ") && !said.contains("stays"), "{said}");
    assert_eq!(tried.code, 0);
    assert!(fake.state.sessions().is_empty());

    let tried = fake.run(&["agent", "try", "codex", "--env", "demo", "--json"]).await.json();
    assert_eq!(
        (&tried["answered"], &tried["starts"], &tried["error"]),
        (&true.into(), &true.into(), &serde_json::Value::Null),
        "{tried}"
    );
    let fails = fake.run(&["agent", "try", "fails", "--env", "demo"]).await;
    assert!(
        fails.code == 1 && fails.text().contains("starts      no: it did not go on: exited with code 7"),
        "{fails:?}"
    );
    let other = fake.run(&["agent", "try", "codex", "--env", "other"]).await;
    assert_eq!(other.code, 3, "{other:?}");
    assert!(fake.state.sessions().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_try_leaves_no_session() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let fake = Fake::start(vec![]).await;
        let mut child = fake.command(&["agent", "try", "mute", "--env", "demo"]).spawn().unwrap();
        until("there is a session", || !fake.state.sessions().is_empty()).await;
        let pid = rustix::process::Pid::from_raw(child.id().unwrap() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        assert_eq!(child.wait().await.unwrap().code(), Some(code));
        assert!(fake.state.sessions().is_empty());
    }
}
