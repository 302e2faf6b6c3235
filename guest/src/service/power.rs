//! Standing still, going on, and the end.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use pilothouse_proto::guest::v1::{PowerOffResponse, QuiesceRequest, QuiesceResponse};
use tokio::runtime::Handle;
use tonic::Status;

use super::guest::Guest;
use crate::{boot_log::report, machine::Machine};

/// Freezes and syncs. Where that fails, or nobody waits for it any more, everything runs on.
pub(super) async fn quiesce(guest: &Guest, request: QuiesceRequest) -> Result<QuiesceResponse, Status> {
    let freeze = request.freeze.then(|| Freeze::begin(guest));
    let (machine, held) =
        (guest.0.machine.clone(), freeze.as_ref().map(|freeze| (freeze.guest.clone(), freeze.number)));
    let done = tokio::task::spawn_blocking(move || {
        if let Some((guest, number)) = held {
            guest.freeze(number)?;
        }
        machine.sync();
        let trimmed_bytes = if request.trim { machine.trim()? } else { 0 };
        Ok(QuiesceResponse { trimmed_bytes })
    });
    let done: io::Result<_> = done.await.map_err(|error| Status::internal(error.to_string()))?;
    let response =
        done.map_err(|error| Status::failed_precondition(format!("the guest could not be quieted: {error}")))?;
    // It lasts until the next handshake that does not ask for more of it.
    if let Some(freeze) = freeze {
        freeze.keep();
    }
    Ok(response)
}

/// A freeze that ends when this is dropped, unless it was kept.
struct Freeze {
    guest: Guest,
    number: u64,
    lasts: bool,
}

impl Freeze {
    fn begin(guest: &Guest) -> Self {
        let number = guest.0.freezes.fetch_add(1, Ordering::Relaxed) + 1;
        guest.0.quiet.store(number, Ordering::Relaxed);
        Self { guest: guest.clone(), number, lasts: false }
    }

    fn keep(mut self) {
        self.guest.0.done.store(self.number, Ordering::Relaxed);
        self.guest.0.heard.store(false, Ordering::Relaxed);
        self.lasts = true;
    }
}

impl Drop for Freeze {
    fn drop(&mut self) {
        if self.lasts {
            return;
        }
        let (guest, number) = (self.guest.clone(), self.number);
        // Without a runtime this program is at its end.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || {
                if let Err(error) = guest.thaw(number) {
                    report(&format!("what was frozen does not thaw: {error}"));
                }
            });
        }
    }
}

/// Precedence of the guest over everything else for as long as this lives. Nobody is in need of the processor but the
/// handshake, while all is frozen.
pub(crate) struct Vigil(Guest);

impl Drop for Vigil {
    fn drop(&mut self) {
        self.0.0.machine.go_first(false);
    }
}

impl Guest {
    pub(crate) fn keep_vigil(&self) -> Vigil {
        self.0.machine.go_first(true);
        Vigil(self.clone())
    }

    /// Whether all is frozen and synced, and nothing was heard of the host since: it is about to stop the machine.
    pub(crate) fn stands_by(&self) -> bool {
        self.is_frozen() && !self.0.heard.load(Ordering::Relaxed)
    }

    /// Whether all is frozen and synced.
    pub(crate) fn is_frozen(&self) -> bool {
        self.is_quiet() && self.0.done.load(Ordering::Relaxed) == self.freeze_number()
    }

    /// Notes that the host has said something.
    pub(crate) fn heard(&self) {
        self.0.heard.store(true, Ordering::Relaxed);
    }

    /// Freezes user processes for the freeze of this number, unless it is over already. Blocks.
    fn freeze(&self, number: u64) -> io::Result<()> {
        let _one_at_a_time = self.0.freezing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.0.quiet.load(Ordering::Relaxed) != number {
            return Err(io::Error::other("it is over already"));
        }
        self.0.machine.freeze(true)
    }

    /// Ends the freeze of this number, and nothing if another came after it. Blocks.
    pub(super) fn thaw(&self, number: u64) -> io::Result<()> {
        let _one_at_a_time = self.0.freezing.lock().unwrap_or_else(PoisonError::into_inner);
        if number == 0 || self.freeze_number() != number {
            return Ok(());
        }
        // Where it fails, the next handshake tries again.
        self.0.machine.freeze(false)?;
        // Unless another freeze has begun, which waits for its turn.
        let _ = self.0.quiet.compare_exchange(number, 0, Ordering::Relaxed, Ordering::Relaxed);
        Ok(())
    }
}

pub(super) async fn off(machine: Arc<dyn Machine>) -> Result<PowerOffResponse, Status> {
    let done = tokio::task::spawn_blocking(move || Err::<Infallible, _>(machine.power_off()));
    match done.await {
        Ok(Err(error)) => Err(Status::internal(format!("the guest cannot power off: {error}"))),
        Ok(Ok(never)) => match never {},
        Err(error) => Err(Status::internal(error.to_string())),
    }
}
