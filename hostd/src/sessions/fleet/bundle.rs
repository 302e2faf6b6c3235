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
/// Bytes that are left out at the beginning of a cut file that has no lines.
const LINE_MAX: usize = 64 << 10;
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
characters, as it is, by its lines, and over the rows of a screen. A value is not recognised where it is shown in part, in another encoding
(base64, a URL), with anything drawn between its characters, or where a log begins in the midst of it.

In clear: the session's task, the messages that were sent to it, and what its agent asks and answers are in session.json, triage.json and
story.jsonl; what its agent has shown on its terminal is in terminal.log, and what its guest wrote in serial.log. Read them before you pass
them on.
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
        let story: Vec<Value> = told.collect();
        let packed = tokio::task::spawn_blocking(move || {
            let secrets = Secrets::of(&record);
            let story: String = story.into_iter().map(|event| format!("{}\n", secrets.out_of(event))).collect();
            let mut files = vec![
                File { name: "README.txt".into(), bytes: README.into() },
                File { name: "session.json".into(), bytes: pretty(&secrets.out_of(of_record(&record))) },
                File { name: "triage.json".into(), bytes: pretty(&secrets.out_of(about)) },
                File { name: "story.jsonl".into(), bytes: story.into_bytes() },
            ];
            let logs = log_files(&folder);
            let names = OF_VM.iter().map(|name| folder.join(name)).chain(logs);
            files.extend(names.filter_map(|path| of_folder(&path)).map(|file| secrets.out_of_file(file)));
            pack(&record, &files)
        });
        packed.await.map_err(failed)
    }
}

fn failed(error: tokio::task::JoinError) -> FleetError {
    FleetError::NotRead(format!("hostd failed: {error}; please report this"))
}

/// Values of a session's variables, by their names.
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn of(record: &Record) -> Self {
        let machine = &record.machine;
        let of_profile = machine.agent.iter().flat_map(|agent| &agent.profile.environment);
        let all = machine.environment.iter().chain(of_profile);
        // Logs may have them as strings of JSON, too.
        Self(all.flat_map(|(name, value)| [value.clone(), in_json(value)].map(|value| (name.clone(), value))).collect())
    }

    fn out_of_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        without_secrets(bytes, self.0.iter().map(|(name, value)| (&**name, &**value)))
    }

    fn out_of_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.out_of_bytes(text.as_bytes())).into_owned()
    }

    /// Of JSON before it is written: what is written has other characters for some of them.
    fn out_of(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.out_of_text(&text)),
            // Rows of a screen are one text.
            Value::Array(rows) if !rows.is_empty() && rows.iter().all(is_row) => {
                let rows: Vec<_> = rows.iter().filter_map(Value::as_str).collect();
                self.out_of_text(&rows.join("\n")).split('\n').map(Value::from).collect()
            }
            Value::Array(values) => values.into_iter().map(|value| self.out_of(value)).collect(),
            Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, self.out_of(value))).collect(),
            other => other,
        }
    }

    fn out_of_file(&self, file: File) -> File {
        let json = Path::new(&file.name).extension().is_some_and(|extension| extension == "json");
        let value = serde_json::from_slice(&file.bytes).ok().filter(|_| json);
        let bytes = value.map_or_else(|| self.out_of_bytes(&file.bytes), |value| pretty(&self.out_of(value)));
        File { bytes, ..file }
    }
}

fn is_row(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.contains('\n'))
}

/// The value as it stands in a string of JSON.
fn in_json(value: &str) -> String {
    let quoted = Value::from(value).to_string();
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().into()
}

/// The tar of these files.
fn pack(record: &Record, files: &[File]) -> Vec<u8> {
    let folder = text::slug(&record.session.slug, 60);
    tar(&folder, files, u64::try_from(now() / 1000).unwrap_or_default())
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
    if length > FILE_MAX {
        // What is left of a line may be left of a secret.
        let line = bytes.iter().position(|byte| *byte == b'\n').map_or(LINE_MAX, |end| end + 1);
        bytes.drain(..line.min(bytes.len()));
    }
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
        let secrets = Secrets::of(&record);
        let session = pretty(&secrets.out_of(of_record(&record)));
        let files =
            [File { name: "session.json".into(), bytes: session }, secrets.out_of_file(of_folder(&log).unwrap())];
        assert_eq!(of_folder(&folder.path().join("none")), None);
        let packed = pack(&record, &files);
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
    fn a_value_is_found_in_json_and_over_rows() {
        let mut record = record();
        let odd = "a\"b\\c\nd\te-secret";
        record.machine.environment.insert("ODD".into(), odd.into());
        record.session.task = format!("use {odd} and {CANARY}");
        let secrets = Secrets::of(&record);
        let session = secrets.out_of(of_record(&record));
        assert_eq!(session["session"]["task"], "use [ODD left out] and [TOKEN left out]");
        let (start, end) = CANARY.split_at(8);
        let rows = secrets.out_of(json!({"terminal": [format!("export {start}"), format!("{end} x"), "y"]}));
        assert_eq!(rows["terminal"], json!(["export [TOKEN left out] x", "y"]));
        let vm = json!({"argv": ["-x", format!("y={odd}")]});
        let file = secrets.out_of_file(File { name: "vm.json".into(), bytes: pretty(&vm) });
        let vm: Value = serde_json::from_slice(&file.bytes).unwrap();
        assert_eq!(vm["argv"], json!(["-x", "y=[ODD left out]"]));
        let log = File { name: "terminal.log".into(), bytes: format!("said {}", json!(odd)).into() };
        assert_eq!(secrets.out_of_file(log).bytes, b"said \"[ODD left out]\"");
    }

    #[test]
    fn the_rest_of_a_line_is_left_out_where_a_file_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serial.log");
        fs::write(&path, [vec![b'a'; 10], b"secret\n".to_vec(), vec![b'b'; FILE_MAX as usize - 3]].concat()).unwrap();
        assert_eq!(of_folder(&path).unwrap().bytes, vec![b'b'; FILE_MAX as usize - 3]);
    }

    #[test]
    fn of_a_long_file_its_end_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serial.log");
        fs::write(&path, [vec![b'a'; 10], vec![b'b'; FILE_MAX as usize]].concat()).unwrap();
        assert!(of_folder(&path).unwrap().bytes.iter().all(|byte| *byte == b'b'));
    }
}
