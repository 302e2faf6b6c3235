//! The socket that the `session` command speaks to. A status is an event of the guest, a wait sleeps in the guest until it is
//! answered, and everything else is asked of the host.

use std::{convert::Infallible, fs, io, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};

use pilothouse_proto::guest::v1::{Status, event::Event};
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, unix::OwnedWriteHalf},
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{
    conversations::Conversations,
    events::Events,
    host_requests,
    session_protocol::{Request, Response, refused},
    tunnel::Gateway,
    waits::Waits,
};

/// Longest line of a request, in bytes: every bound above, and JSON's escapes.
const LINE_MAX: u64 = 64 << 10;
/// Most connections at a time; more wait.
const CONNECTIONS_MAX: usize = 16;
/// Most questions to the host at a time; further ones are refused.
const REQUESTS_MAX: usize = 16;
/// Longest time for a status, or the line of a question.
const WITHIN: Duration = Duration::from_secs(5);
/// Pause after an accept that failed, e.g. for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

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
    let asking = Arc::new(Semaphore::new(REQUESTS_MAX));
    let conversations = Conversations::default();
    loop {
        let permit = free.clone().acquire_owned().await.map_err(io::Error::other)?;
        match listener.accept().await {
            Err(_) => sleep(PAUSE).await,
            Ok((stream, _)) => {
                let (events, waits, gateway, asking) = (events.clone(), waits.clone(), gateway.clone(), asking.clone());
                let conversations = conversations.clone();
                tokio::spawn(async move {
                    let (reader, mut writer) = stream.into_split();
                    let mut reader = BufReader::new(reader.take(LINE_MAX));
                    let taken = timeout(WITHIN, read(&mut reader)).await;
                    // A question may wait for long, and must not keep statuses out.
                    drop(permit);
                    let Ok(Ok(request)) = taken else { return };
                    let response = match request {
                        Ok(Request::Status { activity, text, choices, kind, progress, title }) => {
                            let progress = progress.map(u32::from);
                            events.push(Event::Status(Status { activity, text, choices, kind, progress, title }));
                            Response::default()
                        }
                        Ok(Request::Hook(report)) => {
                            if let Some(report) = conversations.take(report) {
                                events.push_report(report);
                            }
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
                                response = host_requests::ask(&gateway, question) => response,
                                () = hung_up(&mut reader) => return,
                            },
                            Err(_) => refused(format!("{REQUESTS_MAX} questions wait for answers already; end some")),
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
