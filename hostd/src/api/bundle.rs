use bytes::Bytes;
use futures::stream;
use pilothouse_proto::hostd::v1::BundleResponse;
use tonic::Status;

use super::{
    Api,
    streams::{Answers, until_closing},
};

/// Largest piece in one message, in bytes.
const PIECE: usize = 64 << 10;

/// All that tells why a session ended, as a tar.
pub(super) async fn bundle(api: &Api, id: &str) -> Result<Answers<BundleResponse>, Status> {
    let tar = Bytes::from(api.fleet.bundle(id).await?);
    let pieces: Vec<_> = (0..tar.len()).step_by(PIECE).map(|at| tar.slice(at..tar.len().min(at + PIECE))).collect();
    let answers = stream::iter(pieces.into_iter().map(|data| Ok(BundleResponse { data })));
    Ok(until_closing(Box::pin(answers), &api.closing))
}
