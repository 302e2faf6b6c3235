//! `forward`: brings ports of a session's VM onto this machine.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::BytesMut;
use pilothouse_proto::{
    half::Half,
    hostd::v1::{
        ForwardRequest, ForwardStart, forward_request::Request, forward_response::Response,
        sessions_client::SessionsClient,
    },
};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::sleep,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Channel};

use super::{
    args::Forward,
    failure::{Failure, Outcome},
    fleet::{Fleet, Host},
    format::plain,
    output,
    terminal::Signals,
};

/// Most connections at a time; more wait.
const CONNECTIONS_MAX: usize = 128;
/// Most bytes that are read at once.
const CHUNK: usize = 64 << 10;
/// Most parts that may be under way, of at most [`CHUNK`] bytes each.
const UNDER_WAY: usize = 4;
/// Pause after an accept that failed, e.g. for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);
/// Most different failures of connections that are told.
const TOLD_MAX: usize = 64;

/// Which port of the session comes to which of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    /// 0: any that is free.
    pub(crate) local: u16,
    pub(crate) remote: u16,
}

impl std::str::FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        let (local, remote) = match text.split_once(':') {
            None => (port(text), port(text)),
            Some(("", remote)) => (Some(0), port(remote)),
            Some((local, remote)) => (port(local), port(remote)),
        };
        let ports = local.zip(remote).map(|(local, remote)| Self { local, remote });
        ports.ok_or_else(|| "say PORT, LOCAL:PORT or :PORT, with numbers from 1 to 65535".into())
    }
}

/// A port that is listened on, as `--json` prints it.
#[derive(Serialize)]
struct Listening<'a> {
    /// Id of the session.
    id: &'a str,
    /// Address and port on this machine.
    local: SocketAddr,
    /// Port in the session.
    port: u16,
}

/// Runs `forward` until a signal ends it.
pub(crate) async fn run(fleet: &Fleet, options: Forward) -> Outcome {
    let local = |error: io::Error| Failure::failed(format!("cannot catch signals: {error}"));
    let found = fleet.session(&options.id).await?;
    let mut signals = Signals::catch().map_err(local)?;
    let mut listening = Vec::new();
    for ports in options.ports {
        let listener = listen(options.bind, ports).await?;
        let at = listener.local_addr().map_err(|error| Failure::failed(error.to_string()))?;
        listening.push((listener, at, ports.remote));
    }
    let to = To { id: found.it.id, sessions: found.host.sessions(), free: Arc::new(Semaphore::new(CONNECTIONS_MAX)) };
    for (_, local, port) in &listening {
        match options.json {
            true => output::print_line(&Listening { id: &to.id, local: *local, port: *port })?,
            false => output::print(&format!("http://{local} is port {port} of {}\n", plain(&found.it.slug)))?,
        }
    }
    if !options.json && output::is_terminal() {
        output::note("Ctrl-C ends it");
    }
    let (told, host) = (Told::default(), found.host);
    let serving = listening.into_iter().map(|(listener, _, port)| serve(listener, port, &to, host, &told));
    tokio::select! {
        _ = futures::future::join_all(serving) => Ok(0),
        _ = signals.next() => Ok(0),
    }
}

async fn listen(bind: IpAddr, ports: Ports) -> Result<TcpListener, Failure> {
    TcpListener::bind((bind, ports.local)).await.map_err(|error| {
        let failure = Failure::failed(format!("cannot listen on {}: {error}", SocketAddr::new(bind, ports.local)));
        failure.hint(format!("`:{0}` takes a port that is free, `LOCAL:{0}` one that you name", ports.remote))
    })
}

/// Where connections go.
#[derive(Clone)]
struct To {
    id: String,
    sessions: SessionsClient<Channel>,
    free: Arc<Semaphore>,
}

/// Failures of connections that were told already: one that repeats, as for each file of a page, is told once.
#[derive(Default)]
struct Told(Mutex<HashSet<String>>);

impl Told {
    fn tell(&self, failure: &Failure) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < TOLD_MAX && told.insert(failure.message.clone()) {
            output::note(&format!("error: {}", failure.message));
            failure.hints.iter().for_each(|hint| output::note(&format!("hint: {hint}")));
        }
    }
}

/// Carries each connection that comes, for ever.
async fn serve(listener: TcpListener, port: u16, to: &To, host: &Host, told: &Told) {
    let mut carried = JoinSet::new();
    loop {
        tokio::select! {
            accepted = accept(&listener, to) => match accepted {
                Some((stream, permit)) => {
                    let to = to.clone();
                    carried.spawn(async move {
                        let _permit = permit;
                        carry(stream, to, port).await
                    });
                }
                None => sleep(PAUSE).await,
            },
            Some(Ok(Err(status))) = carried.join_next(), if !carried.is_empty() => told.tell(&host.failure(&status)),
        }
    }
}

async fn accept(listener: &TcpListener, to: &To) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = to.free.clone().acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    Some((stream, permit))
}

/// Carries one connection. Each direction ends by itself; what breaks at one end is reset at the other.
async fn carry(stream: TcpStream, mut to: To, port: u16) -> Result<(), Status> {
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let mut local = Half::new(writer);
    let (requests, receiver) = mpsc::channel(UNDER_WAY);
    let start = ForwardStart { id: to.id, port: port.into() };
    // The channel is empty: there is room.
    let _ = requests.try_send(ForwardRequest { request: Some(Request::Start(start)) });
    let mut answers = to.sessions.forward(ReceiverStream::new(receiver)).await?.into_inner();
    // Strong, it would keep the requests from their end.
    let breaking = requests.downgrade();
    let mut sending = JoinSet::new();
    sending.spawn(send(reader, requests));
    while let Some(answer) = answers.message().await? {
        match answer.response {
            Some(Response::Data(bytes)) => {
                if local.write_all(&bytes).await.is_err() {
                    if let Some(requests) = breaking.upgrade() {
                        let _ = requests.send(ForwardRequest { request: Some(Request::Reset(true)) }).await;
                    }
                    return Ok(());
                }
            }
            Some(Response::End(_)) => local.end().await,
            Some(Response::Connected(_)) | None => {}
        }
    }
    Ok(())
}

/// Copies bytes of a program here to the session, and how they end.
async fn send(mut reader: OwnedReadHalf, requests: mpsc::Sender<ForwardRequest>) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        let request = match (&mut reader).take(CHUNK as u64).read_buf(&mut buffer).await {
            Ok(0) => return,
            Ok(_) => Request::Data(buffer.split().freeze()),
            Err(_) => Request::Reset(true),
        };
        let over = request == Request::Reset(true);
        if requests.send(ForwardRequest { request: Some(request) }).await.is_err() || over {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("3000", Some((3000, 3000)))]
    #[case("8080:3000", Some((8080, 3000)))]
    #[case(":3000", Some((0, 3000)))]
    #[case("0", None)]
    #[case("0:3000", None)]
    #[case("3000:", None)]
    #[case("65536", None)]
    #[case("web", None)]
    #[case("1:2:3", None)]
    fn ports_are_named_as_elsewhere(#[case] text: &str, #[case] want: Option<(u16, u16)>) {
        let ports = text.parse::<Ports>().ok();
        assert_eq!(ports.map(|ports| (ports.local, ports.remote)), want);
    }
}
