//! Messages that are typed for people.

use futures::StreamExt as _;
use pilothouse_proto::guest::v1::{TypeRequest, TypeResponse};
use tokio_stream::wrappers::WatchStream;
use tonic::Status;

use super::{check, guest::Answers};
use crate::typing::{Fate, Message, Typing};

/// Most pieces of a message.
const PIECES_MAX: usize = 64;

/// Takes a message, and tells when it is read.
pub(super) fn take(typing: &Typing, request: TypeRequest) -> Result<Answers<TypeResponse>, Status> {
    let TypeRequest { id, pieces, text, at_once } = request;
    if pieces.len() > PIECES_MAX {
        return Err(Status::invalid_argument(format!("a message has at most {PIECES_MAX} pieces")));
    }
    pieces.iter().try_for_each(|piece| check::chunk(piece))?;
    let fate = typing.take(Message { id, pieces, text, at_once }).map_err(Status::resource_exhausted)?;
    let told = WatchStream::new(fate).map(|fate| match fate {
        Fate::Pending => Ok(TypeResponse { read: false }),
        Fate::Read => Ok(TypeResponse { read: true }),
        Fate::Lost => Err(Status::failed_precondition("the agent has ended and did not read it")),
    });
    Ok(Box::pin(told))
}
