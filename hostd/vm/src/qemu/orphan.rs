//! VMs that an earlier hostd left running.

use std::{io, path::Path};

use serde_json::json;

use super::{
    deadlines::{ANSWER, KILL},
    qmp::Qmp,
    record::Record,
    serial::Serial,
    sockets,
};
use crate::{VmError, file::failed};

/// Ends the VM of this folder, if one runs; keeps its last serial output; leaves the folder tidy. True if one was ended.
pub(super) async fn end(folder: &Path) -> Result<bool, VmError> {
    let answered = last_words(folder).await;
    let ended = match Record::load(folder).map_err(failed(folder))? {
        Some(record) => record.process.kill(KILL).await.map_err(failed(folder))?,
        // hostd ended between starting it and writing its record, or the record was spoilt: whoever has the socket of
        // this folder is the VM of this folder, and was told to quit.
        None => answered,
    };
    sockets::remove(folder);
    Record::remove(folder);
    Ok(ended)
}

/// Whether the VM of this folder runs, by its record.
pub(super) fn lives(folder: &Path) -> bool {
    Record::read(folder).is_some_and(|record| record.process.lives())
}

/// Saves the serial output and tells QEMU to quit. False: nobody answers there.
async fn last_words(folder: &Path) -> bool {
    let talk = async {
        let stream = sockets::connect(folder, sockets::QMP).await?;
        let mut qmp = Qmp::open(stream, ANSWER).await.map_err(io::Error::other)?;
        if let Ok(answer) = qmp.execute("ringbuf-read", Serial::question(), ANSWER).await {
            Serial::of_orphan(folder).answer(&answer);
        }
        // It may end before it has answered.
        let _ = qmp.execute("quit", json!({}), ANSWER).await;
        // The connection ends with the process.
        let _ = tokio::time::timeout(KILL, async { while qmp.event().await.is_ok() {} }).await;
        Ok::<_, io::Error>(())
    };
    talk.await.is_ok()
}
