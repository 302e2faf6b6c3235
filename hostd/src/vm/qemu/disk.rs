//! The disk of a running VM: a graph of nodes that is told on the command line ([`super::argv`]) and grows a new top with
//! each pivot.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{argv, halt::DISK, qmp::Qmp, snapshot::refused};
use crate::vm::VmError;

/// Where the guest's writes go.
#[derive(Debug)]
pub(super) struct Disk {
    /// Node of the layer that is written to.
    top: String,
    /// Nodes that were asked for in this life of the VM: one that came to nothing may be there all the same.
    asked: u32,
}

/// Why there is no new top.
#[derive(Debug)]
pub(super) enum NotPivoted {
    /// The disk is as it was.
    AsItWas(VmError),
    /// It is not known which layer the guest would write to: the VM must not run on.
    Unknown(VmError),
}

impl Default for Disk {
    fn default() -> Self {
        Self { top: argv::TOP.into(), asked: 0 }
    }
}

impl Disk {
    /// Puts `top` above what is the top now, which QEMU opens anew for reading alone.
    pub(super) async fn pivot<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        qmp: &mut Qmp<S>,
        top: &Path,
    ) -> Result<(), NotPivoted> {
        let file = argv::utf8(top).map_err(NotPivoted::AsItWas)?;
        self.asked += 1;
        let above = format!("{}{}", argv::TOP, self.asked);
        if let Err(error) = qmp.execute("blockdev-add", overlay(&above, file), DISK).await {
            drop_node(qmp, &above).await;
            return Err(NotPivoted::AsItWas(refused(error)));
        }
        let pivot = json!({"node": self.top, "overlay": above});
        let Err(error) = qmp.execute("blockdev-snapshot", pivot, DISK).await else {
            self.top = above;
            return Ok(());
        };
        let error = refused(error);
        // It may have been done, or be done yet, though nobody said so. QEMU answers in order: this one says what is.
        match written_to(qmp).await {
            Some(node) if node == above => {
                self.top = above;
                Ok(())
            }
            Some(node) if node == self.top => {
                drop_node(qmp, &above).await;
                Err(NotPivoted::AsItWas(error))
            }
            _ => Err(NotPivoted::Unknown(error)),
        }
    }
}

/// A node that nobody uses: it is gone with the VM at the latest.
async fn drop_node<S: AsyncRead + AsyncWrite + Unpin>(qmp: &mut Qmp<S>, node: &str) {
    let _ = qmp.execute("blockdev-del", json!({"node-name": node}), DISK).await;
}

/// The node that the guest's device writes to; None where QEMU does not say.
async fn written_to<S: AsyncRead + AsyncWrite + Unpin>(qmp: &mut Qmp<S>) -> Option<String> {
    let devices = qmp.execute("query-block", json!({}), DISK).await.ok()?;
    let mut nodes = devices.as_array()?.iter().filter_map(|device| device.pointer("/inserted/node-name")?.as_str());
    nodes.next().map(str::to_owned)
}

/// Its header names no backing file, and `blockdev-snapshot` wants none opened: it gives the one it means.
fn overlay(node: &str, top: &str) -> Value {
    json!({
        "driver": "qcow2",
        "node-name": node,
        "file": {"driver": "file", "filename": top, "discard": "unmap"},
        "backing": null,
        "discard": "unmap",
    })
}

#[cfg(test)]
mod tests {
    use super::{super::qmp::tests::open, *};

    const DONE: &str = "{\"return\": {}, \"id\": ID}\n";
    const NO: &str = "{\"error\": {\"desc\": \"no\"}, \"id\": ID}\n";
    const LATE: &str = "";

    fn writes_to(node: &str) -> String {
        format!("{{\"return\": [{{\"device\": \"\", \"inserted\": {{\"node-name\": \"{node}\"}}}}], \"id\": ID}}\n")
    }

    async fn pivot(disk: &mut Disk, answers: &[&str]) -> Result<(), NotPivoted> {
        let mut qmp = open(answers).await.unwrap();
        disk.pivot(&mut qmp, Path::new("/top.qcow2")).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_pivot_is_what_qemu_made_of_it() {
        let mut disk = Disk::default();
        pivot(&mut disk, &[DONE, DONE]).await.unwrap();
        assert_eq!(disk.top, "disk1");
        pivot(&mut disk, &[DONE, LATE, &writes_to("disk2")]).await.unwrap();
        assert_eq!(disk.top, "disk2");
        for why in [LATE, NO] {
            let not = pivot(&mut disk, &[DONE, why, &writes_to("disk2"), DONE]).await;
            assert!(matches!(not, Err(NotPivoted::AsItWas(_))), "{not:?}");
        }
        assert_eq!((disk.top.as_str(), disk.asked), ("disk2", 4));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_knows_is_said_to_be_unknown() {
        let unknown: [&[&str]; 3] = [&[DONE, LATE, LATE, DONE], &[DONE], &[DONE, LATE, &writes_to("other"), DONE]];
        for answers in unknown {
            let not = pivot(&mut Disk::default(), answers).await;
            assert!(matches!(not, Err(NotPivoted::Unknown(_))), "{not:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_layer_that_cannot_be_opened_changes_nothing() {
        for why in [LATE, NO] {
            let mut disk = Disk::default();
            let not = pivot(&mut disk, &[why, DONE, DONE]).await;
            assert!(matches!(not, Err(NotPivoted::AsItWas(_))), "{not:?}");
            assert_eq!(disk.top, argv::TOP);
        }
    }
}
