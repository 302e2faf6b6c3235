//! What the `session` command and the guest say to each other on the command's socket: one line of JSON each, and its bounds.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// Path of the socket, for every user.
pub const SOCKET: &str = "/run/pilothouse/session.sock";
/// Longest text of a status, in bytes.
pub const TEXT_MAX: usize = 4096;
/// Most choices of a status.
pub const CHOICES_MAX: usize = 16;
/// Longest choice of a status, in bytes.
pub const CHOICE_MAX: usize = 256;
/// Words for what an agent may say that it is doing.
pub const ACTIVITIES: [&str; 5] = ["working", "needs-input", "idle", "done", "failed"];

/// Words for what a hook may say that an agent is doing.
pub const STATES: [&str; 5] = ["idle", "working", "blocked", "error", "limited"];
/// Words for what an agent may need a person for.
pub const KINDS: [&str; 3] = ["permission", "question", "auth"];
/// Longest title of a status, in bytes.
pub const STATUS_TITLE_MAX: usize = 192;
/// Longest text, id of a conversation, and name of an event in a hook's report, in bytes.
const HOOK_MAX: (usize, usize, usize) = (1024, 128, 32);
/// Longest wait for the supervisor to take a request.
pub(crate) const WITHIN: Duration = Duration::from_secs(10);
/// Longest answer of the supervisor, in bytes.
const ANSWER_MAX: u64 = 2 << 20;

/// Words for what an agent may wait for.
pub const WAITS: [&str; 3] = ["checks", "review", "message"];
/// Longest wait that has an end, in seconds: a year.
pub const TIMEOUT_MAX: u64 = 365 * 24 * 3600;
/// Maximum length of a pull request's title in bytes.
const TITLE_MAX: usize = 256;
/// Maximum length of a pull request's description in bytes.
const BODY_MAX: usize = 16 << 10;
/// Longest name of a branch, in bytes.
const BRANCH_MAX: usize = 256;

/// A request of the `session` command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The agent says what it is doing.
    Status {
        /// Word for what the agent is doing; one of [`ACTIVITIES`].
        activity: String,
        /// What the agent says about it, in its own words.
        #[serde(default)]
        text: String,
        /// Answers that the agent offers to its question.
        #[serde(default)]
        choices: Vec<String>,
        /// What the agent needs a person for; one of [`KINDS`], or empty.
        #[serde(default)]
        kind: String,
        /// How much of it is done, 0 to 100.
        #[serde(default)]
        progress: Option<u8>,
        /// Title of what the agent is doing; may be empty.
        #[serde(default)]
        title: String,
    },
    /// A hook of the agent's program tells what the agent is doing.
    Hook(HookReport),
    /// The agent opens a pull request.
    OpenPull {
        /// Title of the pull request: one line.
        title: String,
        /// Description of the pull request; may be empty.
        #[serde(default)]
        body: String,
        /// Name of the head branch; empty: the only one that was pushed.
        #[serde(default)]
        branch: String,
        /// Name of the base branch; empty: the repository's default branch.
        #[serde(default)]
        base: String,
    },
    /// The agent waits for something; answered when it has come to pass.
    Wait {
        /// What the agent waits for; one of [`WAITS`].
        what: String,
        /// Seconds that the wait may last; 0: for ever.
        #[serde(default)]
        timeout: u64,
        /// Number of one of the session's pull requests; 0: the newest.
        #[serde(default)]
        pull: u64,
    },
}

/// What a hook of an agent's program says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct HookReport {
    /// Id of the conversation that it is said of; empty: the program does not tell.
    pub conversation: String,
    /// Whether that conversation begins here, and is the agent's own.
    pub begins: bool,
    /// Whether it counts only of a conversation whose begin was told.
    pub of_known: bool,
    /// Whether it counts only of the agent's own conversation, as far as that is known.
    pub of_main: bool,
    /// Whether it is no news where the same was said before.
    pub repeats: bool,
    /// Word of what the agent is doing; one of [`STATES`].
    pub state: String,
    /// What a blocked agent waits for; one of [`KINDS`], or empty.
    pub kind: String,
    /// What is said of it; one line.
    pub text: String,
    /// Name of the hook's event.
    pub event: String,
    /// When a limit ends, in milliseconds since the Unix epoch; 0: not known.
    pub until: i64,
}

impl HookReport {
    /// Checks whether the report is within its bounds.
    ///
    /// # Errors
    /// A text for people.
    pub fn check(&self) -> Result<(), String> {
        let (text, id, event) = HOOK_MAX;
        let named = STATES.contains(&self.state.as_str()) && is_kind(&self.kind);
        let bounded = self.text.len() <= text && self.conversation.len() <= id && self.event.len() <= event;
        if named && bounded { Ok(()) } else { Err("it is no report of a hook, or a longer one than is taken".into()) }
    }
}

fn is_kind(kind: &str) -> bool {
    kind.is_empty() || KINDS.contains(&kind)
}

/// Sends a request to the socket and returns its answer.
///
/// # Errors
/// Where nobody answers in time, or not in this protocol.
pub(crate) fn ask(socket: &Path, request: &Request, within: Option<Duration>) -> io::Result<Response> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(within)?;
    stream.set_write_timeout(Some(within.unwrap_or(WITHIN)))?;
    let mut line = serde_json::to_string(request)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(ANSWER_MAX)).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

/// The answer to a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// Why the request was refused, in words for a person; None: it was not.
    pub error: Option<String>,
    /// The host's answer; its shape is the question's.
    #[serde(default)]
    pub answer: Option<serde_json::Value>,
}

impl Request {
    /// Checks whether the request is within its bounds.
    ///
    /// # Errors
    /// A text for people.
    pub fn check(&self) -> Result<(), String> {
        let (activity, text, choices) = match self {
            Self::Status { kind, progress, title, .. }
                if !is_kind(kind)
                    || progress.is_some_and(|progress| progress > 100)
                    || title.len() > STATUS_TITLE_MAX =>
            {
                return Err(format!(
                    "a kind is one of {}, a progress 0 to 100, and a title has at most {STATUS_TITLE_MAX} bytes",
                    KINDS.join(", ")
                ));
            }
            Self::Status { activity, text, choices, .. } => (activity, text, choices),
            Self::Hook(report) => return report.check(),
            Self::OpenPull { title, body, branch, base } => return check_pull(title, body, [branch, base]),
            Self::Wait { what, timeout, pull } => return check_wait(what, *timeout, *pull),
        };
        if !ACTIVITIES.contains(&activity.as_str()) {
            Err(format!("{activity:?} is no activity: say one of {}", ACTIVITIES.join(", ")))
        } else if text.len() > TEXT_MAX {
            Err(format!("the text has {} bytes; at most {TEXT_MAX} are taken", text.len()))
        } else if choices.len() > CHOICES_MAX {
            Err(format!("{} choices; at most {CHOICES_MAX} are taken", choices.len()))
        } else if choices.iter().any(|choice| choice.is_empty() || choice.len() > CHOICE_MAX) {
            Err(format!("a choice has 1 to {CHOICE_MAX} bytes"))
        } else {
            Ok(())
        }
    }
}

fn check_wait(what: &str, timeout: u64, pull: u64) -> Result<(), String> {
    if !WAITS.contains(&what) {
        Err(format!("nobody can wait for {what:?}: say one of {}", WAITS.join(", ")))
    } else if timeout > TIMEOUT_MAX {
        Err(format!("a timeout has at most {TIMEOUT_MAX} seconds"))
    } else if what == "message" && pull > 0 {
        Err("a message is of no pull request; --pr goes with `session wait checks` and `session wait review`".into())
    } else {
        Ok(())
    }
}

/// Whether a pull request's words are within their bounds.
fn check_pull(title: &str, body: &str, branches: [&str; 2]) -> Result<(), String> {
    if title.trim().is_empty() {
        Err("the title is empty".into())
    } else if title.len() > TITLE_MAX || body.len() > BODY_MAX {
        Err(format!("the title has at most {TITLE_MAX} bytes, and the body {BODY_MAX}"))
    } else if branches.iter().any(|branch| branch.len() > BRANCH_MAX) {
        Err(format!("a branch's name has at most {BRANCH_MAX} bytes"))
    } else {
        Ok(())
    }
}

/// A response that says why a request was refused.
pub(crate) fn refused(why: String) -> Response {
    Response { error: Some(why), answer: None }
}
