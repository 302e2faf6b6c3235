//! What the driver of a VM makes of what QEMU says.

use std::{ffi::OsString, time::Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use hostd_core::requirements::Requirements;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::*;
use crate::{
    Memory,
    identity::ProcessIdentity,
    qemu::{installation::Installation, process},
};

/// A process that has printed what QEMU does when KVM gives up, with a control connection that says why its VM stands.
async fn standing(status: &'static str) -> (Driver, tempfile::TempDir) {
    driver(json!({"event": "STOP"}), move |question| match question {
        "query-status" => (json!({"running": false, "status": status}), false),
        "ringbuf-read" => (json!(""), false),
        _ => (json!({}), false),
    })
    .await
}

/// A driver whose QEMU tells it an event, and again after each answer that says so.
async fn driver(
    event: Value,
    answers: impl FnMut(&str) -> (Value, bool) + Send + 'static,
) -> (Driver, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo 'KVM internal error. Suberror: 1' >&2; exec sleep 600";
    let process = process::spawn(Path::new("/bin/sh"), &["-c", script].map(OsString::from), vec![]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while process.output.read().is_empty() {
        assert!(Instant::now() < deadline, "it prints nothing");
        tokio::task::yield_now().await;
    }
    let (ours, theirs) = UnixStream::pair().unwrap();
    tokio::spawn(answer(theirs, event, answers));
    let layout = Layout {
        pid: process.pid,
        base: 0,
        ram: 0,
        memory: Memory::Own,
        disk: String::new(),
        installation: Installation::new(folder.path(), folder.path().join("guest")),
        requirements: Requirements::default(),
    };
    let driver = Driver {
        directory: folder.path().into(),
        process,
        qmp: Some(Qmp::open(ours, ANSWER).await.unwrap()),
        layout,
        disk: Disk::new(0),
        serial: Serial::fresh(folder.path()),
        stall: Stall::new().0,
        kills: Kills::of(ProcessIdentity::of(std::process::id()).unwrap()),
        up: Arc::default(),
        boots: 1,
        booted: None,
        record: Record::new(ProcessIdentity::of(std::process::id()).unwrap(), vec![]),
        _sealed: None,
    };
    (driver, folder)
}

/// Answers as QEMU does, and tells the event before its first answer.
async fn answer(stream: UnixStream, event: Value, mut answers: impl FnMut(&str) -> (Value, bool)) {
    let mut stream = BufReader::new(stream);
    let mut said = format!("{{\"QMP\": {{}}}}\n{event}\n");
    let mut line = String::new();
    while stream.write_all(said.as_bytes()).await.is_ok()
        && stream.read_line(&mut line).await.is_ok_and(|read| read > 0)
    {
        let question: Value = serde_json::from_str(&line).unwrap();
        let (answer, again) = answers(question["execute"].as_str().unwrap());
        said = format!("{}\n", json!({"return": answer, "id": question["id"]}));
        if again {
            said += &format!("{event}\n");
        }
        line.clear();
    }
}

#[tokio::test]
async fn a_vm_that_kvm_gave_up_on_is_ended_with_what_qemu_said() {
    let (driver, _folder) = standing("internal-error").await;
    let pid = driver.process.pid;
    let (_requests, inbox) = mpsc::channel(1);
    let (cause, _) = driver.run(inbox).await;
    let said = "its VM died: KVM cannot run its guest any further (internal-error): KVM internal error. Suberror: 1";
    assert_eq!(cause.to_string(), said);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn a_vm_that_stands_otherwise_stays() {
    for status in ["paused", "io-error"] {
        let (driver, _folder) = standing(status).await;
        let (requests, inbox) = mpsc::channel(1);
        let running = tokio::spawn(driver.run(inbox));
        let (reply, answer) = oneshot::channel();
        requests.send(Request::Serial(reply)).await.unwrap();
        answer.await.unwrap();
        requests.send(Request::End).await.unwrap();
        let (cause, _) = running.await.unwrap();
        assert_eq!(cause, Cause::VmDied("ended by hostd".into()), "{status}");
    }
}

#[tokio::test]
async fn a_guest_that_resets_before_its_first_word_is_booted_again() {
    for (words, boots) in [("", BOOTS), ("Kernel panic - not syncing: VFS\n", 1)] {
        let reset = json!({"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}});
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = asked.clone();
        let (driver, _folder) = driver(reset, move |question| {
            seen.lock().unwrap().push(question.to_owned());
            match question {
                "ringbuf-read" => (json!(STANDARD.encode(words)), false),
                "human-monitor-command" => (json!("RIP=0000000001000c43"), false),
                _ => (json!({}), question == "cont"),
            }
        })
        .await;
        let (_requests, inbox) = mpsc::channel(1);
        let (cause, _) = driver.run(inbox).await;
        let expected = match words {
            "" => Cause::GuestReset(String::new()),
            words => Cause::GuestPanic(vec![words.trim_end().into()]),
        };
        assert_eq!(cause, expected);
        let asked = asked.lock().unwrap();
        let count = |what| asked.iter().filter(|command| *command == what).count();
        assert_eq!(count("system_reset"), usize::try_from(boots - 1).unwrap(), "{words:?}");
        assert_eq!(count("human-monitor-command") > 0, words.is_empty());
    }
}

#[test]
fn says_why_kvm_gave_up() {
    let output = b"qemu: a warning\nKVM internal error. Suberror: 1\nextra data[0]: 0x10\nemulation failure\n\
        RAX=0000000000000000 RBX=0\nCode=00 00\n";
    let said = "KVM internal error. Suberror: 1; extra data[0]: 0x10; emulation failure";
    assert_eq!(given_up(output), format!("KVM cannot run its guest any further (internal-error): {said}"));
    assert!(given_up(b"").ends_with("QEMU does not say why"));
    assert!(given_up(b"one\ntwo\n").ends_with(": two"));
}

#[tokio::test]
async fn how_it_died_is_told_with_its_last_words() {
    let (driver, _folder) = standing("paused").await;
    let (pid, (_requests, inbox)) = (driver.process.pid, mpsc::channel(1));
    let running = tokio::spawn(driver.run(inbox));
    let identity = ProcessIdentity::of(pid).unwrap();
    rustix::process::pidfd_send_signal(identity.open().unwrap().unwrap(), rustix::process::Signal::SEGV).unwrap();
    let (cause, _) = running.await.unwrap();
    assert_eq!(cause, Cause::QemuAborted { signal: 11, words: "KVM internal error. Suberror: 1".into() });
}

/// Nobody who takes the VM over would know of the new layer.
#[tokio::test]
async fn a_disk_is_not_changed_where_that_cannot_be_kept() {
    let (asked, asks) = std::sync::mpsc::sync_channel(16);
    let (mut driver, folder) = driver(json!({"event": "RESUME"}), move |question| {
        let _ = asked.try_send(question.to_owned());
        (json!({}), false)
    })
    .await;
    driver.record.machine = Some(Kept {
        base: 0,
        ram: 0,
        memory: Memory::Own,
        requirements: Requirements::default(),
        nodes: Disk::new(2),
        top: folder.path().join("disk.qcow2"),
        change: None,
        from_snapshot: false,
    });
    folder.close().unwrap();
    let top = Path::new("/top.qcow2");
    let (pivoted, known) = driver.pivot(top).await;
    assert!(pivoted.is_err() && known && driver.rebase(1, top).await.is_err());
    assert_eq!(driver.record.machine.as_ref().unwrap().change, None);
    assert_eq!(asks.try_iter().collect::<Vec<_>>(), ["qmp_capabilities"]);
    driver.process.kill().await;
}
