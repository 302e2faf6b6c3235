//! The disk of a running VM: a graph of nodes that is told on the command line ([`super::argv`]) and grows a new top with
//! each pivot.

use std::path::Path;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{argv, machine::ANSWER, qmp::Qmp, snapshot::refused};
use crate::vm::VmError;

/// Where the guest's writes go.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// Of this life of the VM.
    pivots: u32,
}

impl Disk {
    /// Puts `top` above what is the top now, which QEMU opens anew for reading alone.
    pub(super) async fn pivot<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        qmp: &mut Qmp<S>,
        top: &Path,
    ) -> Result<(), VmError> {
        let (below, above) = (Self::node(self.pivots), Self::node(self.pivots + 1));
        qmp.execute("blockdev-add", overlay(&above, argv::utf8(top)?), ANSWER).await.map_err(refused)?;
        let pivot = json!({"node": below, "overlay": above});
        if let Err(error) = qmp.execute("blockdev-snapshot", pivot, ANSWER).await {
            // A node that nobody uses: it is gone with the VM at the latest.
            let _ = qmp.execute("blockdev-del", json!({"node-name": above}), ANSWER).await;
            return Err(refused(error));
        }
        self.pivots += 1;
        Ok(())
    }

    fn node(pivots: u32) -> String {
        if pivots == 0 { argv::TOP.into() } else { format!("{}{pivots}", argv::TOP) }
    }
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
