//! What guests get of the host's processor under KVM, in one word: everything that QEMU makes of its model `host`, which depends
//! on the processor, its microcode, the host's kernel and, on a virtual machine, on what that is given. A snapshot wants it to be
//! the same.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs::File,
    io::{self, Read, Seek, Write},
    os::fd::AsFd,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use hostd_core::recipe::Cpu;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde_json::{Value, json};

use super::{argv::without, errors::said};
use crate::{VmError, identity, program};

/// Longest wait for QEMU's answer.
const WITHIN: Duration = Duration::from_secs(20);
/// Longest answer of QEMU that is read, in bytes: it is some 20 KiB.
const MOST: u64 = 4 << 20;

/// Models that were asked for, by hash of QEMU and by what guests get: a host does not change while a hostd runs on it.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<HashMap<(String, Cpu), String>>);

impl Cache {
    /// Hash of the processor that this QEMU, whose own hash is `hash`, gives its guests.
    pub(super) fn of(&self, program: &Path, hash: &str, cpu: Cpu) -> Result<String, VmError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = (hash.to_owned(), cpu);
        if let Some(model) = known.get(&kind) {
            return Ok(model.clone());
        }
        let answer = ask(program, cpu).map_err(|error| said(&format!("the processor is not known: {error}")))?;
        let model = blake3::hash(model(&answer).map_err(|why| said(&why))?.as_bytes()).to_hex().to_string();
        known.insert(kind, model.clone());
        Ok(model)
    }
}

/// Runs QEMU and asks for its model; returns all that it answers, and what it prints beside where it ends with an error.
fn ask(program: &Path, cpu: Cpu) -> io::Result<Vec<u8>> {
    let expansion = json!({"type": "full", "model": {"name": "host", "props": without(cpu)}});
    let mut questions = String::new();
    for (command, arguments) in
        [("qmp_capabilities", json!({})), ("query-cpu-model-expansion", expansion), ("quit", json!({}))]
    {
        questions += &format!("{}\n", json!({"execute": command, "arguments": arguments}));
    }
    let flags = "-nodefaults -no-user-config -display none -M none -accel kvm -S -qmp stdio";
    let arguments = flags.split(' ').map(OsString::from);
    // Files: nobody has to read while it writes.
    let (mut output, errors) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(errors.try_clone()?);
    let mut child = command.spawn()?;
    if let Some(stdin) = &mut child.stdin {
        // One that ends early says why.
        let _ = stdin.write_all(questions.as_bytes());
    }
    if !ends(&mut child)? {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "QEMU does not end"));
    }
    let answer = read(&mut output)?;
    let status = child.wait()?;
    if status.success() {
        return Ok(answer);
    }
    Err(io::Error::other(program::message(&read(&mut { errors })?, &status.to_string())))
}

/// Waits for QEMU's end; returns whether it came in time, and kills QEMU where it did not. Its standard input stays open until
/// then: QEMU ends where that does.
fn ends(child: &mut Child) -> io::Result<bool> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let handle = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let ended = handle.is_some_and(|handle| identity::ends(handle.as_fd(), WITHIN).unwrap_or(false));
    if !ended {
        // It may have ended before it was looked at.
        let _ = child.kill();
        child.wait()?;
    }
    Ok(ended)
}

fn read(file: &mut File) -> io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Finds the model among the answers; returns its properties in order.
fn model(answers: &[u8]) -> Result<String, String> {
    let lines = answers.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let mut why = "QEMU does not say what the host's processor is".to_owned();
    for line in lines {
        if let Some(properties) = line.pointer("/return/model/props").and_then(Value::as_object) {
            let mut all: Vec<_> = properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
            all.sort_unstable();
            return Ok(all.join("\n"));
        }
        if let Some(refusal) = line.pointer("/error/desc").and_then(Value::as_str) {
            why = format!("QEMU does not say what the host's processor is: {}", hostd_core::text::clean(refusal, 256));
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{kvm, program};

    #[test]
    fn a_model_is_its_properties() {
        let of = |props: &str| {
            let answers =
                format!("{{\"QMP\": {{}}}}\r\n{{\"return\": {{}}}}\r\n{{\"return\": {{\"model\": {props}}}}}\r\n");
            model(answers.as_bytes())
        };
        let one = of(r#"{"name": "host", "props": {"b": true, "a": 1}}"#).unwrap();
        assert_eq!(one, "a=1\nb=true");
        assert_eq!(one, of(r#"{"name": "other", "props": {"a": 1, "b": true}}"#).unwrap());
        assert!(of("{}").is_err() && model(b"").is_err());
        let refused = model(b"{\"error\": {\"desc\": \"no \\u001b KVM\"}}\n").unwrap_err();
        assert!(refused.ends_with(": no  KVM"), "{refused}");
    }

    #[test]
    fn each_qemu_is_asked_once() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("qemu");
        let says = |answer: &str| program::put_script(&program, &format!("echo '{answer}'; echo x >>$0.calls"));
        says(r#"{"return": {"model": {"props": {"avx": true}}}}"#);
        let cache = Cache::default();
        let one = cache.of(&program, "1", Cpu::default()).unwrap();
        assert_eq!(cache.of(&program, "1", Cpu::default()).unwrap(), one);
        assert_eq!(std::fs::read_to_string(folder.path().join("qemu.calls")).unwrap(), "x\n");
        says(r#"{"return": {"model": {"props": {"avx": false}}}}"#);
        assert_ne!(cache.of(&program, "2", Cpu::default()).unwrap(), one);
        program::put_script(&program, "echo 'Could not access KVM' >&2; exit 1");
        let error = cache.of(&program, "3", Cpu::default()).unwrap_err().to_string();
        assert!(error.contains("Could not access KVM"), "{error}");
    }

    /// The real one, where it has a KVM to ask.
    #[test]
    fn a_real_qemu_says_the_same_twice() {
        let program = program::Search::default().find(program::QEMU).unwrap();
        if let Err(why) = kvm::probe() {
            eprintln!("NOT TRIED: {why}");
            return;
        }
        let model = || Cache::default().of(&program, "", Cpu::default()).unwrap();
        assert_eq!(model(), model());
    }
}
