use hostd_core::{
    Activity, Actor, Lifecycle,
    reports::{Kind, Source, State},
    story::Event,
};

use super::world::{World, sam, until, until_is};
use crate::sessions::{SendOrder, SessionView};

fn state(view: &SessionView) -> Option<(Source, State)> {
    view.session.reported().map(|(source, report)| (source, report.state))
}

#[tokio::test]
async fn what_a_program_reports_is_seen_with_its_parts() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let guest = world.vmm.vm(0).guest.clone();
    guest.write(b"\x1b]7501;state=working:app=codex:msg=VGVzdHM\x07\x1b]7501;state=working:id=a/b:progress=40\x07");
    let view = until(&fleet, "fix", |view| state(view).is_some() && !view.records.is_empty()).await;
    assert_eq!((state(&view), &*view.session.text), (Some((Source::Program, State::Working)), "Tests"));
    let (id, part) = &view.records[0];
    assert_eq!((id.as_str(), part.progress, part.app.as_str(), view.records.len()), ("a/b", Some(40), "codex", 1));
    guest.write(b"\x1b]7501;state=blocked:kind=permission:id=a/b:msg=QmFzaChscyk\x07");
    let asks = Some((Source::Program, State::Blocked(Some(Kind::Permission))));
    let view = until(&fleet, "fix", |view| state(view) == asks).await;
    assert_eq!(view.attention.reason, "needs a permission: Bash(ls) (a/b)");
    guest.write(b"\x1b]7501;state=clear:id=a\x07\x1b]7501;state=idle\x07");
    let view = until(&fleet, "fix", |view| view.session.activity == Activity::Idle).await;
    assert!(view.session.ended_turn() && view.records.is_empty());
    fleet.stop().await;
}

#[tokio::test]
async fn a_turn_that_nobody_saw_is_one_all_the_same() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let guest = world.vmm.vm(0).guest.clone();
    guest.write(b"\x1b]7501;state=working\x07");
    until(&fleet, "fix", |view| state(view) == Some((Source::Program, State::Working))).await;
    guest.write(b"\x1b]7501;state=idle\x07");
    let first = until(&fleet, "fix", |view| view.session.ended_turn()).await;
    let began = |view: &SessionView| view.session.reports.turn_at;
    // Both come between two looks.
    guest.write(b"\x1b]7501;state=working\x07\x1b]7501;state=idle\x07");
    let view = until(&fleet, "fix", |view| began(view) > began(&first) && view.session.ended_turn()).await;
    assert_eq!(state(&view), Some((Source::Program, State::Idle)));
    fleet.stop().await;
}

#[tokio::test]
async fn a_flood_of_reports_costs_few_commits_and_its_end_is_seen() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let guest = world.vmm.vm(0).guest.clone();
    let mut reader = fleet.feed().read("", 0);
    let (before, _) = reader.next().await;
    let reports = 4000;
    for n in 0..reports {
        let state = ["working", "blocked", "idle", "error"][n % 4];
        guest.write(format!("\x1b]7501;state={state}\x07\x1b]7501;state=working:id=r{n}\x07").as_bytes());
        tokio::task::yield_now().await;
    }
    guest.write(b"\x1b]7501;state=clear\x07\x1b]7501;state=done:msg=RW5k\x07");
    let view = until(&fleet, "fix", |view| view.session.text == "End" && view.records.is_empty()).await;
    assert!(view.session.lifecycle == Lifecycle::Running && view.session.ended_turn());
    let (after, _) = fleet.feed().read("", 0).next().await;
    // Each commit is a change that the feed shows.
    assert!(after - before < reports as u64 / 20, "{} changes", after - before);
    fleet.stop().await;
}

#[tokio::test]
async fn a_key_that_output_follows_ends_a_question_of_the_agents_own() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let guest = world.vmm.vm(0).guest.clone();
    guest.status("needs-input", "which?");
    until(&fleet, "fix", |view| view.session.activity == Activity::NeedsInput).await;
    let viewer = fleet.terminal("fix").unwrap().attach(crate::terminals::AttachOptions::default()).await;
    // An arrow answers nothing, though the agent draws something for it.
    viewer.write(&mut "\x1b[A".into()).await;
    viewer.write(&mut "b\r".into()).await;
    until(&fleet, "fix", |view| view.session.activity == Activity::Working).await;
    fleet.stop().await;
}

#[tokio::test]
async fn a_title_says_what_no_hook_told() {
    use hostd_core::profile::{Mark, Meaning, Profile};
    use pilothouse_proto::guest::v1::{Report, event};
    let world = World::new();
    let mark = |contains: &str, means| Mark { contains: contains.into(), means };
    let titles = vec![mark("Asks", Meaning::Permission), mark("Ready", Meaning::Idle)];
    let agent = crate::store::Agent { profile: Profile { titles, ..Profile::default() }, conversation: String::new() };
    world.session_with("fix", |record| record.machine.agent = Some(Box::new(agent))).await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let guest = world.vmm.vm(0).guest.clone();
    guest.write(b"\x1b]0;Asks (work)\x07");
    let asks = State::Blocked(Some(Kind::Permission));
    let view = until(&fleet, "fix", |view| state(view) == Some((Source::Terminal, asks))).await;
    assert_eq!(view.attention.reason, "needs a permission");
    guest.report(event::Event::Report(Report { state: "working".into(), ..Report::default() }));
    until(&fleet, "fix", |view| state(view) == Some((Source::Hook, State::Working))).await;
    // By Esc, which runs no hook.
    guest.write(b"\x1b]0;Ready (work)\x07");
    until(&fleet, "fix", |view| state(view) == Some((Source::Terminal, State::Idle))).await;
    guest.write(b"\x1b]0;bash\x07");
    until(&fleet, "fix", |view| state(view) == Some((Source::Hook, State::Working))).await;
    fleet.stop().await;
}

#[tokio::test]
async fn the_row_of_the_cursor_and_progress_say_what_nothing_else_told() {
    use hostd_core::profile::{Mark, Meaning, Profile};
    let world = World::new();
    let patterns = vec![Mark { contains: "[y/N]".into(), means: Meaning::Question }];
    let agent =
        crate::store::Agent { profile: Profile { patterns, ..Profile::default() }, conversation: String::new() };
    world.session_with("fix", |record| record.machine.agent = Some(Box::new(agent))).await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let guest = world.vmm.vm(0).guest.clone();
    guest.write(b"\x1b]9;4;1;40\x1b\\");
    let view = until(&fleet, "fix", |view| state(view).is_some()).await;
    assert_eq!((state(&view), &*view.attention.reason), (Some((Source::Terminal, State::Working)), "working, 40 %"));
    guest.write(b"Write a.txt? [y/N] ");
    let asks = Some((Source::Terminal, State::Blocked(Some(Kind::Question))));
    let view = until(&fleet, "fix", |view| state(view) == asks).await;
    assert_eq!(&*view.attention.reason, "asks: Write a.txt? [y/N]");
    guest.write(b"y\r\nwrites\r\n");
    until(&fleet, "fix", |view| state(view) == Some((Source::Terminal, State::Working))).await;
    guest.write(b"\x1b]9;4;0\x1b\\");
    until(&fleet, "fix", |view| view.session.reports.terminal.is_none()).await;
    guest.write(b"Go on? [y/N] ");
    until(&fleet, "fix", |view| state(view) == asks).await;
    // The same question again, by the answer to the first one.
    fleet.by(sam()).send("fix", "y").await.unwrap();
    until(&fleet, "fix", |view| view.session.inbox.is_empty()).await;
    guest.write(b"\r\x1b[KGo on? [y/N] ");
    until(&fleet, "fix", |view| state(view) == asks).await;
    guest.write(b"y\r\n");
    let view = until(&fleet, "fix", |view| view.session.reports.terminal.is_none()).await;
    assert_eq!((view.session.activity, &*view.attention.reason), (Activity::Working, "working"));
    guest.write(b"\x1b]9;4;3\x1b\\");
    until(&fleet, "fix", |view| view.session.reports.terminal.is_some()).await;
    guest.write(b"\x1b]133;D;130\x1b\\");
    until(&fleet, "fix", |view| view.session.reports.terminal.is_none()).await;
    fleet.stop().await;
}

#[tokio::test]
async fn what_a_hook_says_is_seen_where_the_program_itself_says_nothing() {
    use pilothouse_proto::guest::v1::{Report, event};
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until_is(&fleet, "fix", "running").await;
    let guest = world.vmm.vm(0).guest.clone();
    let hook = |state: &str, kind: &str, text: &str| {
        let (state, kind, text) = (state.into(), kind.into(), text.into());
        let event = "PermissionRequest".into();
        guest.report(event::Event::Report(Report { state, kind, text, event, ..Report::default() }));
    };
    hook("no such state", "", "");
    // opencode asks again by itself, which guests of before that was known say otherwise.
    let retries = Report { state: "limited".into(), event: "session.status".into(), ..Report::default() };
    guest.report(event::Event::Report(retries));
    until(&fleet, "fix", |view| state_of_hook(view) == Some(State::Working)).await;
    hook("blocked", "permission", "Bash(ls)");
    let asks = State::Blocked(Some(Kind::Permission));
    let view = until(&fleet, "fix", |view| state(view) == Some((Source::Hook, asks))).await;
    assert_eq!(view.attention.reason, "needs a permission: Bash(ls)");
    let viewer = fleet.terminal("fix").unwrap().attach(crate::terminals::AttachOptions::default()).await;
    viewer.write(&mut "y".into()).await;
    until(&fleet, "fix", |view| state(view) == Some((Source::Hook, State::Working))).await;
    hook("blocked", "permission", "Bash(rm -rf x)");
    until(&fleet, "fix", |view| view.session.text == "Bash(rm -rf x)").await;
    guest.write(b"\x1b]7501;state=blocked:kind=permission:msg=QmFzaA\x07");
    let view = until(&fleet, "fix", |view| state(view) == Some((Source::Program, asks))).await;
    assert_eq!(view.session.text, "Bash(rm -rf x)", "the hook knows the arguments");
    guest.write(b"\x1b]7501;state=working\x07");
    until(&fleet, "fix", |view| state(view) == Some((Source::Program, State::Working))).await;
    fleet.stop().await;
}

fn state_of_hook(view: &SessionView) -> Option<State> {
    view.session.reports.hook.as_ref().map(|report| report.state)
}

fn last(view: &SessionView) -> Option<(&str, &Actor)> {
    view.last_event.as_ref().map(|last| (&*last.event.what, &last.event.actor))
}

#[tokio::test]
async fn a_session_is_shown_with_what_was_done_last_and_by_whom() {
    let world = World::new();
    world.session("fix").await;
    let fleet = world.fleet().await;
    until(&fleet, "fix", |view| last(view) == Some(("started", &Actor::Host))).await;
    fleet.by(sam()).send("fix", SendOrder { text: "hello".into(), enter: true, keys: vec![] }).await.unwrap();
    until(&fleet, "fix", |view| last(view) == Some(("sent", &sam()))).await;
    // What is no step of the session stands in its story alone.
    let session = fleet.get("fix").unwrap().session.id;
    let merged = Event::new(&session, 2, Actor::person("ann"), "merged", "#1 into main");
    fleet.ctx().store.add_event(merged).await.unwrap();
    until(&fleet, "fix", |view| last(view) == Some(("merged", &Actor::person("ann")))).await;
    fleet.stop().await;
    // The next hostd knows it, too.
    let fleet = world.fleet().await;
    until(&fleet, "fix", |view| view.last_event.is_some()).await;
    fleet.stop().await;
}
