use std::sync::atomic::Ordering;

use hostd_core::{
    Cause, Lifecycle, attention,
    profile::{Profile, session_id},
    session::RestartPolicy,
};
use tonic::Code;

use super::{
    super::{CreateSession, FleetError, SessionView},
    world::{Save, World, sam, until, until_is},
};
use crate::store::{ALL_EVENTS, Agent};

#[tokio::test]
async fn a_stopped_hostd_leaves_nothing_running_and_the_next_goes_on_with_it() {
    let world = World::new();
    for slug in ["fix", "put-down"] {
        world.session(slug).await;
    }
    let fleet = world.fleet().await;
    for slug in ["fix", "put-down"] {
        until_is(&fleet, slug, "running").await;
    }
    fleet.by(sam()).suspend("put-down").await.unwrap();
    fleet.by(sam()).send("fix", "typed as it stops").await.unwrap();
    fleet.stop().await;
    assert_eq!(world.vmm.running(), 0);
    let order = CreateSession { environment: "demo".into(), ..CreateSession::default() };
    assert!(matches!(fleet.create(order).await, Err(FleetError::Stopping)));
    let fleet = world.fleet().await;
    let view = until_is(&fleet, "fix", "running").await;
    assert_eq!((view.session.generation, view.session.inbox.len()), (2, 0));
    let typed = String::from_utf8(world.vmm.vm(world.vmm.started() - 1).guest.output()).unwrap();
    assert_eq!(typed.matches("typed as it stops").count(), 1, "{typed:?}");
    assert_eq!(fleet.get("put-down").unwrap().session.lifecycle, Lifecycle::Suspended);
    fleet.stop().await;
}

#[tokio::test]
async fn what_cannot_be_suspended_when_hostd_stops_is_powered_off() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    *world.vmm.saves.lock().unwrap() = Save::Fails;
    fleet.stop().await;
    assert_eq!(world.vmm.running(), 0);
    let fleet = world.fleet().await;
    let view = fleet.get("fix").unwrap();
    assert_eq!(view.session.lifecycle, Lifecycle::Stopped { cause: Cause::HostStopped { in_order: true } });
    let expected = "stopped before the agent was done: hostd was stopped and powered its VM off";
    assert_eq!(attention(&view.session, 0).reason, format!("{expected} (could not be suspended)"));
    assert!(view.session.notice.contains("no room"), "{}", view.session.notice);
    fleet.by(sam()).restart("fix", false).await.unwrap();
    until_is(&fleet, "fix", "running").await;
    fleet.stop().await;
}

#[tokio::test]
async fn what_boots_when_hostd_stops_boots_again_with_the_next() {
    let world = World::new();
    world.session("fix").await;
    world.vmm.silent.store(true, Ordering::Relaxed);
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "starting").await;
    fleet.stop().await;
    assert_eq!(world.vmm.running(), 0);
    world.vmm.silent.store(false, Ordering::Relaxed);
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    fleet.stop().await;
}

#[tokio::test]
async fn orders_that_cannot_be_carried_out_leave_nothing() {
    let world = World::new();
    let fleet = world.fleet().await;
    let order = |environment: &str| CreateSession { environment: environment.into(), ..CreateSession::default() };
    let error = fleet.create(order("nothing")).await.unwrap_err().to_string();
    assert!(error.contains("there is no environment `nothing`"), "{error}");
    let error = fleet.create(order("demo")).await.unwrap_err().to_string();
    assert!(error.contains("has no build yet"), "{error}");
    assert!(fleet.list().is_empty() && !world.folder.path().join("sessions").exists());
    for message in ["", " \n", "\x1b"] {
        assert!(matches!(fleet.by(sam()).send("x", message).await, Err(FleetError::Invalid(_))));
    }
}

/// Of Codex and opencode, which choose it themselves.
#[tokio::test]
async fn an_agent_goes_on_with_the_conversation_that_its_hooks_told_of() {
    use pilothouse_proto::guest::v1::{Report, event};
    let world = World::new();
    let resume = ["agent", "resume", "{session_id}"].map(Into::into).to_vec();
    let agent = Agent { profile: Profile { resume, ..Profile::default() }, conversation: String::new() };
    world.session_with("fix", |record| record.machine.agent = Some(Box::new(agent))).await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let guest = world.vmm.vm(0).guest.clone();
    for (n, conversation) in ["01a2-7e7c", "--last", ""].into_iter().enumerate() {
        let (state, text) = ("working".into(), format!("step {n}"));
        let said = Report { state, text: text.clone(), conversation: conversation.into(), ..Report::default() };
        guest.report(event::Event::Report(said));
        until(&fleet, "fix", |view| view.session.text == text).await;
    }
    world.vmm.vm(0).gone(Cause::GuestReset("panic".into()));
    until_is(&fleet, "fix", "crashed").await;
    fleet.by(sam()).restart("fix", false).await.unwrap();
    until_is(&fleet, "fix", "running").await;
    let command = world.vmm.vm(1).guest.agent.lock().unwrap().clone().unwrap().command;
    assert_eq!(command, ["agent", "resume", "01a2-7e7c"]);
    fleet.stop().await;
}

/// By the id of its conversation, in which it is told what happened; never by whatever its program had last.
#[tokio::test]
async fn an_agent_that_crashed_goes_on_with_its_conversation() {
    // The last one has turned to a conversation that its program has not written yet.
    for (conversation, there, expected, told) in [
        ("7-7", true, &["agent", "--resume", "7-7"][..], 1),
        ("", true, &["agent", "--fast"][..], 0),
        ("7-7", false, &["agent", "--resume", "7-7"][..], 0),
    ] {
        let world = World::new();
        let resume = ["agent", "--resume", "{session_id}"].map(Into::into).to_vec();
        let conversation_file = "~/.agent/*/{session_id}.jsonl".into();
        let profile = Profile { resume, conversation_file, ..Profile::default() };
        let agent = Agent { profile, conversation: conversation.into() };
        world
            .session_with("fix", |record| {
                record.machine.agent = Some(Box::new(agent));
                let id = session_id(&record.session.id).unwrap();
                record.session.command.extend([format!("--id={id}"), "do it".into()]);
            })
            .await;
        let fleet = world.fleet().await;
        until_is(&fleet, "fix", "running").await;
        let command = |life: usize| world.vmm.vm(life).guest.agent.lock().unwrap().clone().unwrap().command;
        let begins = command(0);
        assert_eq!(begins[..2], ["agent", "--fast"], "first it begins");
        if !there {
            world.vmm.no_agent.lock().unwrap().push(Code::NotFound);
        }
        world.vmm.vm(0).gone(Cause::GuestReset("panic".into()));
        until_is(&fleet, "fix", "crashed").await;
        fleet.by(sam()).restart("fix", false).await.unwrap();
        let runs = |view: &SessionView| view.session.lifecycle == Lifecycle::Running && view.session.inbox.is_empty();
        let view = until(&fleet, "fix", runs).await;
        assert_eq!(command(1)[..expected.len()], *expected);
        // Where its program has not written it yet, it begins anew, by the id of that conversation: the first one may be there.
        let asked = world.vmm.vm(1).guest.agent.lock().unwrap().clone().unwrap();
        let anew = ["agent", "--fast", "--id=7-7", "do it"].map(String::from).to_vec();
        let (anew, file) = if conversation.is_empty() { (vec![], "") } else { (anew, "~/.agent/*/7-7.jsonl") };
        assert_eq!((asked.anew, &*asked.conversation_file), (anew, file));
        assert_eq!(view.session.given_task, !there);
        let typed = String::from_utf8(world.vmm.vm(1).guest.output()).unwrap();
        assert_eq!(typed.matches("You were interrupted").count(), told, "{typed:?}");
        fleet.stop().await;
    }
}

/// By the policy of its recipe: its agent goes on with its conversation, and where the VM crashes again and again a person is asked.
#[tokio::test]
async fn a_crashed_session_starts_again_by_itself_and_not_for_ever() {
    let world = World::new();
    let resume = ["agent", "--resume", "{session_id}"].map(Into::into).to_vec();
    let profile = Profile { resume, ..Profile::default() };
    world
        .session_with("fix", |record| {
            record.machine.agent = Some(Box::new(Agent { profile, conversation: "7-7".into() }));
            record.session.restart = Some(RestartPolicy { backoff: 0, most: 2 });
        })
        .await;
    let fleet = world.fleet().await;
    for life in 0..3 {
        let generation = u64::try_from(life).unwrap() + 1;
        let runs =
            |view: &SessionView| view.session.lifecycle == Lifecycle::Running && view.session.generation == generation;
        until(&fleet, "fix", runs).await;
        let command = world.vmm.vm(life).guest.agent.lock().unwrap().clone().unwrap().command;
        assert_eq!(command.contains(&"--resume".into()), life > 0, "{command:?}");
        world.vmm.vm(life).gone(Cause::QemuKilled { signal: 9, by: String::new() });
    }
    let view = until(&fleet, "fix", |view| view.session.crash_loop().is_some()).await;
    let why = attention(&view.session, view.session.updated_at);
    assert!(why.reason.starts_with("crashed 3 times in "), "{}", why.reason);
    let story = fleet.events("fix", ALL_EVENTS, 100).await.unwrap();
    let restarted = story.iter().map(|told| &told.event).filter(|event| event.what == "restarted");
    let told: Vec<_> = restarted.map(|event| event.text.as_str()).collect();
    assert_eq!(told, ["boots from its disk after its crash (1 of 2)", "boots from its disk after its crash (2 of 2)"]);
    fleet.stop().await;
}

/// It stays crashed, where whoever looks for it finds it, until the host takes VMs again; then its agent is told once.
#[tokio::test]
async fn nothing_starts_again_by_itself_on_a_drained_host() {
    let world = World::new();
    let resume = ["agent", "--resume", "{session_id}"].map(Into::into).to_vec();
    let profile = Profile { resume, ..Profile::default() };
    world
        .session_with("fix", |record| {
            record.machine.agent = Some(Box::new(Agent { profile, conversation: "7-7".into() }));
            record.session.restart = Some(RestartPolicy { backoff: 1, most: 2 });
        })
        .await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    world.vmm.vm(0).gone(Cause::QemuKilled { signal: 9, by: String::new() });
    until_is(&fleet, "fix", "crashed").await;
    fleet.drain(&sam()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    let view = fleet.get("fix").unwrap();
    assert_eq!((view.session.lifecycle.word(), view.session.inbox.len()), ("crashed", 0));
    assert_eq!(fleet.triage().len(), 1);
    fleet.undrain(&sam()).await.unwrap();
    until_is(&fleet, "fix", "running").await;
    fleet.stop().await;
}
