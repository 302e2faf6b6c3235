//! One CGI process: the request's body streams in, its answer streams out, and it ends when nobody wants it any more.

use std::{io, process::Stdio, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{future::BoxFuture, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    Response, StatusCode,
    body::{Frame, Incoming},
    header::{HeaderName, HeaderValue},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    git_permits::Permit,
    response::{self, Body},
};
use crate::process::{Group, bounded};

/// Longest header of the process's answer, in bytes.
const HEAD_BYTES: u64 = 16 * 1024;
/// Longest wait for the header: the process may want the whole request first.
const HEAD_DEADLINE: Duration = Duration::from_secs(900);
/// Longest wait for the next piece of the request: who stalls must not keep others from their permits.
const BODY_DEADLINE: Duration = Duration::from_secs(120);
/// Most bytes that are read of the rest of a request that the process did not want. A client that is cut off while it sends
/// shows that, and not the answer.
const REST_BYTES: usize = 8 << 30;
/// Most bytes that are kept of what the process says on stderr.
const STDERR_BYTES: usize = 4096;

/// What git says where a push is longer than it may be. It ends a line and a packet.
const TOO_LONG: &[u8] = b"fatal: pack exceeds maximum allowed size";

/// Runs a CGI command with bounds to its memory. `permit` is held until it has ended. `caller` stands in the log. Where git says
/// that a push is too long, `too_long` is said too. `then` is done after it has ended, and before its answer does: whoever
/// has the whole answer finds it done.
pub(super) async fn run(
    command: &Command,
    body: Incoming,
    caller: &str,
    then: AfterExit,
    permit: Permit,
    too_long: Option<String>,
) -> Response<Body> {
    match start(bounded(command), body, caller, then, permit, too_long).await {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(caller, %error, "git http-backend");
            response::text(StatusCode::BAD_GATEWAY, &format!("pilothouse: git on the host failed: {error}"))
        }
    }
}

async fn start(
    mut command: Command,
    body: Incoming,
    caller: &str,
    then: AfterExit,
    permit: Permit,
    too_long: Option<String>,
) -> io::Result<Response<Body>> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (group, pipes) = Group::spawn(&mut command)?;
    let (Some(stdin), Some(stdout), Some(stderr)) = (pipes.stdin, pipes.stdout, pipes.stderr) else {
        return Err(io::Error::other("its pipes are missing"));
    };
    let process = Process {
        group,
        then,
        permit: Some(permit),
        too_long,
        feed: AbortOnDropHandle::new(tokio::spawn(feed(stdin, body))),
        _listen: AbortOnDropHandle::new(tokio::spawn(listen(stderr, caller.to_owned()))),
    };
    let mut stdout = BufReader::new(stdout);
    let mut response = timeout(HEAD_DEADLINE, head(&mut stdout)).await.map_err(|_| io::ErrorKind::TimedOut)??;
    *response.body_mut() = StreamBody::new(stream::unfold(Some((stdout, process)), chunk)).boxed_unsync();
    Ok(response)
}

/// The next piece of the answer; at its end, the process is waited for.
async fn chunk(
    state: Option<(BufReader<ChildStdout>, Process)>,
) -> Option<(io::Result<Frame<Bytes>>, Option<(BufReader<ChildStdout>, Process)>)> {
    let (mut stdout, mut process) = state?;
    let mut bytes = BytesMut::with_capacity(32 * 1024);
    match stdout.read_buf(&mut bytes).await {
        Ok(0) => {
            process.group.finish().await;
            process.then.take().await;
            process.permit = None;
            // What is left of the request is read first. Its end, however it comes, is all that matters.
            let _ = (&mut process.feed).await;
            None
        }
        Ok(_) => {
            if let Some(text) = &process.too_long {
                say(&mut bytes, text);
            }
            Some((Ok(Frame::data(bytes.freeze())), Some((stdout, process))))
        }
        Err(error) => Some((Err(error), None)),
    }
}

/// Adds a line to what git has said, as a packet of the channel that clients show.
fn say(bytes: &mut BytesMut, text: &str) {
    let Some(at) = bytes.windows(TOO_LONG.len()).position(|said| said == TOO_LONG) else { return };
    let Some(end) = bytes[at..].iter().position(|&byte| byte == b'\n') else { return };
    let rest = bytes.split_off(at + end + 1);
    bytes.extend_from_slice(format!("{:04x}\u{2}{text}\n", text.len() + 6).as_bytes());
    bytes.unsplit(rest);
}

/// Reads the header: lines of `Name: value` up to an empty one.
pub(super) async fn head(stdout: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Response<Body>> {
    let broken = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut response = response::empty();
    let mut stdout = stdout.take(HEAD_BYTES);
    loop {
        let mut line = vec![];
        if stdout.read_until(b'\n', &mut line).await? == 0 {
            return Err(broken("its answer has no header, or too long a one"));
        }
        let line = std::str::from_utf8(&line).map_err(|_| broken("its header is not text"))?.trim_end();
        if line.is_empty() {
            return Ok(response);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| broken("its header has a line without a colon"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or_default();
            *response.status_mut() = code.parse().map_err(|_| broken("its status is not a number"))?;
            continue;
        }
        let name = HeaderName::try_from(name).map_err(|_| broken("its header has a bad name"))?;
        let value = HeaderValue::try_from(value).map_err(|_| broken("its header has a bad value"))?;
        response.headers_mut().append(name, value);
    }
}

/// Copies the request's body into the process, no faster than it reads; what it does not want is thrown away.
async fn feed(stdin: ChildStdin, mut body: Incoming) {
    let (mut stdin, mut rest) = (Some(stdin), 0);
    while rest <= REST_BYTES {
        let Ok(Some(Ok(frame))) = timeout(BODY_DEADLINE, body.frame()).await else { return };
        let Ok(data) = frame.into_data() else { continue };
        let Some(wants) = &mut stdin else {
            rest += data.len();
            continue;
        };
        if wants.write_all(&data).await.is_err() {
            stdin = None;
        }
    }
}

/// Keeps the process's error output moving, and the first of it for the log.
async fn listen(mut stderr: ChildStderr, caller: String) {
    let mut said = vec![];
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
        let room = STDERR_BYTES - said.len();
        said.extend_from_slice(&buffer[..length.min(room)]);
    }
    let said = hostd_core::text::clean(&String::from_utf8_lossy(&said), STDERR_BYTES);
    if !said.trim().is_empty() {
        tracing::debug!(caller, "git http-backend: {}", said.trim());
    }
}

/// The process, with what keeps its pipes moving.
struct Process {
    group: Group,
    then: AfterExit,
    permit: Option<Permit>,
    too_long: Option<String>,
    feed: AbortOnDropHandle<()>,
    _listen: AbortOnDropHandle<()>,
}

/// What is to be done after the process. It is done even when its process was given up: that may have done its work.
pub(super) struct AfterExit(Option<BoxFuture<'static, ()>>);

impl AfterExit {
    /// Nothing is to be done.
    pub(super) fn nothing() -> Self {
        Self(None)
    }

    pub(super) fn new(then: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(Box::pin(then)))
    }

    async fn take(&mut self) {
        if let Some(then) = &mut self.0 {
            then.await;
            self.0 = None;
        }
    }
}

impl Drop for AfterExit {
    fn drop(&mut self) {
        if let (Some(then), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(then);
        }
    }
}
