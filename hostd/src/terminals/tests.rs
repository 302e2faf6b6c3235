use std::path::Path;

use bytes::Bytes;

use super::*;

fn text(shown: &Shown) -> String {
    match shown {
        Shown::Screen(screen) => String::from_utf8_lossy(&screen.contents).into_owned(),
        Shown::Output(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("not text: {other:?}"),
    }
}

fn wish(name: &str) -> Wish {
    Wish { name: name.into(), history: 100, ..Wish::default() }
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
    let observer = terminal.attach(Wish { observe: true, ..wish("observer") }).await;
    let second = terminal.attach(Wish { size: Some(Size { columns: 100, rows: 30 }), ..wish("second") }).await;
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
    let preview = terminal.attach(Wish { preview: true, size, ..wish("preview") }).await;
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
    let second = terminal.attach(Wish { size: Some(Size { columns: 50, rows: 9 }), ..wish("second") }).await;
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
async fn leaving_the_alternate_screen_gives_the_main_one_to_who_never_saw_it() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    let _begun = terminal.begin().await;
    terminal.feed(0, "$ vi\x1b[?1049h~".into());
    let viewer = terminal.attach(wish("sam")).await;
    let (screen, _) = joined(&viewer).await;
    assert!(screen.contains("\x1b[?1049h") && !screen.contains("$ vi"));
    terminal.feed(13, "\x1b[?1049l".into());
    let screen = viewer.next().await;
    assert!(matches!(screen, Shown::Screen(_)) && text(&screen).contains("$ vi"), "{screen:?}");
}

#[tokio::test]
async fn after_a_restart_of_hostd_the_screen_is_drawn_from_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = files::Log::open(folder.path()).await.unwrap();
    log.append(b"one\r\ntwo\x1b[?1049hediting").await.unwrap();
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
        log.append(&piece).await.unwrap();
    }
    let bytes: u64 = log_files(folder.path()).iter().map(|f| std::fs::metadata(f).unwrap().len()).sum();
    assert!((8 << 20..=17 << 20).contains(&bytes), "{bytes}");
}

#[tokio::test]
async fn a_message_is_typed_with_enter_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let terminal = terminal(folder.path());
    assert_eq!(terminal.type_message("too early").await, Err(NotTyped));
    let (mut typed, _, _) = terminal.begin().await;
    terminal.feed(0, "\x1b[?2004h".into());
    let typing = tokio::spawn({
        let terminal = terminal.clone();
        async move { terminal.type_message("a\nb").await }
    });
    for expected in ["\x1b[200~a\nb\x1b[201~", "\r"] {
        let piece = typed.recv().await.unwrap();
        assert_eq!(piece.bytes, expected);
        piece.taken.unwrap().send(()).unwrap();
    }
    assert_eq!(typing.await.unwrap(), Ok(()));
    terminal.end("gone".into());
    assert_eq!(terminal.type_message("too late").await, Err(NotTyped));
}
