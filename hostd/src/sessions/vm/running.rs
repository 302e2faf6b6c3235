//! A VM whose guest has shaken hands, and the tasks that watch it.

use std::{sync::Arc, time::Duration};

use pilothouse_proto::guest::v1::{PowerOffRequest, QuiesceRequest};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use super::guest_events;
use crate::{
    guest::{Link, LinkState},
    guest_vm::GuestVm,
    sessions::message::Message,
    terminals::Pump,
    vm::Vm,
};

/// What is said of a VM that cannot write.
pub(in crate::sessions) const STALLED: &str = "stands still, because the host's disk is full; make room on it \
    (`pilothouse host show` names who takes it), and it goes on";
/// A link that stays down so long while its VM runs is given up, and the VM with it.
const LINK_LOST: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 60 });
/// For the last output of a VM that has ended to be read.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// For a guest to write all to its disk.
const SYNC: Duration = Duration::from_secs(10);
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
    tasks: JoinSet<()>,
}

impl Running {
    /// Takes the guest's events after the last that was `heard`.
    pub(in crate::sessions) fn new(
        generation: u64,
        guest: GuestVm,
        link: Arc<Link>,
        pump: Pump,
        heard: u64,
        reports: &mpsc::Sender<Message>,
    ) -> Self {
        let mut tasks = JoinSet::new();
        let live = Live { vm: guest.vm().clone(), link: link.clone() };
        tasks.spawn(pump.run(move || {
            let link = link.clone();
            async move { link.up().await }
        }));
        tasks.spawn(guest_events::report(live.link.clone(), generation, heard, reports.clone()));
        tasks.spawn(watch_link(live.clone(), generation, reports.clone()));
        Self { generation, live, guest, tasks }
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

async fn watch_link(live: Live, generation: u64, reports: mpsc::Sender<Message>) {
    let mut state = live.link.state();
    loop {
        if state.wait_for(|state| matches!(state, LinkState::Down)).await.is_err() {
            return;
        }
        let up = state.wait_for(|state| matches!(state, LinkState::Up(_)));
        // A guest that stands still cannot answer.
        match timeout(LINK_LOST, up).await.map(|up| up.is_ok()) {
            Ok(true) => continue,
            // It was closed.
            Ok(false) => return,
            Err(_) if live.vm.stalled() => continue,
            Err(_) => {}
        }
        let _ = reports.send(Message::LinkLost { generation }).await;
        return;
    }
}
