//! What all streaming calls share.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use pilothouse_proto::link::CHUNK;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::status::{invalid, stopping};

/// Longest wait for the first message of a stream.
const FIRST: Duration = Duration::from_secs(30);

/// Messages of a call that streams its answer.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Waits for the first message of a stream.
pub(super) async fn first<T>(messages: &mut Streaming<T>) -> Result<T, Status> {
    match tokio::time::timeout(FIRST, messages.message()).await {
        Ok(Ok(Some(message))) => Ok(message),
        Ok(Err(error)) => Err(error),
        Ok(Ok(None)) | Err(_) => Err(invalid("the stream ended before its first message")),
    }
}

/// Ends the stream when hostd ends, and says so.
pub(super) fn until_closing<T: Send + 'static>(
    answers: impl Stream<Item = Result<T, Status>> + Send + 'static,
    closing: &CancellationToken,
) -> Answers<T> {
    let (until, closed) = (closing.clone().cancelled_owned(), closing.clone());
    let last = stream::once(async move { closed.is_cancelled().then(|| Err(stopping())) });
    Box::pin(answers.take_until(until).chain(last.filter_map(std::future::ready)))
}

/// Bytes in pieces that a guest takes.
pub(super) fn pieces(bytes: &Bytes) -> impl Iterator<Item = Bytes> {
    (0..bytes.len()).step_by(CHUNK).map(|from| bytes.slice(from..bytes.len().min(from + CHUNK)))
}
