use std::path::Path;

use bytes::Bytes;
use hostd_core::{session::Modes, signs::Sign};
use pilothouse_terminal::Progress;
use tokio::sync::mpsc;

use super::{terminal::Input, *};

fn text(shown: &Shown) -> String {
    match shown {
        Shown::Screen(screen) => String::from_utf8_lossy(&screen.contents).into_owned(),
        Shown::Output(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("not text: {other:?}"),
    }
}

fn wish(name: &str) -> AttachOptions {
    AttachOptions { name: name.into(), history: 100, ..AttachOptions::default() }
}

fn terminal(directory: &Path) -> Terminal {
    Terminal::new(directory, None)
}

/// Writes it; whether it was the writer.
async fn input(viewer: &Viewer, text: &str) -> bool {
    let writes = viewer.writes();
    viewer.write(&mut text.into()).await;
    writes
}

/// The first two answers, which are always these.
async fn joined(viewer: &Viewer) -> (String, Role) {
    let screen = viewer.next().await;
    assert!(matches!(screen, Shown::Screen(_)), "{screen:?}");
    match viewer.next().await {
        Shown::Role(role) => (text(&screen), role),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_viewer_sees_the_screen_and_then_what_happens() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    let (_input, _, _) = terminal.begin().await;
    terminal.feed(0, "before ".into());
    let viewer = terminal.attach(wish("sam")).await;
    let (screen, role) = joined(&viewer).await;
    assert!(screen.contains("before"));
    assert_eq!(role, Role { writer: true, writer_name: "sam".into(), viewers: 1 });
    terminal.feed(7, "after".into());
    assert_eq!(text(&viewer.next().await), "after");
    terminal.agent_exited(3);
    terminal.output_ended();
    assert_eq!(viewer.next().await, Shown::Ended("the agent ended with exit code 3".into()));
}

/// Also what draws it again after a restart of hostd.
#[tokio::test]
async fn a_terminal_goes_back_to_what_it_showed() {
    let (own, then) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let terminal = terminal(own.path());
    let mut pump = Pump::begin(terminal.clone()).await.unwrap();
    pump.take(0, "before".into()).await;
    copy(own.path(), then.path()).await.unwrap();
    let viewer = terminal.attach(wish("sam")).await;
    joined(&viewer).await;
    pump.take(6, " and since".into()).await;
    assert_eq!(text(&viewer.next().await), " and since");
    drop(pump);
    terminal.go_back(then.path()).await;
    let shown = text(&viewer.next().await);
    assert!(shown.contains("before") && !shown.contains("since"), "{shown:?}");
    let mut pump = Pump::go_on(terminal.clone(), 6).await.unwrap();
    pump.take(6, " again".into()).await;
    assert_eq!(text(&viewer.next().await), " again");
    let next = Terminal::new(own.path(), None);
    // What came since is in its history alone.
    let shown = joined(&next.attach(AttachOptions { history: 0, ..wish("kim") }).await).await.0;
    assert!(shown.contains("before again") && !shown.contains("since"), "{shown:?}");
    let log = std::fs::read_to_string(own.path().join("terminal.log")).unwrap();
    assert!(log.contains("and since"), "what was shown is kept");
}

#[tokio::test]
async fn output_is_taken_once_and_gaps_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    let _begun = terminal.begin().await;
    assert_eq!(terminal.feed(0, "abcd".into()), "abcd");
    assert_eq!(terminal.feed(2, "cdef".into()), "ef");
    assert_eq!(terminal.feed(1, "b".into()), "");
    assert_eq!(terminal.offset(), 6);
    assert_eq!(terminal.feed(10, "k".into()), "k");
    let viewer = terminal.attach(wish("sam")).await;
    let (screen, _) = joined(&viewer).await;
    assert!(screen.contains("abcdef") && screen.contains("4 bytes of output were lost"), "{screen}");
}

#[tokio::test]
async fn output_that_comes_ahead_of_the_stream_is_shown_and_logged_once() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    let viewer = terminal.attach(wish("sam")).await;
    joined(&viewer).await;
    let mut pump = Pump::go_on(terminal.clone(), 7).await.unwrap();
    pump.take(7, "told of 1.".into()).await;
    // That there was none in time is no output.
    pump.take(0, Bytes::new()).await;
    assert_eq!(text(&viewer.next().await), "told of 1.");
    assert_eq!(terminal.offset(), 17, "the stream is opened behind it");
    assert_eq!(terminal.feed(7, "told of 1. ".into()), " ");
    let logged: Vec<u8> =
        log_files(folder.path()).iter().filter_map(|file| std::fs::read(file).ok()).flatten().collect();
    assert!(logged.ends_with(b"told of 1."), "{}", String::from_utf8_lossy(&logged));
}

#[tokio::test]
async fn a_viewer_that_lags_gets_a_fresh_screen_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    let _begun = terminal.begin().await;
    let (slow, quick) = (terminal.attach(wish("slow")).await, terminal.attach(wish("quick")).await);
    joined(&slow).await;
    joined(&quick).await;
    let line = Bytes::from(vec![b'x'; 64 << 10]);
    let mut offset = 0;
    for _ in 0..40 {
        terminal.feed(offset, line.clone());
        offset += line.len() as u64;
        assert_eq!(quick.next().await, Shown::Output(line.clone()));
    }
    terminal.feed(offset, "\x1bcthe end".into());
    let screen = slow.next().await;
    assert!(matches!(screen, Shown::Screen(_)) && text(&screen).contains("the end"));
}

#[tokio::test]
async fn one_writes_and_its_leaving_makes_the_next_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    let (mut typed, _, _) = terminal.begin().await;
    let first = terminal.attach(wish("first")).await;
    let observer = terminal.attach(AttachOptions { observe: true, ..wish("observer") }).await;
    let second = terminal.attach(AttachOptions { size: Some(Size { columns: 100, rows: 30 }), ..wish("second") }).await;
    assert!(!input(&observer, "no").await && !input(&second, "no").await);
    assert!(input(&first, "yes").await);
    assert_eq!(typed.recv().await.unwrap().bytes, "yes");
    observer.take().await;
    assert!(input(&first, "still").await);
    assert_eq!(terminal.size(), Size::USUAL);
    drop(first);
    assert!(input(&second, "now").await);
    assert_eq!(terminal.size(), Size { columns: 100, rows: 30 });
    drop(second);
    assert!(!input(&observer, "never").await);
}

#[tokio::test]
async fn a_preview_sees_all_and_counts_as_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    let (mut typed, sizes, _) = terminal.begin().await;
    let size = Some(Size { columns: 50, rows: 9 });
    let preview = terminal.attach(AttachOptions { preview: true, size, ..wish("preview") }).await;
    let (_, role) = joined(&preview).await;
    assert_eq!(role, Role { writer: false, writer_name: String::new(), viewers: 0 });
    preview.take().await;
    preview.resize(Size { columns: 60, rows: 8 }).await;
    assert!(!input(&preview, "no").await);
    assert_eq!((*sizes.borrow(), *terminal.viewers().borrow()), (Size::USUAL, 0));
    let writer = terminal.attach(wish("sam")).await;
    assert_eq!(joined(&writer).await.1, Role { writer: true, writer_name: "sam".into(), viewers: 1 });
    assert!(input(&writer, "yes").await);
    assert_eq!(typed.recv().await.unwrap().bytes, "yes");
    assert_eq!(*terminal.viewers().borrow(), 1);
    drop(writer);
    assert!(!input(&preview, "never").await);
    assert_eq!((*terminal.viewers().borrow(), terminal.size()), (0, Size::USUAL));
}

#[tokio::test]
async fn whoever_takes_writes_and_sets_the_size() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    let (_input, sizes, _) = terminal.begin().await;
    let first = terminal.attach(wish("first")).await;
    let second = terminal.attach(AttachOptions { size: Some(Size { columns: 50, rows: 9 }), ..wish("second") }).await;
    joined(&first).await;
    second.take().await;
    assert_eq!(*sizes.borrow(), Size { columns: 50, rows: 9 });
    let Shown::Screen(screen) = first.next().await else { panic!("no screen") };
    assert_eq!(screen.size, Size { columns: 50, rows: 9 });
    let Shown::Role(role) = first.next().await else { panic!("no role") };
    assert_eq!(role, Role { writer: false, writer_name: "second".into(), viewers: 2 });
    first.resize(Size { columns: 99, rows: 9 }).await;
    assert_eq!(terminal.size(), Size { columns: 50, rows: 9 });
}

#[tokio::test]
async fn who_comes_to_a_full_screen_program_has_the_main_screen_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    let _begun = terminal.begin().await;
    terminal.feed(0, "$ vi\x1b[?1049h~".into());
    let viewer = terminal.attach(wish("sam")).await;
    let (screen, _) = joined(&viewer).await;
    assert!(screen.find("$ vi").unwrap() < screen.find("\x1b[?1049h").unwrap(), "{screen:?}");
    terminal.feed(13, "\x1b[?1049l".into());
    assert_eq!(viewer.next().await, Shown::Output("\x1b[?1049l".into()));
}

/// What was answered since this was asked last.
fn answered(input: &mut mpsc::Receiver<Input>) -> String {
    let mut all = Vec::new();
    while let Ok(piece) = input.try_recv() {
        all.extend_from_slice(&piece.bytes);
    }
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn a_query_is_answered_by_the_host_or_by_the_writers_terminal_never_by_both() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    let (mut input, _, _) = terminal.begin().await;
    let mut offset = 0;
    let mut ask = |text: &str| {
        terminal.feed(offset, text.to_owned().into());
        offset += text.len() as u64;
    };
    ask("\x1b[5n\x1b[6n");
    assert_eq!(answered(&mut input), "\x1b[0n\x1b[1;1R", "nobody looks on");
    ask("\x1b[5n\x1b]7501;?\x07\x1b[5n");
    assert_eq!(answered(&mut input), "\x1b[0n\x1b]7501;?\x1b\\\x1b[0n", "in their order");
    let observer = terminal.attach(AttachOptions { observe: true, answers: true, ..wish("observer") }).await;
    joined(&observer).await;
    ask("\x1b[5n");
    assert_eq!(answered(&mut input), "\x1b[0n", "an observer's terminal is not asked");
    let console = terminal.attach(wish("console")).await;
    joined(&console).await;
    ask("\x1b[5n");
    assert_eq!(answered(&mut input), "\x1b[0n", "a writer that draws answers nothing");
    drop(console);
    let writer = terminal.attach(AttachOptions { answers: true, ..wish("writer") }).await;
    ask("\x1b[5n");
    assert_eq!(answered(&mut input), "\x1b[0n", "it had no screen yet, so this is not passed to it");
    joined(&writer).await;
    ask("\x1b[5n");
    assert_eq!(answered(&mut input), "");
    assert_eq!(text(&writer.next().await), "\x1b[5n", "its terminal answers this");
    ask("\x1b[5n\x1b]7501;?\x1b\\");
    assert_eq!(answered(&mut input), "\x1b]7501;?\x1b\\", "reports are the host's to take, whoever looks on");
    assert!(matches!(writer.next().await, Shown::Output(_)));
    // What it never gets is answered here: it lags, is resized, leaves, or somebody else takes the pen.
    ask("\x1b[6n");
    ask(&"x".repeat(1 << 20));
    assert_eq!(answered(&mut input), "\x1b[1;1R");
    joined_screen(&writer).await;
    ask("\x1b[5n");
    writer.resize(Size { columns: 70, rows: 9 }).await;
    assert_eq!(answered(&mut input), "\x1b[0n");
    joined_screen(&writer).await;
    ask("\x1b[5n");
    let second = terminal.attach(wish("second")).await;
    joined(&second).await;
    assert_eq!(answered(&mut input), "");
    second.take().await;
    assert_eq!(answered(&mut input), "\x1b[0n");
    assert!(matches!(writer.next().await, Shown::Screen(_)), "nor does it get it later");
    writer.take().await;
    joined_screen(&writer).await;
    ask("\x1b[5n");
    drop(writer);
    assert_eq!(answered(&mut input), "\x1b[0n");
}

/// Up to the next screen and role.
async fn joined_screen(viewer: &Viewer) {
    while !matches!(viewer.next().await, Shown::Screen(_)) {}
    let _ = tokio::time::timeout(std::time::Duration::ZERO, viewer.next()).await;
}

#[tokio::test]
async fn a_terminal_says_what_its_program_does() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    let signs = terminal.signs();
    let _begun = terminal.begin().await;
    assert_eq!((signs.borrow().clone(), terminal.look().is_some()), (Signs::default(), true));
    terminal
        .feed(0, "\x07\x1b]2;build\x07\x1b[?2004hName [y/n]: \x1b]777;notify;Asks;a name\x07\x1b]9;twice\x07".into());
    let now = signs.borrow().clone();
    assert_eq!((now.bells, now.notifications, now.title.as_str()), (1, 2, "build"));
    assert_eq!(now.notification.unwrap().body, "twice");
    assert!(now.offset > 60 && now.last_output.is_some());
    let look = terminal.look().unwrap();
    assert_eq!((look.bracketed_paste, look.cursor, look.row.0.as_str()), (true, (0, 12), "Name [y/n]: "));
}

#[tokio::test]
async fn progress_is_news_each_time_and_ends_with_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    let (signs, mut reported) = (terminal.signs(), terminal.reported());
    let _begun = terminal.begin().await;
    let mut offset = 0;
    let mut feed = |output: &'static [u8]| {
        reported.mark_unchanged();
        terminal.feed(offset, output.into());
        offset += output.len() as u64;
        reported.has_changed().unwrap()
    };
    assert!(feed(b"\x1b]9;4;1;40\x07"));
    let first = signs.borrow().progress_at;
    assert!(first > 0 && !feed(b"works\r\n"));
    while terminal::now() == first {
        std::hint::spin_loop();
    }
    assert!(feed(b"\x1b]9;4;1;40\x07"), "it counts for longer");
    assert_eq!((signs.borrow().progress, signs.borrow().progress_at > first), (Progress::Percent(40), true));
    terminal.agent_exited(137);
    assert_eq!(signs.borrow().progress, Progress::Over);
}

#[tokio::test]
async fn what_is_drawn_from_the_log_asks_and_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    files::Log::open(folder.path()).await.unwrap().append_own(b"\x07\x1b[6n\x1b]2;old\x07").await.unwrap();
    let terminal = terminal(folder.path());
    let (mut input, _) = terminal.go_on(20).await;
    let signs = terminal.signs().borrow().clone();
    assert_eq!(signs, Signs { title: "old".into(), ..Signs::default() });
    assert_eq!(answered(&mut input), "");
}

#[tokio::test]
async fn a_window_that_is_none_leaves_the_size_alone() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    let (_input, sizes, _) = terminal.begin().await;
    for (columns, rows) in [(1, 1), (200, 2), (9, 50)] {
        let viewer = terminal.attach(AttachOptions { size: Some(Size { columns, rows }), ..wish("tiny") }).await;
        joined(&viewer).await;
        viewer.resize(Size { columns, rows }).await;
        assert_eq!(*sizes.borrow(), Size::USUAL);
    }
    let narrow = Size { columns: 12, rows: 5 };
    let _viewer = terminal.attach(AttachOptions { size: Some(narrow), ..wish("narrow") }).await;
    assert_eq!(*sizes.borrow(), narrow);
}

#[tokio::test]
async fn a_new_agent_finds_no_modes_of_an_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    let _begun = terminal.begin().await;
    let modes = "\x1b[?1;5;7l\x1b[?1004;2026;2031;2048;1016;1015;1003;1006;2004;45;1007h\x1b[?1h\x1b=\x1b[>1u\x1b[>4;2m\x1b[4h\x1b[20h\x1b(0\x0e\x1b)0\x1b[3;9r\x1b[?6h\x1b[31m\x1b[?25l\x1b[5 q\x1b[3g\x1b]2;old\x07\x1b[?1049h\x1b[>3u\x1b]0;half";
    terminal.feed(0, modes.into());
    let _begun = terminal.begin().await;
    let screen = terminal.attach(wish("sam")).await.next().await;
    let drawn = text(&screen);
    let fresh = Terminal::new(tempfile::tempdir().unwrap().path(), None);
    let _begun = fresh.begin().await;
    let fresh = text(&fresh.attach(wish("sam")).await.next().await);
    // But for history, and the place of cursors.
    let modes = |drawn: &str| drawn[drawn.rfind("\x1b[?1l").unwrap_or(0)..].replace("\x1b[24;1H", "\x1b[1;1H");
    assert_eq!(modes(&drawn), modes(&fresh));
    assert!(modes(&fresh).len() > 30 && !drawn.contains("1049"), "{drawn:?}");
}

#[tokio::test]
async fn after_a_restart_of_hostd_the_screen_is_drawn_from_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = files::Log::open(folder.path()).await.unwrap();
    log.append_own(b"one\r\ntwo\x1b[?1049hediting").await.unwrap();
    files::save_size(folder.path(), Size { columns: 33, rows: 7 }).await;
    let terminal = Terminal::new(folder.path(), Some("hostd was restarted".into()));
    let viewer = terminal.attach(wish("sam")).await;
    assert!(joined(&viewer).await.0.contains("editing"));
    assert_eq!(viewer.next().await, Shown::Ended("hostd was restarted".into()));
    assert_eq!(terminal.size(), Size { columns: 33, rows: 7 });
    // The next agent finds a usable terminal, with the past above it.
    terminal.expect();
    let (_, _, first) = terminal.begin().await;
    assert!(!first.is_empty());
    terminal.feed(0, "fresh".into());
    let viewer = terminal.attach(wish("sam")).await;
    let (screen, _) = joined(&viewer).await;
    assert!(screen.contains("two") && screen.contains("fresh") && !screen.contains("1049h"), "{screen}");
}

#[tokio::test]
async fn the_log_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = files::Log::open(folder.path()).await.unwrap();
    let piece = vec![b'y'; 1 << 20];
    for _ in 0..30 {
        log.append_own(&piece).await.unwrap();
    }
    let bytes: u64 = log_files(folder.path()).iter().map(|f| std::fs::metadata(f).unwrap().len()).sum();
    assert!((8 << 20..=17 << 20).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn what_calls_a_person_is_told_until_they_type() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    let (_typed, _, _) = terminal.begin().await;
    let mut signs = terminal.seen();
    assert_eq!(terminal.sign(0), (None, None));
    terminal.feed(0, "works".into());
    assert!(signs.has_changed().unwrap(), "there is something to watch");
    signs.mark_unchanged();
    let (sign, next) = terminal.sign(jiff::Timestamp::now().as_millisecond());
    assert_eq!((sign, next.is_some()), (Some(Sign::Nothing), true));
    terminal.feed(5, " on".into());
    assert!(!signs.has_changed().unwrap(), "more output is no news");
    terminal.feed(8, "\x1b]9;Approve?\x07".into());
    assert!(signs.has_changed().unwrap());
    signs.mark_unchanged();
    let called = |terminal: &Terminal| match terminal.sign(i64::MAX / 2).0 {
        Some(Sign::Called { text, .. }) => Some(text),
        _ => None,
    };
    assert_eq!(called(&terminal).as_deref(), Some("Approve?"));
    let viewer = terminal.attach(wish("sam")).await;
    assert!(input(&viewer, "y").await && signs.has_changed().unwrap());
    assert_eq!(called(&terminal), None);
}

#[tokio::test]
async fn pieces_are_typed_each_by_itself_and_modes_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    let pieces = || vec![b"a".to_vec(), b"\r".to_vec()];
    assert_eq!(terminal.type_pieces(pieces()).await, Err(NotTyped), "too early");
    let (mut typed, _, _) = terminal.begin().await;
    terminal.feed(0, "\x1b[?2004h\x1b[?1h".into());
    assert_eq!(terminal.modes(), Modes { paste: true, application_cursor: true });
    let typing = tokio::spawn({
        let terminal = terminal.clone();
        async move { terminal.type_pieces(pieces()).await }
    });
    for expected in ["a", "\r"] {
        let piece = typed.recv().await.unwrap();
        assert_eq!(piece.bytes, expected);
        piece.taken.unwrap().send(()).unwrap();
    }
    assert_eq!(typing.await.unwrap(), Ok(()));
    terminal.end("gone".into());
    assert_eq!(terminal.type_pieces(pieces()).await, Err(NotTyped), "too late");
}
