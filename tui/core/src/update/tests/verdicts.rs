//! Verdicts and comments: of the revision that was shown, drafted among the changes, kept, sent together.

use super::*;
use crate::{
    action::Action,
    draft::{Comment, Draft, Place},
    pull::{Pull, PullKey, Revision, Thread},
};

fn key() -> PullKey {
    PullKey { host: samples::host(0), repository: "widgets".into(), number: 12 }
}

fn head() -> String {
    samples::pulls()[0].head.clone()
}

fn comment(line: u32, body: &str) -> Comment {
    let quote = match line {
        11 => "    pub fn open(path: &Path, create: bool) -> Result<Self> {",
        _ => "    let name = \"日本語 🚀\u{fffd}\u{fffd}[2J\";",
    };
    let place = Place::Line { path: "src/store.rs".into(), line, head: head(), quote: quote.into() };
    Comment { place, body: body.into(), unfinished: false }
}

fn say(state: &mut State, keys: &str, text: &str) {
    press(state, keys);
    type_text(state, text);
    press(state, "enter");
}

/// What the one review that is asked for has: verdict, commit and whether it is an earlier one's, text, comments.
fn review(effects: &[Effect]) -> (&'static str, String, bool, String, Vec<Comment>) {
    match calls(effects)[..] {
        [Call::Review { id, head, older, verdict, body, comments }] => {
            assert_eq!(&**id, "widgets#12");
            (*verdict, head.clone(), *older, body.clone(), comments.clone())
        }
        ref other => panic!("{other:?}"),
    }
}

/// What is kept of drafts by these effects, the last of each.
fn kept(effects: &[Effect]) -> Option<Draft> {
    let kept = |effect: &Effect| match effect {
        Effect::KeepDraft(of, draft) if *of == key() => Some((**draft).clone()),
        _ => None,
    };
    effects.iter().rev().find_map(kept)
}

/// Two comments, the second line first.
fn drafted() -> State {
    let mut state = samples::pull_changes(SIZE);
    say(&mut state, "] j j j j c", "Which alphabet?");
    say(&mut state, "k c", "Why create?");
    state
}

/// The agent pushes another revision.
fn push_revision(state: &mut State) -> Vec<Effect> {
    let mut pull = samples::pulls().remove(0);
    (pull.revision, pull.head) = (3, "33333333".into());
    pull.revisions.push(Revision { number: 3, head: "33333333".into(), forced: false, at: NOW - 3000 });
    report(state, Report::Host(samples::host(0), HostReport::Pull(Box::new(pull))))
}

#[test]
fn comments_wait_for_the_verdict_and_go_with_it() {
    let mut state = drafted();
    // The same line again: what was said of it is changed.
    press(&mut state, "c");
    type_text(&mut state, " Say so.");
    let all = vec![comment(11, "Why create? Say so."), comment(12, "Which alphabet?")];
    assert_eq!(kept(&press(&mut state, "enter")).unwrap().comments, all, "it is kept at once");
    press(&mut state, "q x");
    type_text(&mut state, "almost");
    let effects = press(&mut state, "enter");
    assert_eq!(review(&effects), ("request-changes", head(), false, "almost".into(), all.clone()));
    // What the host refuses is still there, also its text.
    report(&mut state, Report::Answer(ticket(&effects), Err("no".into())));
    press(&mut state, "esc a");
    let effects = press(&mut state, "enter");
    assert_eq!(review(&effects), ("approve", head(), false, "almost".into(), all));
    assert!(calls(&press(&mut state, "enter")).is_empty(), "it is on its way");
    let effects = report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Done)));
    assert!(state.drafts.is_empty() && kept(&effects).is_some_and(|draft| draft.is_empty()));
    assert_eq!(review(&press(&mut state, "a enter")).4, []);
}

#[test]
fn comments_go_along_only_where_they_are_asked_for() {
    let mut state = drafted();
    let effects = press(&mut state, "a tab enter");
    assert_eq!(review(&effects).4, []);
    report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Done)));
    assert_eq!(state.drafts[&key()].comments.len(), 2, "they stay");
    assert_eq!(review(&press(&mut state, "C enter")).4.len(), 2, "comments are enough of a review");
}

#[test]
fn what_was_not_shown_is_not_approved() {
    let mut state = samples::review(SIZE);
    press(&mut state, "j a");
    assert!(state.dialog.is_none() && last_notice(&state).starts_with("Its changes were not shown yet"));
    // While it is read, and where it broke off.
    press(&mut state, "enter");
    let diff = state.diff.as_ref().unwrap().ticket;
    report(&mut state, Report::Diff(diff, DiffReport::Commit(head())));
    press(&mut state, "a");
    assert!(state.dialog.is_none() && last_notice(&state).starts_with("It is still being read"));
    report(&mut state, Report::Diff(diff, DiffReport::Failed("gone".into())));
    press(&mut state, "a q a");
    assert!(state.dialog.is_none());
    // What was shown is, from the list, too.
    let mut state = samples::pull_changes(SIZE);
    assert_eq!(review(&press(&mut state, "q a enter")).1, head());
}

#[test]
fn a_verdict_is_of_the_revision_that_was_shown() {
    for leave in ["", "q"] {
        let mut state = samples::pull_changes(SIZE);
        push_revision(&mut state);
        assert_eq!(state.newer_revision(), Some(3));
        if !leave.is_empty() {
            press(&mut state, leave);
        }
        assert_eq!(last_notice(&state), "Revision 3 of #12 Fix the flaky clock test arrived");
        for (key, verdict) in [("a", "approve"), ("x", "request-changes")] {
            assert_eq!(press(&mut state, key), []);
            let Some(Dialog::Question(question)) = &state.dialog else { panic!("{verdict} asks nothing") };
            assert_eq!(question.title, "Revision 3 arrived");
            assert!(
                question.text.starts_with("You have seen revision 2 of #12 Fix the flaky clock test; revision 3 came")
            );
            press(&mut state, "y");
            type_text(&mut state, "ok");
            let effects = press(&mut state, "enter");
            assert_eq!(review(&effects), (verdict, head(), true, "ok".into(), vec![]));
            report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Done)));
        }
    }
}

#[test]
fn what_is_newer_is_shown_and_then_approved() {
    let mut state = samples::pull_changes(SIZE);
    push_revision(&mut state);
    let effects = press(&mut state, "a s");
    let between = Subject::Between { pull: key(), old: head(), new: "33333333".into() };
    let opened = effects.iter().find_map(|effect| match effect {
        Effect::OpenDiff { ticket, subject } if *subject == between => Some(*ticket),
        _ => None,
    });
    assert!(state.dialog.is_none());
    for news in [DiffReport::Commit("33333333".into()), DiffReport::Listed(false), DiffReport::End] {
        report(&mut state, Report::Diff(opened.unwrap(), news));
    }
    let (verdict, head, older, ..) = review(&press(&mut state, "a enter"));
    assert_eq!((verdict, &*head, older), ("approve", "33333333", false));
    press(&mut state, "esc q i");
    assert!(last_notice(&state).starts_with("There is no newer revision"));
}

#[test]
fn what_arrives_while_a_text_is_written_is_told_before_it_is_sent() {
    let mut state = samples::pull_changes(SIZE);
    press(&mut state, "x");
    type_text(&mut state, "not yet");
    push_revision(&mut state);
    let effects = press(&mut state, "enter");
    assert!(calls(&effects).is_empty() && matches!(&state.dialog, Some(Dialog::Question(_))));
    assert_eq!(kept(&effects).unwrap().body, "not yet");
    // Neither: the text is there again.
    press(&mut state, "n x y");
    assert!(matches!(&state.dialog, Some(Dialog::Message(message)) if message.field.text() == "not yet"));
    assert_eq!(review(&press(&mut state, "enter")), ("request-changes", head(), true, "not yet".into(), vec![]));
}

#[test]
fn comments_are_carried_to_a_new_revision_where_their_lines_are_unchanged() {
    let mut state = drafted();
    let effects = push_revision(&mut state);
    let opened = effects.iter().find_map(|effect| match effect {
        Effect::OpenDiff { ticket, subject: Subject::Between { .. } } => Some(*ticket),
        _ => None,
    });
    let carry = opened.expect("what differs is read");
    let file = crate::diff::NewFile {
        status: "modified".into(),
        old_path: b"src/store.rs".to_vec(),
        new_path: b"src/store.rs".to_vec(),
        mode: String::new(),
    };
    use crate::diff::{FileEnd, NewRow, Side};
    let rows = vec![
        NewRow::Hunk(10, 13, String::new()),
        samples::line(Side::Both, "impl Store {", &[]),
        samples::line(Side::Both, "as it was", &[]),
        samples::line(Side::Old, "gone", &[]),
    ];
    let end = FileEnd { contents: "text".into(), ..FileEnd::default() };
    let mut effects = vec![];
    for news in [
        DiffReport::Files(vec![file]),
        DiffReport::Listed(false),
        DiffReport::Lines(0, rows),
        DiffReport::FileEnd(0, end),
        DiffReport::End,
    ] {
        effects.extend(report(&mut state, Report::Diff(carry, news)));
    }
    let places: Vec<_> = kept(&effects).unwrap().comments.into_iter().map(|comment| comment.place).collect();
    let at = |line: u32| {
        places
            .iter()
            .any(|place| matches!(place, Place::Line { line: it, head, .. } if *it == line && head == "33333333"))
    };
    assert!(at(14), "{places:?}");
    assert!(places.contains(&comment(12, "").place), "its line was changed: it stays with its revision");
    assert_eq!(
        last_notice(&state),
        "1 comment on widgets#12 carried to revision 3; 1 comment on lines that it changes"
    );
    // Not read again and again; and all of them go with the verdict, each of its own revision.
    assert!(push_revision(&mut state).is_empty());
    assert_eq!(review(&press(&mut state, "x y enter")).4.len(), 2);
}

#[test]
fn drafts_come_back_and_what_is_typed_is_kept() {
    let mut state = samples::review(SIZE);
    let old = Draft { comments: vec![comment(11, "Why create?")], body: "Nearly".into() };
    report(
        &mut state,
        Report::Drafts(
            samples::host(0),
            vec![("widgets".into(), 12, old.clone()), ("gadgets".into(), 1, Draft::default())],
        ),
    );
    assert_eq!(state.drafts.len(), 1);
    press(&mut state, "j c");
    assert!(matches!(&state.dialog, Some(Dialog::Message(message)) if message.field.text() == "Nearly"));
    type_text(&mut state, " there");
    // Within a second, when the console ends, and where it is put away.
    let at = state.next_change().unwrap();
    assert!(at <= NOW + 1000);
    assert_eq!(kept(&update(&mut state, Action::Tick, at)).unwrap().body, "Nearly there");
    type_text(&mut state, "!");
    assert_eq!(kept(&update(&mut state, Action::Ending, NOW)).unwrap().body, "Nearly there!");
    type_text(&mut state, "!");
    assert_eq!(kept(&press(&mut state, "esc")).unwrap().body, "Nearly there!!");
    // So is a comment on a line, which goes nowhere unfinished.
    let mut state = samples::pull_changes(SIZE);
    press(&mut state, "] j j j c");
    type_text(&mut state, "Why cre");
    let unfinished = Comment { unfinished: true, ..comment(11, "Why cre") };
    assert_eq!(kept(&press(&mut state, "esc")).unwrap().comments, [unfinished]);
    press(&mut state, "c");
    type_text(&mut state, "ate?");
    assert_eq!(kept(&press(&mut state, "enter")).unwrap().comments, [comment(11, "Why create?")]);
}

#[test]
fn threads_are_answered_and_resolved_among_the_changes() {
    let mut state = samples::pull_changes(SIZE);
    let mut pull = Pull { updated_at: NOW, ..samples::pulls().remove(0) };
    pull.threads = vec![Thread {
        id: 7,
        path: "src/store.rs".into(),
        line: 11,
        head: head(),
        comments: vec![("anna".into(), "Why?".into())],
        ..Thread::default()
    }];
    let reading = state.reading_pull.as_ref().map(|(generation, ..)| *generation).unwrap();
    let read = Ticket { slot: Slot::Call, generation: reading };
    report(&mut state, Report::Answer(read, Ok(Answer::Pull(Box::new(pull)))));
    // On its line, and on itself.
    say(&mut state, "] j j j r", "Because.");
    let effects = press(&mut state, "j R");
    assert_eq!(calls(&effects), [&Call::Resolve { id: "widgets#12".into(), thread: 7, resolved: true }]);
    let answer = Comment { place: Place::Thread(7), body: "Because.".into(), unfinished: false };
    assert_eq!(review(&press(&mut state, "C enter")).4, [answer]);
    press(&mut state, "esc g R");
    assert_eq!(last_notice(&state), "Select a thread of comments");
}

#[test]
fn only_lines_of_the_head_are_commented_on() {
    let mut state = samples::pull_changes(SIZE);
    // The heading of a hunk, and a line that is gone.
    for keys in ["] c", "j j c"] {
        press(&mut state, keys);
        assert!(state.dialog.is_none());
        assert_eq!(last_notice(&state), "Select a line that the head still has");
    }
    let mut state = samples::changes(SIZE);
    press(&mut state, "] j c");
    assert!(state.dialog.is_none() && last_notice(&state).contains("this is a session's working tree"));
    press(&mut state, "a");
    assert!(state.dialog.is_none() && last_notice(&state).contains("this is a session's working tree"));
}

#[test]
fn a_draft_is_discarded_after_a_question_and_an_empty_comment_is_none() {
    let mut state = drafted();
    press(&mut state, "D");
    assert!(matches!(&state.dialog, Some(Dialog::Question(_))));
    press(&mut state, "n D");
    assert_eq!(state.drafts.len(), 1);
    let effects = press(&mut state, "y");
    assert!(state.drafts.is_empty() && state.diff.is_some() && kept(&effects).is_some_and(|draft| draft.is_empty()));
    press(&mut state, "D");
    assert_eq!(last_notice(&state), "You have drafted nothing on it");
    say(&mut state, "c", "x");
    assert_eq!(state.drafts.len(), 1);
    press(&mut state, "c backspace enter");
    assert!(state.drafts.is_empty() && state.dialog.is_none());
}
