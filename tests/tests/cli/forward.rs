//! `forward`: a connection here is one to a port of the session.

use std::{io, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpListener, TcpSocket, TcpStream},
    process::{Child, ChildStderr},
    time::timeout,
};

use crate::{
    fake::{Fake, session},
    program::{DEADLINE, until},
};

/// A forward that runs, and the address on this machine that it told.
struct Forward {
    child: Child,
    local: String,
    notes: Lines<BufReader<ChildStderr>>,
}

async fn forward(fake: &Fake, port: u16) -> Forward {
    let mut command = fake.command(&["forward", "--json", "alpha", &format!(":{port}")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let notes = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap().unwrap();
    let told: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&told["id"], &told["port"]), (&"01JALPHA".into(), &port.into()));
    Forward { child, local: told["local"].as_str().unwrap().into(), notes }
}

/// A connection that is reset is told of it where it is read, or by its own connect: that asks for the socket's
/// error once it is connected, and the reset may be there by then.
async fn reset_by(address: &str) {
    let reset = async { TcpStream::connect(address).await?.read(&mut [0]).await };
    assert_eq!(reset.await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

async fn server() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_pass_unchanged_and_each_direction_ends_by_itself() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let (listener, port) = server().await;
    let mut forward = forward(&fake, port).await;
    // Not random, but every 8 bytes are different.
    let sent: Vec<u8> = (0..1_u64 << 17).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = vec![];
        stream.read_to_end(&mut heard).await.unwrap();
        stream.write_all(&heard).await.unwrap();
    });
    let (mut reader, mut writer) = TcpStream::connect(&forward.local).await.unwrap().into_split();
    let sending = async {
        writer.write_all(&sent).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut came = vec![];
    let (_, read) = timeout(DEADLINE, async { tokio::join!(sending, reader.read_to_end(&mut came)) }).await.unwrap();
    assert!(read.is_ok() && came == sent, "{} of {} bytes came back", came.len(), sent.len());
    serving.await.unwrap();
    // Ctrl-C is its ordinary end.
    let pid = rustix::process::Pid::from_raw(forward.child.id().unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(timeout(DEADLINE, forward.child.wait()).await.unwrap().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_at_one_end_breaks_at_the_other() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let (listener, port) = server().await;
    let forward = forward(&fake, port).await;
    let broken = async |stream: &mut TcpStream| {
        let read = timeout(DEADLINE, stream.read(&mut [0])).await.unwrap();
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    };
    let reset = |stream: TcpStream| {
        rustix::net::sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO)).unwrap();
    };
    let mut here = TcpStream::connect(&forward.local).await.unwrap();
    reset(listener.accept().await.unwrap().0);
    broken(&mut here).await;

    let here = TcpStream::connect(&forward.local).await.unwrap();
    let _there = listener.accept().await.unwrap();
    reset(here);
    until("the host to hear of it", || fake.state.heard().contains("broken")).await;
}

/// A page of many files whose server is not there is one mistake, and the forward goes on until the server is.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_nothing_listens_on_is_told_once() {
    let fake = Fake::start(vec![session("alpha")]).await;
    // It is bound, and nobody listens on it yet.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut forward = forward(&fake, socket.local_addr().unwrap().port()).await;
    for _ in 0..3 {
        timeout(DEADLINE, reset_by(&forward.local)).await.unwrap();
    }
    let listener = socket.listen(8).unwrap();
    let _here = TcpStream::connect(&forward.local).await.unwrap();
    timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
    forward.child.kill().await.unwrap();
    let mut notes = vec![];
    while let Some(note) = forward.notes.next_line().await.unwrap() {
        notes.push(note);
    }
    assert_eq!(notes, ["error: nothing listens on that port in the session"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_here_says_what_to_do() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let (_listener, port) = server().await;
    let ran = fake.run(&["forward", "alpha", &port.to_string()]).await;
    assert_eq!((ran.code, ran.text()), (1, ""));
    assert!(
        ran.stderr.contains("cannot listen on 127.0.0.1") && ran.stderr.contains(&format!(":{port}")),
        "{}",
        ran.stderr
    );
    assert_eq!(fake.run(&["forward", "alpha", "web"]).await.code, 2);
    assert_eq!(fake.run(&["forward", "beta", ":80"]).await.code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_wants_a_terminal() {
    let fake = Fake::start(vec![session("alpha")]).await;
    assert_eq!(fake.run(&["open", "alpha"]).await.code, 2);
}
