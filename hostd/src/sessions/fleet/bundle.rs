//! All that tells why a session ended, in one file for a report.

use std::{
    fs,
    io::{self, Read as _, Seek as _},
    path::Path,
};

use hostd_core::{
    bundle::{File, tar, without_secrets},
    text,
};
use serde_json::{Value, json};

use super::Fleet;
use crate::{
    clock::now,
    sessions::error::FleetError,
    store::{ALL_EVENTS, Record},
    terminals::log_files,
};

/// Most bytes of one file; of longer ones their ends.
const FILE_MAX: u64 = 1 << 20;
/// Most events of its story, the newest.
const EVENTS: u32 = 5000;
/// Files of a VM's folder that go in as they are: what its console and its QEMU said, and what QEMU was started with.
const OF_VM: [&str; 4] = ["serial.log", "serial.previous.log", "qemu.log", "vm.json"];
/// What is in a bundle, for whoever opens it.
const README: &str = "\
A report on one session, made by `pilothouse bundle`.

session.json   the session's record and what its VM is made from; the values of its variables are left out
triage.json    its cause in words, and what its VM took in the minutes before
story.jsonl    what was done to it and by whom, the oldest first
serial.log     the end of what its guest wrote to its console; serial.previous.log: of the VM before
terminal.log   the end of what its agent wrote to its terminal; terminal.log.1: what came before
qemu.log       what its QEMU said, if anything; vm.json: what it was started with

Left out: its disk, its memory, the key of its certificate authority, and every value of a variable of its environment that has at least six
characters, wherever it is. What its agent has shown on its terminal otherwise is in terminal.log: read that before you pass it on.
";

impl Fleet {
    /// A tar with all that tells why a session ended, but for its disk and its memory, without the secrets that hostd knows of.
    ///
    /// # Errors
    /// As [`Fleet::get`]; [`FleetError::NotRead`] where the store cannot be read.
    pub async fn bundle(&self, asked: &str) -> Result<Vec<u8>, FleetError> {
        let handle = self.handle(asked)?;
        let triage = self.triage_of(&handle.id).await?;
        let record = handle.record.borrow().clone();
        let story = self.events(&handle.id, ALL_EVENTS, EVENTS).await?;
        let folder = self.ctx().folder(&handle.id).path().to_owned();
        let samples: Vec<Value> = triage
            .samples
            .iter()
            .map(|sample| {
                json!({
                    "at": sample.at, "memory": sample.memory, "cpu_percent": sample.cpu, "disk": sample.disk,
                    "guest_memory_left": sample.guest_memory_left, "guest_disk_left": sample.guest_disk_left,
                })
            })
            .collect();
        let vmm = self.ctx().vmm.clone();
        let info = tokio::task::spawn_blocking(move || vmm.info()).await.map_err(failed)?;
        let about = json!({
            "hostd": env!("CARGO_PKG_VERSION"),
            "vmm": {"name": info.name, "version": info.version, "accelerator": info.accelerator, "guest_kernel": info.kernel},
            "cause_word": record.session.cause_word(),
            "reason": triage.view.attention.reason,
            "console": triage.console,
            "terminal": triage.terminal,
            "samples": samples,
        });
        let told = story.iter().map(|told| json!({
            "at": told.event.at, "actor": told.event.actor.to_string(), "what": told.event.what, "text": told.event.text,
        }));
        let story: String = told.map(|event| format!("{event}\n")).collect();
        let packed = tokio::task::spawn_blocking(move || {
            let mut files = vec![
                File { name: "README.txt".into(), bytes: README.into() },
                File { name: "session.json".into(), bytes: pretty(&of_record(&record)) },
                File { name: "triage.json".into(), bytes: pretty(&about) },
                File { name: "story.jsonl".into(), bytes: story.into_bytes() },
            ];
            let logs = log_files(&folder);
            let names = OF_VM.iter().map(|name| folder.join(name)).chain(logs);
            files.extend(names.filter_map(|path| of_folder(&path)));
            pack(&record, files)
        });
        packed.await.map_err(failed)
    }
}

fn failed(error: tokio::task::JoinError) -> FleetError {
    FleetError::NotRead(format!("hostd failed: {error}; please report this"))
}

/// The tar of these files, without the session's secrets.
fn pack(record: &Record, mut files: Vec<File>) -> Vec<u8> {
    let machine = &record.machine;
    let of_profile = machine.agent.iter().flat_map(|agent| &agent.profile.environment);
    let secrets: Vec<_> =
        machine.environment.iter().chain(of_profile).map(|(name, value)| (&**name, &**value)).collect();
    for file in &mut files {
        file.bytes = without_secrets(&file.bytes, secrets.iter().copied());
    }
    let folder = text::slug(&record.session.slug, 60);
    tar(&folder, &files, u64::try_from(now() / 1000).unwrap_or_default())
}

/// The record as JSON, in which values of variables are none.
fn of_record(record: &Record) -> Value {
    let mut machine = json!(record.machine);
    let blank = |variables: &mut Value| {
        if let Some(variables) = variables.as_object_mut() {
            variables.values_mut().for_each(|value| *value = json!("left out"));
        }
    };
    blank(&mut machine["environment"]);
    if let Some(profile) = machine.pointer_mut("/agent/profile/environment") {
        blank(profile);
    }
    json!({"session": record.session, "machine": machine})
}

fn pretty(value: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(value).unwrap_or_default()
}

/// The end of a file; None: it is not there, or cannot be read, which is told in its place.
fn of_folder(path: &Path) -> Option<File> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    match end_of(path) {
        Ok(bytes) => Some(File { name, bytes }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(File { name, bytes: format!("hostd could not read it: {error}\n").into_bytes() }),
    }
}

fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(io::SeekFrom::Start(length.saturating_sub(FILE_MAX)))?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use hostd_core::session::{NewSession, Session, Size, TypedEvents};

    use super::*;
    use crate::store::Machine;

    const CANARY: &str = "canary-7d1f-secret";

    fn record() -> Record {
        let new = NewSession {
            id: "01J0000000000000000000TEST".into(),
            slug: "fix".into(),
            title: "fix".into(),
            task: String::new(),
            environment: "tools".into(),
            build: "01B".into(),
            owner: "ann".into(),
            command: vec!["agent".into()],
            directory: "/".into(),
            repository: None,
            size: Size { vcpus: 1, memory: 1, disk: 1 },
            typed_events: TypedEvents::default(),
            answers: hostd_core::profile::Answers::default(),
        };
        let environment = [("TOKEN".to_owned(), CANARY.to_owned())].into();
        Record { session: Session::new(new, 0).0, machine: Machine { environment, ..Machine::default() } }
    }

    #[test]
    fn any_tar_reads_it_and_no_secret_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("terminal.log");
        fs::write(&log, format!("export TOKEN={CANARY}\n")).unwrap();
        let record = record();
        let files =
            vec![File { name: "session.json".into(), bytes: pretty(&of_record(&record)) }, of_folder(&log).unwrap()];
        assert_eq!(of_folder(&folder.path().join("none")), None);
        let packed = pack(&record, files);
        assert!(!packed.windows(CANARY.len()).any(|bytes| bytes == CANARY.as_bytes()));
        let path = folder.path().join("bundle.tar");
        fs::write(&path, packed).unwrap();
        let unpacked = Command::new("tar").arg("-xf").arg(&path).arg("-C").arg(folder.path()).output().unwrap();
        assert!(unpacked.status.success() && unpacked.stderr.is_empty(), "{unpacked:?}");
        let read = |name: &str| fs::read_to_string(folder.path().join("fix").join(name)).unwrap();
        assert_eq!(read("terminal.log"), "export TOKEN=[TOKEN left out]\n");
        let session: Value = serde_json::from_str(&read("session.json")).unwrap();
        assert_eq!(session["machine"]["environment"]["TOKEN"], "left out");
        assert_eq!(session["session"]["slug"], "fix");
    }

    #[test]
    fn of_a_long_file_its_end_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serial.log");
        fs::write(&path, [vec![b'a'; 10], vec![b'b'; FILE_MAX as usize]].concat()).unwrap();
        assert!(of_folder(&path).unwrap().bytes.iter().all(|byte| *byte == b'b'));
    }
}
