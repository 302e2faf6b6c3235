//! What the fuzz targets feed.

use std::{io, time::Duration};

use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};

use super::qmp::Qmp;

/// Never waited for: the stream has all that it will have.
const WITHIN: Duration = Duration::from_secs(60);

/// Speaks to a QEMU that says what it likes: the greeting, one command, and events until it ends. How many there were.
///
/// # Errors
/// The connection was of no more use before the events.
pub async fn qmp(stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<usize> {
    let mut qmp = Qmp::open(stream, WITHIN).await.map_err(io::Error::other)?;
    qmp.execute("query-status", json!({}), WITHIN).await.map_err(io::Error::other)?;
    let mut events = 0;
    while qmp.event().await.is_ok() {
        events += 1;
    }
    Ok(events)
}
