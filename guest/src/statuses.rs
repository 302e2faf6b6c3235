//! The socket that `session` speaks to: one line of JSON in, one line out. A status is an event of the guest; everything else
//! is asked of the host.

use std::{convert::Infallible, fs, io, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use pilothouse_proto::guest::v1::{Status, event::Event};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, unix::OwnedWriteHalf},
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{asks, events::Events, tunnel::Gateway, waits::Waits};

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

/// Words for what an agent may wait for.
pub const WAITS: [&str; 3] = ["checks", "review", "message"];
/// Longest wait that has an end, in seconds: a year.
pub const TIMEOUT_MAX: u64 = 365 * 24 * 3600;

/// Longest line of a request, in bytes: every bound above, and JSON's escapes.
const LINE_MAX: u64 = 64 << 10;
/// Most connections at a time; more wait.
const CONNECTIONS_MAX: usize = 16;
/// Most questions to the host at a time; further ones are refused.
const ASKS_MAX: usize = 16;
/// Longest time for a status, or the line of a question.
const WITHIN: Duration = Duration::from_secs(5);
/// Pause after an accept that failed, e.g. for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

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
    },
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
            Self::Status { activity, text, choices } => (activity, text, choices),
            Self::OpenPull { title, body, branch, base } => return asks::check(title, body, [branch, base]),
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

/// Listens at `socket` for every user of the guest, for ever.
///
/// # Errors
/// The socket cannot be made.
pub async fn run(socket: &Path, events: Events, waits: Waits, gateway: Gateway) -> io::Result<Infallible> {
    if let Some(folder) = socket.parent() {
        fs::create_dir_all(folder)?;
    }
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o666))?;
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let asking = Arc::new(Semaphore::new(ASKS_MAX));
    loop {
        let permit = free.clone().acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Err(_) => sleep(PAUSE).await,
            Ok((stream, _)) => {
                let (events, waits, gateway, asking) = (events.clone(), waits.clone(), gateway.clone(), asking.clone());
                tokio::spawn(async move {
                    let (reader, mut writer) = stream.into_split();
                    let mut reader = BufReader::new(reader.take(LINE_MAX));
                    let taken = timeout(WITHIN, read(&mut reader)).await;
                    // A question may wait for long, and must not keep statuses out.
                    drop(permit);
                    let Ok(Ok(request)) = taken else { return };
                    let response = match request {
                        Ok(Request::Status { activity, text, choices }) => {
                            events.push(Event::Status(Status { activity, text, choices }));
                            Response::default()
                        }
                        Ok(Request::Wait { what, timeout, pull }) => match waits.begin(what, pull, timeout) {
                            Ok(mut waiting) => tokio::select! {
                                answer = waiting.answer() => waited(answer),
                                () = hung_up(&mut reader) => return,
                            },
                            Err(why) => refused(why),
                        },
                        Ok(question) => match asking.try_acquire_owned() {
                            // Whoever hangs up wants no answer any more.
                            Ok(_place) => tokio::select! {
                                response = asks::ask(&gateway, question) => response,
                                () = hung_up(&mut reader) => return,
                            },
                            Err(_) => refused(format!("{ASKS_MAX} questions wait for answers already; end some")),
                        },
                        Err(why) => refused(why),
                    };
                    let _ = timeout(WITHIN, answer(&mut writer, &response)).await;
                });
            }
        }
    }
}

/// Reads a request; the inner error says why it is none.
#[doc(hidden)]
pub async fn read(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Result<Request, String>> {
    let mut line = String::new();
    reader.read_line(&mut line).await?;
    let request = serde_json::from_str(&line).map_err(|error| format!("not understood: {error}"));
    Ok(request.and_then(|request: Request| request.check().map(|()| request)))
}

/// Waits until nobody is at the other end.
async fn hung_up(reader: &mut (impl AsyncBufRead + Unpin)) {
    let mut more = [0; 64];
    while let Ok(1..) = reader.read(&mut more).await {}
}

async fn answer(writer: &mut OwnedWriteHalf, response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_string(response)?;
    line.push('\n');
    writer.write_all(line.as_bytes()).await
}

fn waited(answer: Option<String>) -> Response {
    let answer: Option<serde_json::Value> = answer.and_then(|answer| serde_json::from_str(&answer).ok());
    match answer {
        Some(answer) if answer["answer"] == "refused" => refused(answer["why"].as_str().unwrap_or("refused").into()),
        Some(answer) => Response { error: None, answer: Some(answer) },
        None => refused("the host answered something that this guest does not know".into()),
    }
}

pub(crate) fn refused(why: String) -> Response {
    Response { error: Some(why), answer: None }
}
