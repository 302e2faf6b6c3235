//! The guest's end of the link: whatever the host's bytes, the next preamble finds it well.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use guest::events::Events;
use pilothouse_proto::{
    greet::{framed, receive, send},
    guest::v1::{
        AnswerRequest, AnswerResponse, EventsRequest, FirstOutput, HandshakeAnswer, HandshakeClock, HandshakeRequest,
        QuiesceRequest, event,
    },
    link::{LENGTH, MAGIC, preamble},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    time::timeout,
};

use crate::support::{Host, NOW, client, eventually, exec, greet, handshake, shake, start};

/// Waits until the guest has ended the connection.
async fn ended(mut io: DuplexStream) {
    let mut rest = Vec::new();
    timeout(Duration::from_secs(60), io.read_to_end(&mut rest)).await.expect("the guest keeps the connection").unwrap();
}

/// A guest whose programs an earlier host has frozen.
async fn frozen() -> Host {
    let host = Host::new();
    let mut client = host.connect().await;
    client.quiesce(QuiesceRequest { freeze: true, trim: false }).await.unwrap();
    drop(client);
    host
}

async fn runs_on(host: &Host) {
    eventually("it runs on", || !*host.machine.frozen.lock().unwrap()).await;
}

#[tokio::test]
async fn shakes_hands_on_every_connection_and_adopts_each_life_once() {
    let host = Host::new();
    for generation in [1, 1, 2, 2, 2, 1] {
        let (mut client, hello) = host.shake(handshake(generation)).await.unwrap();
        assert_eq!(hello, client.handshake(handshake(generation)).await.unwrap().into_inner(), "repeated");
        assert_eq!(hello.protocol, 1);
        assert_eq!(hello.boot.last().unwrap().name, "link");
    }
    let generations: Vec<u64> = host.machine.adopted.lock().unwrap().iter().map(|r| r.generation).collect();
    assert_eq!(generations, [1, 2, 1]);
    let other = HandshakeRequest { session_id: "01JOTHER".into(), ..handshake(1) };
    host.shake(other.clone()).await.unwrap();
    assert_eq!(host.machine.adopted.lock().unwrap().last(), Some(&other), "a clone of the same generation");
}

#[tokio::test]
async fn answers_a_host_that_says_all_of_it_at_once_and_again() {
    let host = Host::new();
    let mut io = host.wire().await;
    let hand = framed(&handshake(1)).unwrap();
    let said = [1, 2, 3].map(|nonce| [&preamble([nonce; 16])[..], &hand].concat());
    io.write_all(&said.concat()).await.unwrap();
    for nonce in [1, 2, 3] {
        let mut echo = [0; LENGTH];
        io.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, preamble([nonce; 16]));
        assert!(receive::<HandshakeAnswer>(&mut io).await.unwrap().asks_clock);
    }
    assert_eq!(host.machine.said.lock().unwrap().len(), 0, "it waits for the time");
    send(&mut io, &HandshakeClock { unix_nanos: NOW }).await.unwrap();
    client(io).await.quiesce(QuiesceRequest::default()).await.unwrap();
    assert_eq!((host.machine.adopted.lock().unwrap().len(), host.machine.said.lock().unwrap().len()), (3, 1));
}

#[tokio::test]
async fn programs_that_do_not_thaw_end_the_connection_and_are_tried_again() {
    let host = frozen().await;
    host.machine.unthawable.store(true, Ordering::SeqCst);
    let mut io = host.wire().await;
    greet(&mut io, [1; 16]).await;
    shake(&mut io, handshake(2)).await.unwrap();
    ended(io).await;
    host.machine.unthawable.store(false, Ordering::SeqCst);
    host.shake(handshake(2)).await.unwrap();
    runs_on(&host).await;
}

#[tokio::test]
async fn a_machine_that_stood_still_gets_the_time_again() {
    let host = frozen().await;
    let before = host.machine.clock.lock().unwrap().len();
    let began = Instant::now();
    for unix_nanos in [5, 6] {
        host.shake(HandshakeRequest { unix_nanos, ..handshake(1) }).await.unwrap();
    }
    runs_on(&host).await;
    let within = i64::try_from(began.elapsed().as_nanos() / 2).unwrap();
    let clock = host.machine.clock.lock().unwrap()[before..].to_vec();
    assert!(clock.len() == 2 && clock[0] == 5 && (NOW..=NOW + within).contains(&clock[1]), "{clock:?}");
}

#[tokio::test]
async fn programs_do_not_run_on_without_the_time() {
    let host = frozen().await;
    let mut io = host.wire().await;
    greet(&mut io, [1; 16]).await;
    send(&mut io, &handshake(2)).await.unwrap();
    assert!(receive::<HandshakeAnswer>(&mut io).await.unwrap().asks_clock);
    // What is no time ends the connection.
    io.write_all(&[0xff; 64]).await.unwrap();
    ended(io).await;
    assert!(*host.machine.frozen.lock().unwrap());
    host.shake(handshake(2)).await.unwrap();
    runs_on(&host).await;
}

#[tokio::test]
async fn refuses_what_is_no_identity() {
    let host = Host::new();
    let mut wrong = vec![handshake(1); 6];
    wrong[0].protocol = 2;
    wrong[1].slug = "-x".into();
    wrong[2].slug = "a.b".into();
    wrong[3].machine_id = "0123456789ABCDEF0123456789ABCDEF".into();
    wrong[4].entropy = vec![0; 31].into();
    wrong[5].entropy = vec![0; 513].into();
    for request in wrong {
        let mut io = host.wire().await;
        greet(&mut io, [1; 16]).await;
        assert!(!shake(&mut io, request).await.unwrap_err().is_empty());
        ended(io).await;
    }
    assert!(host.machine.adopted.lock().unwrap().is_empty());
}

#[tokio::test]
async fn skips_garbage_before_the_preamble() {
    let host = Host::new();
    let mut garbage = vec![0; 300_000];
    for (n, byte) in garbage.iter_mut().enumerate() {
        *byte = MAGIC[n * n % 7];
    }
    let mut io = host.wire().await;
    io.write_all(&garbage).await.unwrap();
    greet(&mut io, *b"PLTHLNKPLTHLNK11").await;
    shake(&mut io, handshake(1)).await.unwrap();
}

#[tokio::test]
async fn answers_a_host_that_gave_up_and_tried_again() {
    let host = Host::new();
    let mut io = host.wire().await;
    for nonce in 0..4 {
        greet(&mut io, [nonce; 16]).await;
    }
    shake(&mut io, handshake(1)).await.unwrap();
}

#[tokio::test]
async fn outlives_garbage_instead_of_a_handshake() {
    let host = Host::new();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 4096],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\x04\xff\xff\xff\xff",
    ] {
        let mut io = host.wire().await;
        greet(&mut io, [1; 16]).await;
        io.write_all(garbage).await.unwrap();
        ended(io).await;
    }
    assert!(host.machine.adopted.lock().unwrap().is_empty());
    host.connect().await;
}

#[tokio::test]
async fn outlives_garbage_instead_of_http2() {
    let host = Host::new();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 4096],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        let mut io = host.wire().await;
        greet(&mut io, [1; 16]).await;
        shake(&mut io, handshake(1)).await.unwrap();
        io.write_all(garbage).await.unwrap();
        ended(io).await;
    }
    host.connect().await;
}

#[tokio::test]
async fn outlives_a_connection_cut_anywhere() {
    let host = Host::new();
    let mut hand = Vec::new();
    send(&mut hand, &handshake(1)).await.unwrap();
    let begun =
        [&preamble([9; 16])[..], &hand, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x03\0\0"].concat();
    for cut in 0..begun.len() {
        host.wire().await.write_all(&begun[..cut]).await.unwrap();
    }
    host.connect().await;
}

/// A reconnect that the guest cannot see: the new preamble is the inside of a half frame. Time is the test's.
#[tokio::test(start_paused = true)]
async fn ends_a_connection_that_answers_no_ping() {
    let host = Host::new();
    let mut io = host.wire().await;
    greet(&mut io, [1; 16]).await;
    io.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    // A DATA frame of 16 KiB that never comes.
    io.write_all(b"\0\x40\0\0\0\0\0\0\x01").await.unwrap();
    io.write_all(&preamble([2; 16])).await.unwrap();
    ended(io).await;
    host.connect().await;
}

#[tokio::test]
async fn tells_events_again_until_they_are_acknowledged() {
    let host = Host::new();
    let events: &Events = host.guest.events();
    for name in ["a", "b", "c"] {
        events.push(event::Event::OomKilled(name.into()));
    }
    for (after, first) in [(0, 1), (0, 1), (2, 3), (0, 3)] {
        let mut client = host.connect().await;
        let mut told = client.events(EventsRequest { after }).await.unwrap().into_inner();
        assert_eq!(told.message().await.unwrap().unwrap().sequence, first);
    }
    let mut client = host.connect().await;
    let mut told = client.events(EventsRequest { after: 3 }).await.unwrap().into_inner();
    events.push(event::Event::OomKilled("d".into()));
    let event = told.message().await.unwrap().unwrap();
    assert_eq!((event.sequence, event.event), (4, Some(event::Event::OomKilled("d".into()))));
}

#[tokio::test]
async fn quiesces_until_the_next_handshake() {
    let host = Host::new();
    let mut client = host.connect().await;
    let answer = client.quiesce(QuiesceRequest { freeze: true, trim: true }).await.unwrap().into_inner();
    assert_eq!(answer.trimmed_bytes, 4096);
    assert!(*host.machine.frozen.lock().unwrap());
    drop(client);
    host.connect().await;
    runs_on(&host).await;
}

#[tokio::test]
async fn a_copy_stays_frozen_for_as_long_as_it_is_asked_to() {
    let host = frozen().await;
    for generation in [1, 1, 2, 2] {
        host.shake(HandshakeRequest { stay_frozen: true, ..handshake(generation) }).await.unwrap();
        assert!(*host.machine.frozen.lock().unwrap());
    }
    host.shake(handshake(2)).await.unwrap();
    runs_on(&host).await;
}

#[tokio::test]
async fn an_answer_that_comes_with_the_handshake_is_there_before_programs_run_on() {
    let host = frozen().await;
    let mut waiting = host.guest.waits().begin("checks".into(), 0, 0).unwrap();
    let answering = |wait, generation| {
        let answer = Some(AnswerRequest { wait, json: "{}".into() });
        // Of a copy nothing is shown.
        let first_output = Some(FirstOutput { offset: 0, within_millis: 1 });
        HandshakeRequest { answer, first_output, stay_frozen: true, ..handshake(generation) }
    };
    let (_, hello) = host.shake(handshake(2)).await.unwrap();
    assert_eq!(hello.answered, None, "there was none");
    let (_, hello) = host.shake(answering(7, 2)).await.unwrap();
    assert_eq!((hello.answered, hello.first_output), (Some(AnswerResponse { known: false }), false));
    for _ in 0..2 {
        let (_, hello) = host.shake(answering(1, 3)).await.unwrap();
        assert_eq!(hello.answered, Some(AnswerResponse { known: true }), "also a host that begins anew is told so");
        assert!(host.machine.adopted.lock().unwrap().iter().all(|adopted| adopted.answer.is_none()));
    }
    assert_eq!(waiting.answer().await, Some("{}".into()));
}

#[tokio::test]
async fn a_freeze_that_fails_or_that_nobody_waits_for_does_not_last() {
    let host = Host::new();
    let mut client = host.connect().await;
    let frozen = || *host.machine.frozen.lock().unwrap();

    host.machine.untrimmable.store(true, Ordering::SeqCst);
    let error = client.quiesce(QuiesceRequest { freeze: true, trim: true }).await.unwrap_err();
    assert!(error.message().contains("could not be quieted"), "{error}");
    eventually("it is thawed after a failure", || !frozen()).await;

    let (go_on, gate) = std::sync::mpsc::sync_channel(0);
    *host.machine.syncing.lock().unwrap() = Some(gate);
    let asked = client.quiesce(QuiesceRequest { freeze: true, trim: false });
    tokio::select! {
        answer = asked => panic!("{answer:?}"),
        () = eventually("the freeze", frozen) => {}
    }
    eventually("it is thawed, since nobody waits", || !frozen()).await;
    drop(go_on);
}

#[tokio::test]
async fn nothing_is_started_while_all_is_frozen() {
    let host = Host::new();
    let mut client = host.connect().await;
    client.quiesce(QuiesceRequest { freeze: true, trim: false }).await.unwrap();
    let command = || vec![start(&["true"], None)];
    let error = client.exec(tokio_stream::iter(command())).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unavailable, "{error}");
    client.handshake(HandshakeRequest { stay_frozen: true, ..handshake(2) }).await.unwrap();
    let error = client.exec(tokio_stream::iter(command())).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::Unavailable, "{error}");
    client.handshake(handshake(2)).await.unwrap();
    assert_eq!(exec(&mut client, command()).await.text().2, 0);
}
