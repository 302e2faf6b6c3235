//! The console on a real PTY, against the made-up host.

use pilothouse_proto::hostd::v1::{Actor, Event, Session};
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
    // Title and keyboard.
    assert_eq!((at.said("\x1b[23;0t"), at.said("\x1b[<u")), (at.said("\x1b[22;0t"), at.said("\x1b[>1u")));
    assert!(at.said("\x1b[<u") > 0);
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
async fn a_story_is_read_live_also_after_its_host_went_away() {
    let mut fake = Fake::start(vec![session("alpha")]).await;
    let mut at = OnTerminal::start(&fake, &[]);
    at.resize(80, 24);
    at.shows("alpha").await;
    at.shows("s story").await;
    at.type_in(b"s");
    at.shows("story of Title of alpha").await;
    at.shows("ann            created in demo").await;
    at.shows("hostd          crashed its guest [2Jstopped").await;
    let happens = |id, what: &str, text: &str| {
        let actor = Some(Actor { kind: "session".into(), name: "fix".into(), person: "bea".into() });
        Event { id, at: 0, actor, what: what.into(), text: text.into() }
    };
    fake.state.happens(happens(7, "asks", "which\x1b[2J one?"));
    at.shows("agent of bea   asks which[2J one?").await;
    fake.kill().await;
    at.shows("Reconnecting: the host").await;
    fake.restart();
    until("it reads on", || !at.screen.lock().unwrap().screen().contents().contains("Reconnecting")).await;
    fake.state.happens(happens(8, "merged", "#3 into main"));
    at.shows("agent of bea   merged #3 into main").await;
    at.shows("asks which[2J one?").await;
    // Who did the last thing is told beside the terminal, too, and with all of it in the details.
    at.type_in(b"s");
    at.shows("demo · agent of ann, ").await;
    at.type_in(b"J");
    at.shows("last done by agent of ann, ").await;
    at.type_in(b"q");
    assert_eq!(at.ends().await, 0);
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

/// How a console ends while something is drafted in it.
#[derive(Debug)]
enum End {
    Key(&'static [u8]),
    Signal(Signal),
}

#[rstest]
#[case::quit(End::Key(b"q"))]
#[case::interrupted(End::Key(b"\x03"))]
#[case::terminated(End::Signal(Signal::TERM))]
#[case::hung_up(End::Signal(Signal::HUP))]
#[case::killed(End::Signal(Signal::KILL))]
#[tokio::test(flavor = "multi_thread")]
async fn a_draft_outlives_the_console(#[case] end: End) {
    let fake = Fake::with_pulls(vec![pull(7)]).await;
    let mut at = OnTerminal::start(&fake, &[]);
    at.type_in(b"R");
    at.shows("Fix it, part 7").await;
    at.type_in(b"c");
    at.shows("what reviewer and agent read").await;
    at.type_in(b"Handle the empty file");
    at.shows("Handle the empty file").await;
    let folder = fake.folder.path().join(".local/state/pilothouse/drafts");
    let kept = || {
        let files = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|file| file.path());
        let whole = files.filter(|path| path.extension().is_some_and(|it| it == "json"));
        let mut texts = whole.map(|path| std::fs::read_to_string(path).unwrap_or_default());
        texts.any(|text| text.contains("Handle the empty file"))
    };
    match end {
        End::Key(key) => {
            at.type_in(b"\x1b");
            until("it is put away", || !at.screen.lock().unwrap().screen().contents().contains("Comment on")).await;
            at.type_in(key);
        }
        End::Signal(Signal::KILL) => {
            until("it is kept while it is typed", kept).await;
            at.signal(Signal::KILL);
        }
        End::Signal(signal) => at.signal(signal),
    }
    at.ends().await;
    assert!(kept());
    let mut again = OnTerminal::start(&fake, &[]);
    again.type_in(b"R");
    again.shows("Fix it, part 7").await;
    again.type_in(b"c");
    again.shows("Handle the empty file").await;
    again.type_in(b"\r");
    until("it is sent", || fake.state.heard() == "widgets#7 comment Handle the empty file\n").await;
    until("it is kept no longer", || !kept()).await;
    again.signal(Signal::TERM);
    again.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_turn_it_is_rings_the_bell_and_is_notified_of() {
    let fake = Fake::start(vec![session("alpha"), session("beta")]).await;
    let mut at = OnTerminal::start(&fake, &[]);
    at.shows("beta").await;
    let change = |turn: &str, reason: &str| {
        fake.state.change("beta", |it| (it.attention, it.reason) = (turn.into(), reason.into()));
    };
    change("you", "asks: which?");
    until("bell and notification", || at.said("\x07\x1b]9;Pilothouse: Title of beta: asks: which?\x07") == 1).await;
    change("you", "asks: which one?");
    change("agent", "working");
    fake.state.change("beta", |it| it.activity = "idle".into());
    at.shows("idle").await;
    assert_eq!(at.said("\x1b]9;"), 1, "once for each time that it comes");
    at.type_in(b"q");
    assert_eq!(at.ends().await, 0);
}

/// The host of this test echoes, so that what is typed is what a program says.
#[tokio::test(flavor = "multi_thread")]
async fn bell_and_title_pass_a_copy_asks_and_shift_enter_is_told_apart() {
    let fake = Fake::start(vec![Session { generation: 1, ..session("alpha") }]).await;
    let mut at = OnTerminal::start(&fake, &[]);
    at.shows("alpha").await;
    at.type_in(b"\r");
    at.shows("hello from the session").await;
    assert_eq!(at.said("\x07"), 0);
    at.type_in(b"\x07");
    until("the bell", || at.said("\x07") == 1).await;
    at.type_in(b"\x1b]2;build\x07");
    until("the title", || at.said("\x1b]2;build\x1b\\") == 1).await;
    at.type_in(b"\x1b]52;c;aGVsbG8=\x07");
    at.shows("offers text to copy (5 bytes)").await;
    assert_eq!(at.said("\x1b]52;"), 0);
    at.type_in(b"\x1dc");
    until("the copy", || at.said("\x1b]52;c;aGVsbG8=") == 1).await;
    // As terminals write it that were asked to tell it apart.
    at.type_in(b"\x1b[13;2u");
    until("a new line", || fake.state.heard().ends_with("\x1b\r")).await;
    at.type_in(b"\x1dd");
    until("the window's own title", || at.said("\x1b[23;0t\x1b[22;0t") == 1).await;
    at.type_in(b"q");
    assert_eq!(at.ends().await, 0);
    until("all is written", || !at.screen.lock().unwrap().screen().alternate_screen()).await;
    assert_restored(&at);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_passes_where_config_says_so() {
    let fake = Fake::start(vec![Session { generation: 1, ..session("alpha") }]).await;
    let folder = fake.folder.path().join(".config/pilothouse");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.toml"), "copy = \"allow\"").unwrap();
    let mut at = OnTerminal::start(&fake, &[]);
    at.shows("alpha").await;
    at.type_in(b"\r");
    at.shows("hello from the session").await;
    at.type_in(b"\x1b]52;c;aGVsbG8=\x07");
    until("the copy", || at.said("\x1b]52;c;aGVsbG8=") == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_asks_where_something_ends_with_it() {
    let fake = Fake::start(vec![session("alpha")]).await;
    let mut at = OnTerminal::start_with(&fake, &[], &[("PILOTHOUSE_ENDS_WITH_CONSOLE", "Four VMs end.")]);
    at.shows("alpha").await;
    at.type_in(b"q");
    at.shows("Four VMs end.").await;
    at.type_in(b"q");
    until("it was no", || !at.screen.lock().unwrap().screen().contents().contains("Four VMs end.")).await;
    at.type_in(b"q");
    at.shows("Four VMs end.").await;
    at.type_in(b"y");
    assert_eq!(at.ends().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_is_of_what_was_shown_and_its_comments_are_carried() {
    let fake = Fake::with_pulls(vec![pull(7)]).await;
    let mut at = OnTerminal::start(&fake, &[]);
    at.type_in(b"R");
    at.shows("Fix it, part 7").await;
    at.type_in(b"\r");
    at.shows("let answer = compute();").await;
    at.type_in(b"jc");
    at.shows("Comment on a.rs:1").await;
    at.type_in(b"why?\r");
    at.shows("your comment, not sent yet").await;
    fake.state.push(7, "3333333333333333333333333333333333333333");
    at.shows("revision 3 arrived").await;
    at.shows("carried to revision 3").await;
    at.type_in(b"a");
    at.shows("show what changed").await;
    at.type_in(b"y");
    at.shows("1 drafted comment goes along").await;
    at.type_in(b"ok\r");
    // A line was put before it.
    let heard = "widgets#7 approve ok 0:a.rs:2:why?@3333 of 0123456789abcdef0123456789abcdef01234567\n";
    until("it is approved", || fake.state.heard() == heard).await;
    until("its answer is there", || !at.screen.lock().unwrap().screen().contents().contains("Approve #7")).await;
    at.type_in(b"i");
    at.shows("from revision 2 to revision 3").await;
    at.type_in(b"a");
    at.shows("Approve #7").await;
    at.type_in(b"\r");
    until("the newest is, too", || fake.state.heard().ends_with("\nwidgets#7 approve \n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_request_is_closed_and_opened_again() {
    let fake = Fake::with_pulls(vec![pull(7)]).await;
    let mut at = OnTerminal::start_with(&fake, &[], &[]);
    at.shows("No sessions yet").await;
    at.type_in(b"R");
    at.shows("Fix it, part 7").await;
    at.type_in(b"X");
    at.shows("Close #7 Fix it, part 7").await;
    at.type_in(b"y");
    at.shows("No pull requests").await;
    at.type_in(b"A");
    at.shows("closed").await;
    at.type_in(b"X");
    at.shows("Open #7 Fix it, part 7").await;
    at.type_in(b"y");
    until("it is open again", || fake.state.heard().ends_with("close\nreopen\n")).await;
    at.shows("review").await;
    at.type_in(b"q");
    assert_eq!(at.ends().await, 0);
}
