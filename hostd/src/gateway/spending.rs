//! What models say that their answers took, read as the answers pass: no byte waits for it. What becomes of requests of a session whose
//! budget is used up, and whether models' APIs answer at all.
//!
//! Only answers to POST requests that were given a credential are read, and of these what is JSON or a stream of events. The request
//! asks for an answer that is not compressed, so that there is nothing to unpack.

use std::sync::Arc;

use hostd_core::{
    UnixMillis,
    credentials::{Credential, Place},
    text,
    usage::{Framing, Limit, ModelApi, Scanner, Tokens, dollars},
};
use http_body_util::BodyExt as _;
use hyper::{
    Method, Request, Response, StatusCode,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use tokio::sync::mpsc;

use super::{
    Gateway,
    caller::Caller,
    ledger::{UnderWay, UsedUp},
    limits::Limits,
    response::{self, Body},
};
use crate::clock::now;

/// Most answers that may wait to be kept.
pub const QUEUE: usize = 1024;
/// Longest name of a model that is kept, in bytes.
const MODEL_MAX: usize = 128;

/// What an answer of a model took.
#[derive(Debug)]
pub struct Spent {
    /// Id of the session, of the build, or of the run of a check.
    pub session: String,
    /// Name of the environment.
    pub environment: String,
    /// User name of whoever dispatched the session; empty: it is none.
    pub person: String,
    /// Name of the model, as it calls itself; empty: it does not.
    pub model: String,
    /// Tokens that the answer took; None: it does not say.
    pub tokens: Option<Tokens>,
    /// When the answer ended.
    pub at: UnixMillis,
    /// The request, which is under way until what it took is counted; None: it is of no session, or to no model that is known.
    pub under_way: Option<UnderWay>,
}

/// A request whose answer is read.
pub(super) struct Reading {
    spending: mpsc::Sender<Spent>,
    spent: Spent,
    /// Is told whether the API answers; None: the request is to no API of models that is known.
    limits: Option<Arc<Limits>>,
    /// Name of the host that is asked.
    host: String,
}

impl Gateway {
    /// Has the answer to a request with this credential be one that can be read, and waits until the session may make it; None: it
    /// is not read.
    ///
    /// # Errors
    /// The refusal of the request: the session's budget is used up.
    pub(super) async fn reading<B>(
        &self,
        caller: &Caller,
        host: &str,
        credential: Option<&Credential>,
        request: &mut Request<B>,
    ) -> Result<Option<Reading>, Box<Response<Body>>> {
        if request.method() != Method::POST || !credential.is_some_and(asks_models) {
            return Ok(None);
        }
        let Some(spending) = self.spending.clone() else { return Ok(None) };
        let api = ModelApi::of(request.uri().path());
        let under_way = match api {
            Some(api) => {
                let begun = self.ledger.begin(&caller.session_id).await;
                begun.map_err(|used_up| {
                    self.limits.refused(&caller.session_id, host, &Limit::OVER_BUDGET);
                    Box::new(refusal(caller, api, used_up))
                })?
            }
            None => None,
        };
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let spent = Spent {
            session: caller.session_id.clone(),
            environment: caller.environment.clone(),
            person: caller.access.person.clone(),
            model: String::new(),
            tokens: None,
            at: 0,
            under_way,
        };
        let limits = api.map(|_| self.limits.clone());
        Ok(Some(Reading { spending, spent, limits, host: host.into() }))
    }

    /// Whether a request with this credential may go on with WebSocket, of which nothing is counted: not where that is bounded.
    ///
    /// # Errors
    /// The refusal of the request.
    pub(super) fn may_upgrade(
        &self,
        caller: &Caller,
        credential: Option<&Credential>,
    ) -> Result<(), Box<Response<Body>>> {
        if !credential.is_some_and(asks_models) || !self.ledger.has_budget(&caller.session_id) {
            return Ok(());
        }
        let text =
            "pilothouse: the session has a budget, and what is answered over WebSocket cannot be counted; use HTTP";
        Err(Box::new(response::text(StatusCode::UPGRADE_REQUIRED, text)))
    }
}

/// Whether models may be asked with this credential.
fn asks_models(credential: &Credential) -> bool {
    !matches!(credential.place, Place::Git { .. })
}

fn refusal(caller: &Caller, api: ModelApi, UsedUp(budget): UsedUp) -> Response<Body> {
    let why = format!(
        "the budget of {} of this session is used up; a person raises it with `pilothouse budget {} AMOUNT`",
        dollars(budget),
        caller.slug
    );
    let (status, body) = api.refusal(&why);
    response::json(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST), body)
}

impl Reading {
    /// Reads the answer as it passes, where that can be read.
    pub(super) fn of(self, response: Response<Body>) -> Response<Body> {
        let scanner = framing(&response).map(Scanner::new);
        if scanner.is_none() && self.spent.under_way.is_none() && self.limits.is_none() {
            return response;
        }
        let (status, answered) = (response.status().as_u16(), response.status().is_success());
        if let Some(limits) = self.limits.as_ref().filter(|_| answered) {
            limits.set_aside(&self.spent.session);
        }
        let headers = if answered { HeaderMap::new() } else { response.headers().clone() };
        let mut tap = Tap { scanner, status, headers, answered, reading: Some(self) };
        response.map(|body| {
            body.map_frame(move |frame| {
                if let (Some(scanner), Some(data)) = (&mut tap.scanner, frame.data_ref()) {
                    scanner.push(data);
                    // Whoever asked hears of an error no sooner.
                    if scanner.error().is_some() {
                        tap.tell();
                    }
                }
                frame
            })
            .boxed_unsync()
        })
    }
}

/// How an answer is framed; None: it is neither JSON nor a stream of events, or compressed all the same.
fn framing(response: &Response<Body>) -> Option<Framing> {
    let kind = response.headers().get(CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim();
    let plain = response.headers().get(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
    match kind.to_ascii_lowercase().as_str() {
        "application/json" if plain => Some(Framing::Json),
        "text/event-stream" if plain => Some(Framing::Events),
        _ => None,
    }
}

/// Reads one answer, and tells what it took when it is over, however that comes.
struct Tap {
    scanner: Option<Scanner>,
    status: u16,
    /// Headers of the answer; none of an answer that is one.
    headers: HeaderMap,
    /// Whether the answer is one, and no error.
    answered: bool,
    reading: Option<Reading>,
}

impl Tap {
    /// Tells, once, whether the API has answered or has refused to.
    fn tell(&mut self) {
        let Some(Reading { spent, limits, host, .. }) = &mut self.reading else { return };
        let Some(limits) = limits.take() else { return };
        let header = |name: &str| self.headers.get(name)?.to_str().ok();
        let error = self.scanner.as_ref().and_then(Scanner::error);
        match Limit::of(self.status, header, error, now()) {
            Some(limit) => limits.refused(&spent.session, host, &limit),
            None if self.answered && error.is_none() => limits.answered(&spent.session),
            None => {}
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.tell();
        let Some(Reading { spending, mut spent, .. }) = self.reading.take() else { return };
        spent.tokens = self.scanner.as_ref().and_then(Scanner::tokens);
        // Where an answer does not say what it took, a budget counts what was reserved for it.
        let bounded = spent.under_way.as_ref().is_some_and(|request| request.reserve() > 0);
        if spent.tokens.is_none() && !(self.answered && bounded) {
            return;
        }
        let model = self.scanner.as_ref().map_or("", Scanner::model);
        spent.model = text::clean(&text::one_line(model), MODEL_MAX);
        spent.at = now();
        if let Err(error) = spending.try_send(spent) {
            tracing::warn!(%error, "what an answer took is not kept");
        }
    }
}
