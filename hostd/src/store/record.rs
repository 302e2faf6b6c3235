//! What the store keeps of a session, and of the effects that it asked for.

use std::{collections::BTreeMap, path::PathBuf};

use hostd_core::{
    Effect, Session,
    profile::{Profile, SESSION_ID, with_session_id},
    recipe::{Checkpoints, Cpu, Egress, PullRequests},
};
use serde::{Deserialize, Serialize};

/// What the store keeps of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// State of the session, by the rules of the core.
    pub session: Session,
    /// What the session's VM is made from.
    pub machine: Machine,
}

/// What a session's VM is made from, fixed at dispatch, and how its last start went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Immutable images below the VM's disk, bottom first.
    pub layers: Vec<PathBuf>,
    /// Destinations that the guest may reach.
    pub egress: Vec<Egress>,
    /// Names of repositories of the local forge that the guest may read beside its own.
    #[serde(default)]
    pub also_read: Vec<String>,
    /// Names of credentials of the host that the guest's requests are given.
    #[serde(default)]
    pub credentials: Vec<String>,
    /// User that the agent runs as; empty: root.
    #[serde(default)]
    pub user: String,
    /// Variables of the agent, and of commands that are run beside it.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Profile of the agent, and which conversation it has; None: the agent is of no profile.
    #[serde(default)]
    pub agent: Option<Box<Agent>>,
    /// Phases of the VM's last start, in order.
    #[serde(default)]
    pub phases: Vec<Phase>,
    /// File name of the layer that the VM writes to, in the session's folder.
    #[serde(default = "first_disk")]
    pub disk: String,
    /// Folder of the template that the session's first start clones; None: it boots.
    #[serde(default)]
    pub template: Option<PathBuf>,
    /// Folder of the template that the VM's memory is a view of in its present life; None: its memory is its own.
    #[serde(default)]
    pub view_of: Option<PathBuf>,
    /// The session's last snapshot; None: there is none.
    #[serde(default)]
    pub snapshot: Option<Snapshot>,
    /// Number of the last event of the guest's present boot that hostd has taken; 0: none.
    #[serde(default)]
    pub heard: u64,
    /// Seconds that the session may wait before it is suspended.
    #[serde(default)]
    pub suspend_after: Option<u64>,
    /// How often checkpoints are taken of the session while it runs; None: only when a person asks.
    #[serde(default)]
    pub checkpoint: Option<Checkpoints>,
    /// The session's checkpoints, oldest first.
    #[serde(default)]
    pub checkpoints: Vec<Checkpoint>,
    /// Branch of the repository that the build cloned; empty: not known, or there is no repository.
    #[serde(default)]
    pub branch: String,
    /// When the session's branches become pull requests.
    #[serde(default)]
    pub pull_requests: PullRequests,
    /// What the guest gets of the host's processor beside the usual.
    #[serde(default)]
    pub cpu: Cpu,
    /// What was found of the repository after the last boot from a disk that the session had worked on; empty: nobody has
    /// looked.
    #[serde(default)]
    pub repository: String,
}

/// What is known of a session's agent by its profile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// The profile, as it was when the session was made; its files are in the build, and left out here.
    pub profile: Profile,
    /// Id of the conversation that the program has, for its `resume`; empty: the program has not told yet.
    #[serde(default)]
    pub conversation: String,
}

impl Agent {
    /// The command that goes on with the agent's conversation; None: it has none that is known, or its program cannot.
    #[must_use]
    pub fn goes_on(&self) -> Option<Vec<String>> {
        let known = !self.conversation.is_empty() && !self.profile.resume.is_empty();
        known.then(|| with_session_id(&self.profile.resume, &self.conversation))
    }

    /// Pattern of the file by which it is seen that the conversation is there, of an agent with these variables; empty: nobody knows where
    /// its program has any.
    #[must_use]
    pub fn conversation_file(&self, environment: &BTreeMap<String, String>) -> String {
        if environment.contains_key(&self.profile.conversation_moved_by) {
            return String::new();
        }
        self.profile.conversation_file.replace(SESSION_ID, &self.conversation)
    }
}

/// A snapshot of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Folder with the snapshot's memory and devices.
    pub folder: PathBuf,
    /// Bytes that memory and devices take on disk.
    pub bytes: u64,
    /// Offset of the terminal's output up to which hostd had taken it.
    pub terminal: u64,
    /// When the snapshot was made, in milliseconds since the Unix epoch.
    pub at: i64,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            layers: vec![],
            egress: vec![],
            also_read: vec![],
            credentials: vec![],
            user: String::new(),
            environment: BTreeMap::new(),
            agent: None,
            phases: vec![],
            disk: first_disk(),
            template: None,
            view_of: None,
            snapshot: None,
            heard: 0,
            suspend_after: None,
            checkpoint: None,
            checkpoints: vec![],
            branch: String::new(),
            pull_requests: PullRequests::default(),
            cpu: Cpu::default(),
            repository: String::new(),
        }
    }
}

/// A checkpoint of a session: a snapshot with the layers that go with it, in a folder of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Number of the checkpoint, from 1 and rising within its session.
    pub number: u64,
    /// When the checkpoint was taken, in milliseconds since the Unix epoch.
    pub at: i64,
    /// Bytes of disk that came with the checkpoint: its memory and devices, and the layer that was frozen for it.
    pub bytes: u64,
    /// Whether the schedule has asked for the checkpoint, and no person.
    pub automatic: bool,
    /// Milliseconds that the VM stood still; 0: not known.
    #[serde(default)]
    pub stood: u64,
    /// Files of the session's environment that the checkpoint lies on.
    pub needs: Vec<PathBuf>,
}

impl Machine {
    /// Number of the next checkpoint.
    #[must_use]
    pub fn next_checkpoint(&self) -> u64 {
        self.checkpoints.iter().map(|known| known.number).max().unwrap_or_default() + 1
    }

    /// Adds a checkpoint, and takes those out that are not kept any more: the oldest ones of its kind. Returns their numbers.
    pub fn add_checkpoint(&mut self, new: Checkpoint) -> Vec<u64> {
        let keep = self.checkpoint.map_or(Checkpoints::KEEP, |schedule| schedule.keep).max(1) as usize;
        let automatic = new.automatic;
        self.checkpoints.push(new);
        let of_kind: Vec<u64> =
            self.checkpoints.iter().filter(|known| known.automatic == automatic).map(|known| known.number).collect();
        let gone = of_kind[..of_kind.len().saturating_sub(keep)].to_vec();
        self.checkpoints.retain(|known| !gone.contains(&known.number));
        gone
    }
}

fn first_disk() -> String {
    "disk.qcow2".into()
}

/// A phase of a VM's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// Name of the phase, e.g. kernel.
    pub name: String,
    /// Duration of the phase, in microseconds.
    pub micros: u64,
}

/// An effect that is committed and not yet carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Id of the entry's row, for [`Store::commit`](super::Store::commit); 0: it has none.
    pub id: i64,
    /// The effect itself.
    pub effect: Effect,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_checkpoints_of_each_kind_are_kept() {
        let mut machine = Machine { checkpoint: Some(Checkpoints { every: 60, keep: 2 }), ..Machine::default() };
        let mut gone = Vec::new();
        for automatic in [false, true, true, true, false, true, false] {
            let number = machine.next_checkpoint();
            let new = Checkpoint { number, at: 0, bytes: 1, automatic, stood: 0, needs: vec![] };
            gone.extend(machine.add_checkpoint(new));
        }
        let kept: Vec<u64> = machine.checkpoints.iter().map(|known| known.number).collect();
        assert_eq!((kept, gone, machine.next_checkpoint()), (vec![4, 5, 6, 7], vec![2, 3, 1], 8));
    }

    #[test]
    fn a_conversation_that_is_kept_elsewhere_is_not_looked_for() {
        let profile = Profile {
            conversation_file: "~/.agent/{session_id}.jsonl".into(),
            conversation_moved_by: "AGENT_DIR".into(),
            ..Profile::default()
        };
        let agent = Agent { profile, conversation: "7-7".into() };
        let file = |name: &str| agent.conversation_file(&BTreeMap::from([(name.to_owned(), "/srv/agent".to_owned())]));
        assert_eq!((&*file("HOME"), &*file("AGENT_DIR")), ("~/.agent/7-7.jsonl", ""));
    }
}
