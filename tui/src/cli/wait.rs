//! `wait`: until a session is in a state.

mod state;

use std::time::Duration;

use pilothouse_proto::hostd::v1::{Session, WatchRequest, WatchResponse, watch_response::Change};
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Streaming;

use super::{
    args::Wait,
    failure::{Failure, NOT_FOUND, Outcome, UNREACHABLE},
    fleet::{Fleet, Host},
    format::plain,
    json, output, waiting,
};
use state::{Target, Verdict};

/// Longest absence of a host before `wait` gives up; hostd is restarted in less.
const AWAY_MAX: Duration = Duration::from_secs(30);
/// Pause between two attempts to reach the host.
const RETRY: Duration = Duration::from_millis(250);
/// Longest delay of late reports of a VM that has ended: its agent's last words arrive after its end.
const LATE: Duration = Duration::from_secs(1);

/// Waits until a session is in one of the wanted states.
pub(crate) async fn run(fleet: &Fleet, options: Wait) -> Outcome {
    let target = Target::parse(&options.until).map_err(Failure::usage)?;
    let until = options.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let found = fleet.session(&options.id).await?;
    let slug = plain(&found.it.slug);
    let sign = format!("waiting for {slug} to become {target}");
    let waiting = waiting::shown(&sign, wait(found.host, &found.it.id, &target));
    let ended = match until {
        None => waiting.await?,
        Some(until) => match timeout_at(until, waiting).await {
            Ok(ended) => ended?,
            Err(_) => return Err(Failure::failed(format!("{slug} did not become {target} in time"))),
        },
    };
    match ended {
        Ended::Reached(session) if options.json => {
            output::print_json(&json::Session::new(&found.host.name().await, &session))?;
            Ok(0)
        }
        Ended::Reached(_) => Ok(0),
        Ended::Never(why) => Err(Failure::failed(format!("{slug} will not become {target}: {why}"))),
        Ended::Deleted if target.is_deleted() => Ok(0),
        Ended::Deleted => Err(Failure::new(NOT_FOUND, format!("{slug} was deleted"))),
    }
}

/// How a wait ended.
enum Ended {
    Reached(Box<Session>),
    Never(String),
    Deleted,
}

/// Returns once a session runs, or cannot by itself any more, or its host cannot be asked.
pub(crate) async fn until_running(host: &Host, id: &str) {
    if let Ok(running) = Target::parse(&["running".into()]) {
        let _ = watch(host, id, &running, &mut Instant::now()).await;
    }
}

/// Watches, again and again while hostd comes and goes.
async fn wait(host: &Host, id: &str, target: &Target) -> Result<Ended, Failure> {
    let mut last_seen = Instant::now();
    let mut told = false;
    loop {
        let failure = match watch(host, id, target, &mut last_seen).await {
            Ok(Some(ended)) => return Ok(ended),
            Ok(None) => Failure::new(UNREACHABLE, format!("{} hung up", host.address.name)),
            Err(failure) => failure,
        };
        if failure.exit != UNREACHABLE || last_seen.elapsed() > host.address.patience(AWAY_MAX) {
            return Err(failure);
        }
        if !std::mem::replace(&mut told, true) {
            output::note(&format!("warning: {}; trying again", failure.message));
        }
        sleep(RETRY).await;
    }
}

/// Watches until it is decided, or the stream ends (`None`) or breaks.
async fn watch(host: &Host, id: &str, target: &Target, last_seen: &mut Instant) -> Result<Option<Ended>, Failure> {
    let mut client = host.host();
    let mut changes = host.ask(client.watch(WatchRequest::default())).await?;
    let ended = follow(host, &mut changes, id, target).await;
    // It was there until now, also where it had nothing to tell.
    *last_seen = Instant::now();
    ended
}

/// Follows a host's changes until it is decided, or they end (`None`) or break.
async fn follow(
    host: &Host,
    changes: &mut Streaming<WatchResponse>,
    id: &str,
    target: &Target,
) -> Result<Option<Ended>, Failure> {
    let mut late: Option<(Instant, String)> = None;
    loop {
        let change = match next(host, changes, late.as_ref().map(|(until, _)| *until)).await? {
            Next::Change(change) => *change,
            Next::Closed => return Ok(None),
            Next::Late => return Ok(late.map(|(_, why)| Ended::Never(why))),
        };
        let Some(session) = (match change {
            Change::Snapshot(snapshot) => match snapshot.sessions.into_iter().find(|session| session.id == id) {
                Some(session) => Some(session),
                None => return Ok(Some(Ended::Deleted)),
            },
            Change::Session(session) if session.id == id => Some(session),
            Change::SessionRemoved(removed) if removed == id => return Ok(Some(Ended::Deleted)),
            _ => None,
        }) else {
            continue;
        };
        match target.judge(&session) {
            Verdict::Reached => return Ok(Some(Ended::Reached(Box::new(session)))),
            Verdict::NotYet => late = None,
            Verdict::Never(why) => return Ok(Some(Ended::Never(why))),
            Verdict::NeverSoon(why) => late = late.or_else(|| Some((Instant::now() + LATE, why))),
        }
    }
}

enum Next {
    Change(Box<Change>),
    Closed,
    Late,
}

async fn next(host: &Host, changes: &mut Streaming<WatchResponse>, late: Option<Instant>) -> Result<Next, Failure> {
    let message = async {
        loop {
            match changes.message().await {
                Ok(Some(WatchResponse { change: Some(change), .. })) => return Ok(Next::Change(Box::new(change))),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Next::Closed),
                Err(status) => return Err(host.failure(&status)),
            }
        }
    };
    match late {
        None => message.await,
        Some(until) => timeout_at(until, message).await.unwrap_or(Ok(Next::Late)),
    }
}
