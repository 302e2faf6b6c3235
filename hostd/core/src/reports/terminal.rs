//! What a program's terminal says of it that nobody meant as a report: its title, the row of its cursor, its progress.

use pilothouse_terminal::Progress;

use super::{Report, State};
use crate::{
    UnixMillis,
    profile::{Mark, Profile},
};

/// Time in milliseconds for which progress counts that is not shown again: whoever showed it may have been killed.
const PROGRESS: UnixMillis = 60_000;

/// What is seen of a program's terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Title of the window; may be empty.
    pub title: String,
    /// Text of the row that the cursor is in; may be empty.
    pub row: String,
    /// Progress that the program shows by OSC 9;4.
    pub progress: Progress,
    /// When the program last showed it.
    pub progress_at: UnixMillis,
    /// When a line was last entered that output came after; 0: none was.
    pub entered_at: UnixMillis,
}

impl Seen {
    /// When the progress does not count any more, if it is not shown again; None: there is none.
    #[must_use]
    pub fn progress_ends(&self) -> Option<UnixMillis> {
        (self.progress != Progress::Over).then(|| self.progress_at.saturating_add(PROGRESS))
    }
}

/// What is seen says this of the program, by the marks of its profile where it has one; None: nothing. The title counts more than the row,
/// and both more than progress, which only a program at work has.
#[must_use]
pub fn of_terminal(profile: Option<&Profile>, seen: &Seen, at: UnixMillis) -> Option<Report> {
    let title = profile.and_then(|profile| marked(&profile.titles, &seen.title));
    let title = title.map(|(mark, _)| Report::new(mark.means.into(), at));
    let row = || marked(&profile?.patterns, &seen.row).map(|(mark, before)| of_row(mark, before, seen.entered_at, at));
    let progress = seen.progress_ends().is_some_and(|end| end > at).then_some(seen.progress);
    let works = || progress.map(|_| Report::new(State::Working, at));
    let mut report = title.or_else(row).or_else(works)?;
    if let (Some(Progress::Percent(percent)), State::Working) = (progress, report.state) {
        report.progress = Some(percent);
    }
    Some(report)
}

/// The first mark that the text has, and the text up to its end; None: it has none.
fn marked<'a>(marks: &'a [Mark], text: &'a str) -> Option<(&'a Mark, &'a str)> {
    let end = |mark: &Mark| text.find(&mark.contains).map(|at| at + mark.contains.len());
    marks.iter().find_map(|mark| Some((mark, &text[..end(mark)?])))
}

/// What a mark in the cursor's row says. A question is what stands there; the same words are another one once a line was entered.
fn of_row(mark: &Mark, before: &str, entered_at: UnixMillis, at: UnixMillis) -> Report {
    let report = Report::new(mark.means.into(), at);
    match report.state {
        State::Blocked(_) => {
            Report { text: before.trim().into(), asked: u64::try_from(entered_at).unwrap_or_default(), ..report }
        }
        _ => report,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{
        profile::{Meaning, Profiles},
        reports::Kind,
    };

    const PERMISSION: State = State::Blocked(Some(Kind::Permission));
    const QUESTION: State = State::Blocked(Some(Kind::Question));

    fn seen(title: &str, row: &str, progress: Progress) -> Seen {
        Seen { title: title.into(), row: row.into(), progress, progress_at: 7, entered_at: 0 }
    }

    /// The shipped profile of this name, or one of a host's own that has patterns.
    fn profile(name: &str) -> Profile {
        let mark = |contains: &str, means| Mark { contains: contains.into(), means };
        let patterns = vec![mark("[y/N]", Meaning::Question), mark("Thinking", Meaning::Working)];
        match Profiles::shipped().get(name) {
            Ok(profile) => profile.clone(),
            Err(_) => Profile { patterns, ..Profile::default() },
        }
    }

    #[rstest]
    #[case::gemini_asks("gemini", seen("\u{270b}  Action Required (widgets)", "", Progress::Over), Some((PERMISSION, None)))]
    #[case::gemini_works("gemini", seen("\u{2726}  Working\u{2026} (widgets)", "", Progress::Over), Some((State::Working, None)))]
    #[case::gemini_rests("gemini", seen("\u{25c7}  Ready (widgets)", "", Progress::Percent(7)), Some((State::Idle, None)))]
    #[case::codex_asks("codex", seen("[ ! ] Action Required | Work on the widgets | work", "", Progress::Over), Some((PERMISSION, None)))]
    #[case::codex_says_no_more("codex", seen("\u{280b} Work on the widgets | work", "", Progress::Over), None)]
    #[case::none_was_set("gemini", seen("", "", Progress::Over), None)]
    #[case::asks("own", seen("", "Run ls? [y/N] ", Progress::Over), Some((QUESTION, None)))]
    #[case::works("own", seen("", "Thinking (esc)", Progress::Over), Some((State::Working, None)))]
    #[case::is_ready("own", seen("", "> ", Progress::Over), None)]
    #[case::progress("shell", seen("", "", Progress::Percent(40)), Some((State::Working, Some(40))))]
    #[case::of_unknown_length("shell", seen("", "", Progress::Unknown), Some((State::Working, None)))]
    #[case::beside_a_title("gemini", seen("Working\u{2026}", "", Progress::Percent(40)), Some((State::Working, Some(40))))]
    #[case::asks_meanwhile("own", seen("", "Add? [y/N]: ", Progress::Percent(40)), Some((QUESTION, None)))]
    fn what_terminals_show(#[case] name: &str, #[case] seen: Seen, #[case] expected: Option<(State, Option<u8>)>) {
        let report = of_terminal(Some(&profile(name)), &seen, 7);
        assert_eq!(report.map(|report| (report.state, report.progress)), expected);
    }

    #[test]
    fn a_question_is_what_stands_before_its_mark_and_another_one_once_a_line_was_entered() {
        let asks = |row: &str, entered_at| {
            let seen = Seen { entered_at, ..seen("", row, Progress::Over) };
            of_terminal(Some(&profile("own")), &seen, 7).unwrap()
        };
        let first = asks("  Write a.txt? [y/N] ", 0);
        assert_eq!(&*first.text, "Write a.txt? [y/N]");
        assert!(asks("  Write a.txt? [y/N] y", 0).says(&first), "its answer is being typed");
        assert!(!asks("  Write a.txt? [y/N] ", 5).says(&first) && !asks("Write b.txt? [y/N]", 0).says(&first));
        let works = of_terminal(Some(&profile("own")), &seen("", "Thinking 3 s", Progress::Over), 7).unwrap();
        assert_eq!((&*works.text, works.asked), ("", 0));
    }

    #[test]
    fn progress_that_is_not_shown_again_is_over() {
        let seen = Seen { progress_at: 1000, ..seen("", "", Progress::Percent(40)) };
        assert_eq!(seen.progress_ends(), Some(61_000));
        let progress = |at| of_terminal(None, &seen, at).and_then(|report| report.progress);
        assert_eq!((progress(60_999), progress(61_000)), (Some(40), None));
        assert_eq!(of_terminal(None, &seen, 61_000), None);
        assert_eq!(Seen { progress: Progress::Over, ..seen }.progress_ends(), None);
    }

    #[test]
    fn a_program_without_a_profile_has_progress_alone() {
        let all = seen("Working\u{2026}", "[y/N]", Progress::Unknown);
        assert_eq!(of_terminal(None, &all, 7), Some(Report::new(State::Working, 7)));
        assert_eq!(of_terminal(None, &Seen { progress: Progress::Over, ..all }, 7), None);
    }
}
