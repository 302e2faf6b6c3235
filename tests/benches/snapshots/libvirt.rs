//! The peer: libvirt's session daemon as a process of our own, in folders of its own, with one guest.

use std::{
    env, fs,
    io::{self},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use hostd::vm::{Io, MemoryUse, Port, Vm, VmError, snapshot::store::Manifest};
use hostd_core::session::Cause;
use tempfile::TempDir;
use tests::{
    Outcome,
    process::{Process, vms_in},
    run, until,
    wait::SOON,
};
use tokio::net::UnixStream;

const NAME: &str = "bench";

/// A daemon and its guest, both ended with this.
pub(crate) struct Libvirt {
    folder: TempDir,
    daemon: Child,
    process: Process,
    socket: PathBuf,
}

impl Libvirt {
    /// Starts the daemon, and a guest that has of these arguments kernel, initramfs, command line and memory.
    pub(crate) fn start(argv: &[String], disk: &Path, layers: &[PathBuf]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (program, socket) = program();
        let socket = folder.path().join("runtime/libvirt").join(socket);
        let mut command = alone(&program, folder.path());
        let log = fs::File::create(folder.path().join("daemon.log")).unwrap();
        let daemon = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let process = Process::of(daemon.id().try_into().unwrap()).unwrap();
        let libvirt = Self { folder, daemon, process, socket };
        until("libvirt to answer", SOON, || {
            let log = || fs::read_to_string(libvirt.folder.path().join("daemon.log")).unwrap_or_default();
            assert!(libvirt.process.runs(), "libvirt ended:\n{}", log());
            (libvirt.socket.exists() && libvirt.virsh(&["list"]).code == 0).then_some(())
        });
        let domain = libvirt.folder.path().join("domain.xml");
        fs::write(&domain, libvirt.domain(argv, disk, layers)).unwrap();
        let _ = libvirt.virsh(&["create", domain.to_str().unwrap()]).text();
        libvirt
    }

    /// Its guest, as far as a link needs it.
    pub(crate) fn vm(&self) -> Arc<dyn Vm> {
        Arc::new(Guest(self.folder.path().to_owned()))
    }

    /// `virsh save`, from the command to its end.
    pub(crate) fn save(&self) -> Duration {
        let began = Instant::now();
        let _ = self.virsh(&["save", NAME, self.file().to_str().unwrap()]).text();
        began.elapsed()
    }

    pub(crate) fn saved_bytes(&self) -> u64 {
        fs::metadata(self.file()).unwrap().len()
    }

    /// `virsh restore`.
    pub(crate) fn restore(&self) {
        let _ = self.virsh(&["restore", self.file().to_str().unwrap()]).text();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("saved")
    }

    fn virsh(&self, arguments: &[&str]) -> Outcome {
        let uri = format!("qemu+unix:///session?socket={}", self.socket.display());
        run(alone("virsh", self.folder.path()).args(["--quiet", "--connect", &uri]).args(arguments), &[])
    }

    fn domain(&self, argv: &[String], disk: &Path, layers: &[PathBuf]) -> String {
        let after = |flag: &str| &argv[argv.iter().position(|word| word == flag).unwrap() + 1];
        let kind = if after("-accel").starts_with("kvm") { "kvm" } else { "qemu" };
        let cpu = if kind == "kvm" { "host-passthrough" } else { "maximum" };
        let mut arguments = String::new();
        for word in devices(self.folder.path(), disk, layers) {
            arguments += &format!("    <qemu:arg value='{}'/>\n", escaped(&word));
        }
        format!(
            "<domain type='{kind}' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>{NAME}</name>
  <memory unit='MiB'>{}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='microvm'>hvm</type>
    <kernel>{}</kernel>
    <initrd>{}</initrd>
    <cmdline>{}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='{cpu}'/>
  <devices>
    <emulator>{}</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
  <qemu:commandline>
{arguments}  </qemu:commandline>
</domain>
",
            after("-m").trim_end_matches('M'),
            escaped(after("-kernel")),
            escaped(after("-initrd")),
            escaped(after("-append")),
            escaped(&argv[0]),
        )
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        let _ = self.virsh(&["destroy", NAME]);
        for vm in vms_in(self.folder.path()) {
            vm.end(Duration::ZERO);
        }
        self.process.end(Duration::from_secs(10));
        let _ = self.daemon.wait();
    }
}

/// What libvirt's own XML has no words for on this machine: devices on virtio-mmio.
fn devices(folder: &Path, disk: &Path, layers: &[PathBuf]) -> Vec<String> {
    let mut words: Vec<String> =
        ["-machine", "acpi=on,rtc=on,isa-serial=on", "-chardev", "ringbuf,id=serial,size=65536"]
            .into_iter()
            .chain(["-serial", "chardev:serial", "-device", "virtio-serial-device,id=ports,max_ports=4"])
            .map(Into::into)
            .collect();
    for (number, port) in [(1, Port::Link), (2, Port::Tunnel)] {
        let (name, path) = (port.word(), socket(folder, port));
        words.extend(["-chardev".into(), format!("socket,id={name},path={},server=on,wait=off", path.display())]);
        let device = format!("virtserialport,bus=ports.0,nr={number},chardev={name},name=pilothouse.{name}");
        words.extend(["-device".into(), device]);
    }
    let mut below = serde_json::Value::Null;
    let images = layers.iter().map(PathBuf::as_path).chain([disk]);
    for (number, image) in images.enumerate() {
        let (file, node, read_only) = (format!("file{number}"), format!("node{number}"), image != disk);
        let raw = image.extension().is_some_and(|extension| extension == "ext4");
        words.extend([
            "-blockdev".into(),
            serde_json::json!({"driver": "file", "node-name": file, "filename": image, "read-only": read_only})
                .to_string(),
        ]);
        let mut format = serde_json::json!({"driver": "raw", "node-name": node, "file": file, "read-only": read_only});
        if !raw {
            format["driver"] = "qcow2".into();
            format["backing"] = below;
        }
        words.extend(["-blockdev".into(), format.to_string()]);
        below = node.into();
    }
    words.extend(["-device".into(), format!("virtio-blk-device,drive=node{}", layers.len())]);
    words
}

fn socket(folder: &Path, port: Port) -> PathBuf {
    folder.join(format!("{}.sock", port.word()))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('\'', "&apos;")
}

/// The daemon, and the name of its socket.
fn program() -> (PathBuf, &'static str) {
    let known = [("libvirtd", "libvirt-sock"), ("virtqemud", "virtqemud-sock")];
    let found = known.iter().find_map(|(name, socket)| {
        let path = ["/usr/sbin", "/usr/local/sbin"]
            .iter()
            .map(|folder| Path::new(folder).join(name))
            .find(|path| path.exists())?;
        Some((path, *socket))
    });
    found.expect("libvirt is not installed; run tests/setup.sh benches")
}

/// A command with all its folders in this one. For root it would be the system's own libvirt, with the rights of that: so
/// it is somebody else in a user namespace.
fn alone(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-user=1000", "--map-group=1000", "--"]).arg(program);
        unshare
    } else {
        Command::new(program)
    };
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).env("HOME", folder);
    for name in ["RUNTIME_DIR", "CONFIG_HOME", "CACHE_HOME", "DATA_HOME", "STATE_HOME"] {
        let own = folder.join(name.split('_').next().unwrap().to_lowercase());
        fs::create_dir_all(&own).unwrap();
        command.env(format!("XDG_{name}"), own);
    }
    command
}

/// libvirt's guest. A link connects to it; its life is `virsh`'s.
struct Guest(PathBuf);

#[tonic::async_trait]
impl Vm for Guest {
    async fn connect(&self, port: Port) -> io::Result<Box<dyn Io>> {
        Ok(Box::new(UnixStream::connect(socket(&self.0, port)).await?))
    }

    async fn ended(&self) -> Cause {
        std::future::pending().await
    }

    async fn end(&self) {}

    async fn serial(&self) -> Vec<u8> {
        Vec::new()
    }

    async fn snapshot(&self, _: &Path) -> Result<Manifest, VmError> {
        Err(not_ours())
    }

    async fn pivot(&self, _: &Path) -> Result<(), VmError> {
        Err(not_ours())
    }

    async fn rebase(&self, _: usize, _: &Path) -> Result<(), VmError> {
        Err(not_ours())
    }

    async fn pause(&self) -> Result<(), VmError> {
        Err(not_ours())
    }

    async fn go_on(&self) -> Result<(), VmError> {
        Err(not_ours())
    }

    fn memory(&self) -> MemoryUse {
        MemoryUse::default()
    }

    fn memory_part(&self) -> MemoryUse {
        MemoryUse::default()
    }
}

fn not_ours() -> VmError {
    VmError::Failed { program: "libvirt".into(), output: "its VM is not ours to stop".into() }
}
