use std::time::Duration;

use pilothouse_proto::guest::v1::QuiesceRequest;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    connection::{self, Stop},
    handshake::{self, Greeting, Identity},
    link,
};
use crate::vm::Io;

/// Longest time for all of it: a guest that is well takes a fraction, one that is not would only be waited for.
const WITHIN: Duration = Duration::from_secs(15);

/// Has the guest of a VM that is about to be ended freeze its programs and write all to its disk, over its link port, which
/// nobody else uses any more. It stays frozen.
///
/// # Errors
/// A text for the log: it does not answer, or could not.
pub async fn last_sync(io: Box<dyn Io>, identity: &Identity) -> Result<(), String> {
    let talk = async {
        let greeting = Greeting::from(identity.clone());
        let hand = || greeting.bytes();
        let mut io = connection::open(io, hand).await.map_err(|error| error.to_string())?;
        handshake::shaken(&mut io).await?;
        let (stop, _held) = Stop::new();
        let mut client = link::client(io, &stop, CancellationToken::new()).await?;
        let asked = client.quiesce(QuiesceRequest { freeze: true, trim: false }).await;
        asked.map(drop).map_err(|status| hostd_core::text::clean(status.message(), handshake::WHY_MAX))
    };
    timeout(WITHIN, talk).await.unwrap_or_else(|_| Err(format!("it did not answer within {} s", WITHIN.as_secs())))
}
