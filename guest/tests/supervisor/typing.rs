//! Messages: what an agent reads of them, and how often. The agents are shell scripts that print each read of theirs.

use std::time::Duration;

use pilothouse_proto::guest::v1::{
    StartAgentRequest, TerminalOpen, TerminalRequest, TerminalResponse, TypeRequest, TypeResponse,
    guest_client::GuestClient, terminal_request::Request,
};
use tokio::{
    sync::mpsc::{self, Sender},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming, transport::Channel};

use crate::support::{Host, eventually};

/// Prints each read of raw input on a line, between brackets, once the file named by `$1` exists.
const READS: &str = "stty raw -echo; echo ready; while ! [ -e $1 ]; do sleep 0.01; done; \
    while :; do printf '['; dd bs=65536 count=1 2>/dev/null | od -An -c | tr -d ' \\n'; printf ']'; done";

/// An agent, and what it wrote.
struct Agent {
    host: Host,
    client: GuestClient<Channel>,
    folder: tempfile::TempDir,
    output: (Streaming<TerminalResponse>, Sender<TerminalRequest>),
    seen: String,
}

impl Agent {
    async fn start(script: &str) -> Self {
        let (host, folder) = (Host::new(), tempfile::tempdir().unwrap());
        let mut client = host.connect().await;
        let go = folder.path().join("go").to_str().unwrap().to_owned();
        let command = ["sh", "-c", script, "sh", &go].map(Into::into).to_vec();
        let start =
            StartAgentRequest { command, directory: "/tmp".into(), columns: 90, rows: 20, ..Default::default() };
        client.start_agent(start).await.unwrap();
        let output = output_of(&mut client).await;
        let mut agent = Self { host, client, folder, output, seen: String::new() };
        agent.shows("ready").await;
        agent
    }

    /// Lets it read.
    fn go(&self) {
        std::fs::write(self.folder.path().join("go"), "").unwrap();
    }

    async fn shows(&mut self, text: &str) {
        while !self.seen.contains(text) {
            let answer = timeout(Duration::from_secs(20), self.output.0.message()).await;
            let answer = answer.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.seen)).unwrap().unwrap();
            self.seen += &String::from_utf8_lossy(&answer.output);
        }
    }

    async fn type_in(&mut self, id: u64, pieces: &[&str], text: &str) -> Streaming<TypeResponse> {
        let pieces = pieces.iter().map(|piece| piece.as_bytes().to_vec().into()).collect();
        let mut told = self
            .client
            .r#type(TypeRequest { id, pieces, text: text.into(), at_once: false })
            .await
            .unwrap()
            .into_inner();
        assert_eq!(told.message().await.unwrap(), Some(TypeResponse { read: false }));
        told
    }
}

/// What it wrote from the beginning; while the other is not dropped.
async fn output_of(client: &mut GuestClient<Channel>) -> (Streaming<TerminalResponse>, Sender<TerminalRequest>) {
    let (requests, receiver) = mpsc::channel(1);
    requests.send(TerminalRequest { request: Some(Request::Open(TerminalOpen { offset: 0 })) }).await.unwrap();
    (client.terminal(ReceiverStream::new(receiver)).await.unwrap().into_inner(), requests)
}

async fn read(told: &mut Streaming<TypeResponse>) {
    let answer = timeout(Duration::from_secs(20), told.message()).await.expect("it is not read");
    assert_eq!(answer.unwrap(), Some(TypeResponse { read: true }));
}

#[tokio::test]
async fn enter_comes_after_the_text_was_read_and_the_next_message_after_that() {
    let mut agent = Agent::start(READS).await;
    let mut first = agent.type_in(1, &["one", "\r"], "one").await;
    let mut second = agent.type_in(2, &["two", "\r"], "two").await;
    // It is busy: nothing is read, and nothing more is written.
    assert!(timeout(Duration::from_millis(200), first.message()).await.is_err());
    agent.go();
    read(&mut first).await;
    read(&mut second).await;
    agent.shows("[one][\\r][two][\\r]").await;
}

#[tokio::test]
async fn a_bracketed_message_is_one_piece_however_long() {
    let mut agent = Agent::start(READS).await;
    let long = format!("\x1b[200~{}\x1b[201~", "x".repeat(3000));
    let mut told = agent.type_in(1, &[&long, "\r"], "").await;
    agent.go();
    read(&mut told).await;
    agent.shows("[\\r]").await;
    let first = agent.seen.split("[\\r]").next().unwrap();
    assert_eq!(first.matches('[').count(), 3, "one read, and its two brackets: {}", agent.seen);
}

/// As programs do that tell typing from pasting by the clock: it takes its time with a paste, and an Enter that is there as soon as it
/// has drawn that is a new line of the text.
const WATCHES: &str = "stty raw -echo; echo ready; IFS= read -rd '~' begin; IFS= read -rd '~' text; sleep 0.3; printf 'drawn '; \
    if read -rsN1 -t 0.02 key; then printf newline; else read -rsN1 key; printf submitted; fi; exec cat";

#[tokio::test]
async fn enter_comes_after_a_paste_was_dealt_with() {
    let mut agent = Agent::start(&format!("exec bash -c \"{WATCHES}\"")).await;
    let mut told = agent.type_in(1, &["\x1b[200~a\rb\x1b[201~", "\r"], "").await;
    read(&mut told).await;
    agent.shows("drawn ").await;
    agent.shows("submitted").await;
}

/// A program that throws away what was typed before it was there, and asks for pastes in brackets.
const BEGINS: &str = "echo ready; sleep 0.5; stty raw -echo; while read -rsN1 -t 0.01 thrown; do :; done; printf '\\033[?2004h'; \
    while :; do printf '['; dd bs=65536 count=1 2>/dev/null | od -An -c | tr -d ' \\n'; printf ']'; done";

#[tokio::test]
async fn a_program_that_was_just_started_is_waited_for() {
    let mut agent = Agent::start(&format!("exec bash -c \"{BEGINS}\"")).await;
    let mut told = agent.type_in(1, &["a\nb", "\r"], "a\nb").await;
    read(&mut told).await;
    agent.shows("[033[200~a\\rb033[201~][\\r]").await;
}

#[tokio::test]
async fn what_a_young_program_did_not_read_answers_a_wait_for_a_message() {
    let mut agent = Agent::start("echo ready; sleep 1000").await;
    let mut told = agent.type_in(1, &["go on", "\r"], "go on").await;
    let mut wait = agent.host.guest.waits().begin("message".into(), 0, 0).unwrap();
    let answer = timeout(Duration::from_secs(20), wait.answer()).await.expect("it sleeps for ever").unwrap();
    assert_eq!(answer, r#"{"answer":"message","text":"go on"}"#);
    read(&mut told).await;
}

#[tokio::test]
async fn enter_comes_also_where_nothing_is_drawn_or_all_the_time() {
    for script in [
        "stty raw -echo; echo ready; dd bs=65536 count=1 2>/dev/null >/dev/null; dd bs=1 count=1 2>/dev/null | od -An -c; exec cat",
        "stty raw -echo; echo ready; (while :; do printf .; sleep 0.05; done) & dd bs=65536 count=1 2>/dev/null >/dev/null; \
            dd bs=1 count=1 2>/dev/null | od -An -c; kill $!; exec cat",
    ] {
        let mut agent = Agent::start(script).await;
        let mut told = agent.type_in(1, &["\x1b[200~a\x1b[201~", "\r"], "").await;
        read(&mut told).await;
        agent.shows("\\r").await;
    }
}

#[tokio::test]
async fn a_message_is_typed_once_however_often_it_is_asked_for() {
    let mut agent = Agent::start(READS).await;
    let told = [agent.type_in(7, &["a", "\r"], "a").await, agent.type_in(7, &["a", "\r"], "a").await];
    let Agent { host, client, folder, output, .. } = agent;
    drop((client, output, told));
    // Another connection, as after a suspend: it is followed, and typed no more.
    let mut client = host.connect().await;
    let output = output_of(&mut client).await;
    let mut agent = Agent { host, client, folder, output, seen: String::new() };
    let mut again = agent.type_in(7, &["a", "\r"], "a").await;
    agent.go();
    read(&mut again).await;
    let late = agent.client.r#type(TypeRequest { id: 7, ..TypeRequest::default() }).await;
    read(&mut late.unwrap().into_inner()).await;
    agent.shows("[a][\\r]").await;
    assert_eq!(agent.seen.matches("[a]").count(), 1);
}

#[tokio::test]
async fn a_program_that_reads_lines_gets_them_whole() {
    let mut agent = Agent::start("echo ready; while read -r line; do echo \"<$line>\"; done").await;
    let long = "y".repeat(3000);
    let mut told = agent.type_in(1, &[&format!("a\n{long}"), "\r"], "").await;
    read(&mut told).await;
    agent.shows(&format!("<{long}>")).await;
    assert!(agent.seen.contains("<a>"));
}

#[tokio::test]
async fn what_nobody_read_answers_a_wait_for_a_message_and_is_read_nowhere_else() {
    for script in
        [READS, "echo ready; while ! [ -e $1 ]; do sleep 0.01; done; while read -r line; do echo \"[$line]\"; done"]
    {
        let mut agent = Agent::start(script).await;
        let mut told = agent.type_in(1, &["go on", "\r"], "go on").await;
        let mut other = agent.host.guest.waits().begin("checks".into(), 0, 0).unwrap();
        assert!(timeout(Duration::from_millis(100), other.answer()).await.is_err(), "it waits for something else");
        drop(other);
        let mut wait = agent.host.guest.waits().begin("message".into(), 0, 0).unwrap();
        let answer = timeout(Duration::from_secs(20), wait.answer()).await.expect("it sleeps for ever").unwrap();
        assert_eq!(answer, r#"{"answer":"message","text":"go on"}"#);
        read(&mut told).await;
        let mut next = agent.type_in(2, &["next", "\r"], "next").await;
        agent.go();
        read(&mut next).await;
        agent.shows("[next]").await;
        assert!(!agent.seen.contains("[go on"), "twice: {}", agent.seen);
    }
}

#[tokio::test]
async fn a_message_that_comes_while_one_is_waited_for_is_not_typed() {
    let mut agent = Agent::start(READS).await;
    agent.go();
    let mut wait = agent.host.guest.waits().begin("message".into(), 0, 0).unwrap();
    let told =
        agent.client.r#type(TypeRequest { id: 1, pieces: vec!["no".into()], text: "yes".into(), at_once: false }).await;
    let mut told = told.unwrap().into_inner();
    let answer = timeout(Duration::from_secs(20), wait.answer()).await.expect("it sleeps for ever").unwrap();
    assert!(answer.contains("yes"));
    while !told.message().await.unwrap().unwrap().read {}
    let mut keys = agent.type_in(2, &["\x1b"], "").await;
    read(&mut keys).await;
    agent.shows("[033]").await;
    assert!(!agent.seen.contains("no"));
}

#[tokio::test]
async fn an_agent_that_ends_has_not_read_it() {
    let mut agent = Agent::start("stty raw -echo; echo ready; while ! [ -e $1 ]; do sleep 0.01; done").await;
    let mut told = agent.type_in(1, &["a", "\r"], "a").await;
    agent.go();
    let error = timeout(Duration::from_secs(20), told.message()).await.expect("it hangs").unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
    eventually("no message is left", || agent.host.guest.events().next(0).is_some()).await;
}

#[tokio::test]
async fn ctrl_c_reaches_a_program_that_reads_nothing() {
    let mut agent = Agent::start("trap 'echo interrupted' INT; echo ready; while :; do sleep 0.05; done").await;
    let _unread = agent.type_in(1, &["a line", "\r"], "a line").await;
    let request = TypeRequest { id: 2, pieces: vec!["\x03".into()], at_once: true, ..TypeRequest::default() };
    drop(agent.client.r#type(request).await.unwrap());
    agent.shows("interrupted").await;
}

#[tokio::test]
async fn keys_that_overtake_a_message_do_not_take_its_place() {
    let mut agent = Agent::start(READS).await;
    agent.go();
    let keys = TypeRequest { id: 2, pieces: vec!["\x1b".into()], at_once: true, ..TypeRequest::default() };
    let _told = agent.client.r#type(keys).await.unwrap();
    agent.shows("[033]").await;
    let _told = agent.type_in(1, &["a-line"], "a-line").await;
    agent.shows("[a-line]").await;
}
