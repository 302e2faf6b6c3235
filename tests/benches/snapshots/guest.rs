//! A guest that has shaken hands, whoever runs its VM.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use hostd::{
    forge::BareRepositories,
    gateway::{Access, Beside, Caller, Gateway},
    guest::{Hello, Identity, Link},
    vm::Vm,
};
use pilothouse_proto::guest::v1::{
    QuiesceRequest, StartAgentRequest, TerminalOpen, TerminalRequest, guest_client::GuestClient, terminal_request,
};
use tests::wait::BOOT;
use tonic::transport::Channel;

use crate::table::Parts;

/// Says something at once, and then waits.
const AGENT: [&str; 3] = ["sh", "-c", "echo ready; exec sleep 1000000"];

/// The arguments of QEMU for the VM of this folder.
pub(crate) fn argv(directory: &Path) -> Vec<String> {
    let record: serde_json::Value = serde_json::from_slice(&fs::read(directory.join("vm.json")).unwrap()).unwrap();
    record["argv"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// A VM, its link, and what it took to come so far.
pub(crate) struct Guest {
    pub(crate) vm: Arc<dyn Vm>,
    link: Link,
    hello: Arc<Hello>,
    /// Empty: not ours.
    pub(crate) directory: PathBuf,
    pub(crate) disk: PathBuf,
    pub(crate) took: Parts,
}

/// Connects to a guest and shakes its hand.
pub(crate) async fn shake(vm: Arc<dyn Vm>, generation: u64) -> Guest {
    let session_id = "01BENCH0000000000000000000".to_owned();
    let identity = Identity {
        trust: None,
        session_id: session_id.clone(),
        slug: "bench".into(),
        machine_id: "0123456789abcdef0123456789abcdef".into(),
        generation,
    };
    let caller = Caller {
        session_id,
        slug: "bench".into(),
        environment: "tools".into(),
        repository: None,
        branch_prefix: None,
        opens_pulls: None,
        also_read: Vec::new(),
        egress: Vec::new(),
        beside: Beside::default(),
        access: Access::default(),
    };
    let gateway = Arc::new(Gateway::new(BareRepositories::at("/nonexistent".into())));
    let link = Link::start(vm.clone(), identity, gateway, Arc::new(caller));
    let hello = link.client(BOOT).await.expect("the guest answers");
    Guest { vm, link, hello, directory: PathBuf::new(), disk: PathBuf::new(), took: Vec::new() }
}

impl Guest {
    fn client(&self) -> GuestClient<Channel> {
        self.hello.client.clone()
    }

    /// Starts the agent and waits for its first byte.
    pub(crate) async fn agent(&mut self) {
        let began = Instant::now();
        let command = AGENT.map(Into::into).into();
        let start = StartAgentRequest { command, columns: 80, rows: 24, ..Default::default() };
        self.client().start_agent(start).await.unwrap();
        let open = terminal_request::Request::Open(TerminalOpen { offset: 0 });
        let open = TerminalRequest { request: Some(open) };
        let mut output = self.client().terminal(tokio_stream::once(open)).await.unwrap().into_inner();
        while output.message().await.unwrap().expect("the agent says something").output.is_empty() {}
        self.took.push(("agent", began.elapsed()));
    }

    /// As a template does before it is frozen, and a warm VM before it stands ready.
    pub(crate) async fn rehearse(&self) {
        self.hello.rehearse().await.unwrap();
    }

    /// To disk, as `pilothouse suspend` does it; what it took, and the bytes of memory and devices.
    pub(crate) async fn suspend(self, folder: &Path) -> (Parts, u64) {
        let began = Instant::now();
        self.client().quiesce(QuiesceRequest { freeze: true, trim: true }).await.unwrap();
        let _held = self.link.close();
        let quiesced = began.elapsed();
        let manifest = self.vm.snapshot(folder).await.unwrap();
        let saved = began.elapsed();
        self.vm.end().await;
        let ended = began.elapsed();
        let parts = vec![("quiesce", quiesced), ("snapshot", saved - quiesced), ("end", ended - saved)];
        (parts, manifest.memory.bytes + manifest.devices.bytes)
    }

    /// The same VM with another identity, as a warm one is given to a session. Not counted: what it did while it stood ready.
    pub(crate) async fn handed_over(self, generation: u64) -> Self {
        self.rehearse().await;
        self.hello.freeze().await;
        drop(self.link.close());
        let began = Instant::now();
        let mut guest = shake(self.vm.clone(), generation).await;
        guest.part("link", began.elapsed());
        Self { directory: self.directory, disk: self.disk, ..guest }
    }

    pub(crate) async fn end(self) {
        self.vm.end().await;
    }

    pub(crate) fn part(&mut self, name: &'static str, took: Duration) {
        self.took.push((name, took));
    }
}
