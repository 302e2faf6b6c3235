//! The command line of QEMU. Pure: the same machine always gives the same arguments.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use hostd_core::recipe::Cpu;
use serde_json::{Value, json};

use super::sealed;
use crate::{Memory, Port, VmError, accelerator::Accelerator, snapshot::RAM_NAME};

/// Size of the buffer of translated code for each VM, in MiB: the default of 1 GiB suits one VM, not fifty.
const TB_SIZE: u32 = 64;
/// Name of the node of the layer that the guest writes to.
pub(super) const TOP: &str = "disk";
/// Path of the guest's disk among QEMU's objects.
pub(super) const DEVICE: &str = "/machine/peripheral/root";
/// Bytes of serial output that QEMU keeps; a power of two.
pub(super) const SERIAL_RING: usize = 64 * 1024;
const MIB: u64 = 1 << 20;

/// Features of a host's processor that its guest does not get: virtualization of its own, which a guest can attack the host by
/// and which no snapshot carries well, and the performance counters.
fn withheld(cpu: Cpu) -> impl Iterator<Item = &'static str> {
    let names = [(!cpu.nested, "vmx"), (!cpu.nested, "svm"), (!cpu.counters, "pmu")];
    names.into_iter().filter_map(|(withheld, name)| withheld.then_some(name))
}

/// Features that a guest does not get, as properties of a processor model.
pub(super) fn without(cpu: Cpu) -> Value {
    withheld(cpu).map(|name| (name.to_owned(), json!(false))).collect::<serde_json::Map<_, _>>().into()
}

/// Everything that the command line says of a machine.
#[derive(Clone, Debug)]
pub(super) struct Machine<'a> {
    pub(super) name: &'a str,
    pub(super) accelerator: Accelerator,
    pub(super) vcpus: u32,
    /// Bytes of memory; rounded up to a MiB.
    pub(super) size: u64,
    pub(super) memory: &'a Memory,
    pub(super) cpu: Cpu,
    /// Whether QEMU waits for device state instead of booting.
    pub(super) incoming: bool,
    /// Whether QEMU can map a file privately that it may not write (8.2 and later).
    pub(super) maps_read_only: bool,
    pub(super) kernel: &'a Path,
    pub(super) initramfs: &'a Path,
    /// Rate of the host's time stamp counter in kHz, for TCG.
    pub(super) tsc_khz: Option<u64>,
    /// Whether an emulated guest has the processor that copies slowly; see [`copies_slowly`].
    pub(super) copies_slowly: bool,
    /// Layers below the disk, bottom first; see `VmSpec::layers`.
    pub(super) layers: &'a [PathBuf],
    /// Path of the layer that the guest writes to; None: QEMU is given one before it runs.
    pub(super) disk: Option<&'a Path>,
    /// Numbers of the descriptors that QEMU inherits.
    pub(super) inherited: Inherited,
}

/// Processor of emulated guests. Kernels and programs copy by `rep movsb` where a processor says that it does that fast; an emulated
/// one takes five times as long for it as for words.
const CPU: &str = "max,erms=off,fsrm=off";
/// The processor before it was known that it copies slowly.
const CPU_BEFORE: &str = "max";

/// Whether a guest that was started with these arguments has the processor that copies slowly: it is resumed with it.
pub(super) fn copies_slowly(arguments: &[String]) -> bool {
    arguments.windows(2).any(|pair| pair[0] == "-cpu" && pair[1] == CPU_BEFORE)
}

/// Numbers of the listening sockets that QEMU inherits, and of the sealed copy of a template's RAM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Inherited {
    pub(super) qmp: i32,
    pub(super) link: i32,
    pub(super) tunnel: i32,
    pub(super) template: Option<i32>,
}

impl Machine<'_> {
    /// Arguments of QEMU, without the program.
    ///
    /// # Errors
    /// [`VmError::File`] where a layer cannot be one.
    pub(super) fn argv(&self) -> Result<Vec<OsString>, VmError> {
        let mut argv = Argv::default();
        self.board(&mut argv)?;
        self.boot(&mut argv);
        self.ports(&mut argv);
        for node in self.nodes()? {
            argv.json("-blockdev", &node);
        }
        // Nothing but a full disk stops the VM; any other error is the guest's to see.
        argv.json(
            "-device",
            &json!({"driver": "virtio-blk-device", "id": "root", "drive": TOP, "werror": "enospc", "rerror": "report"}),
        );
        Ok(argv.0)
    }

    fn board(&self, argv: &mut Argv) -> Result<(), VmError> {
        argv.pair("-name", format!("guest={},debug-threads=on", self.name.replace(',', ",,")));
        argv.flags(&["-nodefaults", "-no-user-config", "-display", "none"]);
        argv.flags(&["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]);
        // PIT and PIC stay on: without them kernels hang under TCG.
        argv.flags(&["-M", "microvm,acpi=on,rtc=on,isa-serial=on,memory-backend=ram,suppress-vmdesc=on"]);
        // The device state stream has no configuration section and no global state: the loader must not expect them.
        argv.flags(&["-global", "migration.send-configuration=off", "-global", "migration.store-global-state=off"]);
        match self.accelerator {
            Accelerator::Kvm => {
                argv.flags(&["-accel", "kvm"]);
                let off: String = withheld(self.cpu).map(|name| format!(",{name}=off")).collect();
                argv.pair("-cpu", format!("host{off}"));
            }
            Accelerator::Tcg => {
                argv.pair("-accel", format!("tcg,tb-size={TB_SIZE}"));
                argv.flags(&["-cpu", if self.copies_slowly { CPU_BEFORE } else { CPU }]);
            }
        }
        argv.pair("-smp", self.vcpus.to_string());
        argv.pair("-m", format!("{}M", self.ram() / MIB));
        argv.json("-object", &self.backend()?);
        // A reset ends the VM, and an ended VM waits for hostd to read its last words.
        argv.flags(&["-action", "reboot=shutdown,shutdown=pause,panic=shutdown", "-S"]);
        if self.incoming {
            argv.flags(&["-incoming", "defer"]);
        }
        Ok(())
    }

    /// Bytes of RAM, rounded up to a MiB.
    pub(super) fn ram(&self) -> u64 {
        self.size.div_ceil(MIB) * MIB
    }

    fn backend(&self) -> Result<Value, VmError> {
        let kind = match self.memory {
            Memory::Own => json!({"qom-type": "memory-backend-ram"}),
            Memory::Template(file) => {
                json!({"qom-type": "memory-backend-file", "mem-path": utf8(file)?, "share": true})
            }
            Memory::Clone(template) => {
                let file = template.join(RAM_NAME);
                let (path, how) = match self.inherited.template {
                    Some(number) => (sealed::path(number), json!({})),
                    // Without `rom` a private view of a file that may not be written would itself not be writable.
                    None if self.maps_read_only => (utf8(&file)?.to_owned(), json!({"readonly": true, "rom": "off"})),
                    None => return Err(bad_layer(&file, "would be open for writing in this QEMU")),
                };
                let view = json!({"qom-type": "memory-backend-file", "mem-path": path, "share": false});
                extended(view, how)
            }
        };
        Ok(extended(kind, json!({"id": "ram", "size": self.ram(), "merge": false, "dump": false})))
    }

    /// Arguments that a snapshot depends on: without names, files and descriptors, and whatever its disk's layers.
    pub(super) fn canonical(&self) -> Vec<String> {
        let bare = Machine {
            name: "",
            kernel: Path::new("kernel"),
            initramfs: Path::new("initramfs"),
            tsc_khz: self.tsc_khz.and(Some(0)),
            memory: &Memory::Own,
            incoming: false,
            layers: &[],
            disk: Some(Path::new("disk")),
            inherited: Inherited::default(),
            ..self.clone()
        };
        bare.argv().unwrap_or_default().into_iter().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    fn boot(&self, argv: &mut Argv) {
        argv.pair("-kernel", self.kernel);
        argv.pair("-initrd", self.initramfs);
        argv.pair("-append", self.command_line());
    }

    /// Command line of the guest's kernel.
    ///
    /// `cryptomgr.notests` leaves out the kernel's tests of its ciphers, and `init_on_alloc=0` the clearing of memory before
    /// it is given out: two thirds of the instructions of a cold boot, nearly all of them in the tests. `lsm` leaves out the
    /// security modules that look at every call and have no policy here; Landlock and Yama are what agents confine their own
    /// programs with. `psi=0` leaves out the accounts of pressure that each switch of tasks would keep.
    ///
    /// Without the second part a kernel under TCG calibrates its clock against an emulated timer, which hangs on a busy
    /// host.
    fn command_line(&self) -> String {
        let mut line = String::from(
            "console=ttyS0 quiet reboot=t panic=-1 cryptomgr.notests init_on_alloc=0 lsm=landlock,yama psi=0",
        );
        if self.accelerator == Accelerator::Tcg {
            line += " tsc=reliable no_timer_check";
            if let Some(khz) = self.tsc_khz {
                line += &format!(" tsc_early_khz={khz}");
            }
        }
        line
    }

    fn ports(&self, argv: &mut Argv) {
        argv.pair("-chardev", format!("ringbuf,id=serial,size={SERIAL_RING}"));
        argv.flags(&["-serial", "chardev:serial"]);
        let socket = |id, fd| format!("socket,id={id},fd={fd},server=on,wait=off");
        argv.pair("-chardev", socket("qmp", self.inherited.qmp));
        argv.flags(&["-mon", "chardev=qmp,mode=control"]);
        argv.json("-device", &json!({"driver": "virtio-serial-device", "id": "ports", "max_ports": 4}));
        for (number, port, fd) in [(1, Port::Link, self.inherited.link), (2, Port::Tunnel, self.inherited.tunnel)] {
            let id = port.word();
            argv.pair("-chardev", socket(id, fd));
            argv.json(
                "-device",
                &json!({"driver": "virtserialport", "bus": "ports.0", "nr": number, "chardev": id, "name": format!("pilothouse.{id}")}),
            );
        }
    }

    /// Nodes of the disk's layers, bottom first. Headers name no backing file: the chain stands here.
    fn nodes(&self) -> Result<Vec<Value>, VmError> {
        let mut nodes = Vec::new();
        let mut below: Option<String> = None;
        for (number, layer) in self.layers.iter().enumerate() {
            let (name, path) = (layer_node(number), utf8(layer)?);
            nodes.push(match layer.extension().and_then(|e| e.to_str()) {
                Some("ext4") if below.is_none() => {
                    json!({"driver": "raw", "node-name": name, "file": frozen_file(path), "read-only": true})
                }
                Some("qcow2") => frozen(&name, path, below.as_deref()),
                _ => return Err(bad_layer(layer, "is neither an .ext4 at the bottom nor a .qcow2")),
            });
            below = Some(name);
        }
        nodes.push(match self.disk {
            Some(disk) => top(TOP, utf8(disk)?, below.as_deref()),
            // A device wants something to be one of.
            None => json!({"driver": "null-co", "node-name": TOP}),
        });
        Ok(nodes)
    }
}

/// Name of the node of a layer below the top, counted from the bottom.
pub(super) fn layer_node(number: usize) -> String {
    format!("layer{number}")
}

/// Node of a layer that is only read.
pub(super) fn frozen(node: &str, path: &str, below: Option<&str>) -> Value {
    json!({"driver": "qcow2", "node-name": node, "file": frozen_file(path), "backing": below, "read-only": true})
}

fn frozen_file(path: &str) -> Value {
    json!({"driver": "file", "filename": path, "read-only": true})
}

/// Node of a layer that is written to.
pub(super) fn top(node: &str, path: &str, below: Option<&str>) -> Value {
    let file = json!({"driver": "file", "node-name": file_node(node), "filename": path, "discard": "unmap"});
    extended(top_again(node, below), json!({"file": file}))
}

/// Options of that node once it is there, with what is below it from now on.
pub(super) fn top_again(node: &str, below: Option<&str>) -> Value {
    json!({"driver": "qcow2", "node-name": node, "file": file_node(node), "backing": below, "discard": "unmap"})
}

/// Name of the node of the file of a layer that is written to.
fn file_node(node: &str) -> String {
    format!("{node}-file")
}

#[derive(Default)]
struct Argv(Vec<OsString>);

impl Argv {
    fn flags(&mut self, flags: &[&str]) {
        self.0.extend(flags.iter().map(OsString::from));
    }

    fn pair(&mut self, flag: &str, value: impl Into<OsString>) {
        self.0.push(flag.into());
        self.0.push(value.into());
    }

    /// Adds a flag with a value in JSON, in which a path may hold commas.
    fn json(&mut self, flag: &str, value: &Value) {
        self.pair(flag, value.to_string());
    }
}

fn extended(mut object: Value, more: Value) -> Value {
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

pub(super) fn utf8(path: &Path) -> Result<&str, VmError> {
    path.to_str().ok_or_else(|| bad_layer(path, "is not UTF-8, which QEMU needs; choose another folder"))
}

pub(super) fn bad_layer(path: &Path, why: &str) -> VmError {
    VmError::File { path: path.to_owned(), error: std::io::Error::new(std::io::ErrorKind::InvalidInput, why) }
}

#[cfg(test)]
#[path = "argv_tests.rs"]
mod tests;
