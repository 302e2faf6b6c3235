use serde::{Deserialize, Serialize};

use super::{Activity, Answer, Cause, Message, Observation, Wait};
use crate::signs::Sign;

/// What the agent says of itself. Foreign: [`step`](super::step) bounds and cleans it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it is doing.
    pub activity: Activity,
    /// In its words.
    pub text: String,
    /// Answers it offers.
    pub choices: Vec<String>,
}

/// What the machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A person: end it and forget it.
    Delete,
    /// A person: boot it again from its disk.
    Restart {
        /// What is in the memory of a suspended session may be lost.
        give_up_memory: bool,
    },
    /// A person or the policy: put it to disk.
    Suspend,
    /// A person or an event: bring it back.
    Resume,
    /// A person: type this to the agent.
    Send(Message),
    /// A person: make another one from it as it is.
    Fork,
    /// It was forked, or could not be; its VM runs on.
    Forked,
    /// The host has a place for it.
    Admitted,
    /// The host has no room for it now.
    Waits {
        /// In words for a person.
        why: String,
    },
    /// The host will never have room for it.
    Refused {
        /// With what to do.
        why: String,
    },
    /// VM booted, hand shaken, agent started.
    Started {
        /// Of the VM that reports.
        generation: u64,
    },
    /// It was to be a clone of its template, and had to boot instead.
    Booted {
        /// Of the VM that reports.
        generation: u64,
        /// With what to do.
        why: String,
    },
    /// The start was given up; nothing of the VM is left.
    StartFailed {
        /// Of the VM that was to be.
        generation: u64,
        /// With what to do.
        why: String,
    },
    /// Memory, devices and disk are safe, and the VM is gone.
    Suspended,
    /// The VM runs on.
    SuspendFailed {
        /// With what to do.
        why: String,
    },
    /// The guest has shaken hands.
    Resumed {
        /// Of the VM that reports.
        generation: u64,
    },
    /// The snapshot is as it was.
    ResumeFailed {
        /// With what to do.
        why: String,
    },
    /// The VM is gone.
    VmEnded {
        /// Of the VM that reports.
        generation: u64,
        /// Why.
        cause: Cause,
    },
    /// hostd started and found this session in its store; no VM of it is left.
    HostRestarted,
    /// hostd is about to end, and the next one goes on where this one was.
    HostStops,
    /// It was booted from a disk that it had worked on, and its repository is not whole.
    RepositoryBroken {
        /// Of the VM that reports.
        generation: u64,
        /// What is broken, with what to do.
        why: String,
    },
    /// The guest has the oldest message of the inbox; the agent has yet to read it.
    Typed {
        /// Of the VM that got it.
        generation: u64,
        /// Of the message.
        id: u64,
    },
    /// The agent has read it, on its terminal or as the answer to its wait for one.
    Read {
        /// Of the VM that got it.
        generation: u64,
        /// Of the message.
        id: u64,
    },
    /// It could not be typed, and will not be to this agent; it stays in the inbox.
    NotTyped {
        /// Of the VM that did not get it.
        generation: u64,
        /// Of the message.
        id: u64,
    },
    /// The agent said something of itself.
    AgentStatus {
        /// Of the VM that reports.
        generation: u64,
        /// What it said.
        status: Status,
    },
    /// Its terminal shows something else than before.
    Seen {
        /// Of the VM that it is seen of.
        generation: u64,
        /// What the terminal shows.
        sign: Sign,
    },
    /// The agent waits for something.
    WaitBegan {
        /// Of the VM that reports.
        generation: u64,
        /// For what.
        wait: Wait,
    },
    /// It does not wait any more, though it was not answered.
    WaitWithdrawn {
        /// Of the VM that reports.
        generation: u64,
        /// Of the wait.
        id: u64,
    },
    /// The wait has lasted as long as it may.
    TimeIsUp {
        /// Of the wait.
        id: u64,
    },
    /// The forge was read: the session's pull request, where it has one.
    Observed(Option<Box<Observation>>),
    /// The agent has the answer that it waited for.
    Told {
        /// Of the VM that got it.
        generation: u64,
    },
    /// Nobody waited for it in the guest.
    NotTold {
        /// Of the VM that did not get it.
        generation: u64,
    },
    /// The guest's kernel killed a process for want of memory.
    OomKilled {
        /// Of the VM that reports.
        generation: u64,
        /// Name of the program that was killed.
        name: String,
    },
    /// The guest's disk is full, or is so no longer.
    GuestDisk {
        /// Of the VM that reports.
        generation: u64,
        /// What is left of it, in words, where it is.
        full: Option<String>,
    },
    /// The agent's process ended.
    AgentExited {
        /// Of the VM that reports.
        generation: u64,
        /// Exit code; 128 + signal when a signal ended it.
        code: i32,
        /// The last line on its terminal; empty: none, or it ended well.
        last: String,
    },
}

/// What is to be done in the world. Idempotent: a repeat is harmless.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "effect")]
pub enum Effect {
    /// Find it a place; answered by [`Input::Admitted`] or [`Input::Refused`], and in between by [`Input::Waits`].
    Admit,
    /// Boot its VM, shake hands, start the agent; answered by [`Input::Started`] or [`Input::StartFailed`].
    Start {
        /// Of the VM to be.
        generation: u64,
    },
    /// Put it to disk; answered by [`Input::Suspended`] or [`Input::SuspendFailed`].
    Suspend,
    /// Bring it back; answered by [`Input::Resumed`] or [`Input::ResumeFailed`].
    Resume {
        /// Of the VM to be.
        generation: u64,
    },
    /// Type this into the agent's terminal; answered by [`Input::Typed`] and later [`Input::Read`], or by [`Input::NotTyped`].
    /// A repeat is harmless: the guest types a message of this id once.
    Type {
        /// Of the VM that is to get it.
        generation: u64,
        /// The message to type.
        #[serde(alias = "text")]
        message: Message,
    },
    /// Press keys on the agent's terminal at once, before what waits there to be read: they may be what ends that. Answered as
    /// [`Effect::Type`]; keys that a VM did not get before it ended are not pressed.
    Press {
        /// Of the VM that is to get it.
        generation: u64,
        /// The message to type.
        message: Message,
    },
    /// Read the session's pull request from the forge; answered by [`Input::Observed`].
    Observe,
    /// Hand this over to the command that waits; answered by [`Input::Told`] or [`Input::NotTold`]. A repeat is harmless: the
    /// guest takes an answer once.
    Tell {
        /// Of the VM that is to get it.
        generation: u64,
        /// Id of the wait.
        wait: u64,
        /// What.
        answer: Answer,
    },
    /// End the VM if there is one; nothing is reported.
    End,
    /// End the VM if there is one, remove every file of the session, forget it.
    Remove,
}

impl Effect {
    /// Whether this input answers it, so that it is owed no longer.
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
            | (Self::Resume { generation }, Input::Resumed { generation: of })
            | (Self::Tell { generation, .. }, Input::Told { generation: of } | Input::NotTold { generation: of }) => {
                generation == of
            }
            (
                Self::Start { generation }
                | Self::Resume { generation }
                | Self::Type { generation, .. }
                | Self::Press { generation, .. }
                | Self::Tell { generation, .. },
                _,
            ) => ends(*generation),
            (Self::Admit | Self::Observe | Self::Suspend | Self::End | Self::Remove, _) => false,
        }
    }
}

/// A command that is impossible in this state, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Denied(pub String);
