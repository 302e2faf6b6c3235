//! What the guest writes to its serial console: QEMU keeps the last of it, hostd fetches it when asked or at the end.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use hostd_core::text;
use serde_json::{Value, json};

use super::argv::SERIAL_RING;
use crate::file;

const NAME: &str = "serial.log";
/// File name of the log of the VM that ran here before.
const PREVIOUS: &str = "serial.previous.log";
/// Words that the kernel itself says last, whyever it resets.
const FAREWELL: &str = "reboot: Restarting system";
/// Words of the kernel that has its machine powered off.
const POWERED_OFF: &str = "reboot: Power down";
/// Longest line of the serial console that stands in a cause, in bytes.
const LINE: usize = 300;

/// What is kept of the output of the last VM of this folder.
pub(super) fn kept(folder: &Path) -> Vec<u8> {
    file::read_bounded(&folder.join(NAME), SERIAL_RING as u64).unwrap_or_default()
}

/// The last 64 KiB of a VM's serial output, in memory and in `serial.log`.
#[derive(Debug)]
pub(super) struct Serial {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Serial {
    /// The output of a new VM: the log of the one before is put aside.
    pub(super) fn fresh(folder: &Path) -> Self {
        let path = folder.join(NAME);
        // Mostly there is none; and a log that cannot be kept must not keep a VM from starting.
        let _ = std::fs::rename(&path, folder.join(PREVIOUS));
        Self { path, bytes: Vec::new() }
    }

    /// The output of a VM that an earlier hostd started: goes on with its log.
    pub(super) fn of_orphan(folder: &Path) -> Self {
        Self { path: folder.join(NAME), bytes: kept(folder) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Arguments of the command `ringbuf-read`, which takes out what it gives.
    pub(super) fn question() -> Value {
        json!({"device": "serial", "size": SERIAL_RING, "format": "base64"})
    }

    /// Takes an answer of `ringbuf-read` in, and writes the log if there was anything new.
    pub(super) fn answer(&mut self, answer: &Value) {
        let new = answer.as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
        if new.is_empty() {
            return;
        }
        self.bytes.extend_from_slice(&new);
        let surplus = self.bytes.len().saturating_sub(SERIAL_RING);
        self.bytes.drain(..surplus);
        if let Err(error) = file::write_atomically(&self.path, &self.bytes) {
            tracing::warn!(path = ?self.path, %error, "the serial log cannot be written");
        }
    }

    /// Whether the last that its kernel said is that it has the machine powered off.
    pub(super) fn powered_off(&self) -> bool {
        let text = String::from_utf8_lossy(&self.bytes);
        text.lines()
            .rev()
            .map(str::trim_end)
            .find(|line| !line.is_empty())
            .is_some_and(|line| line.ends_with(POWERED_OFF))
    }

    /// The line that says best why the guest ended: its kernel's panic, or else the last one. Made safe.
    pub(super) fn last_words(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let lines = || text.lines().rev().map(|line| text::one_line(&text::clean(line, LINE)));
        lines()
            .find(|line| line.contains("Kernel panic - not syncing") && !line.contains("end Kernel panic"))
            .or_else(|| lines().find(|line| !line.is_empty() && !line.ends_with(FAREWELL)))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(folder: &Path, bytes: &[u8]) -> Serial {
        let mut serial = Serial::fresh(folder);
        serial.answer(&json!(STANDARD.encode(bytes)));
        serial
    }

    #[test]
    fn keeps_the_last_of_it_and_a_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut serial = said(folder.path(), &[b'a'; SERIAL_RING]);
        serial.answer(&json!(STANDARD.encode(b"the end")));
        serial.answer(&json!(""));
        serial.answer(&json!(null));
        serial.answer(&json!("not base64!"));
        assert_eq!(serial.bytes().len(), SERIAL_RING);
        assert!(serial.bytes().ends_with(b"athe end"));
        assert_eq!(Serial::of_orphan(folder.path()).bytes(), serial.bytes());
        said(folder.path(), b"again");
        assert_eq!(std::fs::read(folder.path().join(NAME)).unwrap(), b"again");
        assert_eq!(std::fs::read(folder.path().join(PREVIOUS)).unwrap().len(), SERIAL_RING);
    }

    #[test]
    fn finds_the_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let words = |bytes: &[u8]| said(folder.path(), bytes).last_words();
        assert_eq!(words(b""), "");
        assert_eq!(words(b"one\r\ntwo \x1b[31m  \xff three\r\n\r\n"), "two [31m \u{fffd} three");
        let panic = b"[ 1.0] Kernel panic - not syncing: Attempted to kill init!\r\n[ 1.0] CPU: 0\r\n\
                      [ 1.1] ---[ end Kernel panic - not syncing: Attempted to kill init! ]---\r\n";
        assert_eq!(words(panic), "[ 1.0] Kernel panic - not syncing: Attempted to kill init!");
        assert_eq!(words(b"no disk\r\n[    2.413656] reboot: Restarting system\r\n"), "no disk");
        assert_eq!(words(&[b'x'; 5000]).len(), LINE);
        let off = |bytes: &[u8]| said(folder.path(), bytes).powered_off();
        assert!(off(b"[    2.4] reboot: Power down\r\n\r\n"));
        assert!(!off(b"[    2.4] reboot: Power down\r\n[    3.1] booting\r\n") && !off(b"") && !off(panic));
    }
}
