use std::sync::Arc;

use futures::stream;
use pilothouse_proto::hostd::v1::{AttachRequest, AttachResponse, attach_request::Request as Part};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Status, Streaming};

use super::{
    Api, convert,
    principal::owner,
    status::invalid,
    streams::{Answers, first, until_closing},
};
use crate::terminals::{Shown, Viewer, Wish};

/// Most rows of history in a screen.
const HISTORY_MAX: u32 = 10_000;

/// A live terminal: what the viewer is shown, while a task of its own takes what it sends.
pub(super) async fn attach(
    api: &Api,
    request: Request<Streaming<AttachRequest>>,
) -> Result<Answers<AttachResponse>, Status> {
    let name = owner(&request);
    let mut requests = request.into_inner();
    let Some(Part::Open(open)) = first(&mut requests).await?.request else {
        return Err(invalid("the first message of Attach must be `open`"));
    };
    let terminal = api.fleet.terminal(&open.id)?;
    let observe = open.observe || open.preview;
    if !observe {
        api.fleet.wake(&open.id).await?;
    }
    let history = usize::try_from(open.scrollback.min(HISTORY_MAX)).unwrap_or(0);
    let wish = Wish { name, observe, preview: open.preview, size: open.size.map(convert::size), history };
    let viewer = Arc::new(terminal.attach(wish).await);
    let incoming = AbortOnDropHandle::new(tokio::spawn(take(viewer.clone(), requests)));
    let shown = stream::unfold(Some((viewer, incoming)), |attached| async move {
        let (viewer, incoming) = attached?;
        let shown = viewer.next().await;
        let more = (!matches!(shown, Shown::Ended(_))).then_some((viewer, incoming));
        Some((Ok(convert::shown(shown)), more))
    });
    Ok(until_closing(shown, &api.closing))
}

/// Until the client ends its half: it looks on then.
async fn take(viewer: Arc<Viewer>, mut requests: Streaming<AttachRequest>) {
    while let Ok(Some(AttachRequest { request: Some(part) })) = requests.message().await {
        match part {
            Part::Input(bytes) => {
                viewer.input(bytes).await;
            }
            Part::Resize(size) => viewer.resize(convert::size(size)).await,
            Part::Take(true) => viewer.take().await,
            Part::Take(false) | Part::Open(_) => {}
        }
    }
}
