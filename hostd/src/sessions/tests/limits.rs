//! Agents whose model's API answers nothing for now.

use hostd_core::{
    Lifecycle, Turn,
    profile::{AfterRateLimit, Profile},
    reports::Source,
    session::Budget,
    usage::{Limit, Refusal, Spending},
};
use pilothouse_proto::guest::v1::{Report, event};

use super::world::{World, sam, until, until_is};
use crate::{clock::now, sessions::SessionView, store::Agent};

const HOST: &str = "api.example.com";

/// A session whose agent goes on after a limit, and whose conversation is known.
async fn session(world: &World) {
    let resume = ["agent", "--resume", "{session_id}"].map(Into::into).to_vec();
    let agent = Agent { profile: Profile { resume, ..Profile::default() }, conversation: "7-7".into() };
    world
        .session_with("fix", |record| {
            record.machine.agent = Some(Box::new(agent));
            record.session.after_rate_limit = AfterRateLimit::Resume;
            record.session.budget = Some(5_000_000);
        })
        .await;
}

fn limit(after: i64) -> Limit {
    Limit { refusal: Refusal::RateLimited, until: Some(now() + after) }
}

fn limited(view: &SessionView) -> bool {
    view.attention.word == "limited"
}

#[tokio::test]
async fn a_limit_that_is_over_has_the_agent_go_on() {
    let world = World::new();
    session(&world).await;
    let fleet = world.fleet().await;
    let id = until_is(&fleet, "fix", "running").await.session.id;
    let guest = world.vmm.vm(0).guest.clone();
    let (ctx, hook) = (fleet.ctx(), |state: &str| {
        guest.report(event::Event::Report(Report { state: state.into(), ..Report::default() }));
    });
    hook("working");
    until(&fleet, "fix", |view| view.session.reports.hook.is_some()).await;
    ctx.gateway.limits().refused(&id, HOST, &limit(5_400_000));
    let view = until(&fleet, "fix", limited).await;
    assert_eq!((view.attention.turn, &*view.attention.reason), (Turn::Agent, "rate limited; it ends in 1 h"));
    ctx.gateway.limits().answered(&id);
    until(&fleet, "fix", |view| !limited(view)).await;
    ctx.gateway.limits().refused(&id, HOST, &limit(1));
    until(&fleet, "fix", |view| view.session.reports.gateway.is_some()).await;
    hook("idle");
    until(&fleet, "fix", |view| view.session.went_on > 0 && view.session.inbox.is_empty()).await;
    let output = || String::from_utf8(guest.output()).unwrap();
    assert_eq!(output().matches("which is over. Go on where you were.").count(), 1, "{:?}", output());
    // The next turn ends because of the session's budget.
    hook("working");
    until(&fleet, "fix", |view| view.session.activity == hostd_core::Activity::Working).await;
    fleet.answered(&id, &Spending { micros: 5_000_000, ..Spending::default() });
    ctx.gateway.limits().refused(&id, HOST, &Limit::OVER_BUDGET);
    until(&fleet, "fix", |view| view.session.used_up().is_some() && view.session.reports.gateway.is_some()).await;
    hook("idle");
    until(&fleet, "fix", |view| view.session.reported().is_some_and(|(source, _)| source == Source::Gateway)).await;
    fleet.by(sam()).set_budget("fix", Budget::Raise(5_000_000)).await.unwrap();
    until(&fleet, "fix", |view| view.session.reports.gateway.is_none() && view.session.inbox.is_empty()).await;
    assert_eq!(output().matches("It was raised: go on where you were.").count(), 1, "{:?}", output());
    fleet.stop().await;
}

#[tokio::test]
async fn a_program_that_a_limit_ended_is_started_again_with_its_conversation() {
    let world = World::new();
    session(&world).await;
    let fleet = world.fleet().await;
    let id = until_is(&fleet, "fix", "running").await.session.id;
    fleet.ctx().gateway.limits().refused(&id, HOST, &limit(1_500));
    // What was refused is known before the end is.
    world.vmm.vm(0).guest.exit(1);
    let view = until(&fleet, "fix", |view| view.session.exited.is_some()).await;
    assert!(view.attention.reason.contains("rate limited, started again "), "{}", view.attention.reason);
    assert_eq!(view.attention.turn, Turn::Agent);
    let again = |view: &SessionView| view.session.generation > 1 && view.session.lifecycle == Lifecycle::Running;
    until(&fleet, "fix", |view| again(view) && view.session.inbox.is_empty()).await;
    let command = world.vmm.vm(1).guest.agent.lock().unwrap().clone().unwrap().command;
    assert_eq!(command, ["agent", "--resume", "7-7"]);
    fleet.stop().await;
}

#[tokio::test]
async fn a_person_who_types_into_a_stopped_agent_is_not_overruled() {
    let world = World::new();
    session(&world).await;
    let fleet = world.fleet().await;
    let id = until_is(&fleet, "fix", "running").await.session.id;
    let guest = world.vmm.vm(0).guest.clone();
    let hook = |state: &str| guest.report(event::Event::Report(Report { state: state.into(), ..Report::default() }));
    let viewer = fleet.terminal("fix").unwrap().attach(crate::terminals::AttachOptions::default()).await;
    hook("working");
    until(&fleet, "fix", |view| view.session.reports.hook.is_some()).await;
    fleet.ctx().gateway.limits().refused(&id, HOST, &limit(5_400_000));
    until(&fleet, "fix", limited).await;
    // Esc, and what the program shows then.
    viewer.write(&mut "\x1b".into()).await;
    guest.write(b"interrupted");
    until(&fleet, "fix", |view| view.session.reports.typed_at > 0).await;
    hook("idle");
    let view = until(&fleet, "fix", |view| view.session.ended_turn()).await;
    assert_eq!((view.attention.word, view.session.goes_on_at()), ("idle", None));
    // A budget ends no limit.
    fleet.by(sam()).set_budget("fix", Budget::Raise(5_000_000)).await.unwrap();
    assert!(until(&fleet, "fix", |_| true).await.session.reports.refusal().is_some());
    fleet.stop().await;
}
