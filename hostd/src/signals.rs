//! The signals that stop hostd and its doctor.

use eyre::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that stop hostd: SIGTERM, SIGINT and SIGHUP.
pub(crate) struct Signals([Signal; 3]);

impl Signals {
    /// Begins to listen to the signals.
    ///
    /// # Errors
    /// Where the system does not allow it.
    pub(crate) fn new() -> eyre::Result<Self> {
        let listen = |kind| signal(kind).wrap_err("signals cannot be listened to");
        Ok(Self([listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?]))
    }

    /// Waits for any of the signals. Cancel safe.
    pub(crate) async fn next(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
