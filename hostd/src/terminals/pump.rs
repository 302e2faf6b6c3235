use std::{future::Future, io, time::Duration};

use bytes::Bytes;
use pilothouse_proto::guest::v1::{
    self as guest, TerminalOpen, TerminalRequest, guest_client::GuestClient, terminal_request::Request,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Channel};

use super::{Size, Terminal, files::Log, terminal::Input};

/// Requests on their way to the guest.
const REQUESTS: usize = 16;
/// Longest input in one request.
const INPUT_MAX: usize = 64 << 10;
/// Before a broken stream is opened again.
const PAUSE: Duration = Duration::from_millis(200);

/// Carries the terminal of one generation's agent between its guest and a [`Terminal`].
pub struct Pump {
    terminal: Terminal,
    log: Log,
    towards: Towards,
}

impl Pump {
    /// The terminal takes input from now on, and expects a new agent's output from its first byte.
    ///
    /// # Errors
    /// Where the folder of the terminal cannot be written.
    pub async fn begin(terminal: Terminal) -> io::Result<Self> {
        let mut log = Log::open(terminal.directory()).await?;
        let (input, sizes, first) = terminal.begin().await;
        log.append(first).await?;
        Ok(Self { terminal, log, towards: Towards { input, sizes, pending: None } })
    }

    /// The agent is the same as before: its output goes on at `offset`.
    ///
    /// # Errors
    /// Where the folder of the terminal cannot be written.
    pub async fn go_on(terminal: Terminal, offset: u64) -> io::Result<Self> {
        let log = Log::open(terminal.directory()).await?;
        let (input, sizes) = terminal.go_on(offset).await;
        Ok(Self { terminal, log, towards: Towards { input, sizes, pending: None } })
    }

    /// Goes on until all output has come. Where the stream breaks, it is opened again at the offset reached, with the next
    /// `client`; None: there will be no more.
    pub async fn run<F, C>(mut self, client: C)
    where
        C: Fn() -> F,
        F: Future<Output = Option<GuestClient<Channel>>>,
    {
        while let Some(client) = client().await {
            match converse(&self.terminal, client, &mut self.towards, &mut self.log).await {
                Ok(true) => return self.terminal.output_ended(),
                Ok(false) => tracing::debug!("the terminal's stream ended early"),
                Err(error) => tracing::debug!(%error, "the terminal's stream broke"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What goes to the guest.
struct Towards {
    input: mpsc::Receiver<Input>,
    sizes: watch::Receiver<Size>,
    /// Taken from the queue, but not yet by a connection.
    pending: Option<Input>,
}

/// True: all output has come.
async fn converse(
    terminal: &Terminal,
    mut client: GuestClient<Channel>,
    towards: &mut Towards,
    log: &mut Log,
) -> Result<bool, Status> {
    let (requests, outbound) = mpsc::channel(REQUESTS);
    let open = Request::Open(TerminalOpen { offset: terminal.offset() });
    let _ = requests.send(TerminalRequest { request: Some(open) }).await;
    let mut answers = client.terminal(ReceiverStream::new(outbound)).await?.into_inner();
    let receive = async {
        while let Some(answer) = answers.message().await? {
            let new = terminal.feed(answer.offset, answer.output);
            if let Err(error) = log.append(&new).await {
                tracing::warn!(%error, "terminal output was not logged");
            }
            if answer.end {
                return Ok(true);
            }
        }
        Ok(false)
    };
    tokio::select! {
        received = receive => received,
        () = forward(towards, requests) => Ok(false),
    }
}

/// Ends when the connection takes no more.
async fn forward(towards: &mut Towards, requests: mpsc::Sender<TerminalRequest>) {
    // The agent may have been started with another size, or an earlier connection may have missed a change.
    towards.sizes.mark_changed();
    loop {
        if let Some(Input { bytes, taken }) = towards.pending.take() {
            for piece in pieces(&bytes) {
                let request = TerminalRequest { request: Some(Request::Input(piece)) };
                if requests.send(request).await.is_err() {
                    towards.pending = Some(Input { bytes, taken });
                    return;
                }
            }
            if let Some(taken) = taken {
                let _ = taken.send(());
            }
        }
        tokio::select! {
            biased;
            changed = towards.sizes.changed() => {
                let size = *towards.sizes.borrow_and_update();
                if changed.is_err() || requests.send(resize(size)).await.is_err() {
                    return;
                }
            }
            input = towards.input.recv() => match input {
                Some(input) => towards.pending = Some(input),
                // No more input, but more output may come.
                None => std::future::pending().await,
            },
        }
    }
}

fn resize(size: Size) -> TerminalRequest {
    let size = guest::Size { columns: size.columns.into(), rows: size.rows.into() };
    TerminalRequest { request: Some(Request::Resize(size)) }
}

fn pieces(bytes: &Bytes) -> impl Iterator<Item = Bytes> + use<> {
    let bytes = bytes.clone();
    (0..bytes.len()).step_by(INPUT_MAX).map(move |from| bytes.slice(from..bytes.len().min(from + INPUT_MAX)))
}
