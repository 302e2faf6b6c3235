//! What a program's terminal says of it that nobody meant as a report: its title, the row of its cursor, its progress.

use pilothouse_terminal::Progress;

use super::{Report, State};
use crate::{
    UnixMillis,
    profile::{Mark, Profile},
};

/// What is seen of a program's terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Title of the window; may be empty.
    pub title: String,
    /// Text of the row that the cursor is in; may be empty.
    pub row: String,
    /// Progress that the program shows by OSC 9;4.
    pub progress: Progress,
}

/// What is seen says this of the program, by the marks of its profile where it has one; None: nothing. The title counts more than the row,
/// and both more than progress, which only a program at work has.
#[must_use]
pub fn of_terminal(profile: Option<&Profile>, seen: &Seen, at: UnixMillis) -> Option<Report> {
    let marked = |marks: &[Mark], text: &str| {
        marks.iter().find(|mark| text.contains(&mark.contains)).map(|mark| State::from(mark.means))
    };
    let of_title = profile.and_then(|profile| marked(&profile.titles, &seen.title));
    let state = of_title.or_else(|| marked(&profile?.patterns, &seen.row));
    let state = state.or((seen.progress != Progress::Over).then_some(State::Working))?;
    let progress = match seen.progress {
        Progress::Percent(percent) if state == State::Working => Some(percent),
        _ => None,
    };
    Some(Report { progress, ..Report::new(state, at) })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::{profile::Profiles, reports::Kind};

    const PERMISSION: State = State::Blocked(Some(Kind::Permission));

    fn seen(title: &str, row: &str, progress: Progress) -> Seen {
        Seen { title: title.into(), row: row.into(), progress }
    }

    #[rstest]
    #[case::gemini_asks("gemini", seen("\u{270b}  Action Required (widgets)", "", Progress::Over), Some((PERMISSION, None)))]
    #[case::gemini_works("gemini", seen("\u{2726}  Working\u{2026} (widgets)", "", Progress::Over), Some((State::Working, None)))]
    #[case::gemini_rests("gemini", seen("\u{25c7}  Ready (widgets)", "", Progress::Percent(7)), Some((State::Idle, None)))]
    #[case::codex_asks("codex", seen("[ ! ] Action Required | Work on the widgets | work", "", Progress::Over), Some((PERMISSION, None)))]
    #[case::codex_says_no_more("codex", seen("\u{280b} Work on the widgets | work", "", Progress::Over), None)]
    #[case::none_was_set("gemini", seen("", "", Progress::Over), None)]
    #[case::aider_asks("aider", seen("", "Run shell command? (Y)es/(N)o/(D)on't ask again [Yes]: ", Progress::Over), Some((PERMISSION, None)))]
    #[case::aider_is_ready("aider", seen("", "> ", Progress::Over), None)]
    #[case::aider_has_asked("aider", seen("", "Running ls", Progress::Over), None)]
    #[case::progress("shell", seen("", "", Progress::Percent(40)), Some((State::Working, Some(40))))]
    #[case::of_unknown_length("shell", seen("", "", Progress::Unknown), Some((State::Working, None)))]
    #[case::beside_a_title("gemini", seen("Working\u{2026}", "", Progress::Percent(40)), Some((State::Working, Some(40))))]
    #[case::asks_meanwhile("aider", seen("", "Add? (Y)es/(N)o [Yes]: ", Progress::Percent(40)), Some((PERMISSION, None)))]
    fn what_terminals_show(#[case] profile: &str, #[case] seen: Seen, #[case] expected: Option<(State, Option<u8>)>) {
        let profile = Profiles::shipped().get(profile).unwrap();
        let report = of_terminal(Some(profile), &seen, 7);
        assert_eq!(report.map(|report| (report.state, report.progress)), expected);
    }

    #[test]
    fn a_program_without_a_profile_has_progress_alone() {
        let all = seen("Working\u{2026}", "(Y)es/(N)o", Progress::Unknown);
        assert_eq!(of_terminal(None, &all, 7), Some(Report::new(State::Working, 7)));
        assert_eq!(of_terminal(None, &Seen { progress: Progress::Over, ..all }, 7), None);
    }
}
