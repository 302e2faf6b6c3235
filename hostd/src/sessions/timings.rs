use std::time::Duration;

/// How long sessions wait for what may take its time. Tests wait less.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// Longest time for a guest to start the agent.
    pub agent_start: Duration,
    /// Time after which a link that stays down is given up, and its VM with it.
    pub link_lost: Duration,
    /// Pause before the store is tried again that could not be written; each further pause is twice as long, up to
    /// 32 times this one.
    pub store_pause: Duration,
    /// For all running sessions to be put to disk when hostd ends. With what comes after it, powering off and the last calls, it
    /// is less than the 90 s that systemd gives a service to stop.
    pub stop: Duration,
    /// Longest time for which the store is tried once hostd ends.
    pub last_tries: Duration,
    /// Pause after a merge of layers for which there was no room. Neither a resume nor a fork waits for it.
    pub merge_pause: Duration,
    /// Pause before a forge that could not be read is read again.
    pub forge_pause: Duration,
    /// Pause between two looks at the host's memory.
    pub memory_look: Duration,
    /// Longest wait for room for a copy of a suspended session.
    pub copy_room: Duration,
}

impl Timings {
    /// Most times that a pause before a try of the store is as long as the first.
    pub(super) const STORE_PAUSES: u32 = 32;
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            agent_start: Duration::from_secs(30),
            link_lost: Duration::from_secs(60),
            store_pause: Duration::from_millis(100),
            stop: Duration::from_secs(60),
            last_tries: Duration::from_secs(5),
            merge_pause: Duration::from_secs(60),
            forge_pause: Duration::from_secs(2),
            memory_look: Duration::from_secs(1),
            copy_room: Duration::from_secs(10),
        }
    }
}
