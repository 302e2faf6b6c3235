//! What a session and a pull request have changed.

use super::{fleet, press, pulls, report, review};
use crate::{
    Report, State,
    diff::{DiffReport, FileEnd, NewFile, NewRow, Side},
};

/// A line of a changed file.
pub(crate) fn line(side: Side, text: &str, marks: &[(u32, u32)]) -> NewRow {
    NewRow::Line { side, text: text.into(), marks: marks.to_vec(), more: false, open: false }
}

/// A console that shows the changes of the first session.
pub(crate) fn changes(size: (u16, u16)) -> State {
    let mut state = fleet(size);
    press(&mut state, "c");
    show_changes(&mut state);
    state
}

/// A console that shows the changes of the pull request 12.
pub(crate) fn pull_changes(size: (u16, u16)) -> State {
    let mut state = review(size);
    press(&mut state, "j enter");
    show_changes(&mut state);
    let (ticket, head) = (state.diff.as_ref().map(|diff| diff.ticket), pulls().remove(0).head);
    if let Some(ticket) = ticket {
        report(&mut state, Report::Diff(ticket, DiffReport::Commit(head)));
        report(&mut state, Report::Diff(ticket, DiffReport::End));
    }
    state
}

fn show_changes(state: &mut State) {
    let Some(ticket) = state.diff.as_ref().map(|diff| diff.ticket) else { return };
    let file = |status: &str, old: &str, new: &str, mode: &str| NewFile {
        status: status.into(),
        old_path: old.into(),
        new_path: new.into(),
        mode: mode.into(),
    };
    let files = vec![
        file("added", "docs/choice.md", "docs/choice.md", ""),
        file("modified", "src/store.rs", "src/store.rs", ""),
        file("modified", "logo.png", "logo.png", ""),
        file("renamed", "src/mem.rs", "src/store/memory.rs", "mode 100644 \u{2192} 100755"),
        file(
            "deleted",
            "a/path/that/is/much/longer/than/any/list/of/files/has/room/for/TODO.md",
            "a/path/that/is/much/longer/than/any/list/of/files/has/room/for/TODO.md",
            "",
        ),
    ];
    let end = |contents: &str, added, removed| FileEnd { contents: contents.into(), added, removed, cut: false };
    let hunk = |at: u32| NewRow::Hunk(at, at, format!("@@ -{at},4 +{at},5 @@"));
    let store = vec![
        hunk(10),
        line(Side::Both, "impl Store {", &[]),
        line(Side::Old, "    pub fn open(path: &str) -> Self {", &[(21, 25)]),
        line(Side::New, "    pub fn open(path: &Path, create: bool) -> Result<Self> {", &[(22, 26), (26, 40)]),
        line(Side::New, "\tlet name = \"日本語 🚀\u{202e}\x1b[2J\";", &[]),
        line(Side::Both, "        todo!()", &[]),
        hunk(200),
        line(Side::Both, "}", &[]),
        NewRow::Line { side: Side::New, text: b"// caf\xe9".to_vec(), marks: vec![], more: false, open: true },
    ];
    let news = [
        DiffReport::Start(String::new(), None),
        DiffReport::Files(files),
        DiffReport::Listed(false),
        DiffReport::Lines(0, vec![hunk(0), line(Side::New, "Postgres, since it is there.", &[])]),
        DiffReport::FileEnd(0, end("text", 1, 0)),
        DiffReport::Lines(1, store),
        DiffReport::FileEnd(1, end("text", 3, 1)),
        DiffReport::FileEnd(2, end("binary", 0, 0)),
        DiffReport::FileEnd(3, end("same", 0, 0)),
    ];
    for news in news {
        report(state, Report::Diff(ticket, news));
    }
}
