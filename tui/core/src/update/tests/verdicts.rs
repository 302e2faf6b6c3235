//! Comments on lines: drafted among the changes, sent with the verdict.

use super::*;
use crate::pull::LineComment;

fn comment(line: u32, body: &str) -> LineComment {
    LineComment { path: "src/store.rs".into(), line, body: body.into() }
}

fn say(state: &mut State, keys: &str, text: &str) {
    press(state, keys);
    type_text(state, text);
    press(state, "enter");
}

/// What the one review that is asked for has.
fn review(effects: &[Effect]) -> (&'static str, String, Vec<LineComment>) {
    match calls(effects)[..] {
        [Call::Review { id, head, verdict, body, comments }] => {
            assert_eq!((&**id, head), ("widgets#12", &samples::pulls()[0].head));
            (*verdict, body.clone(), comments.clone())
        }
        ref other => panic!("{other:?}"),
    }
}

/// Two comments, the second line first.
fn drafted() -> State {
    let mut state = samples::pull_changes(SIZE);
    say(&mut state, "] j j j j c", "Which alphabet?");
    say(&mut state, "k c", "Why create?");
    state
}

#[test]
fn comments_wait_for_the_verdict_and_go_with_it() {
    let mut state = drafted();
    // The same line again: what was said of it is changed.
    say(&mut state, "c", " Say so.");
    let all = vec![comment(11, "Why create? Say so."), comment(12, "Which alphabet?")];
    press(&mut state, "q x");
    type_text(&mut state, "almost");
    let effects = press(&mut state, "enter");
    assert_eq!(review(&effects), ("request-changes", "almost".into(), all.clone()));
    // What the host refuses is still there.
    report(&mut state, Report::Answer(ticket(&effects), Err("the head has moved".into())));
    press(&mut state, "esc");
    let effects = press(&mut state, "a");
    assert_eq!(review(&effects), ("approve", String::new(), all));
    assert!(calls(&press(&mut state, "a")).is_empty(), "it is on its way");
    report(&mut state, Report::Answer(ticket(&effects), Ok(Answer::Done)));
    assert!(state.drafts.is_empty());
    assert_eq!(review(&press(&mut state, "a")).2, []);
}

#[test]
fn comments_are_enough_of_a_review() {
    let mut state = drafted();
    press(&mut state, "q c");
    assert_eq!(
        review(&press(&mut state, "enter")),
        ("comment", String::new(), state.drafts.values().next().unwrap().comments.clone())
    );
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
}

#[test]
fn a_draft_is_discarded_after_a_question_and_an_empty_comment_is_none() {
    let mut state = drafted();
    press(&mut state, "D");
    assert!(matches!(&state.dialog, Some(Dialog::Question(_))));
    press(&mut state, "n D");
    assert_eq!(state.drafts.len(), 1);
    press(&mut state, "y");
    assert!(state.drafts.is_empty() && state.diff.is_some());
    press(&mut state, "D");
    assert_eq!(last_notice(&state), "You have drafted no comments on it");
    say(&mut state, "c", "x");
    assert_eq!(state.drafts.len(), 1);
    press(&mut state, "c backspace enter");
    assert!(state.drafts.is_empty() && state.dialog.is_none());
}
