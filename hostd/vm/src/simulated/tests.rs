use std::{future::ready, path::PathBuf, sync::Arc, time::Duration};

use hostd_core::{
    recipe::Cpu,
    session::{Cause, Size},
};
use hyper_util::rt::TokioIo;
use pilothouse_proto::{
    greet::{receive, send},
    guest::v1::{
        EventsRequest, ExecRequest, ExecStart, HandshakeAnswer, HandshakeRequest, PowerOffRequest, StartAgentRequest,
        TerminalOpen, TerminalRequest, event, exec_request, exec_response, guest_client::GuestClient,
        handshake_answer::Answer, terminal_request::Request,
    },
    link::{LENGTH, NONCE, PROTOCOL, preamble},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::{Options, Script, Simulated};
use crate::{Memory, Port, Vm, VmError, VmSpec, Vmm as _};

fn spec(name: &str) -> VmSpec {
    VmSpec {
        name: name.into(),
        directory: PathBuf::from("/no/such/folder"),
        size: Size { vcpus: 1, memory: 1 << 28, disk: 1 << 33 },
        layers: vec![],
        disk: PathBuf::from("/no/such/disk"),
        memory: Memory::Own,
        cpu: Cpu::default(),
    }
}

/// Connects to the guest as hostd does: preamble, handshake, and then HTTP/2.
async fn connect(vm: &Arc<dyn Vm>) -> GuestClient<Channel> {
    let mut io = vm.connect(Port::Link).await.unwrap();
    let ours = preamble([7; NONCE]);
    io.write_all(&ours).await.unwrap();
    let (session_id, slug) = ("01JTEST".into(), "fix-parser".into());
    send(&mut io, &HandshakeRequest { protocol: PROTOCOL, session_id, slug, ..Default::default() }).await.unwrap();
    let mut answered = [0; LENGTH];
    io.read_exact(&mut answered).await.unwrap();
    assert_eq!(answered, ours);
    let answer: HandshakeAnswer = receive(&mut io).await.unwrap();
    assert!(matches!(answer.answer, Some(Answer::Shaken(_))), "{answer:?}");
    let mut io = Some(TokioIo::new(io));
    let once = service_fn(move |_: Uri| ready(io.take().ok_or(std::io::Error::other("one connection"))));
    GuestClient::new(Endpoint::from_static("http://guest.invalid").connect_with_connector(once).await.unwrap())
}

const SOON: Duration = Duration::from_secs(3600);

/// The whole life of an agent: its output and events, with every question answered.
async fn life(seed: u64, name: &str) -> (String, Vec<event::Event>) {
    let script = Script { asks: 0.5, ..Options::default().script };
    let vm = Simulated::new(Options { seed, script, ..Options::default() }).start(spec(name)).await.unwrap();
    let mut client = connect(&vm).await;
    let command = vec!["claude".to_string()];
    client.start_agent(StartAgentRequest { command, ..Default::default() }).await.unwrap();
    let (send, receiver) = mpsc::channel(4);
    send.send(TerminalRequest { request: Some(Request::Open(TerminalOpen { offset: 0 })) }).await.unwrap();
    let mut output = client.terminal(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    let mut told = client.events(EventsRequest { after: 0 }).await.unwrap().into_inner();
    let mut events = Vec::new();
    while !matches!(events.last(), Some(event::Event::AgentExited(_))) {
        let event = told.message().await.unwrap().unwrap().event.unwrap();
        if matches!(&event, event::Event::Status(status) if status.activity == "needs-input") {
            send.send(TerminalRequest { request: Some(Request::Input("yes\r".into())) }).await.unwrap();
        }
        events.push(event);
    }
    let mut text = Vec::new();
    while let Some(answer) = output.message().await.unwrap() {
        assert_eq!(answer.offset, text.len() as u64);
        text.extend(answer.output);
    }
    (String::from_utf8(text).unwrap(), events)
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_and_name_give_the_same_life() {
    let mut asked = 0;
    for name in ["a", "b", "c", "d", "e", "f"] {
        let (output, events) = life(7, name).await;
        assert!(output.starts_with("simulated agent: claude\r\n[1/"), "{output}");
        asked += usize::from(output.contains("you said: yes"));
        assert_eq!((output.clone(), events), life(7, name).await);
        assert_ne!(output, life(8, name).await.0);
    }
    assert!((1..6).contains(&asked), "{asked} of 6 asked");
}

async fn exec(client: &mut GuestClient<Channel>, command: &[&str], stdin: &'static [u8]) -> (Vec<u8>, i32) {
    let command = command.iter().map(ToString::to_string).collect();
    let start = exec_request::Request::Start(ExecStart { command, ..ExecStart::default() });
    let requests = [start, exec_request::Request::Stdin(stdin.into())].map(|r| ExecRequest { request: Some(r) });
    let mut answers = client.exec(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let mut out = Vec::new();
    loop {
        match answers.message().await.unwrap().unwrap().response.unwrap() {
            exec_response::Response::Stdout(bytes) | exec_response::Response::Stderr(bytes) => out.extend(bytes),
            exec_response::Response::Exit(exit) => return (out, exit.code),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn runs_a_few_commands_and_powers_off() {
    let vm = Simulated::new(Options::default()).start(spec("a")).await.unwrap();
    let mut client = connect(&vm).await;
    assert_eq!(exec(&mut client, &["echo", "a", "b"], b"").await, (b"a b\n".to_vec(), 0));
    assert_eq!(exec(&mut client, &["cat"], b"\0\xff").await, (b"\0\xff".to_vec(), 0));
    assert_eq!(exec(&mut client, &["sh", "-c", "exit 7"], b"").await, (vec![], 7));
    assert_eq!(exec(&mut client, &["git", "clone"], b"").await.1, 0);
    assert!(vm.memory().private > 0);
    let _ = client.power_off(PowerOffRequest {}).await;
    assert_eq!(vm.ended().await, Cause::PoweredOff);
    assert_eq!(vm.memory().private, 0);
    vm.end().await;
    assert_eq!(vm.ended().await, Cause::PoweredOff, "the first cause stays");
}

#[tokio::test(start_paused = true)]
async fn faults_come_in_their_share_and_by_the_seed() {
    let options = Options { start_failure: 0.2, death: 0.5, ..Options::default() };
    let mut lives = Vec::new();
    for _ in 0..2 {
        let vmm = Simulated::new(options.clone());
        let mut life = Vec::new();
        for n in 0..200 {
            life.push(match vmm.start(spec(&n.to_string())).await {
                Err(VmError::Failed { .. }) => "failed",
                Err(error) => panic!("{error}"),
                Ok(vm) => match tokio::time::timeout(SOON, vm.ended()).await {
                    Ok(Cause::VmDied(_)) => "died",
                    Ok(cause) => panic!("{cause}"),
                    Err(_) => "lived",
                },
            });
        }
        lives.push(life);
    }
    assert_eq!(lives[0], lives[1]);
    let count = |what| lives[0].iter().filter(|life| **life == what).count();
    assert!((20..60).contains(&count("failed")) && (50..110).contains(&count("died")), "{:?}", lives[0]);
}
