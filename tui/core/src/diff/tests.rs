use super::*;
use crate::effect::Slot;

fn view(files: usize, hunks: u32) -> DiffView {
    let subject = Subject::Session(SessionKey { host: 0, id: "a".into() });
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
        places.push((diff.selected(), diff.first(5)));
        diff.step_hunk(true);
    }
    assert_eq!(places, [(0, 0), (0, 4), (0, 7), (1, 0), (1, 4)]);
    let mut back = vec![];
    for _ in 0..6 {
        back.push((diff.selected(), diff.first(5)));
        diff.step_hunk(false);
    }
    assert_eq!(back, [(1, 7), (1, 4), (1, 0), (0, 7), (0, 4), (0, 0)]);
}

#[test]
fn files_are_stepped_through_and_scrolled() {
    let mut diff = view(3, 2);
    diff.step(100, 5);
    assert_eq!(diff.first(5), 3);
    diff.step_file(1);
    assert_eq!((diff.selected(), diff.first(5)), (1, 0));
    diff.step_file(9);
    diff.step_file(9);
    assert_eq!(diff.selected(), 2);
    diff.to_end(false);
    assert_eq!(diff.first(5), 3);
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
