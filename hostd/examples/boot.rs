//! Boots VMs one after the other and prints what each took: to measure the cold boot, and to hunt hangs under load.
//!
//! `cargo run -p hostd --example boot -- DATA GUEST COUNT [LAYER...]`, GUEST being a static pilothouse-guest. A boot is
//! done when the guest has answered the preamble of the link.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use eyre::{Result, bail, eyre};
use hostd::vm::{Memory, Port, Vm, VmSpec, Vmm, qemu::Qemu};
use hostd_core::{recipe::Cpu, session::Size};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

const WITHIN: Duration = Duration::from_secs(120);
const SIZE: Size = Size { vcpus: 1, memory: 512 << 20, disk: 8 << 30 };

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().init();
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let mut next = |what| arguments.next().ok_or_else(|| eyre!("{what} is missing: DATA GUEST COUNT [LAYER...]"));
    let (data, guest, count) = (next("DATA")?, next("GUEST")?, next("COUNT")?);
    let layers: Vec<PathBuf> = arguments.collect();
    let qemu = Qemu::new(&data, guest);
    println!("{:#?}", qemu.info());
    qemu.prepare(&|line| println!("{line}")).await?;
    let count: u32 = count.to_string_lossy().parse()?;
    let mut hung = 0;
    for number in 0..count {
        if let Err(error) = boot(&qemu, &data, &layers).await {
            hung += 1;
            println!("boot {number}: {error:#}");
        }
    }
    if hung > 0 { bail!("{hung} of {count} did not come up") } else { Ok(()) }
}

async fn boot(qemu: &Qemu, data: &Path, layers: &[PathBuf]) -> Result<()> {
    let directory = data.join("sessions/boot");
    std::fs::create_dir_all(&directory)?;
    let disk = directory.join("disk.qcow2");
    qemu.create_disk(&disk, SIZE.disk).await?;
    let spec = VmSpec {
        name: "boot".into(),
        directory: directory.clone(),
        size: SIZE,
        layers: layers.to_vec(),
        disk,
        memory: Memory::Own,
        cpu: Cpu::default(),
    };
    let start = Instant::now();
    let vm = qemu.start(spec).await?;
    let started = start.elapsed();
    let answered = timeout(WITHIN, greet(&vm)).await;
    let (all, resident) = (start.elapsed(), vm.memory().private >> 20);
    let serial = vm.serial().await;
    vm.end().await;
    if !matches!(answered, Ok(Ok(()))) {
        bail!("no answer after {all:?}; serial: {}", String::from_utf8_lossy(&serial));
    }
    println!("QEMU {:4} ms, link {:5} ms, resident {resident} MiB", started.as_millis(), all.as_millis());
    Ok(())
}

/// The preamble of the link: 24 bytes there and back.
async fn greet(vm: &Arc<dyn Vm>) -> Result<()> {
    let mut io = vm.connect(Port::Link).await?;
    let mut hello = *b"PLTHLNK1................";
    io.write_all(&hello).await?;
    io.read_exact(&mut hello).await?;
    Ok(())
}
