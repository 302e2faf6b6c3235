//! The guest on a descriptor that a host begins anew on without an end, as it may on a virtio-serial port.

use std::{
    fs::File,
    os::fd::OwnedFd,
    sync::{Arc, atomic::Ordering},
    thread,
};

use guest::{
    link::{Port, serve},
    service::Guest,
};
use pilothouse_proto::{
    greet::{framed, receive, send},
    guest::v1::{
        HandshakeAnswer, HandshakeClock, HandshakeRequest, QuiesceRequest, exec_request, guest_client::GuestClient,
        handshake_answer::Answer,
    },
    link::{KEEPALIVE_TIMEOUT, MAGIC, Scanner, preamble},
};
use rustix::io::ioctl_fionread;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, copy, duplex, split},
    net::UnixStream,
    task::JoinHandle,
    time::timeout,
};
use tonic::transport::Channel;

use crate::support::{Fake, NOW, client, eventually, exec, handshake, request, start};

/// The host's side of a port.
struct Host {
    end: std::os::unix::net::UnixStream,
    /// The guest's side.
    heard: std::os::unix::net::UnixStream,
    machine: Arc<Fake>,
}

impl Host {
    fn new() -> Self {
        let (end, port) = std::os::unix::net::UnixStream::pair().unwrap();
        end.set_nonblocking(true).unwrap();
        port.set_nonblocking(true).unwrap();
        let (heard, machine) = (port.try_clone().unwrap(), Arc::new(Fake::default()));
        let guest = Guest::new(machine.clone(), None, vec![]);
        // A runtime of its own: it stands still while the guest stands by.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let port = File::from(OwnedFd::from(port));
            runtime.block_on(async { serve(Port::of(port).unwrap(), guest).await })
        });
        Self { end, heard, machine }
    }

    fn io(&self) -> UnixStream {
        UnixStream::from_std(self.end.try_clone().unwrap()).unwrap()
    }

    /// Says preamble and handshake, once, and waits for the answer to both.
    async fn shake(&self, nonce: u8, request: HandshakeRequest) {
        let (mut io, preamble) = (BufReader::new(self.io()), preamble([nonce; 16]));
        io.write_all(&[&preamble[..], &framed(&request).unwrap()].concat()).await.unwrap();
        let answered = async {
            let mut echo = Scanner::new(preamble);
            while echo.find(&[io.read_u8().await.unwrap()]).is_none() {}
            let HandshakeAnswer { answer, asks_clock } = receive(&mut io).await.unwrap();
            if asks_clock {
                send(&mut io, &HandshakeClock { unix_nanos: NOW }).await.unwrap();
            }
            answer.unwrap()
        };
        // Sooner than HTTP/2 gives a connection up on which nobody answers.
        let answer = timeout(KEEPALIVE_TIMEOUT, answered).await.expect("no answer");
        assert!(matches!(answer, Answer::Shaken(_)), "{answer:?}");
    }

    /// HTTP/2, until the task is aborted, of which the guest hears nothing.
    async fn client(&self) -> (GuestClient<Channel>, JoinHandle<()>) {
        let (near, far) = duplex(64 << 10);
        let (mut from, mut to) = split(far);
        let (mut hear, mut said) = split(self.io());
        let heard = self.heard.try_clone().unwrap();
        let relay = tokio::spawn(async move {
            let speak = async {
                let mut bytes = Vec::new();
                while from.read_buf(&mut bytes).await.unwrap() > 0 {
                    // What stands in one piece on a virtio-serial port: all that is not parted here.
                    let places = bytes.windows(MAGIC.len()).enumerate().filter(|(_, place)| **place == MAGIC);
                    let places: Vec<usize> = [0].into_iter().chain(places.map(|(at, _)| at)).collect();
                    let ends = places[1..].iter().copied().chain([bytes.len()]);
                    for (begin, end) in places.iter().copied().zip(ends) {
                        eventually("it is read", || ioctl_fionread(&heard).unwrap() == 0).await;
                        said.write_all(&bytes[begin..end]).await.unwrap();
                    }
                    bytes.clear();
                }
            };
            tokio::join!(speak, async { copy(&mut hear, &mut to).await.unwrap() });
        });
        let mut client = client(near).await;
        // What HTTP/2 has to say at its beginning has been said then. It would be read as one with the next preamble, which is
        // not so on a virtio-serial port.
        for _ in 0..2 {
            client.quiesce(QuiesceRequest::default()).await.unwrap();
        }
        (client, relay)
    }

    /// Freezes all, and goes away when the guest stands by.
    async fn put_down(&self) {
        let (mut client, relay) = self.client().await;
        client.quiesce(QuiesceRequest { freeze: true, trim: false }).await.unwrap();
        assert!(self.frozen());
        eventually("it stands by", || self.machine.first.load(Ordering::SeqCst)).await;
        relay.abort();
        let _ = relay.await;
    }

    fn frozen(&self) -> bool {
        *self.machine.frozen.lock().unwrap()
    }

    fn lives(&self) -> (Vec<u64>, Vec<u64>) {
        let adopted = self.machine.adopted.lock().unwrap().iter().map(|life| life.generation).collect();
        (adopted, self.machine.said.lock().unwrap().iter().map(|life| life.generation).collect())
    }
}

#[tokio::test]
async fn stands_by_once_all_is_frozen_and_goes_on_with_the_next_host() {
    let host = Host::new();
    for generation in 1..=3 {
        host.shake(1, handshake(generation)).await;
        host.put_down().await;
    }
    host.shake(2, HandshakeRequest { stay_frozen: true, ..handshake(4) }).await;
    let (mut client, _relay) = host.client().await;
    client.quiesce(QuiesceRequest { freeze: false, trim: false }).await.unwrap();
    assert!(host.frozen());
    eventually("it is one of many again", || !host.machine.first.load(Ordering::SeqCst)).await;
    assert_eq!(host.lives(), (vec![1, 2, 3, 4], vec![1, 2, 3, 4]));
}

#[tokio::test]
async fn hears_a_host_that_changes_its_mind_while_the_guest_stands_by() {
    let host = Host::new();
    host.shake(1, handshake(1)).await;
    let (mut client, _relay) = host.client().await;
    for _ in 0..3 {
        client.quiesce(QuiesceRequest { freeze: true, trim: false }).await.unwrap();
        assert!(host.frozen());
        client.handshake(handshake(1)).await.unwrap();
        assert!(!host.frozen());
    }
}

/// For whom programs run: then it is theirs, wherever it stands.
#[tokio::test]
async fn what_begins_as_a_preamble_is_none_while_programs_run() {
    let host = Host::new();
    host.shake(1, handshake(1)).await;
    let (mut client, _relay) = host.client().await;
    for _ in 0..2 {
        let input = [MAGIC; 3].concat();
        let cat = [
            start(&["cat"], None),
            request(exec_request::Request::Stdin(input.clone().into())),
            request(exec_request::Request::StdinEnd(true)),
        ];
        assert_eq!(exec(&mut client, cat.into()).await.text(), (String::from_utf8(input).unwrap(), String::new(), 0));
        // Nor is it once they run again.
        client.quiesce(QuiesceRequest { freeze: true, trim: false }).await.unwrap();
        client.handshake(handshake(1)).await.unwrap();
        assert!(!host.frozen());
    }
}

/// It takes all for a part of that, unless it knows better.
#[tokio::test]
async fn goes_on_with_the_next_host_where_the_last_was_cut_off_in_what_it_said() {
    let host = Host::new();
    host.shake(1, handshake(1)).await;
    host.put_down().await;
    // HTTP/2: 1000 bytes of DATA on the first stream, and the first of them.
    host.io().write_all(b"\0\x03\xe8\0\0\0\0\0\x01x").await.unwrap();
    eventually("it listens", || !host.machine.first.load(Ordering::SeqCst)).await;
    host.shake(2, handshake(2)).await;
    eventually("it runs on", || !host.frozen()).await;
}

#[tokio::test]
async fn a_host_that_begins_anew_unseen_need_say_it_once() {
    let host = Host::new();
    for generation in 1..=3 {
        host.shake(1, handshake(generation)).await;
        let (_client, relay) = host.client().await;
        relay.abort();
        let _ = relay.await;
    }
    eventually("the last life", || host.lives().1 == [1, 2, 3]).await;
}
