//! `attach` and `exec -t` on a real PTY.

use pilothouse_proto::hostd::v1::Session;
use portable_pty::PtySize;
use rstest::rstest;

use crate::{
    fake::{Fake, session},
    program::until,
    terminal::OnTerminal,
};

#[tokio::test(flavor = "multi_thread")]
async fn keys_go_there_and_back_until_the_chord() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let mut at = OnTerminal::start(&fake, &["attach", "alpha"]);
    at.shows("hello from the session").await;
    until("it is raw", || at.is_raw()).await;
    at.type_in(b"\r\nabc\x03\x1d\x1d");
    at.shows("abc").await;
    until("keys arrive", || fake.state.heard() == "\r\nabc\u{3}\u{1d}").await;
    at.type_in(b"\x1d?");
    at.shows("After Ctrl-]: d detach").await;
    at.type_in(b"\x1dd");
    assert_eq!(at.ends().await, 0);
    at.shows("[detached from alpha; it works on]").await;
    let screen = at.screen.lock().unwrap();
    let screen = screen.screen();
    assert!(!screen.alternate_screen() && !screen.bracketed_paste() && !at.is_raw());
    assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
}

/// As a terminal writes them that was asked to tell keys apart, to a program that asked for that, too.
#[rstest]
#[case::attach(&["attach", "alpha"], b"")]
#[case::console(&[], b"\r")]
#[tokio::test(flavor = "multi_thread")]
async fn keys_pastes_focus_and_mouse_reach_the_program_as_they_are(#[case] args: &[&str], #[case] opens: &[u8]) {
    let fake = Fake::start(vec![Session { generation: 1, ..session("alpha") }]).await;
    let mut at = OnTerminal::start(&fake, args);
    at.shows(if opens.is_empty() { "hello from the session" } else { "alpha" }).await;
    until("it is raw", || at.is_raw()).await;
    at.type_in(opens);
    at.shows("hello from the session").await;
    at.type_in(b"\x0b");
    at.shows("all keys").await;
    let mut heard = String::new();
    for (name, bytes) in [
        ("Esc", "\x1b[27u"),
        ("Shift-Enter", "\x1b[13;2u"),
        ("Enter", "\r"),
        ("Alt-x", "\x1b[120;3u"),
        ("Ctrl-c", "\x1b[99;5u"),
        ("a paste of two lines", "\x1b[200~one\rtwo\x1b[201~"),
        ("the focus that goes", "\x1b[O"),
        ("the focus that comes", "\x1b[I"),
        ("a press of the mouse", "\x1b[<0;3;4M"),
        ("its release", "\x1b[<0;3;4m"),
        ("a character", "\u{e9}"),
    ] {
        at.type_in(bytes.as_bytes());
        heard += bytes;
        until(name, || fake.state.heard() == heard).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observer_sends_nothing() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let mut at = OnTerminal::start(&fake, &["attach", "alpha", "--observe"]);
    at.shows("you observe, me types").await;
    at.type_in(b"abc\x1dw\x1dd");
    assert_eq!(at.ends().await, 0);
    assert_eq!(fake.state.heard(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_the_chord_in_the_same_write_arrives() {
    for _ in 0..8 {
        let fake = Fake::start(vec![session("alpha")]).await;
        let mut at = OnTerminal::start(&fake, &["attach", "alpha"]);
        at.shows("hello from the session").await;
        until("it is raw", || at.is_raw()).await;
        at.type_in(b"hello\r\x1dd");
        assert_eq!(at.ends().await, 0);
        at.shows("[detached from alpha; it works on]").await;
        // The host has it when the attach ends: it is not awaited here.
        assert_eq!(fake.state.heard(), "hello\r");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_not_there_yet_is_waited_for_in_sight() {
    for (lifecycle, what) in [("suspended", "alpha is being resumed"), ("queued", "alpha waits for a place to start")] {
        let fake = Fake::start(vec![Session { lifecycle: lifecycle.into(), ..session("alpha") }]).await;
        let mut at = OnTerminal::start(&fake, &["attach", "alpha"]);
        at.shows("hello from the session").await;
        at.shows(what).await;
        fake.state.change("alpha", |alpha| alpha.lifecycle = "running".into());
        at.shows("it is there").await;
        at.type_in(b"\x1dd");
        assert_eq!(at.ends().await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resize_is_followed() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let mut at = OnTerminal::start(&fake, &["attach", "alpha"]);
    at.shows("hello from the session").await;
    at.master.resize(PtySize { rows: 9, cols: 50, pixel_width: 0, pixel_height: 0 }).unwrap();
    at.shows("now 50x9").await;
    at.type_in(b"q");
    assert_eq!(at.ends().await, 0);
    at.shows("[alpha has ended: the agent ended]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_is_restored_when_the_host_dies_or_a_signal_comes() {
    let mut fake = Fake::start(vec![session("alpha")]).await;
    let mut at = OnTerminal::start(&fake, &["attach", "alpha"]);
    let mut other = OnTerminal::start(&fake, &["attach", "alpha"]);
    at.shows("hello").await;
    other.shows("hello").await;
    other.signal(rustix::process::Signal::TERM);
    assert_eq!((other.ends().await, other.is_raw()), (143, false));
    fake.kill().await;
    at.shows("waiting for it to come back").await;
    at.type_in(b"\x1dd");
    assert_eq!((at.ends().await, at.is_raw()), (0, false));
    assert!(!at.screen.lock().unwrap().screen().alternate_screen());
}

/// Without a key: what is typed goes there again, and its screen is the size that this terminal has by then.
#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_when_the_host_comes_back() {
    let mut fake = Fake::start(vec![session("alpha")]).await;
    let mut at = OnTerminal::start(&fake, &["attach", "alpha"]);
    at.shows("hello from the session").await;
    until("it is raw", || at.is_raw()).await;
    for round in [&b"one"[..], b"two"] {
        fake.kill().await;
        at.shows("waiting for it to come back").await;
        at.type_in(b"lost");
        fake.restart();
        at.shows("the host is back").await;
        at.type_in(round);
        until("keys arrive", || fake.state.heard().ends_with(std::str::from_utf8(round).unwrap())).await;
    }
    assert!(!fake.state.heard().contains("lost"), "{}", fake.state.heard());
    at.type_in(b"q");
    assert_eq!(at.ends().await, 0);
    at.shows("[alpha has ended: the agent ended]").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_gets_a_terminal() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let mut at = OnTerminal::start(&fake, &["exec", "alpha", "-t", "--", "top"]);
    at.shows("xterm-256color 60x10").await;
    until("it is raw", || at.is_raw()).await;
    at.type_in(b"\x03");
    at.shows("b\"\\x03\"").await;
    at.master.resize(PtySize { rows: 9, cols: 50, pixel_width: 0, pixel_height: 0 }).unwrap();
    at.shows("now 50x9").await;
    at.type_in(b"q");
    assert_eq!((at.ends().await, at.is_raw()), (3, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_asked_before_deleting() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let mut at = OnTerminal::start(&fake, &["rm", "alpha"]);
    at.shows("Delete? [y/N]").await;
    at.type_in(b"\r");
    assert_eq!((at.ends().await, fake.state.sessions().len()), (1, 1));
    let mut at = OnTerminal::start(&fake, &["rm", "alpha"]);
    at.shows("Delete? [y/N]").await;
    at.type_in(b"y\r");
    assert_eq!((at.ends().await, fake.state.sessions().len()), (0, 0));
}
