use std::sync::atomic::AtomicU64;

use hostd_core::usage::Spending;
use prometheus_client::metrics::counter::Counter;

use crate::meter::{Counts, counts};

/// Label of bytes.
const DIRECTION: &str = "direction";
/// Label of tokens.
const KIND: &str = "kind";

/// What the gateway counts. None of it is by session or destination: a guest chooses these.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    /// Requests by kind.
    pub(crate) requests: Counts,
    /// Requests that were refused, and those to what could not be reached.
    pub(crate) refused: Counts,
    /// Bytes between guests and the gateway.
    pub(crate) bytes: Counts,
    /// Answers of models.
    pub(crate) answers: Counter,
    /// Tokens of models' answers.
    pub(crate) tokens: Counts,
    /// Cost of models' answers, in US dollars.
    pub(crate) cost: Counter<f64, AtomicU64>,
}

/// What a guest asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    /// A connection by CONNECT.
    Connect,
    /// A request over plain HTTP, to be passed on.
    Http,
    /// A request to hostd itself, such as git.
    Internal,
    /// A request in a connection that was ended here for a credential.
    Inspected,
}

impl Asked {
    fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Http => "http",
            Self::Internal => "internal",
            Self::Inspected => "inspected",
        }
    }
}

impl Default for Meter {
    fn default() -> Self {
        let reasons = ["not-listed", "own", "not-public", "not-spoken", "not-of-host", "unreachable"];
        Self {
            requests: counts(KIND, &["connect", "http", "internal", "inspected"]),
            refused: counts("reason", &reasons),
            bytes: counts(DIRECTION, &["from-guest", "to-guest"]),
            answers: Counter::default(),
            tokens: counts(KIND, &["input", "cache-read", "cache-write", "output"]),
            cost: Counter::default(),
        }
    }
}

impl Meter {
    pub(super) fn asked(&self, asked: Asked) {
        self.requests.get_or_create(&[(KIND, asked.word())]).inc();
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counters of bytes from a guest and to it.
    pub(super) fn directions(&self) -> (Counter, Counter) {
        let of = |direction| self.bytes.get_or_create(&[(DIRECTION, direction)]).clone();
        (of("from-guest"), of("to-guest"))
    }

    /// A model has answered a session.
    pub(crate) fn answered(&self, took: &Spending) {
        self.answers.inc_by(took.answers);
        let tokens = &took.tokens;
        let kinds = [
            ("input", tokens.input),
            ("cache-read", tokens.cache_read),
            ("cache-write", tokens.cache_write),
            ("output", tokens.output),
        ];
        for (kind, count) in kinds {
            self.tokens.get_or_create(&[(KIND, kind)]).inc_by(count);
        }
        self.cost.inc_by(took.micros as f64 / 1e6);
    }
}
