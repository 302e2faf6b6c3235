//! A QEMU that an earlier hostd left, played by a process that sleeps and a socket that answers.

use std::{
    ffi::OsString,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hostd_core::{Cause, requirements::Requirements};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::UnixListener,
};

use super::*;
use crate::{
    Memory,
    identity::ProcessIdentity,
    qemu::{disk::Disk, process},
};

/// What the serial console of one says whose folder is gone then.
const LOST: &str = "lost";

struct Left {
    folder: tempfile::TempDir,
    process: Process,
    record: Record,
    /// Commands that it was given.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Left {
    /// One that stands so, and whose device writes to this node.
    fn new(status: &'static str, node: &'static str, serial: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = process::spawn(Path::new("/bin/sleep"), &[OsString::from("600")], vec![]).unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let listener = UnixListener::bind(folder.path().join(sockets::QMP)).unwrap();
        let seen = asked.clone();
        let gone = (serial == LOST).then(|| folder.path().to_owned());
        let cancelled = move || seen.lock().unwrap().contains(&"migrate_cancel".to_owned());
        tokio::spawn(serve(listener, asked.clone(), move |question| match question {
            "query-status" => json!({"status": status}),
            "query-migrate" if status != "finish-migrate" => json!({}),
            "query-migrate" => json!({"status": if cancelled() { "cancelled" } else { "active" }}),
            "human-monitor-command" => json!("Host virtual address for 0x0 (ram) is 0x7f0000000000"),
            "qom-get" => json!(node),
            "ringbuf-read" if gone.is_some() => {
                let _ = std::fs::remove_dir_all(gone.as_deref().unwrap());
                json!("")
            }
            "ringbuf-read" => json!(STANDARD.encode(serial)),
            _ => json!({}),
        }));
        let identity = ProcessIdentity::of(process.pid).unwrap();
        while identity.executable().is_ok_and(|path| !path.ends_with("sleep")) {
            std::thread::yield_now();
        }
        let mut record = Record::new(identity, vec![]);
        record.machine = Some(Kept {
            base: 0x7f00_0000_0000,
            ram: 64 << 20,
            memory: Memory::Own,
            requirements: Requirements::default(),
            nodes: Disk::new(2),
            top: folder.path().join("disk.qcow2"),
            change: None,
            from_snapshot: true,
        });
        Self { folder, process, record, asked }
    }

    fn machine(&mut self) -> &mut Kept {
        self.record.machine.as_mut().unwrap()
    }

    async fn adopt(&self) -> Result<Adopted, String> {
        self.record.write(self.folder.path()).unwrap();
        let installation = Installation::new(self.folder.path(), PathBuf::from("guest"));
        adopt(&installation, self.folder.path()).await.map_err(|error| error.to_string())
    }

    async fn refused(&self) -> String {
        self.adopt().await.err().unwrap()
    }
}

/// What a test does not end, because it is about what is left alone, ends with it.
impl Drop for Left {
    fn drop(&mut self) {
        if self.process.runs() {
            let pid = rustix::process::Pid::from_raw(self.process.pid.cast_signed()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

async fn serve(
    listener: UnixListener,
    asked: Arc<Mutex<Vec<String>>>,
    answer: impl Fn(&str) -> Value + Send + Sync + 'static,
) {
    let answer = Arc::new(answer);
    while let Ok((stream, _)) = listener.accept().await {
        let (asked, answer) = (asked.clone(), answer.clone());
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut said = "{\"QMP\": {}}\n".to_owned();
            let mut line = String::new();
            while stream.write_all(said.as_bytes()).await.is_ok()
                && stream.read_line(&mut line).await.is_ok_and(|read| read > 0)
            {
                let question: Value = serde_json::from_str(&line).unwrap();
                let command = question["execute"].as_str().unwrap();
                asked.lock().unwrap().push(command.into());
                said = format!("{}\n", json!({"return": answer(command), "id": question["id"]}));
                line.clear();
            }
        });
    }
}

#[tokio::test]
async fn a_vm_that_runs_is_taken_over_and_ended_by_who_has_it() {
    let left = Left::new("running", "disk", "kernel: hello\n");
    let adopted = left.adopt().await.unwrap();
    assert_eq!(adopted.disk, "disk.qcow2");
    adopted.vm.go_on().await.unwrap();
    assert!(!adopted.vm.stalled());
    assert_eq!(adopted.vm.serial().await, b"kernel: hello\nkernel: hello\n");
    adopted.vm.end().await;
    assert!(!left.record.process.lives());
    assert_eq!(Record::read(left.folder.path()), None);
}

#[tokio::test]
async fn what_happened_while_nobody_listened_is_found_out() {
    for (status, serial, cause) in [
        ("shutdown", "[ 1.0] reboot: Power down\n", Cause::PoweredOff),
        (
            "shutdown",
            "Kernel panic - not syncing: x\n",
            Cause::GuestPanic(vec!["Kernel panic - not syncing: x".into()]),
        ),
        ("internal-error", "", Cause::VmDied(String::new())),
    ] {
        let mut left = Left::new(status, "disk", serial);
        let vm = left.adopt().await.unwrap().vm;
        if cause == Cause::PoweredOff {
            // As QEMU, which is told to quit.
            while !left.asked.lock().unwrap().contains(&"quit".into()) {
                tokio::task::yield_now().await;
            }
            left.process.kill().await;
        }
        let ended = vm.ended().await;
        let same =
            ended == cause || matches!((&ended, &cause), (Cause::VmDied(why), Cause::VmDied(_)) if why.contains("KVM"));
        assert!(same, "{status}: {ended:?}");
    }
    let stalled = Left::new("io-error", "disk", "").adopt().await.unwrap().vm;
    assert!(stalled.stalled());
    stalled.end().await;
}

#[tokio::test]
async fn what_another_had_written_as_one_stream_is_given_up() {
    let left = Left::new("finish-migrate", "disk", "");
    let vm = left.adopt().await.unwrap().vm;
    assert!(left.asked.lock().unwrap().contains(&"migrate_cancel".into()));
    vm.end().await;
    let well = Left::new("running", "disk", "");
    let vm = well.adopt().await.unwrap().vm;
    assert!(!well.asked.lock().unwrap().contains(&"migrate_cancel".into()));
    vm.end().await;
}

#[tokio::test]
async fn a_change_of_its_disk_has_happened_or_has_not() {
    for (node, disk) in [("disk1", "disk-1-b.qcow2"), ("disk", "disk.qcow2")] {
        let mut left = Left::new("paused", node, "");
        left.machine().change = Some(Change::Pivot(left.folder.path().join("disk-1-b.qcow2")));
        let adopted = left.adopt().await.unwrap();
        assert_eq!(adopted.disk, disk);
        let kept = Record::read(left.folder.path()).unwrap().machine.unwrap();
        assert_eq!((kept.change, kept.top), (None, left.folder.path().join(disk)));
        adopted.vm.end().await;
    }
    assert!(Left::new("running", "disk1", "").refused().await.contains("which layer"));
}

#[tokio::test]
async fn a_record_that_cannot_be_written_now_is_no_reason_to_give_a_vm_up() {
    let left = Left::new("running", "disk", LOST);
    left.adopt().await.unwrap().vm.end().await;
    assert!(!left.record.process.lives());
}

#[tokio::test]
async fn what_may_pass_is_told_from_what_does_not() {
    let mut left = Left::new("running", "disk", "");
    left.record.write(left.folder.path()).unwrap();
    let installation = Installation::new(left.folder.path(), PathBuf::from("guest"));
    let record = left.folder.path().join("vm.json");
    std::fs::rename(&record, left.folder.path().join("aside")).unwrap();
    std::fs::create_dir(&record).unwrap();
    let error = adopt(&installation, left.folder.path()).await.err().unwrap();
    assert!(matches!(error, VmError::File { .. }), "{error}");
    std::fs::remove_dir(&record).unwrap();
    let error = adopt(&installation, left.folder.path()).await.err().unwrap();
    assert!(matches!(error, VmError::NotAdopted(_)), "{error}");
    left.process.kill().await;
}

#[tokio::test]
async fn one_that_is_not_known_for_sure_is_left_alone() {
    let mut moved = Left::new("running", "disk", "");
    moved.machine().base += 4096;
    assert!(moved.refused().await.contains("not where it was"));

    let mut other = Left::new("running", "disk", "");
    other.record.executable = Some("/usr/bin/qemu-system-x86_64".into());
    assert!(other.refused().await.contains("another program"));

    let mut old = Left::new("running", "disk", "");
    old.record.machine = None;
    assert!(old.refused().await.contains("kept too little"));

    let mut before = Left::new("running", "disk", "");
    before.record.process.boot_id = "another".into();
    assert!(before.refused().await.contains("booted anew"));

    let waits = Left::new("inmigrate", "disk", "");
    assert!(waits.refused().await.contains("had not begun to run (inmigrate)"));
    assert!(waits.record.process.lives());

    let mut gone = Left::new("running", "disk", "");
    gone.process.kill().await;
    assert_eq!(gone.refused().await, Cause::EndedUnseen.to_string());

    for mut left in [moved, other, old, before, waits] {
        left.process.kill().await;
    }
}
