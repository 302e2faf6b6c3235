//! A session's way to the room of this host.

use hostd_core::{
    Input,
    capacity::{Admission, Need, Room},
    queue::Purpose,
};
use tokio::sync::mpsc;

use super::{fleet::Host, message::Message};
use crate::room::{Kind, Promise};

impl Host {
    /// What is left now. Reads a few files of /proc.
    pub(super) fn room(&self) -> Room {
        self.parts.rooms.room()
    }

    /// Bytes of memory that VMs use which were started, and have nothing promised to them any more.
    pub(super) fn memory_used(&self) -> u64 {
        let lives: Vec<_> = self.handles().values().filter_map(|handle| handle.live.borrow().clone()).collect();
        let used: u64 = lives.iter().map(|live| live.vm.memory().private).sum();
        used.saturating_add(self.pool.used()).saturating_add(self.parts.vmm.standing_by().private)
    }

    /// Waits until there is room for a VM of this much memory, and sets it aside. `reports` are told why it waits.
    ///
    /// # Errors
    /// Why there never will be.
    pub(super) async fn admit(
        &self,
        purpose: Purpose,
        memory: u64,
        reports: &mpsc::Sender<Message>,
    ) -> Result<Promise, String> {
        let say = |why| async move {
            // Nobody hears it where the session is gone, and its wait with it.
            let _ = reports.send(Message::NoPlace(Input::Waits { why })).await;
        };
        self.parts.rooms.admit(Kind::Session, purpose, Need { memory, disk: 0 }, say).await
    }

    /// Whether the disk has room: all that one needs who has its memory already.
    pub(super) fn has_disk(&self) -> bool {
        self.room().admit(Need { memory: 0, disk: 0 }) == Admission::Admit
    }
}
