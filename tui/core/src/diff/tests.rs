use super::*;
use crate::ticket::Slot;

fn view(files: usize, hunks: u32) -> DiffView {
    let subject = Subject::Session(SessionKey { host: crate::samples::host(0), id: "a".into() });
    let mut diff = DiffView::new(subject, Ticket { slot: Slot::Diff, generation: 1 });
    let file = |n: usize| NewFile { status: "modified".into(), new_path: format!("{n}").into(), ..NewFile::default() };
    diff.report(DiffReport::Files((0..files).map(file).collect()));
    diff.report(DiffReport::Listed(false));
    for n in 0..files {
        for hunk in 0..hunks {
            let line = |text: &str| NewRow::Line {
                side: Side::New,
                text: text.into(),
                marks: vec![],
                more: false,
                open: false,
            };
            let rows = vec![NewRow::Hunk(hunk, hunk, format!("@@ {hunk}")), line("a"), line("b"), line("c")];
            diff.report(DiffReport::Lines(n, rows));
        }
        let end = FileEnd { contents: "text".into(), added: u64::from(3 * hunks), ..FileEnd::default() };
        diff.report(DiffReport::FileEnd(n, end));
    }
    diff.report(DiffReport::End);
    diff
}

#[test]
fn hunks_are_stepped_through_across_files() {
    let mut diff = view(2, 3);
    let mut places = vec![];
    for _ in 0..5 {
        places.push((diff.selected(), diff.top((80, 5)).0));
        diff.step_hunk(true);
    }
    assert_eq!(places, [(0, 0), (0, 4), (0, 7), (1, 0), (1, 4)]);
    let mut back = vec![];
    for _ in 0..6 {
        back.push((diff.selected(), diff.top((80, 5)).0));
        diff.step_hunk(false);
    }
    assert_eq!(back, [(1, 7), (1, 4), (1, 0), (0, 7), (0, 4), (0, 0)]);
}

#[test]
fn files_are_stepped_through_and_scrolled() {
    let mut diff = view(3, 2);
    diff.step(100, (80, 5));
    assert_eq!(diff.top((80, 5)).0, 3);
    diff.step_file(1);
    assert_eq!((diff.selected(), diff.top((80, 5)).0), (1, 0));
    diff.step_file(9);
    diff.step_file(9);
    assert_eq!(diff.selected(), 2);
    diff.to_end(false);
    assert_eq!(diff.top((80, 5)).0, 3);
    assert_eq!(diff.counts(), (18, 0));
}

#[test]
fn what_is_kept_is_bounded() {
    let mut diff = view(1, 0);
    diff.reading = Reading::Going;
    let line = NewRow::Line { side: Side::New, text: vec![b'x'; 4096], marks: vec![], more: false, open: false };
    let full = (0..10_000).position(|_| diff.report(DiffReport::Lines(0, vec![line.clone()])));
    assert!(full.is_some_and(|lines| lines < 5000), "{full:?}");
    assert_eq!(diff.reading, Reading::Done);
}

const AREA: (usize, usize) = (27, 5);

/// One file with these lines.
fn lines(texts: &[&str]) -> DiffView {
    let subject = Subject::Session(SessionKey { host: crate::samples::host(0), id: "a".into() });
    let mut diff = DiffView::new(subject, Ticket { slot: Slot::Diff, generation: 1 });
    let file = NewFile { status: "modified".into(), new_path: b"0".to_vec(), ..NewFile::default() };
    diff.report(DiffReport::Files(vec![file]));
    let line =
        |text: &&str| NewRow::Line { side: Side::New, text: (*text).into(), marks: vec![], more: false, open: false };
    let rows = std::iter::once(NewRow::Hunk(1, 1, "@@".into())).chain(texts.iter().map(line)).collect();
    diff.report(DiffReport::Lines(0, rows));
    diff
}

#[test]
fn long_lines_are_wrapped_and_what_is_selected_is_seen() {
    // 20 columns of text: lines of 1, 3, 1 and 2 rows.
    let mut diff = lines(&["a", &"b".repeat(50), "c", &"日".repeat(11)]);
    let heights: Vec<_> = (0..5).map(|n| diff.height(diff.item(n), AREA.0)).collect();
    assert_eq!(heights, [1, 1, 3, 1, 2]);
    diff.step(3, AREA);
    assert_eq!((diff.cursor(), diff.top(AREA)), (3, (1, 0)));
    diff.step(1, AREA);
    assert_eq!((diff.cursor(), diff.top(AREA)), (4, (2, 1)));
    diff.window.wrapped = false;
    assert_eq!(diff.top(AREA), (0, 0), "all of it fits");
    diff.pan(100, AREA.0);
    assert_eq!(diff.window.pan, 30);
    diff.pan(-100, AREA.0);
    assert_eq!(diff.window.pan, 0);
}

#[test]
fn a_line_higher_than_the_window_is_scrolled_through() {
    let mut diff = lines(&[&"x".repeat(20 * 7), "end"]);
    diff.step(1, AREA);
    let mut seen = vec![];
    for _ in 0..4 {
        seen.push((diff.cursor(), diff.top(AREA).1));
        diff.step(1, AREA);
    }
    assert_eq!(seen, [(1, 0), (1, 1), (1, 2), (2, 3)]);
    diff.step(-1, AREA);
    assert_eq!(diff.cursor(), 1);
}

#[test]
fn a_line_that_goes_on_is_told_of() {
    let mut diff = lines(&[&"x".repeat(5000)]);
    let more = NewRow::Line { side: Side::New, text: b"x".to_vec(), marks: vec![], more: true, open: false };
    diff.report(DiffReport::Lines(0, vec![more]));
    let told = |row: &&Row| matches!(row, Row::Remark(text) if text.starts_with("this line goes on"));
    assert_eq!(diff.rows().iter().filter(told).count(), 1);
}

#[test]
fn what_was_said_stands_below_its_line() {
    use crate::{
        draft::{Draft, Place},
        pull::Thread,
    };
    let mut diff = lines(&["let a = 1;", "let b = 2;", "let c = 3;"]);
    diff.commit = "new".into();
    let thread = |id, line, head: &str, quote: &str| Thread {
        id,
        path: "0".into(),
        line,
        quote: quote.into(),
        head: head.into(),
        revision: 1,
        comments: vec![("ann".into(), "why?".into())],
        ..Thread::default()
    };
    // On a line that is here, on one that has moved, and on one that is gone.
    let threads = [thread(1, 1, "new", ""), thread(2, 9, "old", "let c = 3;"), thread(3, 9, "old", "let d = 4;")];
    let mut draft = Draft::default();
    let place = Place::Line { path: "0".into(), line: 2, head: "new".into(), quote: "let b = 2;".into() };
    assert!(draft.finish(place.clone(), "hm") && draft.finish(Place::Thread(1), "so?"));
    diff.set_notes(&threads, Some(&draft));
    let kinds: Vec<_> = diff.notes.iter().map(|note| (note.row, note.kind.clone())).collect();
    let expected = [
        (Some(1), NoteKind::Thread(1, false)),
        (Some(1), NoteKind::Draft(Place::Thread(1))),
        (Some(2), NoteKind::Draft(place)),
        (Some(3), NoteKind::Thread(2, false)),
        (None, NoteKind::Thread(3, false)),
    ];
    assert_eq!(kinds, expected);
    let items: Vec<_> = (0..diff.len()).map(|n| diff.item(n)).collect();
    use At::{Note, Row};
    assert_eq!(items, [Row(0), Row(1), Note(0), Note(1), Row(2), Note(2), Row(3), Note(3), Note(4)]);
    assert!(diff.notes[4].heading.ends_with("on line 9: let d = 4;"));
}
