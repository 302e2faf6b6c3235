//! QEMU's own migration, to a file and from one.

use std::{
    fs::File,
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::Path,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    net::UnixStream,
    time::{Instant, sleep},
};

use super::{
    deadlines::ANSWER,
    errors::{refused, said},
    qmp::Qmp,
};
use crate::{VmError, file::failed};

/// Longest time for QEMU to write or load all memory of a VM.
pub(super) const WHOLE: Duration = Duration::from_secs(600);
/// Pause between two looks whether QEMU has done it.
const LOOK: Duration = Duration::from_millis(1);
/// Name under which QEMU knows the file.
const NAME: &str = "state";
/// Bytes a second that QEMU may write: no limit. QEMU's own is 128 MiB, meant for networks.
const BANDWIDTH: u64 = 1 << 40;

/// Writes all memory and devices of a stopped VM to a new file. The VM may run on afterwards.
pub(super) async fn save(qmp: &mut Qmp<UnixStream>, path: &Path) -> Result<(), VmError> {
    let file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed(path))?;
    let arguments = json!({"max-bandwidth": BANDWIDTH});
    qmp.execute("migrate-set-parameters", arguments, ANSWER).await.map_err(refused)?;
    // Under the sandbox QEMU starts no program, and the oldest one opens no file for this by itself.
    qmp.give(NAME, file.as_fd(), ANSWER).await.map_err(refused)?;
    qmp.execute("migrate", json!({"uri": format!("fd:{NAME}")}), ANSWER).await.map_err(refused)?;
    let saved = finish(qmp, WHOLE, "write").await;
    if saved.is_err() {
        // One that has failed needs no cancelling, and says so.
        let _ = qmp.execute("migrate_cancel", json!({}), ANSWER).await;
    }
    saved
}

/// Loads what the file has into a QEMU that waits for it.
pub(super) async fn load(qmp: &mut Qmp<UnixStream>, path: &Path, within: Duration) -> Result<(), VmError> {
    let file = File::open(path).map_err(failed(path))?;
    qmp.give(NAME, file.as_fd(), ANSWER).await.map_err(refused)?;
    qmp.execute("migrate-incoming", json!({"uri": format!("fd:{NAME}")}), ANSWER).await.map_err(refused)?;
    finish(qmp, within, "load").await
}

async fn finish(qmp: &mut Qmp<UnixStream>, within: Duration, what: &str) -> Result<(), VmError> {
    let deadline = Instant::now() + within;
    loop {
        let answer = qmp.execute("query-migrate", json!({}), ANSWER).await.map_err(refused)?;
        match answer.get("status").and_then(Value::as_str) {
            Some("completed") => return Ok(()),
            Some("failed") => {
                let why = answer.get("error-desc").and_then(Value::as_str).unwrap_or("it does not say why");
                let why = hostd_core::text::clean(why, 256);
                return Err(said(&format!("QEMU could not {what} the state of the snapshot: {why}")));
            }
            _ if Instant::now() > deadline => {
                return Err(said(&format!("QEMU did not {what} the state of the snapshot in time")));
            }
            _ => sleep(LOOK).await,
        }
    }
}
