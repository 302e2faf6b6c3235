use std::sync::Arc;

use bytes::BytesMut;
use futures::{Stream, StreamExt as _, stream};
use pilothouse_proto::hostd::v1::{AttachRequest, AttachResponse, attach_request::Request as Part};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Status, Streaming};

use super::{
    Api, convert,
    principal::{actor, owner},
    status::invalid,
    streams::{Answers, first, until_closing},
};
use crate::terminals::{AttachOptions, Shown, Viewer};

/// Most rows of history that come with a screen.
const HISTORY_MAX: u32 = 10_000;
/// Most bytes of input that may wait for the agent; then no more is read of the stream, sizes included.
const WAITING_MAX: usize = 1 << 20;

/// A live terminal: what the viewer is shown, while a task of its own takes what it sends.
pub(super) async fn attach(
    api: &Api,
    request: Request<Streaming<AttachRequest>>,
) -> Result<Answers<AttachResponse>, Status> {
    let (name, actor) = (owner(&request), actor(&request));
    let mut requests = request.into_inner();
    let Some(Part::Open(open)) = first(&mut requests).await?.request else {
        return Err(invalid("the first message of Attach must be `open`"));
    };
    let terminal = api.fleet.terminal(&open.id)?;
    let observe = open.observe || open.preview;
    if !observe {
        api.fleet.by(actor).wake(&open.id).await?;
    }
    let history = usize::try_from(open.scrollback.min(HISTORY_MAX)).unwrap_or(0);
    let (preview, answers, size) = (open.preview, open.answers, open.size.map(convert::size));
    let wish = AttachOptions { name, observe, preview, size, history, answers };
    let viewer = Arc::new(terminal.attach(wish).await);
    let incoming = AbortOnDropHandle::new(tokio::spawn(take(viewer.clone(), requests)));
    let shown = stream::unfold(Some((viewer, Some(incoming))), |attached| async move {
        let (viewer, mut incoming) = attached?;
        let shown = loop {
            tokio::select! {
                shown = viewer.next() => break shown,
                left = taken(&mut incoming) => match left {
                    true => return None,
                    false => incoming = None,
                },
            }
        };
        let more = (!matches!(shown, Shown::Ended(_))).then_some((viewer, incoming));
        Some((Ok(convert::shown(shown)), more))
    });
    Ok(until_closing(shown, &api.closing))
}

/// Waits for the end of what the client sends; returns whether the client has left.
async fn taken(incoming: &mut Option<AbortOnDropHandle<bool>>) -> bool {
    match incoming {
        Some(incoming) => incoming.await.unwrap_or(false),
        None => std::future::pending().await,
    }
}

/// Takes the client's messages until it leaves (true), or ends its half and looks on from then (false). Where the agent reads
/// nothing, what is typed waits, and not what comes after it.
async fn take(viewer: Arc<Viewer>, mut requests: impl Stream<Item = Result<AttachRequest, Status>> + Unpin) -> bool {
    let mut waiting = BytesMut::new();
    let leaves = loop {
        tokio::select! {
            biased;
            message = requests.next(), if waiting.len() < WAITING_MAX => {
                let Some(Ok(AttachRequest { request: Some(part) })) = message else { break false };
                match part {
                    Part::Input(bytes) if viewer.writes() => waiting.extend_from_slice(&bytes),
                    Part::Resize(size) => viewer.resize(convert::size(size)).await,
                    Part::Take(true) => viewer.take().await,
                    Part::Leave(true) => break true,
                    Part::Input(_) | Part::Take(false) | Part::Leave(false) | Part::Open(_) => {}
                }
            }
            () = viewer.write(&mut waiting), if !waiting.is_empty() => {}
        }
    };
    while !waiting.is_empty() {
        viewer.write(&mut waiting).await;
    }
    leaves
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;
    use crate::terminals::{Size, Terminal};

    #[tokio::test]
    async fn a_size_does_not_wait_behind_input_that_nobody_reads() {
        let folder = tempfile::tempdir().unwrap();
        let terminal = Terminal::new(folder.path(), None);
        let (mut typed, mut sizes, _) = terminal.begin().await;
        let viewer = Arc::new(terminal.attach(AttachOptions::default()).await);
        let (requests, receiver) = mpsc::channel(1);
        let taking = tokio::spawn(take(viewer, ReceiverStream::new(receiver)));
        let say = async |part| requests.send(Ok(AttachRequest { request: Some(part) })).await.unwrap();
        // More pieces than wait for the guest.
        for n in 0..1000 {
            say(Part::Input(format!("{n} ").into())).await;
        }
        let size = pilothouse_proto::hostd::v1::Size { columns: 50, rows: 9 };
        say(Part::Resize(size)).await;
        let wanted = Size { columns: 50, rows: 9 };
        let changed = tokio::time::timeout(Duration::from_secs(20), sizes.wait_for(|size| *size == wanted)).await;
        assert!(changed.is_ok(), "it waits behind the input");
        say(Part::Leave(true)).await;
        let mut all = Vec::new();
        while all.len() < 3890 {
            all.extend_from_slice(&typed.recv().await.unwrap().bytes);
        }
        let expected: String = (0..1000).map(|n| format!("{n} ")).collect();
        assert_eq!(String::from_utf8(all).unwrap(), expected, "nothing is lost, and in order");
        assert!(taking.await.unwrap(), "it says that it left");
    }
}
