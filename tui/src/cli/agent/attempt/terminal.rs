//! What an agent draws, from its start to its answer.

use std::time::{Duration, Instant};

use pilothouse_proto::hostd::v1::{
    AttachOpen, AttachRequest, AttachResponse, GetRequest, Session, Size, attach_request, attach_response,
};
use pilothouse_terminal::Emulator;
use tokio::{
    sync::mpsc,
    time::{Instant as Time, MissedTickBehavior, interval, sleep_until},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::cli::{
    failure::Failure,
    fleet::Host,
    format::{plain, plain_lines},
    waiting,
};

/// Longest wait for the agent's first output.
const PATIENCE: Duration = Duration::from_secs(300);
/// Longest wait for the answer once it has drawn something: programs try again for minutes where a model does not answer.
const ANSWERS: Duration = Duration::from_secs(240);
/// How long an agent that is asked nothing is looked at once it has drawn something: who cannot go on ends by then.
const LOOK: Duration = Duration::from_secs(15);
/// Longest delay of what is still to be drawn of an agent that has ended or wants a login.
const LATE: Duration = Duration::from_secs(3);
/// Time between two looks at how the session stands.
const TICK: Duration = Duration::from_secs(1);
/// Size of the terminal that is looked at.
const SIZE: (u16, u16) = (100, 30);

/// What was seen of an agent. Times are since the order.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) first_output: Option<Duration>,
    pub(super) answered: Option<Duration>,
    /// The terminal's rows as they were last, as text, without the empty ones around them.
    pub(super) screen: String,
    /// Why it does not run; None: it does.
    pub(super) ended: Option<String>,
    /// How the session stood where no answer came, in words; None: it was not asked.
    pub(super) stands: Option<String>,
}

impl Seen {
    /// Whether it has drawn something and went on after that, or had answered before it ended.
    pub(super) fn starts(&self) -> bool {
        self.first_output.is_some() && (self.ended.is_none() || self.answered.is_some())
    }
}

/// Follows the agent's terminal until it has the answer (None: it is asked nothing), or will have none.
pub(super) async fn watch(host: &Host, id: &str, began: Instant, answer: Option<&str>) -> Seen {
    let mut seen = Seen::default();
    let watched = async {
        let mut parts = observe(host, id).await?;
        waiting::shown("waiting until the agent draws", draws(host, id, &mut parts, began, &mut seen, None)).await?;
        let what = if answer.is_some() { "waiting for its model's answer" } else { "looking whether it goes on" };
        if seen.first_output.is_some() && seen.ended.is_none() {
            waiting::shown(what, draws(host, id, &mut parts, began, &mut seen, Some(answer))).await?;
        }
        Ok::<_, Failure>(())
    };
    if let Err(failure) = watched.await {
        seen.ended = Some(failure.message);
    }
    seen
}

/// What an agent has drawn so far.
struct Parts {
    stream: Streaming<AttachResponse>,
    emulator: Emulator,
    /// The channel of requests, whose end would be the end of the call.
    _requests: mpsc::Sender<AttachRequest>,
}

async fn observe(host: &Host, id: &str) -> Result<Parts, Failure> {
    let size = Size { columns: SIZE.0.into(), rows: SIZE.1.into() };
    let open = AttachOpen { id: id.to_owned(), observe: true, size: Some(size), preview: true, ..Default::default() };
    let (requests, receiver) = mpsc::channel(1);
    // The channel is empty: there is room.
    let _ = requests.try_send(AttachRequest { request: Some(attach_request::Request::Open(open)) });
    let attached = host.sessions().attach(ReceiverStream::new(receiver)).await;
    let stream = attached.map_err(|status| host.failure(&status))?.into_inner();
    Ok(Parts { stream, emulator: Emulator::new(SIZE.0, SIZE.1, 0, 0), _requests: requests })
}

/// Draws what comes until there is something to be seen (`after` is None), or after that until the answer is there, or is not to
/// come.
async fn draws(
    host: &Host,
    id: &str,
    parts: &mut Parts,
    began: Instant,
    seen: &mut Seen,
    after: Option<Option<&str>>,
) -> Result<(), Failure> {
    let patience = match after {
        None => PATIENCE,
        Some(Some(_)) => ANSWERS,
        Some(None) => LOOK,
    };
    let mut until = Time::now() + patience;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut over: Option<Over> = None;
    let mut closed = false;
    loop {
        if after.flatten().is_some_and(|answer| seen.screen.contains(answer)) {
            seen.answered = Some(began.elapsed());
            return Ok(());
        }
        tokio::select! {
            response = next(host, &mut parts.stream), if !closed => match response? {
                Some(response) => draw(&mut parts.emulator, response),
                // Why it has ended is said of the session, a moment later.
                None => {
                    closed = true;
                    until = until.min(Time::now() + LATE);
                }
            },
            _ = ticks.tick(), if over.is_none() => {
                let session = host.ask(host.sessions().get(GetRequest { id: id.to_owned() })).await?;
                over = how_over(&session);
                if over.is_some() {
                    until = until.min(Time::now() + LATE);
                } else if let Some(Some(_)) = after {
                    seen.stands = Some(plain(&session.reason));
                }
            }
            () = sleep_until(until) => break,
        }
        seen.screen = drawn(&parts.emulator);
        if seen.first_output.is_none() && !seen.screen.is_empty() {
            seen.first_output = Some(began.elapsed());
            return Ok(());
        }
    }
    match over {
        Some(Over::Ended(why)) => (seen.ended, seen.stands) = (Some(why), None),
        Some(Over::Login(why)) => seen.stands = Some(why),
        None if closed => (seen.ended, seen.stands) = (Some("its terminal ended".into()), None),
        None if seen.first_output.is_none() => {
            seen.ended = Some(format!("it drew nothing within {} s", PATIENCE.as_secs()));
        }
        None => {}
    }
    Ok(())
}

/// Why nothing more is to come of an agent, in words.
enum Over {
    Ended(String),
    Login(String),
}

fn how_over(session: &Session) -> Option<Over> {
    let report = session.report.as_ref();
    if let Some(report) = report.filter(|report| report.state == "blocked" && report.kind == "auth") {
        return Some(Over::Login(format!("it wants a login: {}", plain(&report.text))));
    }
    let ended = matches!(&*session.lifecycle, "stopped" | "crashed") || matches!(&*session.activity, "done" | "failed");
    ended.then(|| Over::Ended(format!("it did not go on: {}", plain(&session.reason))))
}

async fn next(
    host: &Host,
    parts: &mut Streaming<AttachResponse>,
) -> Result<Option<attach_response::Response>, Failure> {
    loop {
        match parts.message().await {
            Ok(Some(AttachResponse { response: Some(response) })) => return Ok(Some(response)),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(None),
            Err(status) => return Err(host.failure(&status)),
        }
    }
}

fn draw(emulator: &mut Emulator, response: attach_response::Response) {
    match response {
        attach_response::Response::Screen(screen) => {
            let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX).clamp(1, 1000);
            let (columns, rows) = screen.size.map_or(SIZE, |size| (side(size.columns), side(size.rows)));
            *emulator = Emulator::new(columns, rows, 0, 0);
            emulator.feed(&screen.contents);
        }
        attach_response::Response::Output(bytes) => emulator.feed(&bytes),
        attach_response::Response::Role(_) | attach_response::Response::Ended(_) => {}
    }
}

fn drawn(emulator: &Emulator) -> String {
    let rows: Vec<String> = emulator.screen().rows(0, 1000).map(|row| plain_lines(row.trim_end())).collect();
    rows.join("\n").trim_matches('\n').to_owned()
}
