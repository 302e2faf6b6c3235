use pilothouse_proto::hostd::v1 as api;
use serde::Serialize;

use super::{Session, some, time};

/// What led to a session's end, and what can be done about it: what `triage` prints, an array of these.
#[derive(Debug, Serialize)]
pub(crate) struct Triage<'a> {
    session: Option<Session<'a>>,
    console: &'a [String],
    terminal: &'a [String],
    samples: Vec<Sample>,
    choices: Vec<Choice<'a>>,
}

/// What a VM took at one time.
#[derive(Debug, Serialize)]
struct Sample {
    at: String,
    memory_bytes: u64,
    cpu_percent: u32,
    disk_bytes: u64,
    /// What the guest was last seen to have left; null: not known.
    guest_memory_left_bytes: Option<u64>,
    guest_disk_left_bytes: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Choice<'a> {
    word: &'a str,
    does: &'a str,
    /// What is lost by it; null: nothing.
    loses: Option<&'a str>,
}

impl<'a> Triage<'a> {
    pub(crate) fn new(host: &'a str, triage: &'a api::Triage) -> Self {
        let known = |bytes: u64| Some(bytes).filter(|bytes| *bytes > 0);
        let sample = |sample: &api::Sample| Sample {
            at: time(sample.at),
            memory_bytes: sample.memory_bytes,
            cpu_percent: sample.cpu_percent,
            disk_bytes: sample.disk_bytes,
            guest_memory_left_bytes: known(sample.guest_memory_left_bytes),
            guest_disk_left_bytes: known(sample.guest_disk_left_bytes),
        };
        let choice =
            |choice: &'a api::Choice| Choice { word: &choice.word, does: &choice.does, loses: some(&choice.loses) };
        Self {
            session: triage.session.as_ref().map(|session| Session::new(host, session)),
            console: &triage.console,
            terminal: &triage.terminal,
            samples: triage.samples.iter().map(sample).collect(),
            choices: triage.choices.iter().map(choice).collect(),
        }
    }
}
