//! What the runtime reports: news of hosts, terminals' bytes, answers to effects.

use crate::{
    diff::DiffReport,
    draft::Draft,
    effect::Ticket,
    fleet::{Environment, HostId, HostInfo, Session},
    notice::Kind,
    pull::Pull,
};

/// News for the console. What carries a ticket that is no longer the slot's is dropped.
#[derive(Clone, Debug)]
pub enum Report {
    /// Of a host.
    Host(HostId, HostReport),
    /// Of an open terminal.
    Terminal(Ticket, TerminalReport),
    /// Of an open log.
    Log(Ticket, LogReport),
    /// Of an open diff.
    Diff(Ticket, DiffReport),
    /// A call is answered: what came of it, or the error for people.
    Answer(Ticket, Result<Answer, String>),
    /// A build goes on.
    Build(Ticket, BuildReport),
    /// What was drafted on a host's pull requests, as it was kept.
    Drafts(HostId, Vec<(String, u64, Draft)>),
    /// The new session that was being filled in, as it was kept: its title and its task.
    Form(String, String),
    /// Something the runtime wants to tell.
    Notice(Kind, String),
}

/// News of a host.
#[derive(Clone, Debug)]
pub enum HostReport {
    /// All that is there now; also says that the host is up.
    Snapshot(Box<Snapshot>),
    /// The connection is up again and nothing was missed.
    Resumed,
    /// A session is new or changed.
    Session(Box<Session>),
    /// A session is gone; its id.
    SessionRemoved(String),
    /// Of itself.
    Info(Box<HostInfo>),
    /// An environment is new or changed.
    Environment(Box<Environment>),
    /// The open pull requests that are there now.
    Queue(Vec<Pull>),
    /// A pull request is new or changed; one that is over leaves the queue.
    Pull(Box<Pull>),
    /// The connection is gone, or did not come about; why.
    Lost(String),
}

/// All that is on a host.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Of itself.
    pub info: Option<HostInfo>,
    /// All of them.
    pub sessions: Vec<Session>,
    /// All of them.
    pub environments: Vec<Environment>,
}

/// News of an open terminal.
#[derive(Clone, Debug)]
pub enum TerminalReport {
    /// The terminal as it stands; replaces everything.
    Screen {
        /// Of the terminal.
        columns: u16,
        /// Of the terminal.
        rows: u16,
        /// What draws it on an empty terminal, history first.
        contents: Vec<u8>,
    },
    /// What the program wrote.
    Output(Vec<u8>),
    /// Who writes.
    Role {
        /// This console does.
        writer: bool,
        /// Who does; empty: nobody.
        name: String,
        /// How many watch.
        viewers: u32,
    },
    /// The program or its VM has ended; why.
    Ended(String),
    /// The connection is gone; the runtime tries again.
    Lost(String),
    /// The host will not; why. Not tried again.
    Refused(String),
    /// Input was dropped: the host did not take it.
    Stalled,
}

/// News of an open log.
#[derive(Clone, Debug)]
pub enum LogReport {
    /// More of it.
    Data(Vec<u8>),
    /// That was all.
    End,
    /// It cannot be had; why.
    Failed(String),
}

/// What came of a call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Done; nothing to tell.
    Done,
    /// The session that was created.
    Created(Box<Session>),
    /// The pull request as it is now, with all that was said.
    Pull(Box<Pull>),
}

/// How a build goes on.
#[derive(Clone, Debug)]
pub enum BuildReport {
    /// A step begins: number from 1, how many there are, name.
    Step(u32, u32, String),
    /// A line of output.
    Output(String),
    /// Ready; whether it already was.
    Done(bool),
    /// It failed; why.
    Failed(String),
}
