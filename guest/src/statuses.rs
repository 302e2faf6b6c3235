//! The socket that `session status` speaks to: one line of JSON in, one line out.

use std::{convert::Infallible, fs, io, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use pilothouse_proto::guest::v1::{Status, event::Event};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::events::Events;

/// Where it is, for every user.
pub const SOCKET: &str = "/run/pilothouse/session.sock";
/// Longest text, in bytes.
pub const TEXT_MAX: usize = 4096;
/// Most choices.
pub const CHOICES_MAX: usize = 16;
/// Longest choice, in bytes.
pub const CHOICE_MAX: usize = 256;
/// What an agent may say it is doing.
pub const ACTIVITIES: [&str; 5] = ["working", "needs-input", "idle", "done", "failed"];

/// Longest line: every bound above, and JSON's escapes.
const LINE_MAX: u64 = 64 << 10;
/// Connections at a time; more wait.
const CONNECTIONS_MAX: usize = 16;
/// How long one may take.
const WITHIN: Duration = Duration::from_secs(5);
/// After an accept that failed, e.g. for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The agent says what it is doing.
    Status {
        /// One of [`ACTIVITIES`].
        activity: String,
        /// In its words.
        #[serde(default)]
        text: String,
        /// Answers it offers.
        #[serde(default)]
        choices: Vec<String>,
    },
}

/// What is answered: nothing, or why not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// For people.
    pub error: Option<String>,
}

impl Request {
    /// Whether it is within its bounds.
    ///
    /// # Errors
    /// A text for people.
    pub fn check(&self) -> Result<(), String> {
        let Self::Status { activity, text, choices } = self;
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

/// Listens at `socket` for every user of the guest, for ever.
///
/// # Errors
/// The socket cannot be made.
pub async fn run(socket: &Path, events: Events) -> io::Result<Infallible> {
    if let Some(folder) = socket.parent() {
        fs::create_dir_all(folder)?;
    }
    let _ = fs::remove_file(socket);
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o666))?;
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = free.clone().acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Err(_) => sleep(PAUSE).await,
            Ok((stream, _)) => {
                let events = events.clone();
                tokio::spawn(async move {
                    let _ = timeout(WITHIN, answer(stream, &events)).await;
                    drop(permit);
                });
            }
        }
    }
}

async fn answer(stream: UnixStream, events: &Events) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(LINE_MAX)).read_line(&mut line).await?;
    let error = take(&line, events).err();
    let mut answer = serde_json::to_string(&Response { error })?;
    answer.push('\n');
    writer.write_all(answer.as_bytes()).await
}

fn take(line: &str, events: &Events) -> Result<(), String> {
    let request: Request = serde_json::from_str(line).map_err(|error| format!("not understood: {error}"))?;
    request.check()?;
    let Request::Status { activity, text, choices } = request;
    events.push(Event::Status(Status { activity, text, choices }));
    Ok(())
}
