//! Calls: one question to a host, one answer; and builds, which answer as they go.

use std::time::Duration;

use pilothouse_proto::hostd::v1::{
    AllowRequest, AnswerRequest, BuildRequest, CheckpointRequest, ClosePullRequest, CreateRequest, DeleteRequest,
    EventsRequest, ForkRequest, GetPullRequest, GetRequest, ListPullsRequest, MergePullRequest, ReopenPullRequest,
    RerunChecksRequest, ResolveThreadRequest, RestartRequest, ResumeRequest, SendRequest, SubmitReviewRequest,
    SuspendRequest, checks_client::ChecksClient, environments_client::EnvironmentsClient,
    reviews_client::ReviewsClient, sessions_client::SessionsClient,
};
use tokio::{sync::mpsc, time::timeout};
use tonic::{Status, transport::Channel};
use tui_core::{
    effect::Call,
    pull::Pull,
    report::{Answer, BuildReport, Report},
    story::StoryView,
    ticket::Ticket,
};

use super::convert;
use crate::client::{CallError, HostAddress};

/// Longest wait for an answer: deleting waits for a VM to end; nothing takes longer than this unless the host hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Largest answer that is taken, in bytes: a pull request with all that was said.
const ANSWER_MAX: usize = 64 << 20;

/// Asks the host and reports its answer.
pub(super) async fn call(
    ticket: Ticket,
    host: HostAddress,
    channel: Channel,
    call: Call,
    reports: mpsc::Sender<Report>,
) {
    let report = match call {
        Call::Build(name) => Report::Build(ticket, build(ticket, &host, channel, name, &reports).await),
        call => {
            let answer = match timeout(PATIENCE, ask(channel, call)).await {
                Ok(answer) => answer.map_err(|status| CallError::of(&host, &status).to_string()),
                Err(_) => Err(format!("no answer within {} seconds; it may still be done", PATIENCE.as_secs())),
            };
            Report::Answer(ticket, answer)
        }
    };
    // Nobody listens only when the console ends.
    let _ = reports.send(report).await;
}

async fn ask(channel: Channel, call: Call) -> Result<Answer, Status> {
    let mut reviews = ReviewsClient::new(channel.clone()).max_decoding_message_size(ANSWER_MAX);
    let mut sessions = SessionsClient::new(channel.clone());
    match call {
        Call::Create { environment, title, task } => {
            let request = CreateRequest { environment, title, task, ..CreateRequest::default() };
            let session = sessions.create(request).await?.into_inner();
            return Ok(Answer::Created(Box::new(convert::session(session))));
        }
        Call::Send(id, text) => {
            drop(sessions.send(SendRequest { id, text, ..SendRequest::default() }).await?);
        }
        Call::Press(id, keys) => drop(sessions.send(SendRequest { id, keys, ..SendRequest::default() }).await?),
        Call::Answer { id, permission, allow } => {
            drop(sessions.answer(AnswerRequest { id, permission, allow }).await?);
        }
        Call::Allow { id, destination, private, recipe } => {
            drop(sessions.allow(AllowRequest { id, destination, private, recipe, remove: false }).await?);
        }
        Call::Delete(id) => drop(sessions.delete(DeleteRequest { id }).await?),
        Call::GoBack(id, checkpoint) => {
            drop(sessions.restart(RestartRequest { id, give_up_memory: false, checkpoint }).await?);
        }
        Call::Checkpoint(id) => drop(sessions.checkpoint(CheckpointRequest { id }).await?),
        Call::Suspend(id) => drop(sessions.suspend(SuspendRequest { id }).await?),
        Call::Resume(id) => drop(sessions.resume(ResumeRequest { id }).await?),
        Call::Restart(id) => drop(sessions.restart(RestartRequest { id, give_up_memory: true, checkpoint: 0 }).await?),
        Call::ReadRefused(id) => {
            let refused = sessions.get(GetRequest { id }).await?.into_inner().refused;
            return Ok(Answer::Refused(refused.into_iter().map(convert::refusal).collect()));
        }
        Call::ReadStory(id, before) => {
            let request = EventsRequest { id, limit: StoryView::PAGE, before, ..EventsRequest::default() };
            let mut pages = sessions.events(request).await?.into_inner();
            let mut events = vec![];
            while let Some(page) = pages.message().await? {
                events.extend(page.events.into_iter().map(convert::event));
            }
            return Ok(Answer::Story(events));
        }
        Call::ReadPull(id) => {
            let pull = reviews.get_pull(GetPullRequest { id }).await?.into_inner();
            return Ok(Answer::Pull(Box::new(convert::pull(pull))));
        }
        Call::Review { id, head, older, verdict, body, comments } => {
            let comments = comments.into_iter().map(convert::comment).collect();
            let request = SubmitReviewRequest { id, verdict: verdict.into(), head, body, comments, older };
            let pull = reviews.submit_review(request).await?.into_inner();
            return Ok(Answer::Pull(Box::new(convert::pull(pull))));
        }
        Call::Resolve { id, thread, resolved } => {
            let pull = reviews.resolve_thread(ResolveThreadRequest { id, thread, resolved }).await?.into_inner();
            return Ok(Answer::Pull(Box::new(convert::pull(pull))));
        }
        Call::Rerun { repository, commit, name } => {
            let request = RerunChecksRequest { pull: String::new(), repository, commit, name };
            drop(ChecksClient::new(channel).rerun_checks(request).await?);
        }
        Call::Close(id) => drop(reviews.close_pull(ClosePullRequest { id }).await?),
        Call::Reopen(id) => drop(reviews.reopen_pull(ReopenPullRequest { id }).await?),
        Call::ReadClosed => {
            let request = ListPullsRequest { repository: String::new(), all: true };
            let pulls = reviews.list_pulls(request).await?.into_inner().pulls;
            return Ok(Answer::Pulls(pulls.into_iter().map(convert::pull).filter(Pull::is_closed).collect()));
        }
        Call::Merge { id, head } => drop(reviews.merge_pull(MergePullRequest { id, head }).await?),
        Call::Fork(id) => {
            let session = sessions.fork(ForkRequest { id, ..ForkRequest::default() }).await?.into_inner();
            return Ok(Answer::Created(Box::new(convert::session(session))));
        }
        Call::Build(_) => return Err(Status::internal("a build is no single question")),
    }
    Ok(Answer::Done)
}

/// Passes a build's progress on; returns how it ended.
async fn build(
    ticket: Ticket,
    host: &HostAddress,
    channel: Channel,
    name: String,
    reports: &mpsc::Sender<Report>,
) -> BuildReport {
    let failed = |status: &Status| BuildReport::Failed(CallError::of(host, status).to_string());
    let request = BuildRequest { name, recipe: String::new(), source: String::new() };
    let mut stream = match EnvironmentsClient::new(channel).build(request).await {
        Ok(response) => response.into_inner(),
        Err(status) => return failed(&status),
    };
    loop {
        match stream.message().await {
            Err(status) => return failed(&status),
            Ok(None) => return BuildReport::Failed("the host went away; the build may still go on there".into()),
            Ok(Some(message)) => match convert::build(message) {
                None => {}
                Some(done @ BuildReport::Done(_)) => return done,
                Some(report) => {
                    // Nobody listens only when the console ends; the host builds on.
                    let _ = reports.send(Report::Build(ticket, report)).await;
                }
            },
        }
    }
}
