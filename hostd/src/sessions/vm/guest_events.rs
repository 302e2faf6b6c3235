//! What a guest reports: each event goes in as an input and is acknowledged after its commit.

use std::{sync::Arc, time::Duration};

use hostd_core::{
    Activity, Input, Status,
    reports::{Report as Said, Source, State},
    session::{Wait, WaitFor},
};
use pilothouse_proto::guest::v1::{self as wire, Event, EventsRequest, event};
use tokio::sync::{mpsc, oneshot};
use tonic::Status as Rpc;

use super::site::{Hooked, Hooks};
use crate::{clock::now, guest::Link, sessions::message::Report};

/// Events taken before they are acknowledged, by asking for those after them; the guest keeps many more.
const BATCH: u64 = 128;
/// Before a broken stream is opened again.
const PAUSE: Duration = Duration::from_millis(200);

/// Reports events for as long as it runs, those after the last that was `heard`.
pub(super) async fn report(link: Arc<Link>, generation: u64, heard: u64, reports: mpsc::Sender<Report>, hooks: Hooks) {
    let mut committed = heard;
    while let Some(mut client) = link.up().await {
        // What a hook said is acknowledged once it is committed, and not because it was taken: it is passed over when it comes again.
        let waits = hooks.borrow().as_ref().filter(|hook| hook.generation == generation).map(|hook| hook.sequence);
        let after = waits.map_or(committed, |hook| committed.min(hook.saturating_sub(1)).max(heard));
        let asked = client.events(EventsRequest { after }).await;
        let result = match asked {
            Ok(events) => take(events.into_inner(), generation, (&reports, &hooks), &mut committed).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::debug!(%error, "the guest's events broke off");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Takes at most a batch.
async fn take(
    mut events: tonic::Streaming<Event>,
    generation: u64,
    (reports, hooks): (&mpsc::Sender<Report>, &Hooks),
    committed: &mut u64,
) -> Result<(), Rpc> {
    let first = *committed;
    while let Some(event) = events.message().await? {
        // A guest that numbers them otherwise than it should is not believed.
        if event.sequence <= *committed {
            continue;
        }
        let sequence = event.sequence;
        if let Some(event::Event::Report(report)) = &event.event {
            // Only the newest counts, so that none is waited for. What was not committed the guest tells the next hostd again.
            if let Some(said) = of_hook(report) {
                let conversation = report.conversation.clone();
                hooks.send_replace(Some(Hooked { generation, sequence, said, conversation }));
            }
            *committed = sequence;
            continue;
        }
        if let Some(input) = input(generation, event) {
            let (kept, wait) = oneshot::channel();
            let sent = reports.send(Report::Guest { generation, input, sequence, committed: kept }).await;
            if sent.is_err() || wait.await.is_err() {
                return Err(Rpc::cancelled("it was not committed"));
            }
        }
        *committed = sequence;
        if sequence - first >= BATCH {
            return Ok(());
        }
    }
    Err(Rpc::unavailable("the stream ended"))
}

/// What the core makes of it; None: nothing.
fn input(generation: u64, event: Event) -> Option<Input> {
    match event.event? {
        event::Event::AgentExited(exit) => {
            Some(Input::AgentExited { generation, code: exit.code, last: String::new() })
        }
        event::Event::Status(status) => {
            let Some(activity) = Activity::from_status(&status.activity) else {
                tracing::debug!("the guest reports an activity that does not exist");
                return None;
            };
            Some(of_status(generation, activity, status))
        }
        event::Event::Wait(wait) => waits(generation, wait),
        event::Event::WaitWithdrawn(id) => Some(Input::WaitWithdrawn { generation, id }),
        event::Event::OomKilled(name) => {
            let name = hostd_core::text::one_line(&hostd_core::text::clean(&name, 64));
            tracing::info!(generation, name, "a guest ran out of memory and killed a process");
            Some(Input::OomKilled { generation, name })
        }
        event::Event::Report(_) => None,
        event::Event::Disk(wire::DiskState { full, free_bytes, total_bytes }) => {
            let left = || format!("{} of {} MiB left", free_bytes >> 20, total_bytes >> 20);
            Some(Input::GuestDisk { generation, full: full.then(left) })
        }
    }
}

/// What its agent says of itself, with as much as `session status` was given.
fn of_status(generation: u64, activity: Activity, status: wire::Status) -> Input {
    let wire::Status { text, choices, kind, progress, title, .. } = status;
    if kind.is_empty() && progress.is_none() && title.is_empty() {
        return Input::AgentStatus { generation, status: Status { activity, text, choices } };
    }
    let word = match activity {
        Activity::NeedsInput => "blocked",
        Activity::Failed => "error",
        activity => activity.word(),
    };
    let kind = if kind.is_empty() { "question" } else { &kind };
    let state = State::from_words(word, kind).unwrap_or(State::Working);
    let progress = progress.and_then(|progress| u8::try_from(progress).ok());
    let report = Said { text, choices, progress, title, ..Said::new(state, now()) };
    Input::Reported { generation, source: Source::Agent, report: Some(Box::new(report)) }
}

/// What a hook says; None: nothing that is known.
fn of_hook(report: &wire::Report) -> Option<Said> {
    let state = match State::from_words(&report.state, &report.kind)? {
        // opencode asks again by itself; guests of before that was known say something else.
        State::Limited if report.event == "session.status" => State::Working,
        state => state,
    };
    let (until, at) = (Some(report.until).filter(|until| *until > 0), now());
    let asked = if matches!(state, State::Blocked(_)) { at.unsigned_abs() } else { 0 };
    Some(Said { text: report.text.clone(), app: report.event.clone(), until, asked, ..Said::new(state, at) })
}

/// What its agent waits for.
fn waits(generation: u64, wire::Wait { id, what, timeout_seconds, pull }: wire::Wait) -> Option<Input> {
    let Some(what) = WaitFor::from_word(&what) else {
        tracing::debug!("the guest waits for something that does not exist");
        return None;
    };
    let since = now();
    let millis = i64::try_from(timeout_seconds).unwrap_or(i64::MAX).saturating_mul(1000);
    let until = (millis > 0).then(|| since.saturating_add(millis));
    let pull = Some(pull).filter(|number| *number > 0 && what != WaitFor::Message);
    Some(Input::WaitBegan { generation, wait: Wait { id, what, pull, since, until } })
}
