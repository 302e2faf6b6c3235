use serde::{Deserialize, Serialize};

use super::{Activity, Answer, Cause, Due, Message, Observation, Session, Wait};
use crate::{
    Actor, UnixMillis,
    recipe::Egress,
    reports::{Report, Source},
    signs::Sign,
    usage::Spending,
};

/// A status that an agent gives of itself. Foreign: [`step`](super::step) bounds and cleans it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What the agent says that it is doing.
    pub activity: Activity,
    /// What the agent says about it, in its own words; may be empty.
    pub text: String,
    /// Answers that the agent offers to its question.
    pub choices: Vec<String>,
}

/// What a person does with a session's budget. Amounts are millionths of a US dollar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// The budget is this amount, whatever it was before.
    Set(u64),
    /// The budget is raised by this amount.
    Raise(u64),
    /// There is none any more.
    Off,
}

/// An input of the session machine: a command or a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A person deletes the session.
    Delete,
    /// A person boots the session again from its disk.
    Restart {
        /// Whether the memory of a suspended session may be lost.
        give_up_memory: bool,
    },
    /// A person or the policy has the session suspended.
    Suspend,
    /// A person or an event has the session resumed.
    Resume,
    /// A person sends a message to the agent.
    Send(Message),
    /// A person allows or refuses what the agent's program asks a permission for, by the keys of its profile.
    AnswerPermission {
        /// Id of the permission that the person was shown.
        permission: String,
        /// Whether the permission is given.
        allow: bool,
    },
    /// A person sets what models may cost the session, or takes the bound off.
    Budget(Budget),
    /// A person allows the session to reach a destination beside those of its recipe.
    Allow(Egress),
    /// A person takes that back.
    Disallow {
        /// Destination as [`Egress::to`] has it.
        to: String,
    },
    /// A person forks the session.
    Fork,
    /// A person or the schedule has a checkpoint taken of the session: a snapshot to which it can go back, while it runs on.
    Checkpoint,
    /// The checkpoint was taken; the session's VM runs on.
    Checkpointed {
        /// Number of the checkpoint.
        number: u64,
        /// Milliseconds that the VM stood still.
        stood: u64,
        /// On whose behalf the checkpoint was taken.
        by: Actor,
    },
    /// The checkpoint could not be taken; the session's VM runs on.
    NotCheckpointed {
        /// Reason, with what to do, in words for a person.
        why: String,
    },
    /// A person has the session go back to a checkpoint.
    Restore {
        /// Number of the checkpoint.
        number: u64,
        /// The session as it was when the checkpoint was taken.
        then: Box<Session>,
        /// When the checkpoint was taken.
        at: UnixMillis,
    },
    /// The fork was made, or could not be; the session's VM runs on.
    Forked,
    /// The host has a place for the session.
    Admitted,
    /// The host has no room for the session now; it stays in the queue.
    Waits {
        /// Reason, in words for a person.
        why: String,
    },
    /// The host will never have room for the session.
    Refused {
        /// Reason, with what to do, in words for a person.
        why: String,
    },
    /// The agent that is being started was to go on with its conversation, which is not there: it begins anew.
    BeganAnew {
        /// Generation of the VM that is being started.
        generation: u64,
        /// Whether the task is typed into the agent's terminal.
        typed: bool,
    },
    /// The VM is up, its guest has shaken hands, and the agent has started.
    Started {
        /// Generation of the VM that reports.
        generation: u64,
    },
    /// The VM was to be a clone of its template, and had to boot instead.
    Booted {
        /// Generation of the VM that reports.
        generation: u64,
        /// Reason, with what to do, in words for a person.
        why: String,
    },
    /// The start of the VM was given up; nothing of the VM is left.
    StartFailed {
        /// Generation of the VM that was to start.
        generation: u64,
        /// Reason, with what to do, in words for a person.
        why: String,
    },
    /// The VM's memory, devices and disk are on disk, and the VM is gone.
    Suspended,
    /// The suspend failed; the VM runs on.
    SuspendFailed {
        /// Reason, with what to do, in words for a person.
        why: String,
    },
    /// The VM runs from its snapshot, and its guest has shaken hands.
    Resumed {
        /// Generation of the VM that reports.
        generation: u64,
        /// Answer that went along with the handshake and that the agent's wait took; None: none was taken.
        answered: Option<Box<Due>>,
    },
    /// The resume failed; the snapshot is as it was.
    ResumeFailed {
        /// Reason, with what to do, in words for a person.
        why: String,
    },
    /// The VM is gone.
    VmEnded {
        /// Generation of the VM that ended.
        generation: u64,
        /// Why the VM ended.
        cause: Cause,
    },
    /// hostd started and found the session in its store; no VM of the session is left.
    HostRestarted,
    /// hostd started and found the session in its store; the VM of the session may run, and is being taken over.
    Adopting,
    /// The VM was taken over from an earlier hostd: it runs on, and its guest has shaken hands.
    Adopted {
        /// Generation of the VM that was taken over.
        generation: u64,
    },
    /// hostd is about to stop; what runs is suspended, and the next hostd resumes it.
    HostStops,
    /// The VM was booted from a disk that the session had worked on, and the repository on it is not whole.
    RepositoryBroken {
        /// Generation of the VM that reports.
        generation: u64,
        /// What is broken, with what to do, in words for a person.
        why: String,
    },
    /// The guest has the oldest message of the inbox; the agent has not read it yet.
    Typed {
        /// Generation of the VM that got the message.
        generation: u64,
        /// Id of the message.
        id: u64,
    },
    /// The agent has read the message, on its terminal or as the answer to its wait for one.
    Read {
        /// Generation of the VM that got the message.
        generation: u64,
        /// Id of the message.
        id: u64,
    },
    /// The message could not be typed, and will not be typed to this agent; it stays in the inbox.
    NotTyped {
        /// Generation of the VM that did not get the message.
        generation: u64,
        /// Id of the message.
        id: u64,
    },
    /// The agent gave a status by `session status`.
    AgentStatus {
        /// Generation of the VM that reports.
        generation: u64,
        /// The status that the agent gave.
        status: Status,
    },
    /// What the agent does was reported, or a source says nothing any more.
    Reported {
        /// Generation of the VM that reports.
        generation: u64,
        /// Who reports.
        source: Source,
        /// What is reported; None: nothing any more.
        report: Option<Box<Report>>,
    },
    /// Somebody typed on the agent's terminal what may answer it, and output came after that.
    Answered {
        /// Generation of the VM whose terminal it is.
        generation: u64,
        /// When it was typed.
        at: UnixMillis,
        /// Whether it was Enter, or ended with it.
        entered: bool,
    },
    /// The agent's terminal shows another sign than before.
    Seen {
        /// Generation of the VM whose terminal it is.
        generation: u64,
        /// What the terminal shows.
        sign: Sign,
    },
    /// The agent began to wait by `session wait`.
    WaitBegan {
        /// Generation of the VM that reports.
        generation: u64,
        /// The wait that began.
        wait: Wait,
    },
    /// The agent's `session wait` ended without an answer.
    WaitWithdrawn {
        /// Generation of the VM that reports.
        generation: u64,
        /// Id of the wait.
        id: u64,
    },
    /// The wait has lasted until its `until`.
    TimeIsUp {
        /// Id of the wait.
        id: u64,
    },
    /// The session's pull request was read from the forge; None: it has none.
    Observed(Option<Box<Observation>>),
    /// The agent's wait took its answer.
    Delivered {
        /// Generation of the VM that got the answer.
        generation: u64,
    },
    /// No command waited in the guest for the answer.
    NotDelivered {
        /// Generation of the VM that did not get the answer.
        generation: u64,
    },
    /// The guest's kernel killed a process for want of memory.
    OomKilled {
        /// Generation of the VM that reports.
        generation: u64,
        /// Name of the program that was killed.
        name: String,
    },
    /// The guest's disk became full, or is so no longer.
    GuestDisk {
        /// Generation of the VM that reports.
        generation: u64,
        /// Space left on the full disk, in words; None: the disk is not full.
        full: Option<String>,
    },
    /// Models have answered the session.
    Answers {
        /// What all their answers took since the session was dispatched.
        spending: Spending,
    },
    /// The limit that stopped the agent is over.
    LimitIsOver,
    /// The pause before a restart after a crash is over.
    RestartIsDue,
    /// The agent's process ended.
    AgentExited {
        /// Generation of the VM that reports.
        generation: u64,
        /// Exit code of the process; 128 + signal when a signal ended it.
        code: i32,
        /// Last line on the agent's terminal; empty: there is none, or the agent ended well.
        last: String,
    },
}

impl Input {
    /// On whose behalf the input is reported of this session, where nobody has commanded it.
    #[must_use]
    pub fn reporter(&self, session: &Session) -> Actor {
        match self {
            Self::AgentStatus { .. }
            | Self::Reported { .. }
            | Self::Seen { .. }
            | Self::WaitBegan { .. }
            | Self::WaitWithdrawn { .. }
            | Self::AgentExited { .. } => Actor::Session { slug: session.slug.clone(), person: session.owner.clone() },
            Self::Observed(_) => Actor::forge(&session.forge),
            _ => Actor::Host,
        }
    }
}

/// An effect of the session machine: what hostd is to do. Idempotent: a repeat is harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "effect")]
pub enum Effect {
    /// Find the session a place on the host; answered by [`Input::Admitted`] or [`Input::Refused`], and in between by
    /// [`Input::Waits`].
    Admit,
    /// Start a VM, shake hands, start the agent; answered by [`Input::Started`] or [`Input::StartFailed`].
    Start {
        /// Generation of the VM that is to start.
        generation: u64,
    },
    /// Suspend the VM to disk; answered by [`Input::Suspended`] or [`Input::SuspendFailed`].
    Suspend,
    /// Resume the VM from its snapshot; answered by [`Input::Resumed`] or [`Input::ResumeFailed`].
    Resume {
        /// Generation of the VM that is to run from the snapshot.
        generation: u64,
    },
    /// Type the message into the agent's terminal; answered by [`Input::Typed`] and later [`Input::Read`], or by
    /// [`Input::NotTyped`]. A repeat is harmless: the guest types a message of this id once.
    Type {
        /// Generation of the VM that is to get the message.
        generation: u64,
        /// The message to type.
        #[serde(alias = "text")]
        message: Message,
    },
    /// Press the message's keys on the agent's terminal at once, before what waits there to be read: they may be what ends
    /// that. Answered as [`Effect::Type`]; keys that a VM did not get before it ended are not pressed.
    Press {
        /// Generation of the VM that is to get the message.
        generation: u64,
        /// The message whose keys are pressed.
        message: Message,
    },
    /// Read the session's pull request from the forge; answered by [`Input::Observed`].
    Observe,
    /// Hand the answer over to the agent's wait; answered by [`Input::Delivered`] or [`Input::NotDelivered`]. A repeat is harmless: the
    /// guest takes an answer once.
    #[serde(alias = "tell")]
    Deliver {
        /// Generation of the VM that is to get the answer.
        generation: u64,
        /// Id of the wait.
        wait: u64,
        /// The answer that is handed over.
        answer: Answer,
    },
    /// End the VM if there is one; nothing is reported.
    End,
    /// End the VM if there is one, remove every file of the session and its record.
    Remove,
}

impl Effect {
    /// Whether this input answers the effect, so that hostd does not owe it any longer.
    #[must_use]
    pub fn answered_by(&self, input: &Input) -> bool {
        let ends = |of: u64| match input {
            Input::VmEnded { generation, .. } => *generation == of,
            _ => false,
        };
        match (self, input) {
            (Self::Admit, Input::Admitted | Input::Refused { .. })
            | (Self::Observe, Input::Observed(_))
            | (Self::Suspend, Input::Suspended | Input::SuspendFailed { .. } | Input::VmEnded { .. })
            | (Self::Resume { .. }, Input::ResumeFailed { .. }) => true,
            (
                Self::Type { generation, message } | Self::Press { generation, message },
                Input::Typed { generation: of, id }
                | Input::Read { generation: of, id }
                | Input::NotTyped { generation: of, id },
            ) => generation == of && message.id == *id,
            (
                Self::Start { generation },
                Input::Started { generation: of } | Input::StartFailed { generation: of, .. },
            )
            | (Self::Resume { generation }, Input::Resumed { generation: of, .. })
            | (
                Self::Deliver { generation, .. },
                Input::Delivered { generation: of } | Input::NotDelivered { generation: of },
            ) => generation == of,
            (
                Self::Start { generation }
                | Self::Resume { generation }
                | Self::Type { generation, .. }
                | Self::Press { generation, .. }
                | Self::Deliver { generation, .. },
                _,
            ) => ends(*generation),
            (Self::Admit | Self::Observe | Self::Suspend | Self::End | Self::Remove, _) => false,
        }
    }
}

/// Why a person's command is impossible in the session's state, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);
