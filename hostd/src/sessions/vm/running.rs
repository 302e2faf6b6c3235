//! A VM whose guest has shaken hands, and the tasks that watch it.

use std::{sync::Arc, time::Duration};

use hostd_core::{Cause, kernel_log};
use pilothouse_proto::guest::v1::{PowerOffRequest, QuiesceRequest};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{guest_events, site::Site};
use crate::{
    guest::{Link, LinkState},
    guest_vm::GuestVm,
    sessions::{message::Report, meter::Meter},
    terminals::Pump,
    vm::{Vm, VmError},
};

/// What is said of a VM that cannot write.
pub(in crate::sessions) const STALLED: &str = "stands still, because the host's disk is full; make room on it \
    (`pilothouse host show` names who takes it), and it goes on";
/// For the last output of a VM that has ended to be read.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// For a guest to write all to its disk.
const SYNC: Duration = Duration::from_secs(10);
/// For a VM to come to a stand; it does in any case, later.
const PAUSE: Duration = Duration::from_secs(5);
/// For a QEMU to say what its guest wrote to its console last.
pub(in crate::sessions) const LAST_SERIAL: Duration = Duration::from_secs(6);
/// For a guest to power off.
const POWER_OFF: Duration = Duration::from_secs(10);

/// What others may use of a running VM; they neither start nor end it.
#[derive(Clone)]
pub(in crate::sessions) struct Live {
    pub(in crate::sessions) vm: Arc<dyn Vm>,
    pub(in crate::sessions) link: Arc<Link>,
}

/// A started VM. Its supervisor owns it, and ends it; where it is dropped it ends as well, but nobody waits for that.
pub(in crate::sessions) struct Running {
    pub(in crate::sessions) generation: u64,
    pub(in crate::sessions) live: Live,
    guest: GuestVm,
    /// Whether the VM is paused.
    paused: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Running {
    /// Takes the guest's events after the last that was `heard`. What the guest's agent shows goes first: all else, its tunnel
    /// too, waits until its terminal is open and `terminal_open` is cancelled.
    pub(in crate::sessions) fn new(
        generation: u64,
        guest: GuestVm,
        link: Arc<Link>,
        pump: Pump,
        heard: u64,
        terminal_open: CancellationToken,
        site: &Site,
    ) -> Self {
        let (mut tasks, reports) = (JoinSet::new(), &site.reports);
        let paused = watch::Sender::new(false);
        let live = Live { vm: guest.vm().clone(), link: link.clone() };
        let client = move || {
            let link = link.clone();
            async move { link.up().await }
        };
        tasks.spawn(pump.run(client, terminal_open.clone().drop_guard()).in_current_span());
        let events = guest_events::report(live.link.clone(), generation, heard, reports.clone(), site.hooks.clone());
        tasks.spawn(
            async move {
                terminal_open.cancelled().await;
                events.await;
            }
            .in_current_span(),
        );
        let watch = LinkWatch {
            live: live.clone(),
            generation,
            lost: site.timings.link_lost,
            paused: paused.subscribe(),
            meter: site.meter.clone(),
        };
        tasks.spawn(watch.run(reports.clone()).in_current_span());
        let guest = guest.left_when(site.leaving.clone());
        Self { generation, live, guest, paused, tasks }
    }

    /// Reads what is left of its output, once the VM has ended.
    pub(in crate::sessions) async fn last_words(mut self) {
        let mut state = self.live.link.state();
        let down = state.wait_for(|state| !matches!(state, LinkState::Up(_)));
        let _ = timeout(LAST_WORDS, down).await;
        self.tasks.shutdown().await;
        self.guest.has_ended();
    }

    /// Ends what watches it, and hands the VM over.
    pub(in crate::sessions) async fn release(mut self) -> GuestVm {
        self.tasks.shutdown().await;
        self.guest
    }

    /// Leaves the VM to the next hostd, as it runs.
    pub(in crate::sessions) async fn leave(mut self) {
        self.tasks.shutdown().await;
        drop(self.live.link.close());
        self.guest.let_go();
    }

    /// Brings the VM to a stand, for as long as it may not run; its link may go down meanwhile.
    pub(in crate::sessions) async fn pause(&self) {
        self.paused.send_replace(true);
        match timeout(PAUSE, self.live.vm.pause()).await {
            Ok(Ok(())) => {}
            failed => tracing::warn!(generation = self.generation, ?failed, "a VM is not paused yet"),
        }
    }

    /// Lets a VM run on that was paused.
    pub(in crate::sessions) async fn go_on(&self) -> Result<(), VmError> {
        let going = self.live.vm.go_on().await;
        self.paused.send_replace(false);
        going
    }

    /// The cause to end this VM, whose guest has not answered for so long.
    pub(in crate::sessions) async fn why_silent(&self, after: Duration) -> Cause {
        let after = after.as_secs();
        if self.live.vm.is_stopped() {
            return Cause::QemuStopped { after };
        }
        let serial = timeout(LAST_SERIAL, self.live.vm.serial()).await.unwrap_or_default();
        Cause::GuestHung { after, line: kernel_log::complaint(&serial).unwrap_or_default() }
    }

    /// Ends the VM, now.
    pub(in crate::sessions) async fn end(mut self) {
        self.guest.end().await;
        self.tasks.shutdown().await;
    }

    /// Has the guest write all to its disk, where it still answers.
    pub(in crate::sessions) async fn sync(&self) {
        let asked = async {
            let hello = self.live.link.client(SYNC).await.map_err(|error| error.to_string())?;
            let asked = hello.client.clone().quiesce(QuiesceRequest { freeze: true, trim: false }).await;
            asked.map(drop).map_err(|status| hostd_core::text::clean(status.message(), 1024))
        };
        match timeout(SYNC, asked).await {
            Ok(Ok(())) => {}
            failed => tracing::warn!(generation = self.generation, ?failed, "a guest does not sync before its end"),
        }
    }

    /// Powers the guest off, or ends the VM where it does not do so in time. True: it did.
    pub(in crate::sessions) async fn power_off(mut self) -> bool {
        let asked = async {
            let hello = self.live.link.client(POWER_OFF / 4).await.ok()?;
            // Its answer may never come: the guest is on its way down.
            let _ = hello.client.clone().power_off(PowerOffRequest {}).await;
            Some(self.live.vm.ended().await)
        };
        let cause = timeout(POWER_OFF, asked).await.ok().flatten();
        self.guest.end().await;
        self.tasks.shutdown().await;
        cause.is_some_and(|cause| cause.in_order())
    }
}

/// Watches the link of a running VM.
struct LinkWatch {
    live: Live,
    generation: u64,
    /// Time after which a link that stays down is given up.
    lost: Duration,
    paused: watch::Receiver<bool>,
    meter: Meter,
}

impl LinkWatch {
    async fn run(mut self, reports: mpsc::Sender<Report>) {
        let mut state = self.live.link.state();
        loop {
            if state.wait_for(|state| matches!(state, LinkState::Down)).await.is_err() {
                return;
            }
            let stood = *self.paused.borrow_and_update();
            let up = state.wait_for(|state| matches!(state, LinkState::Up(_)));
            match timeout(self.lost, up).await.map(|up| up.is_ok()) {
                Ok(true) => {
                    self.meter.reconnected();
                    continue;
                }
                // It was closed.
                Ok(false) => return,
                // A guest that stands still, or did a moment ago, cannot answer.
                Err(_) if stood || self.paused.has_changed().unwrap_or(false) || self.live.vm.stalled() => continue,
                Err(_) => {}
            }
            let _ = reports.send(Report::LinkLost { generation: self.generation }).await;
            return;
        }
    }
}
