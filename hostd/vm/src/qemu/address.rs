//! Addresses of a guest's memory in its QEMU's process.

use std::time::Duration;

use serde_json::json;
use tokio::net::UnixStream;

use super::{
    errors::{refused, said},
    qmp::Qmp,
};
use crate::VmError;

/// Address in QEMU's process of a physical address of the guest's memory; an error where there is no memory.
pub(super) async fn host_address(qmp: &mut Qmp<UnixStream>, address: u64, within: Duration) -> Result<u64, VmError> {
    let command = json!({"command-line": format!("gpa2hva {address:#x}")});
    let answer = qmp.execute("human-monitor-command", command, within).await.map_err(refused)?;
    let text = answer.as_str().unwrap_or_default();
    let address = text.rsplit_once("is 0x").and_then(|(_, hex)| u64::from_str_radix(hex.trim(), 16).ok());
    address.ok_or_else(|| said(&format!("QEMU does not say where its RAM is: {}", hostd_core::text::clean(text, 200))))
}
