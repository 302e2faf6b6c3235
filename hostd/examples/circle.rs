//! The whole circle of snapshots on this machine, timed: cold boot, template, clone, suspend, resume.
//!
//! `cargo run -p hostd --example circle -- DATA GUEST LAYER...`

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use color_eyre::eyre::{Result, eyre};
use hostd::{
    gateway::{Caller, Gateway},
    guest::{Hello, Identity, Link},
    vm::{Memory, Vm, VmSpec, Vmm, qemu::Qemu},
};
use hostd_core::session::Size;
use pilothouse_proto::guest::v1::{ExecRequest, ExecStart, QuiesceRequest, exec_request, exec_response};

const SIZE: Size = Size { vcpus: 1, memory: 256 << 20, disk: 8 << 30 };

struct Bench {
    qemu: Qemu,
    data: PathBuf,
    layers: Vec<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_env_filter("info").init();
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let mut next = |what| arguments.next().ok_or_else(|| eyre!("{what} is missing: DATA GUEST LAYER..."));
    let (data, guest) = (next("DATA")?, next("GUEST")?);
    let bench = Bench { qemu: Qemu::new(&data, guest), data, layers: arguments.collect() };
    bench.qemu.prepare(&|line| println!("{line}")).await?;
    bench.circle().await
}

impl Bench {
    async fn circle(mut self) -> Result<()> {
        let template = self.data.join("template");
        let spec = self.spec("maker", Memory::Template(self.data.join("maker.ram"))).await?;
        let disk = spec.disk.clone();
        let start = Instant::now();
        let vm = self.qemu.start(spec).await?;
        let (link, hello) = shake(&vm, "maker", 1).await?;
        println!("cold boot to handshake {:?}, resident {} MiB", start.elapsed(), vm.resident() >> 20);
        println!("exec: {}", exec(&hello, "uptime; cat /etc/machine-id").await?);
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.put_down(&vm, link, &hello, &template).await?;
        self.layers.push(disk);

        let spec = self.spec("clone", Memory::Clone(template.clone())).await?;
        let disk = spec.disk.clone();
        let start = Instant::now();
        let vm = self.qemu.resume(spec, &template).await?;
        println!("clone runs after {:?}", start.elapsed());
        let (link, hello) = shake(&vm, "clone", 2).await?;
        println!("clone has shaken hands after {:?}", start.elapsed());
        println!("exec: {}", exec(&hello, "hostname; cat /etc/machine-id; date +%s.%N; (i=0; while :; do i=$((i+1)); echo $i > /tmp/n; sleep 0.1; done) >/dev/null 2>&1 & echo started; echo hi > /root/file").await?);
        tokio::time::sleep(Duration::from_secs(3)).await;
        println!("resident {} MiB; n {}", vm.resident() >> 20, exec(&hello, "cat /tmp/n").await?);
        let snapshot = self.data.join("snapshot");
        self.put_down(&vm, link, &hello, &snapshot).await?;
        self.layers.push(disk);
        tokio::time::sleep(Duration::from_secs(2)).await;

        for generation in 3..6 {
            let spec = self.spec(&format!("resumed{generation}"), Memory::Clone(template.clone())).await?;
            let disk = spec.disk.clone();
            let start = Instant::now();
            let vm = self.qemu.resume(spec, &snapshot).await?;
            println!("resumed after {:?}", start.elapsed());
            let (link, hello) = shake(&vm, "clone", generation).await?;
            println!("resumed: shaken hands after {:?}", start.elapsed());
            let host = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
            println!("exec: {} host {host:?}", exec(&hello, "cat /tmp/n /root/file; date +%s.%N").await?);
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.put_down(&vm, link, &hello, &snapshot).await?;
            self.layers.push(disk);
        }
        Ok(())
    }

    async fn spec(&self, name: &str, memory: Memory) -> Result<VmSpec> {
        let directory = self.data.join("vms").join(name);
        std::fs::create_dir_all(&directory)?;
        let disk = directory.join("disk.qcow2");
        self.qemu.create_disk(&disk, SIZE.disk).await?;
        Ok(VmSpec { name: name.into(), directory, size: SIZE, layers: self.layers.clone(), disk, memory })
    }

    async fn put_down(&self, vm: &Arc<dyn Vm>, link: Link, hello: &Hello, folder: &Path) -> Result<()> {
        let start = Instant::now();
        hello.client.clone().quiesce(QuiesceRequest { freeze: true, trim: true }).await?;
        let quiesced = start.elapsed();
        drop(link);
        let manifest = vm.snapshot(folder).await?;
        let saved = start.elapsed();
        vm.end().await;
        let (kib, all) = (manifest.memory.bytes >> 10, start.elapsed());
        println!("put down: quiesce {quiesced:?}, snapshot {:?}, all {all:?}; {kib} KiB memory", saved - quiesced);
        Ok(())
    }
}

async fn shake(vm: &Arc<dyn Vm>, slug: &str, generation: u64) -> Result<(Link, Arc<Hello>)> {
    let identity = Identity {
        session_id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".into(),
        slug: slug.into(),
        machine_id: format!("{generation:032x}"),
        generation,
    };
    let gateway = Arc::new(Gateway::new("/nonexistent".into()));
    let caller = Caller {
        session_id: String::new(),
        slug: slug.into(),
        environment: String::new(),
        repository: None,
        branch_prefix: None,
        egress: vec![],
    };
    let link = Link::start(vm.clone(), identity, gateway, Arc::new(caller));
    let hello = link.client(Duration::from_secs(60)).await?;
    Ok((link, hello))
}

async fn exec(hello: &Hello, script: &str) -> Result<String> {
    let start =
        ExecStart { command: ["sh", "-c", script].map(Into::into).into(), directory: "/".into(), ..Default::default() };
    let (sender, requests) = tokio::sync::mpsc::channel(4);
    for request in [exec_request::Request::Start(start), exec_request::Request::StdinEnd(true)] {
        sender.send(ExecRequest { request: Some(request) }).await?;
    }
    let stream = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut answers = hello.client.clone().exec(stream).await?.into_inner();
    let mut text = Vec::new();
    while let Some(answer) = answers.message().await? {
        if let Some(exec_response::Response::Stdout(bytes) | exec_response::Response::Stderr(bytes)) = answer.response {
            text.extend_from_slice(&bytes);
        }
    }
    Ok(String::from_utf8_lossy(&text).trim().replace('\n', " | "))
}
