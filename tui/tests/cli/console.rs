//! The console on a real PTY, against the made-up host.

use pilothouse_proto::hostd::v1::Session;
use rstest::rstest;
use rustix::process::Signal;

use crate::{
    fake::{Fake, pulls::pull, session},
    program::until,
    terminal::OnTerminal,
};

/// However it ends, the terminal is as it was.
fn assert_restored(at: &OnTerminal) {
    let screen = at.screen.lock().unwrap();
    let screen = screen.screen();
    assert!(!screen.alternate_screen() && !screen.bracketed_paste() && !screen.hide_cursor());
    assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
    let (now, before) = (at.modes(), &at.before);
    assert_eq!(
        (now.input_modes, now.output_modes, now.control_modes, now.local_modes),
        (before.input_modes, before.output_modes, before.control_modes, before.local_modes)
    );
}

#[rstest]
#[case::terminate(Signal::TERM, false)]
#[case::hang_up(Signal::HUP, false)]
#[case::interrupt(Signal::INT, false)]
#[case::terminate_attached(Signal::TERM, true)]
#[case::hang_up_attached(Signal::HUP, true)]
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_it_and_gives_the_terminal_back(#[case] signal: Signal, #[case] attached: bool) {
    let fake = Fake::start(vec![Session { generation: 1, ..session("alpha") }]).await;
    let mut at = OnTerminal::start(&fake, &[]);
    at.shows("alpha").await;
    assert!(at.is_raw() && at.screen.lock().unwrap().screen().alternate_screen());
    if attached {
        at.type_in(b"\r");
        at.shows("hello from the session").await;
    }
    at.signal(signal);
    assert_eq!(at.ends().await, 0);
    until("all is written", || !at.screen.lock().unwrap().screen().alternate_screen()).await;
    assert_restored(&at);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_it_and_gives_the_terminal_back() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let mut at = OnTerminal::start(&fake, &[]);
    at.shows("alpha").await;
    at.type_in(b"q");
    assert_eq!(at.ends().await, 0);
    until("all is written", || !at.screen.lock().unwrap().screen().alternate_screen()).await;
    assert_restored(&at);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_followed_and_run_again_from_the_queue() {
    let fake = Fake::with_pulls(vec![pull(7)]).await;
    let mut at = OnTerminal::start(&fake, &[]);
    at.type_in(b"R");
    at.shows("Fix it, part 7").await;
    at.type_in(b"l");
    at.shows("|widgets|0123456789abcdef0123456789abcdef01234567").await;
    at.shows("1 of 1 line").await;
    at.type_in(b"qr");
    until("it runs again", || fake.state.heard() == "again widgets 0123456789abcdef0123456789abcdef01234567 unit\n")
        .await;
    at.type_in(b"q");
    assert_eq!(at.ends().await, 0);
}
