//! With the QEMU of this machine, under TCG everywhere and under KVM where /dev/kvm makes VMs: no guest boots here, so it is no
//! matter whether one could.

use std::{
    fs::File,
    os::unix::fs::{FileExt, MetadataExt},
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::fs::{OFlags, SealFlags, fcntl_get_seals};

use super::*;
use crate::{
    kernel::MODULES,
    kvm,
    program::{self, QEMU, Search},
    qemu::{Accelerator, Choice, Qemu},
    snapshot::{
        SnapshotError,
        delta::{PAGE, Run},
    },
};

/// QEMU, but that it can also be started on paravirtual KVM on AMD, where it dies of a register that this machine does not take.
const WRAPPER: &str = "n=$#; while [ $n -gt 0 ]; do a=$1; shift; case $a in host,*) a=$a,arch-capabilities=off;; esac; \
    set -- \"$@\" \"$a\"; n=$((n - 1)); done; exec";

struct Place {
    folder: tempfile::TempDir,
    qemu: Qemu,
}

impl Place {
    fn new(accelerator: Accelerator) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("kernel/6.1/modules")).unwrap();
        fs::write(path("kernel/6.1/complete"), format!("2 {}\n", MODULES.join(" "))).unwrap();
        fs::write(path("kernel/6.1/vmlinuz"), no_kernel()).unwrap();
        fs::write(path("guest"), "a guest").unwrap();
        let real = Search::default().find(QEMU).unwrap();
        program::put_script(&path(QEMU.name), &format!("{WRAPPER} '{}' \"$@\"", real.display()));
        let mut search = folder.path().as_os_str().to_owned();
        search.push(":");
        search.push(std::env::var_os("PATH").unwrap());
        let qemu = Qemu::new(folder.path(), path("guest")).with_path(search);
        fs::create_dir(path("vms")).unwrap();
        Self { qemu: qemu.with_accelerator(Choice::Forced(accelerator)), folder }
    }

    fn vms(&self) -> PathBuf {
        self.folder.path().join("vms")
    }

    async fn bare(&self) -> Ended {
        Ended(self.qemu.installation.bare(&self.vms()).await.unwrap())
    }
}

/// Its VM ends with it, also on a panic.
struct Ended(Bare);

impl Drop for Ended {
    fn drop(&mut self) {
        if let Ok(Some(handle)) = self.0.prelaunch.record.process.open() {
            let _ = rustix::process::pidfd_send_signal(&handle, rustix::process::Signal::KILL);
        }
    }
}

/// What QEMU takes for a kernel, as long as nobody runs it.
fn no_kernel() -> Vec<u8> {
    let mut image = vec![0; 8192];
    image[0x1f1] = 4;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x20c_u16.to_le_bytes());
    image[0x211] = 1;
    image[0x22c..0x230].copy_from_slice(&0x37ff_ffff_u32.to_le_bytes());
    image
}

fn kvm_here() -> bool {
    let probed = kvm::probe();
    if let Err(why) = &probed {
        eprintln!("NOT TRIED under KVM: {why}");
    }
    probed.is_ok()
}

/// Writes to a page of the guest as KVM would.
fn touch(bare: &Bare, page: u64) {
    let memory = File::options().read(true).write(true).open(format!("/proc/{}/mem", bare.layout.pid)).unwrap();
    memory.write_all_at(b"written", bare.layout.base + page * PAGE).unwrap();
}

#[tokio::test]
async fn a_load_under_tcg_writes_nothing_by_itself() {
    let place = Place::new(Accelerator::Tcg);
    let loaded = place.qemu.try_load(&place.vms()).await.unwrap();
    assert_eq!(loaded.memory.unwrap(), Vec::<String>::new());
    loaded.processors.unwrap();
    assert!(!place.vms().join("clone/devices.again").exists());
}

#[tokio::test]
async fn a_load_under_kvm_writes_the_clocks_and_nothing_else() {
    if !kvm_here() {
        return;
    }
    let place = Place::new(Accelerator::Kvm);
    let loaded = place.qemu.try_load(&place.vms()).await.unwrap();
    assert_eq!(loaded.memory.unwrap(), ["page 5: the time of day of CPU 0", "page 9: the clock of CPU 0"]);
    loaded.processors.unwrap();
}

/// KVM says nothing of it: QEMU calls the load complete.
#[tokio::test]
async fn a_state_that_kvm_rejects_is_noticed() {
    if !kvm_here() {
        return;
    }
    let place = Place::new(Accelerator::Kvm);
    let mut vm = place.bare().await;
    let mut state = fs::read(&vm.0.load.devices).unwrap();
    cpu_state::set(&mut state, 0, "xcr0", 2).unwrap();
    fs::write(&vm.0.load.devices, state).unwrap();
    let error = vm.0.load().await.unwrap().processors.unwrap_err();
    assert!(matches!(error, VmError::Snapshot(SnapshotError::Refused { .. })), "{error}");
    assert!(error.to_string().contains("CPU 0: xcr0 was 0x2 and is "), "{error}");
}

/// What KVM does, done by hand: its logic is tried wherever there is a QEMU.
#[tokio::test]
async fn pages_written_beside_the_delta_are_allowed_where_kvm_writes_and_named_elsewhere() {
    let place = Place::new(Accelerator::Tcg);
    let mut vm = place.bare().await;
    let bare = &mut vm.0;
    migration::load(&mut bare.prelaunch.qmp, &bare.load.devices, DEVICES).await.unwrap();
    assert_eq!(bare.check().await.memory.unwrap(), Vec::<String>::new());
    for page in [5, 9] {
        touch(bare, page);
    }
    let error = bare.check().await.memory.unwrap_err().to_string();
    assert!(error.contains("2 pages (5, 9) were written that are not its own"), "{error}");
    bare.layout.requirements.accelerator = Accelerator::Kvm.name().into();
    let named = bare.check().await.memory.unwrap();
    assert_eq!(named, ["page 5: the time of day of CPU 0", "page 9: the clock of CPU 0"]);
    touch(bare, 7);
    let error = bare.check().await.memory.unwrap_err().to_string();
    assert!(error.contains("1 page (7) was written that are not its own"), "{error}");

    // Nor may one of the delta's be missing.
    let runs = [Run { first: 7, count: 2 }];
    let checked = loaded::check_memory(&mut bare.prelaunch.qmp, &bare.layout, &runs, &bare.load.devices).await;
    let error = checked.unwrap_err().to_string();
    assert!(error.contains("1 page (8) was not there once it was loaded"), "{error}");
}

#[tokio::test]
async fn processors_that_are_not_what_was_loaded_are_refused() {
    let place = Place::new(Accelerator::Tcg);
    let mut vm = place.bare().await;
    let bare = &mut vm.0;
    migration::load(&mut bare.prelaunch.qmp, &bare.load.devices, DEVICES).await.unwrap();
    let mut state = fs::read(&bare.load.devices).unwrap();
    cpu_state::set(&mut state, 1, "efer", 0x500).unwrap();
    fs::write(&bare.load.devices, state).unwrap();
    let error = bare.check().await.processors.unwrap_err();
    assert!(matches!(error, VmError::Snapshot(SnapshotError::Refused { .. })), "{error}");
    assert!(error.to_string().contains("CPU 1: efer was 0x500 and is 0x0"), "{error}");
}

/// The file of a template may not be written by the user that hostd runs as, nor may any QEMU that maps it write to it.
#[tokio::test]
async fn no_qemu_can_write_to_its_template() {
    let place = Place::new(Accelerator::Tcg);
    let vm = place.bare().await;
    let ram = fs::metadata(place.vms().join("template/ram")).unwrap();
    assert_eq!(ram.mode() & 0o777, 0o444);
    let process = format!("/proc/{}", vm.0.layout.pid);
    let (mut read_only, mut sealed) = (false, false);
    for entry in fs::read_dir(format!("{process}/fd")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let info = fs::read_to_string(format!("{process}/fdinfo/{}", path.file_name().unwrap().display())).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
        let flags = OFlags::from_bits_retain(u32::from_str_radix(flags, 8).unwrap());
        if (metadata.dev(), metadata.ino()) == (ram.dev(), ram.ino()) {
            assert_eq!(flags & OFlags::RWMODE, OFlags::RDONLY, "the template is open for writing");
            read_only = true;
        } else if fs::read_link(&path).unwrap().starts_with("/memfd:template (deleted)") {
            let copy = File::open(&path).unwrap();
            assert!(fcntl_get_seals(&copy).unwrap().contains(SealFlags::WRITE | SealFlags::SEAL));
            sealed = true;
        }
    }
    let version = place.qemu.emulator().unwrap().version;
    assert_eq!((read_only, sealed), (Qemu::maps_read_only(&version), !Qemu::maps_read_only(&version)), "{version}");
}

/// A QEMU describes its own state where it is not told to leave that out.
#[test]
fn a_real_qemu_has_these_fields() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all");
    let mut qemu = std::process::Command::new(Search::default().find(QEMU).unwrap())
        .args(
            "-nodefaults -no-user-config -display none -M microvm -accel tcg -cpu max -S -m 16M -qmp stdio".split(' '),
        )
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let uri = format!("exec:cat >{}", file.display());
    let asked = [
        serde_json::json!({"execute": "qmp_capabilities"}),
        serde_json::json!({"execute": "migrate", "arguments": {"uri": uri}}),
    ];
    let mut stdin = qemu.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, asked.map(|line| line.to_string()).join("\n").as_bytes()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let described = loop {
        let all = fs::read(&file).unwrap_or_default();
        let at = all
            .windows(11)
            .rposition(|bytes| bytes == b"\"devices\": ")
            .and_then(|at| all[..at].iter().rposition(|b| *b == b'{'));
        let text = at.map(|at| &all[at..]).and_then(|text| text.strip_suffix(b"\n").or(Some(text)));
        if let Some(Ok(described)) = text.map(serde_json::from_slice::<serde_json::Value>) {
            break described;
        }
        assert!(Instant::now() < deadline, "QEMU does not describe its state");
        std::thread::yield_now();
    };
    qemu.kill().unwrap();
    qemu.wait().unwrap();
    let cpu = described["devices"].as_array().unwrap().iter().find(|device| device["name"] == "cpu").unwrap();
    assert_eq!(cpu["version"], 12);
    // Ours: the three `mcg` registers are one field.
    let mut fields: Vec<(String, u64)> = Vec::new();
    for field in cpu["fields"].as_array().unwrap() {
        let name = field["name"].as_str().unwrap().trim_start_matches("env.");
        let bytes = field["size"].as_u64().unwrap() * field["array_len"].as_u64().unwrap_or(1);
        match fields.last_mut() {
            Some((last, all)) if last == "mcg" && name.starts_with("mcg_") => *all += bytes,
            _ => fields.push((if name.starts_with("mcg_") { "mcg".into() } else { name.into() }, bytes)),
        }
    }
    let ours: Vec<_> = cpu_state::FIELDS.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes as u64)).collect();
    assert_eq!(fields, ours);
}
