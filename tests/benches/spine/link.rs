//! The link alone, without hostd's API: one gRPC call into a guest and back, and bulk over it.

use std::{path::Path, sync::Arc, time::Instant};

use hostd::{
    admission::Admission,
    environments::Environments,
    forge::BareRepositories,
    gateway::{Access, Beside, Caller, Gateway},
    guest::{Identity, Link},
    vm::{Memory, Vm, VmSpec, Vmm, qemu::Qemu},
};
use pilothouse_proto::guest::v1::{
    ExecRequest, ExecStart, StartAgentRequest, exec_request, exec_response, guest_client::GuestClient,
};
use tests::{Host, api, golden, paths, wait::BOOT};
use tonic::transport::Channel;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::table::{SAMPLES, Samples, round_trip, throughput};

const BULK: usize = 256 << 20;

/// Prints the round trip and the throughput of the link.
pub(crate) async fn measure(host: &Host) {
    let folder = paths::folder();
    golden::give(folder.path());
    let gateway = Arc::new(Gateway::new(BareRepositories::at(folder.path().join("git"))));
    let vm = boot(folder.path(), &gateway).await;
    let identity = Identity {
        trust: None,
        session_id: "01BENCH0000000000000000000".into(),
        slug: "bench".into(),
        machine_id: "0123456789abcdef0123456789abcdef".into(),
        generation: 1,
    };
    let link = Link::start(vm.clone(), identity, gateway, Arc::new(caller()));
    let mut client = link.client(BOOT).await.expect("the guest answers").client.clone();

    let mut health = HealthClient::new(api::connect(host).await);
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..SAMPLES {
        let began = Instant::now();
        // The first starts it; a repeat changes nothing and answers at once.
        client.start_agent(agent()).await.unwrap();
        ours.push(began.elapsed());
        let began = Instant::now();
        health.check(HealthCheckRequest::default()).await.unwrap();
        theirs.push(began.elapsed());
    }
    let peer = "the same over a Unix socket, no guest";
    round_trip("link, one call there and back", &Samples::new(ours), peer, &Samples::new(theirs));

    let began = Instant::now();
    let received = bulk(&mut client).await;
    assert_eq!(received, BULK);
    let link_time = began.elapsed();
    let began = Instant::now();
    let piped = tests::run(std::process::Command::new("head").args(["-c", &BULK.to_string(), "/dev/zero"]), &[]);
    assert_eq!(piped.stdout.len(), BULK);
    throughput("link, out of the guest", BULK, link_time, "a pipe on the host", began.elapsed());
    drop(link);
    vm.end().await;
}

async fn boot(data: &Path, gateway: &Arc<Gateway>) -> Arc<dyn Vm> {
    let vmm = Arc::new(Qemu::new(data, paths::program("pilothouse-guest-static")));
    vmm.prepare(&|_| ()).await.unwrap();
    let (mirror, admission) = (BareRepositories::at(data.join("git")), Admission::new(data.into(), None));
    let environments = Environments::open(data, vmm.clone(), gateway.clone(), mirror, admission).await.unwrap();
    let build = environments.ready("tools").unwrap();
    let directory = data.join("sessions/bench");
    std::fs::create_dir_all(&directory).unwrap();
    let disk = directory.join("disk.qcow2");
    vmm.create_disk(&disk, build.recipe.size.disk).await.unwrap();
    let spec = VmSpec {
        name: "bench".into(),
        directory,
        size: build.recipe.size,
        layers: build.layers,
        disk,
        memory: Memory::Own,
        cpu: hostd_core::recipe::Cpu::default(),
    };
    vmm.start(spec).await.unwrap()
}

fn caller() -> Caller {
    Caller {
        opens_pulls: None,
        session_id: "01BENCH0000000000000000000".into(),
        slug: "bench".into(),
        environment: "tools".into(),
        repository: None,
        branch_prefix: None,
        also_read: Vec::new(),
        egress: Vec::new(),
        beside: Beside::default(),
        access: Access::default(),
    }
}

fn agent() -> StartAgentRequest {
    StartAgentRequest { command: vec!["sleep".into(), "1000000".into()], columns: 80, rows: 24, ..Default::default() }
}

async fn bulk(client: &mut GuestClient<Channel>) -> usize {
    let command = vec!["head".into(), "-c".into(), BULK.to_string(), "/dev/zero".into()];
    let start = ExecStart { command, directory: "/".into(), ..Default::default() };
    let start = ExecRequest { request: Some(exec_request::Request::Start(start)) };
    let mut answers = client.exec(tokio_stream::once(start)).await.unwrap().into_inner();
    let mut received = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        match answer.response {
            Some(exec_response::Response::Stdout(bytes)) => received += bytes.len(),
            Some(exec_response::Response::Exit(exit)) => assert_eq!(exit.code, 0),
            _ => {}
        }
    }
    received
}
