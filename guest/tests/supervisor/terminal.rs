//! The agent's terminal: nothing lost across connections, nothing sent twice, bounded.

use std::{collections::HashMap, time::Duration};

use guest::agent::TERMINAL_RING;
use pilothouse_proto::{
    greet::receive,
    guest::v1::{
        EventsRequest, Exit, FirstOutput, HandshakeRequest, Size, StartAgentRequest, TerminalOpen, TerminalRequest,
        TerminalResponse, event, guest_client::GuestClient, terminal_request::Request,
    },
    link::FIRST_OUTPUT_MAX,
};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use crate::support::{Host, client as over, exec, greet, handshake, shake, start};

fn agent(script: &str) -> StartAgentRequest {
    StartAgentRequest {
        command: ["sh", "-c", script].map(Into::into).to_vec(),
        environment: HashMap::from([("PILOTHOUSE_SLUG".into(), "fix-parser".into())]),
        directory: "/tmp".into(),
        columns: 90,
        rows: 20,
        ..StartAgentRequest::default()
    }
}

type Sender = mpsc::Sender<TerminalRequest>;

async fn open(client: &mut GuestClient<Channel>, offset: u64) -> (Sender, Streaming<TerminalResponse>) {
    let (send, receiver) = mpsc::channel(4);
    say(&send, Request::Open(TerminalOpen { offset })).await;
    (send, client.terminal(ReceiverStream::new(receiver)).await.unwrap().into_inner())
}

async fn say(send: &Sender, request: Request) {
    send.send(TerminalRequest { request: Some(request) }).await.unwrap();
}

/// Reads until `enough`; the text, and whether the end was seen. Offsets must follow each other.
async fn read(answers: &mut Streaming<TerminalResponse>, mut next: u64, enough: &str) -> (String, bool) {
    let mut text = Vec::new();
    loop {
        let answer = timeout(Duration::from_secs(20), answers.message()).await.expect("no output").unwrap().unwrap();
        assert_eq!(answer.offset, next);
        next += answer.output.len() as u64;
        text.extend(answer.output);
        let so_far = String::from_utf8_lossy(&text);
        if answer.end || so_far.contains(enough) {
            return (so_far.into_owned(), answer.end);
        }
    }
}

#[tokio::test]
async fn types_resizes_and_reconnects_without_losing_a_byte() {
    let host = Host::new();
    let mut client = host.connect().await;
    let script = "stty size; echo $PILOTHOUSE_SLUG $PWD; while read line; do stty size; echo got $line; done";
    let started = client.start_agent(agent(script)).await.unwrap().into_inner().agent.unwrap();
    assert!(started.started && started.pid > 0);
    // A repeat changes nothing.
    assert_eq!(client.start_agent(agent("exit 1")).await.unwrap().into_inner().agent.unwrap(), started);

    let (send, mut answers) = open(&mut client, 0).await;
    let (first, _) = read(&mut answers, 0, "/tmp").await;
    assert!(first.starts_with("20 90\r\nfix-parser /tmp"), "{first:?}");
    say(&send, Request::Resize(Size { columns: 61, rows: 17 })).await;
    say(&send, Request::Input("one\n".into())).await;
    let (more, _) = read(&mut answers, first.len() as u64, "got one\r\n").await;
    assert!(more.contains("17 61\r\n"), "{more:?}");
    // Everything again from the beginning, on another connection.
    drop((send, answers, client));
    let mut client = host.connect().await;
    let hello = client.handshake(handshake(1)).await.unwrap().into_inner();
    assert_eq!(hello.agent.unwrap(), started);
    let (send, mut answers) = open(&mut client, 0).await;
    say(&send, Request::Input("two\n".into())).await;
    let (all, _) = read(&mut answers, 0, "got two\r\n").await;
    assert!(all.starts_with(&format!("{first}{more}")), "{all:?}");
    // Ctrl-D ends the agent; then the end is told, to late readers too.
    say(&send, Request::Input("\x04".into())).await;
    let (_, end) = read(&mut answers, all.len() as u64, "\0").await;
    assert!(end && answers.message().await.unwrap().is_none());
    let (send, mut answers) = open(&mut client, 0).await;
    let (again, end) = read(&mut answers, 0, "\0").await;
    assert!(end && again.starts_with(&all));
    // Nobody reads this any more; it must not hurt.
    say(&send, Request::Input("late\n".into())).await;
    assert_eq!(client.start_agent(agent("exit 1")).await.unwrap().into_inner().agent.unwrap().exit.unwrap().code, 0);
}

#[tokio::test]
async fn keeps_the_end_of_much_output_and_never_stops_the_agent() {
    let host = Host::new();
    let mut client = host.connect().await;
    client.start_agent(agent("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last; exit 3")).await.unwrap();
    let mut events = client.events(EventsRequest { after: 0 }).await.unwrap().into_inner();
    let event = timeout(Duration::from_secs(30), events.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(event.event, Some(event::Event::AgentExited(Exit { code: 3, signal: 0 })));

    let hello = client.handshake(handshake(1)).await.unwrap().into_inner();
    assert_eq!(hello.terminal_end, 3_000_008);
    assert_eq!(hello.terminal_end - hello.terminal_start, TERMINAL_RING as u64);
    let (_send, mut answers) = open(&mut client, 7).await;
    let (text, end) = read(&mut answers, hello.terminal_start, "\0").await;
    assert!(end && text.len() == TERMINAL_RING && text.ends_with("x\r\nlast\r\n"));
}

#[tokio::test]
async fn a_size_does_not_wait_behind_input_that_the_agent_does_not_read() {
    let host = Host::new();
    let mut client = host.connect().await;
    let script = "stty raw -echo; trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done";
    client.start_agent(agent(script)).await.unwrap();
    let (send, mut answers) = open(&mut client, 0).await;
    let (first, _) = read(&mut answers, 0, "ready").await;
    for _ in 0..12 {
        let input = Request::Input(vec![b'x'; 32 << 10].into());
        timeout(Duration::from_secs(20), say(&send, input)).await.expect("it is not taken");
    }
    say(&send, Request::Resize(Size { columns: 61, rows: 17 })).await;
    let (more, _) = read(&mut answers, first.len() as u64, "17 61").await;
    assert!(!more.contains('x'), "{more:?}");
}

#[tokio::test]
async fn ends_although_something_keeps_the_terminal_open() {
    let host = Host::new();
    let mut client = host.connect().await;
    client.start_agent(agent("trap '' HUP; sleep 1000 & echo $!; exit 0")).await.unwrap();
    let (_send, mut answers) = open(&mut client, 0).await;
    let (pid, end) = read(&mut answers, 0, "\0").await;
    assert!(end);
    let _ = std::process::Command::new("kill").arg(pid.trim()).status();
}

#[tokio::test]
async fn refuses_what_makes_no_sense() {
    let host = Host::new();
    let mut client = host.connect().await;
    let open = |offset| TerminalRequest { request: Some(Request::Open(TerminalOpen { offset })) };
    let error = client.terminal(tokio_stream::iter(vec![open(0)])).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::FailedPrecondition);
    let input = TerminalRequest { request: Some(Request::Input("x".into())) };
    let error = client.terminal(tokio_stream::iter(vec![input])).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::InvalidArgument);
    for wrong in [
        StartAgentRequest { columns: 0, ..agent("true") },
        StartAgentRequest { rows: 1001, ..agent("true") },
        StartAgentRequest { command: vec![], ..agent("true") },
        StartAgentRequest { environment: HashMap::from([("A=B".into(), "c".into())]), ..agent("true") },
    ] {
        assert_eq!(client.start_agent(wrong).await.unwrap_err().code(), tonic::Code::InvalidArgument);
    }
    let missing = StartAgentRequest { command: vec!["no-such-agent".into()], ..agent("") };
    let error = client.start_agent(missing).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::NotFound);
    assert!(error.message().contains("no-such-agent: not found"), "{}", error.message());
    let nobody = StartAgentRequest { user: "no-such-user".into(), ..agent("true") };
    let error = client.start_agent(nobody).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::FailedPrecondition);
    assert!(error.message().contains("no user `no-such-user`"), "{}", error.message());
    // It counts as not started.
    client.start_agent(agent("true")).await.unwrap();
}

#[tokio::test]
async fn commands_run_where_and_with_what_the_agent_runs() {
    let host = Host::new();
    let mut client = host.connect().await;
    client.start_agent(agent("sleep 1000")).await.unwrap();
    let ran = exec(&mut client, vec![start(&["sh", "-c", "echo $PWD $PILOTHOUSE_SLUG $HTTPS_PROXY"], None)]).await;
    assert_eq!(ran.text().0, "/tmp fix-parser http://127.0.0.1:3128\n");
}

#[tokio::test]
async fn an_agent_whose_conversation_is_gone_begins_anew() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join(".no-such-agent-of-pilothouse/a")).unwrap();
    std::fs::write(home.path().join(".no-such-agent-of-pilothouse/a/7.jsonl"), "{}\n").unwrap();
    let begins = ["sh", "-c", "echo begins"].map(Into::into).to_vec();
    // The home of whoever runs this has none; that of the agent is where its environment says.
    let cases = [(begins.clone(), None, "begins"), (vec![], None, "goes on"), (begins, Some(home.path()), "goes on")];
    for (anew, home, expected) in cases {
        let host = Host::new();
        let mut client = host.connect().await;
        let conversation_file = "~/.no-such-agent-of-pilothouse/*/7.jsonl".into();
        let mut request = StartAgentRequest { anew, conversation_file, ..agent("echo goes on") };
        let home = home.map(|home| ("HOME".to_owned(), home.to_str().unwrap().to_owned()));
        request.environment.extend(home);
        let started = client.start_agent(request.clone()).await.unwrap().into_inner();
        assert_eq!(started.anew, expected == "begins");
        let again = StartAgentRequest { anew: vec![], ..request };
        assert_eq!(client.start_agent(again).await.unwrap().into_inner().anew, started.anew, "a repeat says the same");
        let (_sender, mut answers) = open(&mut client, 0).await;
        let (text, _) = read(&mut answers, 0, expected).await;
        assert!(text.contains(expected), "{text}");
    }
}

/// What comes ahead of HTTP/2 on a new connection, whose handshake asks for output from here on, and a client behind that.
async fn ahead(host: &Host, offset: u64) -> (TerminalResponse, GuestClient<Channel>) {
    let mut io = host.wire().await;
    greet(&mut io, [1; 16]).await;
    let first_output = Some(FirstOutput { offset, within_millis: u32::MAX });
    let hello = shake(&mut io, HandshakeRequest { first_output, ..handshake(1) }).await.unwrap();
    assert!(hello.first_output);
    let shown = timeout(Duration::from_secs(20), receive(&mut io)).await.expect("nothing comes").unwrap();
    (shown, over(io).await)
}

#[tokio::test]
async fn what_the_agent_shows_first_goes_ahead_of_http_and_the_rest_behind_it() {
    let host = Host::new();
    let mut client = host.connect().await;
    client.start_agent(agent("while read line; do echo got $line; done")).await.unwrap();
    drop(client);
    // It says nothing: the rest does not wait for ever.
    let (shown, mut client) = ahead(&host, 0).await;
    assert_eq!(shown, TerminalResponse::default());
    let (send, mut answers) = open(&mut client, 0).await;
    say(&send, Request::Input("one\n".into())).await;
    let (text, _) = read(&mut answers, 0, "got one\r\n").await;
    drop((send, answers, client));
    let (shown, mut client) = ahead(&host, 2).await;
    assert_eq!((shown.offset, &shown.output[..], shown.end), (2, &text.as_bytes()[2..], false));
    // The stream goes on where that ends.
    let (send, mut answers) = open(&mut client, text.len() as u64).await;
    let long = "x".repeat(2000);
    for _ in 0..20 {
        say(&send, Request::Input(format!("{long}\n").into())).await;
    }
    say(&send, Request::Input("\x04".into())).await;
    let (more, end) = read(&mut answers, text.len() as u64, "\0").await;
    assert!(end);
    drop((send, answers, client));
    let (shown, client) = ahead(&host, 0).await;
    let all = text + &more;
    assert_eq!((shown.offset, shown.end), (0, false));
    assert!(shown.output.len() == FIRST_OUTPUT_MAX && all.as_bytes().starts_with(&shown.output), "it is bounded");
    drop(client);
    // One that has ended shows nothing any more, and is not waited for.
    let (shown, mut client) = ahead(&host, all.len() as u64).await;
    assert_eq!(shown, TerminalResponse::default());
    assert!(read(&mut open(&mut client, all.len() as u64).await.1, all.len() as u64, "\0").await.1);
}
