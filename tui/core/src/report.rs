//! What the runtime reports: news of hosts, terminals' bytes, answers to effects.

use crate::{
    diff::DiffReport,
    draft::Draft,
    fleet::{Environment, HostInfo, Refusal, Session},
    host_id::HostId,
    notice::Kind,
    pull::Pull,
    story::{Event, StoryReport},
    ticket::Ticket,
};

/// News for the console. What carries a ticket that is no longer the slot's is dropped.
#[derive(Clone, Debug)]
pub enum Report {
    /// News of this host.
    Host(HostId, HostReport),
    /// News of an open terminal.
    Terminal(Ticket, TerminalReport),
    /// News of an open log.
    Log(Ticket, LogReport),
    /// News of an open diff.
    Diff(Ticket, DiffReport),
    /// News of a story that is read.
    Story(Ticket, StoryReport),
    /// The answer to a call, or its error in words for people.
    Answer(Ticket, Result<Answer, String>),
    /// News of a build.
    Build(Ticket, BuildReport),
    /// Drafts on a host's pull requests, as they were kept: repository, number, draft.
    Drafts(HostId, Vec<(String, u64, Draft)>),
    /// Title and task of the new session that was being filled in, as they were kept.
    Form(String, String),
    /// Notice that the runtime wants to tell.
    Notice(Kind, String),
}

/// News of a host.
#[derive(Clone, Debug)]
pub enum HostReport {
    /// All that is on the host now; also says that the host is up.
    Snapshot(Box<Snapshot>),
    /// The connection is up again and nothing was missed.
    Resumed,
    /// A session is new or changed.
    Session(Box<Session>),
    /// The session of this id is gone.
    SessionRemoved(String),
    /// What the host says of itself has changed.
    Info(Box<HostInfo>),
    /// An environment is new or changed.
    Environment(Box<Environment>),
    /// The open pull requests that are on the host now.
    Queue(Vec<Pull>),
    /// A pull request is new or changed; one that is over leaves the queue.
    Pull(Box<Pull>),
    /// The connection is gone, or did not come about; why.
    Lost(String),
}

/// All that is on a host.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// What the host says of itself.
    pub info: Option<HostInfo>,
    /// Every session of the host.
    pub sessions: Vec<Session>,
    /// Every environment of the host.
    pub environments: Vec<Environment>,
}

/// News of an open terminal.
#[derive(Clone, Debug)]
pub enum TerminalReport {
    /// The screen of the terminal now, which replaces everything.
    Screen {
        /// Number of columns of the terminal.
        columns: u16,
        /// Number of rows of the terminal.
        rows: u16,
        /// Bytes that draw it on an empty terminal, history first.
        contents: Vec<u8>,
    },
    /// Bytes that the program wrote.
    Output(Vec<u8>),
    /// Roles at the terminal have changed.
    Role {
        /// Whether this console is the writer.
        writer: bool,
        /// Name of the writer; empty: there is none.
        name: String,
        /// Number of viewers, previews apart.
        viewers: u32,
    },
    /// The program or its VM has ended; why.
    Ended(String),
    /// The connection is gone; the runtime tries again.
    Lost(String),
    /// The host refuses the terminal; why. It is not tried again.
    Refused(String),
    /// Input was dropped: the host did not take it.
    Stalled,
}

/// News of an open log.
#[derive(Clone, Debug)]
pub enum LogReport {
    /// More bytes of the log.
    Data(Vec<u8>),
    /// The log is over.
    End,
    /// The log cannot be had; why.
    Failed(String),
}

/// Result of a call.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The call was carried out; there is nothing to tell.
    Done,
    /// The session was created.
    Created(Box<Session>),
    /// The pull request as it is now, with all that was said.
    Pull(Box<Pull>),
    /// Destinations that the session was refused, the last one first.
    Refused(Vec<Refusal>),
    /// A page of events of a session, the oldest first.
    Story(Vec<Event>),
    /// The pull requests that were asked for.
    Pulls(Vec<Pull>),
}

/// News of a build.
#[derive(Clone, Debug)]
pub enum BuildReport {
    /// A step begins: its number from 1, how many there are, its name.
    Step(u32, u32, String),
    /// A line of output came.
    Output(String),
    /// The build is ready; whether it was already.
    Done(bool),
    /// The build failed; why.
    Failed(String),
}
