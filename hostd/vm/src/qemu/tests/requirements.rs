//! What a snapshot depends on has changed: it is refused before QEMU starts, and left as it is.

use std::{collections::BTreeMap, fs, path::PathBuf};

use hostd_core::{recipe::Cpu, requirements::Requirements, session::Size};
use rstest::rstest;

use super::put_kernel;
use crate::{
    Memory, VmSpec, Vmm as _,
    program::{self, QEMU},
    qemu::{Accelerator, Choice, Qemu, templates},
    snapshot::store::{Manifest, Stored},
};

/// Tells its version, and leaves its arguments where it is started.
const QEMU_SCRIPT: &str =
    "case $1 in --version) echo 'QEMU emulator version 7.2.22';; *) echo \"$*\" >\"$0.started\"; exit 1;; esac";

struct Machine {
    data: tempfile::TempDir,
    qemu: Qemu,
    spec: VmSpec,
    snapshot: PathBuf,
}

impl Machine {
    /// Creates a machine with a session's snapshot against a template; all of it fits.
    async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let path = |name: &str| data.path().join(name);
        put_kernel(&path("kernel/6.1"), "a kernel");
        fs::write(path("guest"), "a guest").unwrap();
        program::put_script(&path(QEMU.name), QEMU_SCRIPT);
        let qemu = Qemu::new(data.path(), path("guest")).with_path(data.path().into());
        let qemu = qemu.with_accelerator(Choice::Forced(Accelerator::Tcg));
        fs::create_dir(path("vm")).unwrap();
        let spec = VmSpec {
            name: "test".into(),
            directory: path("vm"),
            size: Size { vcpus: 1, memory: 256 << 20, disk: 1 << 30 },
            layers: vec![],
            disk: path("vm/disk.qcow2"),
            memory: Memory::Clone(path("template")),
            cpu: Cpu::default(),
        };
        let machine = Self { snapshot: path("vm/snapshot"), data, qemu, spec };
        machine.template("template", "all of a template's RAM");
        machine.save("vm/snapshot", machine.requirements().await, &[("memory.zst", "pages"), ("devices", "state")]);
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.data.path().join(name)
    }

    /// Requirements that this machine offers.
    async fn requirements(&self) -> Requirements {
        let program = self.path(QEMU.name);
        let plan = self.qemu.installation.plan(&self.spec, &program, None).await.unwrap();
        plan.requirements_of(&self.spec)
    }

    fn template(&self, name: &str, ram: &str) {
        self.template_of(name, ram, Requirements::default());
    }

    fn template_of(&self, name: &str, ram: &str, requirements: Requirements) {
        let folder = self.path(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("ram"), ram).unwrap();
        fs::write(folder.join("devices"), "state").unwrap();
        let stored = [Stored::stamped(&folder, "ram").unwrap(), Stored::of(&folder, "devices").unwrap()];
        self.publish(name, requirements, stored);
    }

    fn save(&self, name: &str, requirements: Requirements, files: &[(&str, &str); 2]) {
        let folder = self.path(name);
        fs::create_dir(&folder).unwrap();
        let stored = files.map(|(file, bytes)| {
            fs::write(folder.join(file), bytes).unwrap();
            Stored::of(&folder, file).unwrap()
        });
        self.publish(name, requirements, stored);
    }

    fn publish(&self, name: &str, requirements: Requirements, [memory, devices]: [Stored; 2]) {
        let (folder, beside) = (self.path(name), self.path("beside"));
        fs::rename(&folder, &beside).unwrap();
        let manifest = Manifest::new(1, requirements, 256 << 20, "disk.qcow2".into(), memory, devices);
        manifest.publish(&beside, &folder).unwrap();
    }

    /// Text of the error of a resume.
    async fn resume(&self) -> String {
        self.qemu.resume(self.spec.clone(), &self.snapshot).await.err().unwrap().to_string()
    }

    fn started(&self) -> bool {
        self.started_with().is_some()
    }

    fn started_with(&self) -> Option<String> {
        fs::read_to_string(self.path("qemu-system-x86_64.started")).ok()
    }

    /// Path of the only initramfs so far.
    fn initramfs(&self) -> PathBuf {
        fs::read_dir(self.path("initramfs")).unwrap().next().unwrap().unwrap().path()
    }

    fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = fs::read_dir(&self.snapshot).unwrap().map(|entry| entry.unwrap().path());
        files.map(|file| (file.clone(), fs::read(file).unwrap())).collect()
    }
}

fn flip(file: PathBuf) {
    let mut bytes = fs::read(&file).unwrap();
    bytes[2] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn what_fits_is_given_to_qemu() {
    let machine = Machine::new().await;
    let error = machine.resume().await;
    assert!(machine.started(), "{error}");
}

/// An upgrade strands nobody: what a snapshot was made with is kept, and used again.
#[tokio::test]
async fn a_newer_kernel_and_a_newer_guest_are_for_those_who_boot() {
    let machine = Machine::new().await;
    let initramfs = machine.initramfs();
    put_kernel(&machine.path("kernel/6.2"), "a newer kernel");
    flip(machine.path("guest"));
    let error = machine.resume().await;
    let with = machine.started_with().unwrap_or(error);
    let kernel = machine.path("kernel/6.1/vmlinuz");
    for file in [&kernel, &initramfs] {
        assert!(with.contains(file.to_str().unwrap()), "{with}");
    }
    // Nor does it take the guest's program to be there.
    fs::remove_file(machine.path("guest")).unwrap();
    assert!(!machine.resume().await.contains("PILOTHOUSE_GUEST"));
    assert!(machine.qemu.start(machine.spec.clone()).await.err().unwrap().to_string().contains("PILOTHOUSE_GUEST"));
    fs::write(machine.path("guest"), "the newest").unwrap();
    let _ = machine.qemu.start(machine.spec.clone()).await;
    let with = machine.started_with().unwrap();
    assert!(with.contains("kernel/6.2/vmlinuz") && !with.contains(initramfs.to_str().unwrap()), "{with}");
}

/// A session that begins gets today's guest.
#[tokio::test]
async fn a_template_of_another_guest_is_not_cloned() {
    let machine = Machine::new().await;
    let (template, requirements) = (machine.path("template"), machine.requirements().await);
    fs::remove_dir_all(&template).unwrap();
    machine.template_of("template", "all of a template's RAM", requirements);
    let clone = async || machine.qemu.resume(machine.spec.clone(), &template).await.err().unwrap().to_string();
    let error = clone().await;
    assert!(machine.started(), "{error}");
    fs::remove_file(machine.path("qemu-system-x86_64.started")).unwrap();
    flip(machine.path("guest"));
    let error = clone().await;
    assert!(error.contains("its initramfs was ") && !machine.started(), "{error}");
}

#[rstest]
#[case::qemu(|m: &mut Machine| {
    program::put_script(&m.path(QEMU.name), &format!("# another build\n{QEMU_SCRIPT}"));
}, "another build of QEMU")]
#[case::memory(|m: &mut Machine| m.spec.size.memory *= 2, "`256M`, and here it would be with `512M`")]
#[case::vcpus(|m: &mut Machine| m.spec.size.vcpus = 2, "QEMU was started with `1`, and here it would be with `2`")]
#[case::kernel(|m: &mut Machine| flip(m.path("kernel/6.1/vmlinuz")), "its guest kernel was ")]
#[case::missing_initramfs(|m: &mut Machine| {
    flip(m.path("guest"));
    fs::remove_dir_all(m.path("initramfs")).unwrap();
}, "its initramfs was ")]
#[case::flipped_initramfs(|m: &mut Machine| {
    flip(m.path("guest"));
    flip(m.initramfs());
}, "its initramfs was ")]
#[case::accelerator(|m: &mut Machine| {
    let path = m.path("vm/snapshot/manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, text.replace("\"accelerator\": \"tcg\"", "\"accelerator\": \"kvm\"")).unwrap();
}, "its accelerator was kvm, and here it is tcg")]
#[case::template(|m: &mut Machine| {
    m.template("another", "the RAM of another template");
    m.spec.memory = Memory::Clone(m.path("another"));
}, "its template was ")]
#[case::missing_delta(|m: &mut Machine| fs::remove_file(m.path("vm/snapshot/memory.zst")).unwrap(), "snapshot/memory.zst: ")]
#[case::missing_manifest(|m: &mut Machine| fs::remove_file(m.path("vm/snapshot/manifest.json")).unwrap(), "manifest.json: ")]
#[case::touched_template(|m: &mut Machine| flip(m.path("template/ram")), "template/ram is damaged: it was written to")]
#[case::cut_template(|m: &mut Machine| fs::write(m.path("template/ram"), "short").unwrap(), "template/ram is damaged")]
#[case::deleted_template(|m: &mut Machine| fs::remove_dir_all(m.path("template")).unwrap(), "template/manifest.json: ")]
#[tokio::test]
async fn what_does_not_fit_is_refused_before_qemu_starts(#[case] change: fn(&mut Machine), #[case] said: &str) {
    let mut machine = Machine::new().await;
    change(&mut machine);
    let before = machine.contents();
    let error = machine.resume().await;
    assert!(error.contains(said), "{error}");
    assert!(!machine.started(), "QEMU was started");
    assert_eq!(machine.contents(), before, "the snapshot was changed");
    assert!(!machine.path("vm/vm.json").exists());
}

/// A snapshot is read through while its QEMU starts, which is ended where that finds damage.
#[rstest]
#[case::memory("memory.zst")]
#[case::devices("devices")]
#[tokio::test]
async fn damage_that_only_reading_tells_ends_the_qemu_that_waits(#[case] name: &str) {
    let machine = Machine::new().await;
    flip(machine.snapshot.join(name));
    let before = machine.contents();
    let error = machine.resume().await;
    assert!(error.contains(&format!("snapshot/{name} is damaged")), "{error}");
    assert_eq!(machine.contents(), before, "the snapshot was changed");
    assert!(!machine.path("vm/vm.json").exists());
}

/// Under KVM a guest counts on what the host's processor can: QEMU is asked before a snapshot is loaded.
#[tokio::test]
async fn a_processor_that_can_less_is_refused() {
    let mut machine = Machine::new().await;
    let says = |machine: &Machine, avx: bool| {
        let model = format!("{{\"return\": {{\"model\": {{\"props\": {{\"avx\": {avx}}}}}}}}}");
        let script = format!("case \"$*\" in *'-M none'*) echo '{model}'; exit 0;; esac; {QEMU_SCRIPT}");
        program::put_script(&machine.path(QEMU.name), &script);
    };
    let on_kvm = |machine: &Machine| {
        // A hostd of its own: what a host's processor is does not change while one runs.
        let qemu = Qemu::new(machine.data.path(), machine.path("guest")).with_path(machine.data.path().into());
        qemu.with_accelerator(Choice::Forced(Accelerator::Kvm))
    };
    says(&machine, true);
    machine.qemu = on_kvm(&machine);
    let made = machine.requirements().await;
    assert!(made.cpu_model.is_some());
    fs::remove_dir_all(&machine.snapshot).unwrap();
    machine.save("vm/snapshot", made.clone(), &[("memory.zst", "pages"), ("devices", "state")]);
    let error = machine.resume().await;
    assert!(machine.started(), "{error}");
    fs::remove_file(machine.path("qemu-system-x86_64.started")).unwrap();

    // The same QEMU on another host: its hash would tell another script apart, so the snapshot is said to be of this one.
    says(&machine, false);
    machine.qemu = on_kvm(&machine);
    let here = machine.requirements().await;
    fs::remove_dir_all(&machine.snapshot).unwrap();
    let made = Requirements { qemu: here.qemu.clone(), ..made };
    machine.save("vm/snapshot", made, &[("memory.zst", "pages"), ("devices", "state")]);
    let error = machine.resume().await;
    assert!(error.contains("its processor could do what") && !machine.started(), "{error}");
}

/// Its length and its time are as they were: only reading it tells.
#[tokio::test]
async fn a_template_with_a_flipped_byte_is_found_and_refused() {
    let machine = Machine::new().await;
    let ram = machine.path("template/ram");
    let time = fs::metadata(&ram).unwrap().modified().unwrap();
    flip(ram.clone());
    fs::File::options().write(true).open(&ram).unwrap().set_modified(time).unwrap();
    machine.qemu.installation.templates.verify(&machine.path("template"));
    let error = machine.resume().await;
    assert!(error.contains("template/ram is damaged: its checksum"), "{error}");
    assert!(error.contains("template/damaged says so"), "{error}");
    // Also for the next hostd.
    let next = Qemu::new(machine.data.path(), machine.path("guest")).with_path(machine.data.path().into());
    let error = next.resume(machine.spec.clone(), &machine.snapshot).await.err().unwrap().to_string();
    assert!(error.contains("template/ram is damaged"), "{error}");
}

#[tokio::test]
async fn a_template_is_read_once_and_a_good_one_is_not_marked() {
    let machine = Machine::new().await;
    let template = machine.path("template");
    let templates = std::sync::Arc::new(templates::Templates::default());
    templates.read(&template);
    templates.read(&template);
    // The thread holds the other one until it is done.
    while std::sync::Arc::strong_count(&templates) > 1 {
        tokio::task::yield_now().await;
    }
    assert!(!template.join("damaged").exists());
    flip(template.join("ram"));
    templates.read(&template);
    assert_eq!(std::sync::Arc::strong_count(&templates), 1);
}
