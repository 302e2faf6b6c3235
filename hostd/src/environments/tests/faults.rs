//! hostd dies between any two steps of a base that is made from an image: the next one uses nothing that is half. Run alone, as the
//! faults of sessions are.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::{devcontainers::fixture, *};

/// Stops whoever comes first to a failpoint, for ever; tells when that is.
fn park_at(point: &str) -> Arc<Notify> {
    let (reached, first) = (Arc::new(Notify::new()), AtomicBool::new(true));
    let tell = reached.clone();
    let park = move || {
        if first.swap(false, Ordering::Relaxed) {
            tell.notify_one();
            loop {
                std::thread::park();
            }
        }
    };
    fail::cfg_callback(point, park).unwrap();
    reached
}

#[rstest]
#[case("image::before-layer")]
#[case("image::before-publish")]
#[case("base::before-files")]
#[case("base::before-publish")]
fn a_base_of_an_image_is_whole_or_not_there(#[case] point: &'static str) {
    let scenario = fail::FailScenario::setup();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(6).enable_all().build().unwrap();
    runtime.block_on(async {
        let (fixture, registry) = (Fixture::new().await, FakeRegistry::new(Manner::Open).await);
        registry.push("1", IMAGE, &[layer(&[("bin/sh", "a shell")]), layer(&[("srv/app", "app")])]);
        fixture.register(&on_image(&registry, "1GiB")).await;
        let reached = park_at(point);
        let _dead = fixture.environments.build("python").await.unwrap();
        let come = tokio::time::timeout(Duration::from_secs(30), reached.notified()).await;
        assert!(come.is_ok(), "{point} was never reached");
        assert!(
            fixture.names("bases").iter().filter(|name| name.ends_with(".ext4")).count() == 1,
            "not that of the image"
        );

        let (_, next) = open(fixture.data.path()).await;
        assert!(fixture.names("bases").iter().all(|name| !name.ends_with(".new")), "{:?}", fixture.names("bases"));
        let events = all(next.build("python").await.unwrap()).await;
        assert!(matches!(events.last(), Some(BuildEvent::Done { cached: false, .. })), "{events:?}");
        let base = next.ready("python").unwrap().layers[0].to_str().unwrap().to_owned();
        let checked = std::process::Command::new("/sbin/e2fsck").args(["-f", "-n", &base]).output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
        let app = std::process::Command::new("/sbin/debugfs").args(["-R", "cat /srv/app", &base]).output().unwrap();
        assert_eq!(app.stdout, b"app");
        assert!(fixture.names("images").iter().all(|name| name.len() == 64), "{:?}", fixture.names("images"));
    });
    runtime.shutdown_background();
    drop(scenario);
}

/// hostd dies in the middle of what a devcontainer.json says: the next one finds nothing of it, and builds all of it.
#[test]
fn a_build_of_a_devcontainer_is_whole_or_not_there() {
    const FILE: &str = "{\"image\":\"REGISTRY/team/app:1\",\"features\":{\"REGISTRY/team/tool:tool\":{}},\"postCreateCommand\":\"make it\"}";
    for point in ["devcontainer::before-step", "devcontainer::before-command"] {
        let scenario = fail::FailScenario::setup();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(6).enable_all().build().unwrap();
        runtime.block_on(async {
            let (fixture, _registry) = fixture(&[(".devcontainer.json", FILE)]).await;
            let reached = park_at(point);
            let _dead = fixture.environments.build("python").await.unwrap();
            let come = tokio::time::timeout(Duration::from_secs(30), reached.notified()).await;
            assert!(come.is_ok(), "{point} was never reached");
            assert!(
                fixture.names("builds").iter().all(|name| name.starts_with("new-")),
                "{:?}",
                fixture.names("builds")
            );

            let (vmm, next) = open(fixture.data.path()).await;
            assert_eq!(fixture.names("builds"), [""; 0]);
            assert!(next.ready("python").is_err());
            let events = all(next.build("python").await.unwrap()).await;
            assert!(matches!(events.last(), Some(BuildEvent::Done { cached: false, .. })), "{events:?}");
            assert!(vmm.commands().iter().any(|command| command.ends_with("make it")), "{:?}", vmm.commands());
        });
        runtime.shutdown_background();
        drop(scenario);
    }
}
