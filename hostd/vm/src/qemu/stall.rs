//! A VM that QEMU stopped because the host's disk is full: tried again until there is room.

use std::{future::pending, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// Pause between two tries; a VM that has run so long after one has room.
const AGAIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Stall {
    stalled: watch::Sender<bool>,
    /// When the VM is looked at next; None: it has not stalled.
    next: Option<Instant>,
    /// Whether the VM has stopped again since it was last let go on.
    stopped: bool,
}

impl Stall {
    /// The state of a VM that runs, and a receiver that sees whether it does.
    pub(super) fn new() -> (Self, watch::Receiver<bool>) {
        let (stalled, watched) = watch::channel(false);
        (Self { stalled, next: None, stopped: false }, watched)
    }

    /// Notes that QEMU has stopped the VM.
    pub(super) fn stopped(&mut self) {
        self.stopped = true;
        self.next = Some(Instant::now() + AGAIN);
        self.stalled.send_replace(true);
    }

    /// Waits until the VM is to be looked at.
    pub(super) async fn due(&self) {
        match self.next {
            Some(next) => sleep_until(next).await,
            None => pending().await,
        }
    }

    /// Whether the VM is to be let go on now; else it runs.
    pub(super) fn tries(&mut self) -> bool {
        if !std::mem::take(&mut self.stopped) {
            self.over();
            return false;
        }
        self.next = Some(Instant::now() + AGAIN);
        true
    }

    /// Notes that somebody else stops the VM, or lets it go on.
    pub(super) fn over(&mut self) {
        self.next = None;
        self.stopped = false;
        self.stalled.send_replace(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tries_until_it_runs() {
        let (mut stall, watched) = Stall::new();
        stall.stopped();
        for _ in 0..3 {
            stall.due().await;
            assert!(stall.tries() && *watched.borrow());
            stall.stopped();
        }
        stall.due().await;
        assert!(stall.tries());
        stall.due().await;
        assert!(!stall.tries() && !*watched.borrow());
    }
}
