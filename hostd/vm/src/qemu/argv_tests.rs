use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use super::*;
use rstest::rstest;

fn machine<'a>(layers: &'a [PathBuf]) -> Machine<'a> {
    Machine {
        name: "web,one",
        accelerator: Accelerator::Tcg,
        vcpus: 2,
        size: 512 << 20,
        memory: &Memory::Own,
        cpu: Cpu::default(),
        incoming: false,
        maps_read_only: false,
        kernel: Path::new("/d,ata/vmlinuz"),
        initramfs: Path::new("/data/i.cpio"),
        tsc_khz: Some(2_300_000),
        copies_slowly: false,
        layers,
        disk: Some(Path::new("/data/s,1/disk.qcow2")),
        inherited: Inherited { qmp: 7, link: 8, tunnel: 9, template: None },
    }
}

fn text(machine: &Machine) -> Vec<String> {
    machine.argv().unwrap().into_iter().map(|a| a.into_string().unwrap()).collect()
}

/// Values of all arguments that follow this flag.
fn values(machine: &Machine, flag: &str) -> Vec<String> {
    text(machine).windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1].clone()).collect()
}

#[rstest]
#[case(1, "1M")]
#[case(512 << 20, "512M")]
#[case((512 << 20) + 1, "513M")]
fn rounds_memory_up(#[case] size: u64, #[case] want: &str) {
    assert_eq!(values(&Machine { size, ..machine(&[]) }, "-m"), [want]);
}

#[test]
fn tells_the_clock_rate_under_tcg_only() {
    let tcg = machine(&[]);
    let line = &values(&tcg, "-append")[0];
    assert!(line.contains("tsc=reliable no_timer_check tsc_early_khz=2300000"), "{line}");
    assert!(values(&tcg, "-accel")[0].starts_with("tcg,tb-size="));
    assert_eq!(values(&tcg, "-cpu"), ["max,erms=off,fsrm=off"]);

    let unknown = &values(&Machine { tsc_khz: None, ..machine(&[]) }, "-append")[0];
    assert!(unknown.contains("no_timer_check") && !unknown.contains("khz"), "{unknown}");

    let kvm = Machine { accelerator: Accelerator::Kvm, ..machine(&[]) };
    assert!(!values(&kvm, "-append")[0].contains("tsc"));
    assert_eq!(
        (values(&kvm, "-accel"), values(&kvm, "-cpu")),
        (vec!["kvm".into()], vec!["host,vmx=off,svm=off,pmu=off".into()])
    );
}

#[test]
fn a_guest_keeps_the_processor_that_it_was_started_with() {
    let before = Machine { copies_slowly: true, ..machine(&[]) };
    assert_eq!(values(&before, "-cpu"), ["max"]);
    for machine in [before, machine(&[])] {
        assert_eq!(copies_slowly(&machine.canonical()), machine.copies_slowly);
        // A real processor copies as fast as it says.
        let kvm = Machine { accelerator: Accelerator::Kvm, ..machine };
        assert!(values(&kvm, "-cpu")[0].starts_with("host,") && !copies_slowly(&kvm.canonical()));
    }
}

#[test]
fn what_a_host_can_is_withheld_unless_asked_for() {
    let all = Cpu { nested: true, counters: true };
    for (cpu, want) in [(all, "host"), (Cpu { counters: false, ..all }, "host,pmu=off")] {
        let machine = Machine { accelerator: Accelerator::Kvm, cpu, ..machine(&[]) };
        assert_eq!(values(&machine, "-cpu"), [want]);
        assert_ne!(machine.canonical(), Machine { cpu: Cpu::default(), ..machine.clone() }.canonical());
        // It is emulated, whatever the host's can.
        assert_eq!(values(&Machine { accelerator: Accelerator::Tcg, ..machine }, "-cpu"), ["max,erms=off,fsrm=off"]);
    }
    assert_eq!(without(Cpu { nested: true, counters: false }), json!({"pmu": false}));
}

#[test]
fn has_no_network_card_and_a_jail() {
    let argv = text(&machine(&[]));
    assert!(!argv.iter().any(|a| a.contains("net")), "{argv:?}");
    for flag in ["-nodefaults", "-no-user-config", "-S"] {
        assert!(argv.iter().any(|a| a == flag), "{flag}");
    }
    assert!(values(&machine(&[]), "-sandbox")[0].contains("spawn=deny"));
    assert!(!values(&machine(&[]), "-M")[0].contains("pit=off"));
}

#[test]
fn names_its_ports() {
    let devices = values(&machine(&[]), "-device");
    assert!(devices.iter().any(|d| d.contains(r#""name":"pilothouse.link""#)), "{devices:?}");
    assert!(devices.iter().any(|d| d.contains(r#""name":"pilothouse.tunnel""#)), "{devices:?}");
    let chardevs = values(&machine(&[]), "-chardev");
    for want in ["socket,id=qmp,fd=7,", "socket,id=link,fd=8,", "socket,id=tunnel,fd=9,", "ringbuf,id=serial,"] {
        assert!(chardevs.iter().any(|c| c.starts_with(want)), "{want}: {chardevs:?}");
    }
}

#[test]
fn chains_layers_without_headers() {
    let layers = ["/b/base.ext4", "/b/one.qcow2", "/b/two.qcow2"].map(PathBuf::from);
    let nodes: Vec<Value> =
        values(&machine(&layers), "-blockdev").iter().map(|n| serde_json::from_str(n).unwrap()).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let chain: Vec<_> = nodes
        .iter()
        .map(|node| {
            let file = &node["file"];
            assert_eq!((&file["driver"], &file["read-only"]), (&json!("file"), &node["read-only"]));
            let below = text(&node["backing"]);
            [text(&node["driver"]), text(&node["node-name"]), text(&file["filename"]), below].join(" ")
        })
        .collect();
    let wanted = [
        "raw layer0 /b/base.ext4 ",
        "qcow2 layer1 /b/one.qcow2 layer0",
        "qcow2 layer2 /b/two.qcow2 layer1",
        "qcow2 disk /data/s,1/disk.qcow2 layer2",
    ];
    assert_eq!(chain, wanted);
    let read_only: Vec<_> = nodes.iter().map(|node| node["read-only"].as_bool()).collect();
    assert_eq!(read_only, [Some(true), Some(true), Some(true), None]);
    assert_eq!((&nodes[3]["discard"], &nodes[3]["file"]["discard"]), (&json!("unmap"), &json!("unmap")));
    assert!(nodes[0].get("backing").is_none());
}

#[test]
fn a_disk_that_is_not_known_yet_is_none() {
    let layers = ["/b/base.ext4"].map(PathBuf::from);
    let nodes = values(&Machine { disk: None, ..machine(&layers) }, "-blockdev");
    assert!(nodes[0].contains("base.ext4"), "{nodes:?}");
    assert_eq!(nodes[1..], [r#"{"driver":"null-co","node-name":"disk"}"#]);
}

#[test]
fn a_qcow2_at_the_bottom_has_no_backing() {
    let layers = [PathBuf::from("/b/one.qcow2")];
    let nodes = values(&machine(&layers), "-blockdev");
    assert!(nodes[0].contains(r#""backing":null"#), "{nodes:?}");
}

#[rstest]
#[case(&["/b/one.qcow2", "/b/base.ext4"])]
#[case(&["/b/base.raw"])]
#[case(&["/b/base"])]
fn refuses_other_layers(#[case] layers: &[&str]) {
    let layers: Vec<PathBuf> = layers.iter().map(PathBuf::from).collect();
    let error = machine(&layers).argv().unwrap_err().to_string();
    assert!(error.contains("neither an .ext4 at the bottom nor a .qcow2"), "{error}");
}

#[test]
fn refuses_names_that_are_not_utf8() {
    let disk = Path::new(OsStr::from_bytes(b"/d/\xff.qcow2"));
    let error = Machine { disk: Some(disk), ..machine(&[]) }.argv().unwrap_err().to_string();
    assert!(error.contains("UTF-8"), "{error}");
}

#[test]
fn memory_is_its_own_a_templates_or_a_view_of_one() {
    let file = PathBuf::from("/t,1/ram");
    fn with(memory: &Memory, maps_read_only: bool, template: Option<i32>) -> Machine<'_> {
        let inherited = Inherited { template, ..Inherited::default() };
        Machine { memory, maps_read_only, inherited, ..machine(&[]) }
    }
    let backend = |memory: &Memory, maps_read_only: bool| -> Value {
        let template = (!maps_read_only).then_some(10);
        serde_json::from_str(&values(&with(memory, maps_read_only, template), "-object")[0]).unwrap()
    };
    assert_eq!(backend(&Memory::Own, false)["qom-type"], "memory-backend-ram");
    let template = backend(&Memory::Template(file.clone()), true);
    assert_eq!((&template["mem-path"], &template["share"]), (&json!("/t,1/ram"), &json!(true)));
    let clone = Memory::Clone(file);
    assert_eq!(backend(&clone, false)["share"], false);
    assert!(backend(&clone, false).get("rom").is_none(), "QEMU before 8.2 does not know it");
    assert_eq!(backend(&clone, false)["mem-path"], "/proc/self/fd/10");
    assert!(with(&clone, false, None).argv().is_err(), "no QEMU opens a template for writing");
    assert_eq!(backend(&clone, true)["mem-path"], "/t,1/ram/ram");
    assert_eq!((&backend(&clone, true)["readonly"], &backend(&clone, true)["rom"]), (&json!(true), &json!("off")));
}

#[test]
fn what_a_snapshot_depends_on_does_not_name_files() {
    let one = machine(&[]);
    let layers = ["/b/base.ext4"].map(PathBuf::from);
    let clone = Memory::Clone("/x".into());
    let other = Machine {
        name: "other",
        disk: None,
        memory: &clone,
        incoming: true,
        tsc_khz: Some(1),
        inherited: Inherited { qmp: 1, link: 2, tunnel: 3, template: Some(4) },
        ..machine(&layers)
    };
    assert_eq!(one.canonical(), other.canonical());
    assert_ne!(one.canonical(), Machine { vcpus: 1, ..machine(&[]) }.canonical());
    assert_ne!(one.canonical(), Machine { size: 1 << 20, ..machine(&[]) }.canonical());
}
