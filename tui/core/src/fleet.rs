//! What the console knows of all hosts: plain data, cleaned, as last heard.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Millis,
    event::Event,
    host_id::HostId,
    pull::{Pull, PullKey},
    text,
};

/// Identity of a session of one of the hosts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The session's host.
    pub host: HostId,
    /// Id (ULID) of the session, unique on its host.
    pub id: Arc<str>,
}

/// Identity of an environment of one of the hosts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvironmentKey {
    /// Name of the environment, unique on its host.
    pub name: Arc<str>,
    /// The environment's host.
    pub host: HostId,
}

/// Whose turn it is; in the order of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// A person at a console must act.
    You,
    /// Checks run, or wait to be run.
    Checks,
    /// Another person must act.
    Other,
    /// The agent works.
    #[default]
    Agent,
    /// Nobody has to act: the session is over, or waits for a place.
    Nobody,
}

impl Turn {
    /// Every turn, in the order of the list.
    pub const ALL: [Self; 5] = [Self::You, Self::Checks, Self::Other, Self::Agent, Self::Nobody];

    /// Parses the word of the API; one that only a newer host knows counts as [`Turn::You`], so that somebody looks.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "checks" => Self::Checks,
            "other" => Self::Other,
            "agent" => Self::Agent,
            "nobody" => Self::Nobody,
            _ => Self::You,
        }
    }

    /// Heading of the group of this turn.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::You => "Your turn",
            Self::Checks => "Waiting on checks",
            Self::Other => "Waiting for others",
            Self::Agent => "Agents at work",
            Self::Nobody => "Finished or waiting",
        }
    }
}

/// A part of an agent's program, such as a subagent, as it was reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Path of the part, of names between slashes.
    pub id: String,
    /// Word of what it is doing, as in the API.
    pub state: String,
    /// What is said of it, such as what it waits for, how much is done and a title; may be empty.
    pub text: String,
}

impl Part {
    /// Most parts of a session that a host tells of in lists.
    pub const MOST: usize = 16;
    /// Most lines that parts take below their session's row.
    const LINES: usize = 3;

    fn cleaned(self) -> Self {
        let Self { id, state, text } = self;
        Self { id: text::one_line(&id, 128), state: text::one_line(&state, 32), text: text::one_line(&text, 512) }
    }

    /// Place among the parts of a session: what waits for a person comes first, and what is over last.
    fn rank(&self) -> usize {
        ["blocked", "error", "working"].iter().position(|state| self.state == *state).unwrap_or(3)
    }
}

/// A permission that an agent's program asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// Id of the permission, which an answer names.
    pub id: String,
    /// What is to be allowed, such as a tool and its arguments; may be empty.
    pub text: String,
    /// Names of the keys that allow it, with blanks between; empty: there are none.
    pub allow: String,
    /// Names of the keys that deny it, with blanks between; empty: there are none.
    pub deny: String,
}

impl Permission {
    fn cleaned(self) -> Self {
        let Self { id, text, allow, deny } = self;
        let line = |line: String| text::one_line(&line, 256);
        Self { id: line(id), text: text::one_line(&text, 4096), allow: line(allow), deny: line(deny) }
    }

    /// Whether keys answer it, so that nobody needs the terminal.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        !self.allow.is_empty() || !self.deny.is_empty()
    }
}

/// A session. Words of the API stay words: a newer host may know more of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are those of hostd.v1.Session and documented there.
pub struct Session {
    pub id: String,
    pub slug: String,
    pub title: String,
    pub task: String,
    pub environment: String,
    pub build: String,
    pub owner: String,
    pub lifecycle: String,
    pub activity: String,
    pub turn: Turn,
    pub reason: String,
    pub word: String,
    pub notice: String,
    pub generation: u64,
    pub created_at: Millis,
    pub updated_at: Millis,
    pub turn_since: Millis,
    pub choices: Vec<String>,
    pub permission: Option<Permission>,
    /// What the agent's program reports of its parts, as far as the host tells of them in lists.
    pub parts: Vec<Part>,
    /// Source of the report that decides; empty: nobody has reported anything.
    pub source: String,
    pub command: Vec<String>,
    pub repository: String,
    pub branch_prefix: String,
    pub cause: String,
    /// What the guest's kernel wrote to its console about its panic, oldest line first.
    pub cause_lines: Vec<String>,
    pub deleting: bool,
    pub vcpus: u32,
    pub memory_bytes: u64,
    pub used_bytes: u64,
    pub suspended_bytes: u64,
    pub phases: Vec<(String, u64)>,
    pub viewers: u32,
    /// Bytes that the guest has left of its memory and in all, `guest_disk` of its disk; 0 where it is not known.
    pub guest_memory: (u64, u64),
    pub guest_disk: (u64, u64),
    pub host_disk_bytes: u64,
    /// What it can go back to, oldest first.
    pub checkpoints: Vec<Checkpoint>,
    pub repository_state: String,
    pub usage: ModelUsage,
    pub budget_micros: Option<u64>,
    /// What was done last, and by whom; None: its host does not say.
    pub last: Option<Event>,
}

/// A checkpoint of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // As hostd.v1.Checkpoint.
pub struct Checkpoint {
    pub number: u64,
    pub at: Millis,
    pub bytes: u64,
}

/// What answers of models took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // As hostd.v1.ModelUsage.
pub struct ModelUsage {
    pub answers: u64,
    /// Tokens of prompts, those that were written to a cache included.
    pub input_tokens: u64,
    /// Tokens of prompts that were read from a cache.
    pub cached_tokens: u64,
    pub output_tokens: u64,
    pub cost_micros: u64,
    pub unpriced_tokens: u64,
}

impl ModelUsage {
    /// The usage in words, such as `$0.42 · 3 answers · 12.3k tokens in, 9k cached, 800 out`; empty: there were no answers.
    #[must_use]
    pub fn words(&self) -> String {
        if self.answers == 0 {
            return String::new();
        }
        let number = text::count(usize::try_from(self.answers).unwrap_or(usize::MAX), "answer");
        let [input, cached, output] = [self.input_tokens, self.cached_tokens, self.output_tokens].map(text::tokens);
        let unpriced = match self.unpriced_tokens {
            0 => String::new(),
            count => format!(" · {} tokens without a price", text::tokens(count)),
        };
        let cost = text::dollars(self.cost_micros);
        format!("{cost} · {number} · {input} tokens in, {cached} cached, {output} out{unpriced}")
    }
}

impl Session {
    /// Returns the session without anything that could hurt a terminal or a layout.
    #[must_use]
    pub fn cleaned(mut self) -> Self {
        for line in [
            &mut self.slug,
            &mut self.title,
            &mut self.environment,
            &mut self.build,
            &mut self.owner,
            &mut self.lifecycle,
            &mut self.activity,
            &mut self.reason,
            &mut self.word,
            &mut self.notice,
            &mut self.repository,
            &mut self.branch_prefix,
            &mut self.cause,
            &mut self.source,
            &mut self.repository_state,
        ] {
            *line = text::one_line(line, 4096);
        }
        self.task = text::many_lines(&self.task, 1 << 16);
        self.choices = self.choices.iter().take(16).map(|c| text::one_line(c, 256)).collect();
        self.cause_lines = self.cause_lines.iter().take(16).map(|line| text::one_line(line, 400)).collect();
        self.permission = self.permission.map(Permission::cleaned);
        self.parts = self.parts.into_iter().take(Part::MOST).map(Part::cleaned).collect();
        self.command = self.command.iter().take(64).map(|c| text::one_line(c, 1024)).collect();
        self.phases =
            self.phases.into_iter().take(32).map(|(name, micros)| (text::one_line(&name, 64), micros)).collect();
        self.last = self.last.map(Event::cleaned);
        self
    }

    /// The parts that are shown below the session's row, and how many more there are.
    #[must_use]
    pub fn foremost_parts(&self) -> (Vec<&Part>, usize) {
        let mut parts: Vec<&Part> = self.parts.iter().collect();
        parts.sort_by_key(|part| part.rank());
        let shown = if parts.len() > Part::LINES { Part::LINES - 1 } else { parts.len() };
        let more = parts.split_off(shown).len();
        (parts, more)
    }

    /// Number of lines that the parts take below the session's row.
    #[must_use]
    pub fn part_lines(&self) -> usize {
        self.parts.len().min(Part::LINES)
    }

    /// A few words for what the session's turn is about, however it is kept.
    #[must_use]
    pub fn word(&self) -> &str {
        if self.deleting {
            return "deleting";
        }
        if !self.word.is_empty() {
            return &self.word;
        }
        // Of an older host.
        match (&*self.lifecycle, &*self.activity) {
            ("running", activity) => match activity {
                "needs-input" => "asks",
                "waiting-checks" => "checks",
                "waiting-review" => "review",
                other => other,
            },
            ("stopped" | "crashed" | "suspended", over @ "done") => over,
            ("stopped" | "suspended", over @ "failed") => over,
            (lifecycle, _) => lifecycle,
        }
    }

    /// Since when it has been the turn of whoever has it.
    #[must_use]
    pub fn since(&self) -> Millis {
        if self.turn_since == 0 { self.updated_at } else { self.turn_since }
    }

    /// What the agent does; empty for one that never ran, or that was cut off at work.
    #[must_use]
    pub fn doing(&self) -> &str {
        let gone = matches!(&*self.lifecycle, "queued" | "starting" | "stopped" | "crashed");
        if gone && self.activity == "working" { "" } else { &self.activity }
    }

    /// Name of the session for people: its title, else its slug.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.title.is_empty() { &self.slug } else { &self.title }
    }

    /// Whether the session crashed before it was done, so that somebody may want to know why.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.word() == "crashed"
    }

    /// Whether the session can be restarted. Of a suspended one its host knows: only where it could not be resumed.
    #[must_use]
    pub fn can_restart(&self) -> bool {
        matches!(&*self.lifecycle, "crashed" | "stopped" | "suspended") && !self.deleting
    }
}

/// A destination that a session asked for and may not reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // As hostd.v1.Refused.
pub struct Refusal {
    pub destination: String,
    pub why: String,
    pub count: u64,
    pub last_at: Millis,
}

impl Refusal {
    /// Most of one session that are kept.
    pub(crate) const MOST: usize = 64;
    /// What the reason of a refusal says of what lies at an address that is not a public one.
    pub const PRIVATE: &str = "a private address";

    /// Whether a person can allow it: the VM itself is reached without a way out, and the host's own services are named on the host.
    #[must_use]
    pub fn can_be_allowed(&self) -> bool {
        !matches!(self.why.as_str(), "the VM itself" | "not in the host's egress.toml")
            && !self.why.starts_with("of this host or its cloud")
    }

    /// Whether it lies at an address that is not a public one.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.why.contains(Self::PRIVATE)
    }

    /// Returns the session without anything that could hurt a terminal or a layout.
    #[must_use]
    pub fn cleaned(mut self) -> Self {
        for line in [&mut self.destination, &mut self.why] {
            *line = text::one_line(line, 512);
        }
        self
    }
}

/// An environment of a host. Words of the API stay words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are those of hostd.v1.Environment and documented there.
pub struct Environment {
    pub name: String,
    pub source: String,
    pub state: String,
    pub error: String,
    pub build: Option<Build>,
    pub sessions: u32,
    pub vcpus: u32,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    pub repository: String,
    pub agent: Vec<String>,
    pub older: Vec<Build>,
    pub warm_ready: u32,
    pub warm_wanted: u32,
    pub warm_max: u32,
}

/// A build of an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // As hostd.v1.Build.
pub struct Build {
    pub id: String,
    pub commit: String,
    pub image: String,
    pub forward_ports: Vec<u32>,
    /// Number of things of its devcontainer.json that are not honoured.
    pub not_honoured: usize,
    pub created_at: Millis,
    pub size_bytes: u64,
    pub base_bytes: u64,
    pub template_bytes: u64,
    pub sessions: u32,
}

impl Environment {
    /// Returns the environment without anything that could hurt a terminal or a layout.
    #[must_use]
    pub fn cleaned(mut self) -> Self {
        for line in [&mut self.name, &mut self.source, &mut self.state, &mut self.repository] {
            *line = text::one_line(line, 4096);
        }
        self.error = text::many_lines(&self.error, 1 << 14);
        self.agent = self.agent.iter().take(64).map(|a| text::one_line(a, 1024)).collect();
        self.older.truncate(64);
        for build in self.build.iter_mut().chain(&mut self.older) {
            build.id = text::one_line(&build.id, 64);
            build.commit = text::one_line(&build.commit, 64);
            build.image = text::one_line(&build.image, 600);
            build.forward_ports.truncate(64);
        }
        self
    }
}

/// What a host says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are those of hostd.v1.HostInfo and documented there.
pub struct HostInfo {
    pub name: String,
    pub version: String,
    pub vmm: String,
    pub accelerator: String,
    pub accelerator_reason: String,
    pub qemu_version: String,
    pub kernel_version: String,
    pub cpus: u32,
    pub memory_total: u64,
    pub memory_available: u64,
    pub disk_total: u64,
    pub disk_available: u64,
    pub sessions: u32,
    pub running: u32,
    pub started_at: Millis,
    pub data_directory: String,
    /// User name of whoever has drained it; empty: it takes VMs.
    pub drained_by: String,
    pub problems: Vec<String>,
}

impl HostInfo {
    /// Returns the information without anything that could hurt a terminal or a layout.
    #[must_use]
    pub fn cleaned(mut self) -> Self {
        for line in [
            &mut self.name,
            &mut self.version,
            &mut self.vmm,
            &mut self.accelerator,
            &mut self.accelerator_reason,
            &mut self.qemu_version,
            &mut self.kernel_version,
            &mut self.data_directory,
            &mut self.drained_by,
        ] {
            *line = text::one_line(line, 1024);
        }
        self.problems = self.problems.iter().take(32).map(|p| text::one_line(p, 1024)).collect();
        self
    }
}

impl Host {
    /// Takes news of a pull request: it is among the open ones, the closed ones, or over.
    pub(crate) fn take_pull(&mut self, pull: Pull) {
        let place = (Arc::from(&*pull.repository), pull.number);
        self.pulls.remove(&place);
        self.closed.remove(&place);
        if pull.is_open() {
            self.pulls.insert(place, pull);
        } else if pull.is_closed() {
            self.closed.insert(place, pull);
            if self.closed.len() > CLOSED_MAX {
                let oldest = self.closed.iter().min_by_key(|(_, pull)| pull.updated_at).map(|(place, _)| place.clone());
                oldest.and_then(|place| self.closed.remove(&place));
            }
        }
    }
}

/// State of the connection to a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// The host was not heard from yet; the last error, if there was one.
    Connecting(Option<String>),
    /// The connection is up since then.
    Up(Millis),
    /// The connection is lost since then, and why.
    Lost(Millis, String),
}

/// A host and all that is on it.
#[derive(Clone, Debug)]
pub struct Host {
    /// Identity of the host.
    pub id: HostId,
    /// Name or address of the host, as the console was given it.
    pub name: String,
    /// What tells the host from others; empty: nothing need.
    label: String,
    /// State of the connection to the host.
    pub connection: Connection,
    /// What the host says of itself, as last heard; None: not heard of yet.
    pub info: Option<HostInfo>,
    /// Sessions of the host, by id.
    pub sessions: BTreeMap<Arc<str>, Session>,
    /// Environments of the host, by name.
    pub environments: BTreeMap<Arc<str>, Environment>,
    /// Open pull requests of the host, by repository and number.
    pub pulls: BTreeMap<(Arc<str>, u64), Pull>,
    /// The closed pull requests, as far as they were asked for or closed while this console looked on.
    pub closed: BTreeMap<(Arc<str>, u64), Pull>,
}

/// Most closed pull requests kept of a host; those that changed last.
const CLOSED_MAX: usize = 500;

impl Host {
    /// Name of the host for people: the name it was given, or where that is only an address its own, told apart from others of
    /// that name.
    #[must_use]
    pub fn title(&self) -> &str {
        if self.label.is_empty() { self.own_title() } else { &self.label }
    }

    fn own_title(&self) -> &str {
        let own = self.info.as_ref().map(|info| &*info.name).filter(|name| !name.is_empty());
        // A name has no colon, an address has one.
        own.filter(|_| self.name.contains(':')).unwrap_or(&self.name)
    }

    /// Whether the host can be asked something now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.connection, Connection::Up(_))
    }
}

/// All hosts of the console.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// The hosts, in the order in which the console was given them.
    pub hosts: Vec<Host>,
}

impl Fleet {
    /// Hosts of these names that were not heard from yet.
    #[must_use]
    pub fn new(hosts: impl IntoIterator<Item = (HostId, String)>) -> Self {
        let host = |(id, name): (HostId, String)| Host {
            id,
            name: text::one_line(&name, 256),
            label: String::new(),
            connection: Connection::Connecting(None),
            info: None,
            sessions: BTreeMap::new(),
            environments: BTreeMap::new(),
            pulls: BTreeMap::new(),
            closed: BTreeMap::new(),
        };
        Self { hosts: hosts.into_iter().map(host).collect() }
    }

    /// Whether there are several hosts, so that their names are worth a column.
    #[must_use]
    pub fn several(&self) -> bool {
        self.hosts.len() > 1
    }

    /// The session of this key; None: there is none.
    #[must_use]
    pub fn session(&self, key: &SessionKey) -> Option<&Session> {
        self.host(&key.host)?.sessions.get(&key.id)
    }

    pub(crate) fn session_mut(&mut self, key: &SessionKey) -> Option<&mut Session> {
        self.host_mut(&key.host)?.sessions.get_mut(&key.id)
    }

    /// Every session with its key.
    pub fn sessions(&self) -> impl Iterator<Item = (SessionKey, &Session)> {
        self.hosts.iter().flat_map(|host| {
            host.sessions.iter().map(|(id, session)| (SessionKey { host: host.id.clone(), id: id.clone() }, session))
        })
    }

    /// The environment of this key; None: there is none.
    #[must_use]
    pub fn environment(&self, key: &EnvironmentKey) -> Option<&Environment> {
        self.host(&key.host)?.environments.get(&key.name)
    }

    /// Every environment with its key, by name and host.
    #[must_use]
    pub fn environments(&self) -> Vec<EnvironmentKey> {
        let of_host = |host: &Host| {
            let key = |name: &Arc<str>| EnvironmentKey { name: name.clone(), host: host.id.clone() };
            host.environments.keys().map(key).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = self.hosts.iter().flat_map(of_host).collect();
        // Stable: of one name, in the order of the hosts.
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// A pull request, open or closed.
    #[must_use]
    pub fn pull(&self, key: &PullKey) -> Option<&Pull> {
        let (host, place) = (self.host(&key.host)?, (key.repository.clone(), key.number));
        host.pulls.get(&place).or_else(|| host.closed.get(&place))
    }

    /// Every open pull request with its key, and where `closed` says so the closed ones that are known.
    pub fn pulls(&self, closed: bool) -> impl Iterator<Item = (PullKey, &Pull)> {
        self.hosts.iter().flat_map(move |host| {
            let key = move |(repository, number): &(Arc<str>, u64)| PullKey {
                host: host.id.clone(),
                repository: repository.clone(),
                number: *number,
            };
            let closed = host.closed.iter().filter(move |_| closed);
            host.pulls.iter().chain(closed).map(move |(place, pull)| (key(place), pull))
        })
    }

    /// The host of this identity; None: it is none of the console's.
    #[must_use]
    pub fn host(&self, id: &HostId) -> Option<&Host> {
        self.hosts.iter().find(|host| host.id == *id)
    }

    pub(crate) fn host_mut(&mut self, id: &HostId) -> Option<&mut Host> {
        self.hosts.iter_mut().find(|host| host.id == *id)
    }

    /// Name of a host for people.
    #[must_use]
    pub fn host_name(&self, host: &HostId) -> &str {
        self.host(host).map_or("?", Host::title)
    }

    /// Tells hosts apart that call themselves the same.
    pub(crate) fn name_hosts(&mut self) {
        let names: Vec<_> = self.hosts.iter().map(|host| (host.own_title().to_owned(), host.name.clone())).collect();
        for (host, label) in self.hosts.iter_mut().zip(told_apart(&names)) {
            host.label = label;
        }
    }
}

/// Names of things that are at these places, in order: where several have the same name, with what their places differ in.
#[must_use]
pub fn told_apart(all: &[(String, String)]) -> Vec<String> {
    let name = |(name, place): &(String, String)| {
        let others: Vec<_> = all.iter().filter(|(other, at)| other == name && at != place).map(|(_, at)| at).collect();
        if others.is_empty() { name.clone() } else { format!("{name} ({})", own_part(place, &others)) }
    };
    all.iter().map(name).collect()
}

/// The part of a path that none of these has at its place from the beginning or the end.
fn own_part<'a>(place: &'a str, others: &[&String]) -> std::borrow::Cow<'a, str> {
    let parts: Vec<&str> = place.split('/').collect();
    let common = |from_end: bool| {
        let same = |other: &&String| {
            let (mut mine, mut theirs): (Vec<_>, Vec<_>) = (parts.clone(), other.split('/').collect());
            if from_end {
                mine.reverse();
                theirs.reverse();
            }
            mine.iter().zip(&theirs).take_while(|(a, b)| a == b).count()
        };
        others.iter().map(same).min().unwrap_or(0)
    };
    let (head, tail) = (common(false), common(true));
    match parts.get(head..parts.len().saturating_sub(tail)) {
        Some(own) if !own.is_empty() => own.join("/").into(),
        _ => place.into(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&[("vm", "/a/hostd.sock")], &["vm"])]
    #[case(&[("vm", "/data/one/hostd.sock"), ("vm", "/data/two/hostd.sock")], &["vm (one)", "vm (two)"])]
    #[case(&[("vm", "/d/a/s"), ("box", "/d/b/s"), ("vm", "/d/c/s")], &["vm (a)", "box", "vm (c)"])]
    #[case(&[("vm", "/d/s"), ("vm", "/d/x/s")], &["vm (/d/s)", "vm (x)"])]
    fn names_tell_hosts_apart(#[case] hosts: &[(&str, &str)], #[case] expected: &[&str]) {
        let hosts: Vec<_> = hosts.iter().map(|(name, place)| ((*name).to_owned(), (*place).to_owned())).collect();
        assert_eq!(told_apart(&hosts), expected);
    }
}
