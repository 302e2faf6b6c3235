use std::{future::Future, io, time::Duration};

use bytes::Bytes;
use pilothouse_proto::guest::v1::{
    self as guest, TerminalOpen, TerminalRequest, guest_client::GuestClient, terminal_request::Request,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Channel};

use super::{
    files::Log,
    size::Size,
    terminal::{Input, Terminal},
};

/// Most requests that may be on their way to the guest.
const REQUESTS: usize = 16;
/// Longest input in one request, in bytes.
const INPUT_MAX: usize = 64 << 10;
/// Pause before a broken stream is opened again.
const PAUSE: Duration = Duration::from_millis(200);

/// Carries the terminal of one generation's agent between its guest and a [`Terminal`].
pub struct Pump {
    terminal: Terminal,
    log: Log,
    towards: Towards,
}

impl Pump {
    /// Begins with a new agent: the terminal takes input from now on, and expects the agent's output from its first byte.
    ///
    /// # Errors
    /// Where the folder of the terminal cannot be written.
    pub async fn begin(terminal: Terminal) -> io::Result<Self> {
        let mut log = Log::open(terminal.directory()).await?;
        let (input, sizes, first) = terminal.begin().await;
        log.append_own(first.as_ref()).await?;
        log.goes_on_at(0).await;
        Ok(Self { terminal, log, towards: Towards { input, sizes, pending: None } })
    }

    /// Goes on with an agent that is the same as before: its output goes on at `offset`.
    ///
    /// # Errors
    /// Where the folder of the terminal cannot be written.
    pub async fn go_on(terminal: Terminal, offset: u64) -> io::Result<Self> {
        let mut log = Log::open(terminal.directory()).await?;
        log.goes_on_at(offset).await;
        let (input, sizes) = terminal.go_on(offset).await;
        Ok(Self { terminal, log, towards: Towards { input, sizes, pending: None } })
    }

    /// Takes output that the guest sent ahead of the stream, which then goes on behind it.
    pub async fn take(&mut self, offset: u64, output: Bytes) {
        keep(&self.terminal, &mut self.log, offset, output).await;
    }

    /// Carries output and input until all output has come. Where the stream breaks, it is opened again at the offset reached,
    /// with the next `client`; None: there will be no more. `first` is dropped when the guest has opened the stream once, or has
    /// failed to.
    pub async fn run<F, C, D>(mut self, client: C, first: D)
    where
        C: Fn() -> F,
        F: Future<Output = Option<GuestClient<Channel>>>,
    {
        let mut first = Some(first);
        while let Some(client) = client().await {
            let open = || drop(first.take());
            let over = converse(&self.terminal, client, &mut self.towards, &mut self.log, open).await;
            first = None;
            match over {
                Ok(true) => return self.terminal.output_ended(),
                Ok(false) => tracing::debug!("the terminal's stream ended early"),
                Err(error) => tracing::debug!(%error, "the terminal's stream broke"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Input and sizes on their way to the guest.
struct Towards {
    input: mpsc::Receiver<Input>,
    sizes: watch::Receiver<Size>,
    /// Input that was taken from the queue, but not yet by a connection.
    pending: Option<Input>,
}

/// Carries output and input over one stream, and calls `open` when the guest has opened it; true: all output has come.
async fn converse(
    terminal: &Terminal,
    mut client: GuestClient<Channel>,
    towards: &mut Towards,
    log: &mut Log,
    open: impl FnOnce(),
) -> Result<bool, Status> {
    let (requests, outbound) = mpsc::channel(REQUESTS);
    let from = Request::Open(TerminalOpen { offset: terminal.offset() });
    let _ = requests.send(TerminalRequest { request: Some(from) }).await;
    let mut answers = client.terminal(ReceiverStream::new(outbound)).await?.into_inner();
    open();
    let receive = async {
        while let Some(answer) = answers.message().await? {
            keep(terminal, log, answer.offset, answer.output).await;
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

/// Shows and logs output that begins at `offset`, as far as it is new.
async fn keep(terminal: &Terminal, log: &mut Log, offset: u64, output: Bytes) {
    let new = terminal.feed(offset, output);
    let begins = terminal.offset().saturating_sub(new.len() as u64);
    if let Err(error) = log.append(begins, &new).await {
        tracing::warn!(%error, "terminal output was not logged");
    }
}

/// Sends sizes and input until the connection takes no more. A size goes before all input that is not under way yet, and only
/// the latest one.
async fn forward(towards: &mut Towards, requests: mpsc::Sender<TerminalRequest>) {
    // The agent may have been started with another size, or an earlier connection may have missed a change.
    towards.sizes.mark_changed();
    loop {
        if towards.pending.is_none() && !towards.wait().await {
            return;
        }
        let Ok(place) = requests.reserve().await else { return };
        match towards.sizes.has_changed() {
            Ok(true) => place.send(resize(*towards.sizes.borrow_and_update())),
            Ok(false) => place.send(towards.piece()),
            Err(_) => return,
        }
    }
}

impl Towards {
    /// Waits until there is a new size, or input is pending. False: there will be neither.
    async fn wait(&mut self) -> bool {
        tokio::select! {
            biased;
            changed = self.sizes.changed() => {
                self.sizes.mark_changed();
                changed.is_ok()
            }
            input = self.input.recv() => match input {
                Some(input) => {
                    self.pending = Some(input);
                    true
                }
                // No more input, but more output may come.
                None => std::future::pending().await,
            },
        }
    }

    /// The next piece of the pending input, as a request.
    fn piece(&mut self) -> TerminalRequest {
        let piece = match &mut self.pending {
            Some(pending) => pending.bytes.split_to(pending.bytes.len().min(INPUT_MAX)),
            None => Bytes::new(),
        };
        if let Some(done) = self.pending.take_if(|pending| pending.bytes.is_empty())
            && let Some(taken) = done.taken
        {
            let _ = taken.send(());
        }
        TerminalRequest { request: Some(Request::Input(piece)) }
    }
}

fn resize(size: Size) -> TerminalRequest {
    let size = guest::Size { columns: size.columns.into(), rows: size.rows.into() };
    TerminalRequest { request: Some(Request::Resize(size)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_size_goes_before_input_and_the_latest_alone() {
        let (typed, input) = mpsc::channel(64);
        let (resized, sizes) = watch::channel(Size::USUAL);
        for _ in 0..8 {
            typed.send(Input { bytes: vec![b'x'; 2 * INPUT_MAX].into(), taken: None }).await.unwrap();
        }
        let mut towards = Towards { input, sizes, pending: None };
        let (requests, mut sent) = mpsc::channel(2);
        let forwarding = tokio::spawn(async move { forward(&mut towards, requests).await });
        let mut next = async || sent.recv().await.unwrap().request.unwrap();
        assert_eq!(TerminalRequest { request: Some(next().await) }, resize(Size::USUAL));
        assert!(matches!(next().await, Request::Input(_)));
        for columns in 1..=9 {
            resized.send_replace(Size { columns, rows: 9 });
        }
        let mut before = 0;
        while let Request::Input(_) = next().await {
            before += 1;
        }
        assert!(before <= 3, "{before} pieces went before it");
        let mut rest = 0;
        while rest + before < 15 {
            assert!(matches!(next().await, Request::Input(bytes) if bytes.len() == INPUT_MAX));
            rest += 1;
        }
        forwarding.abort();
    }
}
