//! Who may say and merge what, and that no order of events breaks a pull request.

use proptest::{collection::vec, prelude::*, sample::select};
use rstest::rstest;

use super::*;
use crate::{
    ForgeId,
    checks::{Check, CheckState},
};

const HEADS: [&str; 4] = ["aaaa", "bbbb", "cccc", "dddd"];

pub(crate) fn pull() -> PullRequest {
    let author = Author { session: "01A".into(), slug: "fix-parser".into() };
    let new = NewPull {
        forge: ForgeId::local(),
        repository: "widgets".into(),
        title: "Fix the\nparser".into(),
        body: String::new(),
        author,
        head_branch: "agent/fix-parser/work".into(),
        base_branch: "main".into(),
    };
    PullRequest::new(new, 7, HEADS[0].into(), 1)
}

fn review(name: &str, head: &str, verdict: Verdict) -> PullInput {
    let body = if verdict == Verdict::Approve { String::new() } else { "why?".into() };
    PullInput::Review(NewReview {
        who: Who::person(name),
        head: head.into(),
        older: false,
        verdict,
        body,
        comments: vec![],
    })
}

fn push(head: &str) -> PullInput {
    PullInput::Pushed { head: head.into(), forced: false }
}

fn close(name: &str) -> PullInput {
    PullInput::Close(Who::person(name))
}

fn reopen() -> PullInput {
    PullInput::Reopen(Who::person("ann"))
}

fn after(inputs: Vec<PullInput>) -> PullRequest {
    inputs.into_iter().fold(pull(), |pull, input| step(&pull, input, 2).unwrap())
}

fn check(name: &str, state: CheckState) -> Check {
    let (summary, url) = (String::new(), String::new());
    Check { name: name.into(), state, summary, url, log: None, started_at: 0, updated_at: 0 }
}

fn rules(required: &[&str]) -> Rules {
    Rules { required_checks: required.iter().map(ToString::to_string).collect(), ..Rules::default() }
}

fn merge(head: &str) -> Merge {
    let (by, commit) = ("ann".into(), "ffff".into());
    Merge { by, head: head.into(), commit, method: MergeMethod::Merge, at: 3 }
}

use CheckState::{Errored, Failed, Passed, Running};
use Verdict::{Approve, RequestChanges};

#[rstest]
#[case::ready(vec![review("ann", "aaaa", Approve)], &[("unit", Passed)], "aaaa", "")]
#[case::nobody_looked(vec![], &[("unit", Passed)], "aaaa", "it is not approved (0 of 1 approvals)")]
#[case::unseen(vec![review("ann", "aaaa", Approve)], &[("unit", Passed)], "bbbb", "you saw bbbb, but it is aaaa")]
#[case::checks_missing(vec![review("ann", "aaaa", Approve)], &[], "aaaa", "not done: unit")]
#[case::checks_running(vec![review("ann", "aaaa", Approve)], &[("unit", Running)], "aaaa", "not done: unit")]
#[case::checks_failed(vec![review("ann", "aaaa", Approve)], &[("unit", Failed)], "aaaa", "check `unit` failed")]
#[case::checks_errored(vec![review("ann", "aaaa", Approve)], &[("unit", Errored)], "aaaa", "check `unit` errored")]
#[case::changed_since(
    vec![review("ann", "aaaa", Approve), push("bbbb")], &[("unit", Passed)], "bbbb",
    "ann approved revision 1, but the head is revision 2 now"
)]
#[case::changes_requested(
    vec![review("bob", "aaaa", RequestChanges), push("bbbb"), review("ann", "bbbb", Approve)],
    &[("unit", Passed)], "bbbb", "bob requested changes on revision 1"
)]
#[case::changes_made(
    vec![review("ann", "aaaa", RequestChanges), push("bbbb"), review("ann", "bbbb", Approve)],
    &[("unit", Passed)], "bbbb", ""
)]
#[case::pushed_back(
    vec![review("ann", "aaaa", Approve), push("bbbb"), push("aaaa")], &[("unit", Passed)], "aaaa", ""
)]
#[case::merged(vec![PullInput::Merge(merge("aaaa")), PullInput::Merged], &[], "aaaa", "#7 is merged")]
#[case::being_merged(vec![PullInput::Merge(merge("aaaa"))], &[], "aaaa", "#7 is merging")]
#[case::closed(vec![PullInput::BranchGone { base: false }], &[], "aaaa", "#7 is closed; `pilothouse review reopen 7`")]
#[case::closed_by_somebody(vec![close("ann")], &[], "aaaa", "#7 is closed")]
#[case::opened_again(vec![review("ann", "aaaa", Approve), close("bob"), reopen()], &[("unit", Passed)], "aaaa", "")]
fn merging(
    #[case] inputs: Vec<PullInput>,
    #[case] checks: &[(&str, CheckState)],
    #[case] seen: &str,
    #[case] refused: &str,
) {
    let checks: Vec<Check> = checks.iter().map(|(name, state)| check(name, *state)).collect();
    let answer = may_merge(&after(inputs), &rules(&["unit"]), &checks, &Who::person("ann"), seen);
    let says = answer.err().map(|refusal| refusal.to_string()).unwrap_or_default();
    assert!(says.contains(refused) && says.is_empty() == refused.is_empty(), "{says}");
}

#[test]
fn checks_that_are_not_required_keep_nobody() {
    let pull = after(vec![review("ann", "aaaa", Approve)]);
    may_merge(&pull, &rules(&[]), &[check("lint", Failed)], &Who::person("ann"), "aaaa").unwrap();
}

#[test]
fn sessions_neither_merge_nor_judge() {
    let session = Who { name: "fix-parser".into(), session: Some("01A".into()) };
    let refused = may_merge(&pull(), &rules(&[]), &[], &session, "aaaa").unwrap_err();
    assert_eq!(refused.to_string(), "merging is for people; a session may not");
    let verdict = |verdict| {
        let review = NewReview {
            who: session.clone(),
            head: "aaaa".into(),
            older: false,
            verdict,
            body: "x".into(),
            comments: vec![],
        };
        step(&pull(), PullInput::Review(review), 2)
    };
    assert!(verdict(Approve).is_err() && verdict(Verdict::Comment).is_ok());
}

#[rstest]
#[case::old_head(review("ann", "bbbb", Approve), "the head has moved: you saw bbbb")]
#[case::no_text(
    PullInput::Review(NewReview {
        who: Who::person("ann"), head: "aaaa".into(), older: false, verdict: RequestChanges, body: " \n".into(), comments: vec![]
    }),
    "needs a text"
)]
#[case::no_thread(
    PullInput::Review(NewReview {
        who: Who::person("ann"), head: "aaaa".into(), older: false, verdict: Verdict::Comment, body: String::new(),
        comments: vec![NewComment::In { thread: 9, body: "x".into() }]
    }),
    "has no thread 9"
)]
fn reviews_are_refused(#[case] input: PullInput, #[case] says: &str) {
    let refused = step(&pull(), input, 2).unwrap_err().to_string();
    assert!(refused.contains(says), "{refused}");
}

#[rstest]
#[case::new(vec![], Standing::Waiting)]
#[case::commented(vec![review("ann", "aaaa", Verdict::Comment)], Standing::Waiting)]
#[case::approved(vec![review("ann", "aaaa", Approve), review("ann", "aaaa", Verdict::Comment)], Standing::Approved)]
#[case::changed_since(vec![review("ann", "aaaa", Approve), push("bbbb")], Standing::Outdated)]
#[case::disputed(vec![review("ann", "aaaa", Approve), review("bob", "aaaa", RequestChanges)], Standing::ChangesRequested)]
#[case::answered(vec![review("bob", "aaaa", RequestChanges), push("bbbb")], Standing::Outdated)]
#[case::settled(vec![review("bob", "aaaa", RequestChanges), review("bob", "aaaa", Approve)], Standing::Approved)]
fn standings(#[case] inputs: Vec<PullInput>, #[case] standing: Standing) {
    assert_eq!(after(inputs).standing(&Rules::default()), standing);
}

/// What was said of an earlier revision, knowingly.
fn older(name: &str, head: &str, verdict: Verdict, comments: Vec<NewComment>) -> PullInput {
    let body = "as I saw it".into();
    PullInput::Review(NewReview { who: Who::person(name), head: head.into(), older: true, verdict, body, comments })
}

fn at(line: u32, head: &str) -> NewComment {
    let place = Place { path: "src/a.rs".into(), line: Some(line), quote: String::new() };
    NewComment::At { place, head: head.into(), body: "why?".into() }
}

#[test]
fn a_review_may_be_of_an_earlier_revision_and_counts_for_that_one() {
    let comments = vec![at(3, ""), at(4, "bbbb")];
    let pull = after(vec![push("bbbb"), older("ann", "aaaa", Approve, comments)]);
    let review = &pull.reviews[0];
    assert_eq!((&*review.head, review.revision), ("aaaa", 1));
    let threads: Vec<_> = pull.threads.iter().map(|it| (it.place.line, &*it.head, it.revision)).collect();
    assert_eq!(threads, [(Some(3), "aaaa", 1), (Some(4), "bbbb", 2)]);
    let refused = may_merge(&pull, &rules(&[]), &[], &Who::person("ann"), "bbbb").unwrap_err().to_string();
    assert_eq!(refused, "ann approved revision 1, but the head is revision 2 now; it must be approved again");
    // A request for changes of an earlier revision keeps the newest from being merged.
    let pull = after(vec![push("bbbb"), review_of("bob", "bbbb"), older("ann", "aaaa", RequestChanges, vec![])]);
    assert!(may_merge(&pull, &rules(&[]), &[], &Who::person("bob"), "bbbb").is_err());
}

fn review_of(name: &str, head: &str) -> PullInput {
    review(name, head, Approve)
}

#[rstest]
#[case::unknown(older("ann", "cccc", Approve, vec![]), "the head has moved: you saw cccc")]
#[case::of_an_unknown_commit(older("ann", "aaaa", Approve, vec![at(3, "cccc")]), "the head has moved: you saw cccc")]
#[case::late(older("bob", "aaaa", Approve, vec![]), "you have given a verdict on revision 2 already")]
#[case::unknowing(review("ann", "aaaa", Approve), "the head has moved: you saw aaaa")]
fn reviews_of_earlier_revisions_are_refused(#[case] input: PullInput, #[case] says: &str) {
    let before = after(vec![push("bbbb"), review("bob", "bbbb", RequestChanges)]);
    let refused = step(&before, input, 3).unwrap_err().to_string();
    assert!(refused.contains(says), "{refused}");
}

#[test]
fn threads_are_resolved_and_reopened() {
    let before = after(vec![older("ann", "aaaa", Verdict::Comment, vec![at(3, "")])]);
    let resolve = |pull: &PullRequest, thread, resolved, now| {
        step(pull, PullInput::Resolve { who: Who::person("bob"), thread, resolved }, now)
    };
    let resolved = resolve(&before, 1, true, 5).unwrap();
    assert_eq!(resolved.threads[0].resolved, Some(Resolved { who: Who::person("bob"), at: 5 }));
    assert_eq!(resolve(&resolved, 1, true, 9).unwrap(), resolved, "again changes nothing");
    assert_eq!(resolve(&resolved, 1, false, 9).unwrap().threads, before.threads);
    assert!(resolve(&before, 2, true, 5).unwrap_err().to_string().contains("no thread 2"));
}

#[test]
fn threads_keep_what_they_were_about() {
    let place = Place { path: "src/a.rs".into(), line: Some(3), quote: "let \x1b[2Ja = 1;".into() };
    let comments = vec![NewComment::At { place, head: String::new(), body: "why?".into() }];
    let review = NewReview {
        who: Who::person("ann"),
        head: "aaaa".into(),
        older: false,
        verdict: Verdict::Comment,
        body: String::new(),
        comments,
    };
    let answer = NewReview {
        who: Who { name: "fix-parser".into(), session: Some("01A".into()) },
        head: "bbbb".into(),
        comments: vec![NewComment::In { thread: 1, body: "because".into() }],
        ..review.clone()
    };
    let pull = after(vec![PullInput::Review(review), push("bbbb"), PullInput::Review(answer)]);
    let thread = &pull.threads[0];
    assert_eq!((thread.head.as_str(), thread.revision, thread.place.quote.as_str()), ("aaaa", 1, "let [2Ja = 1;"));
    let said: Vec<_> = thread.comments.iter().map(|c| (c.review, c.who.name.as_str(), c.body.as_str())).collect();
    assert_eq!(said, [(1, "ann", "why?"), (2, "fix-parser", "because")]);
}

#[test]
fn people_close_and_open_again_and_what_was_kept_before_is_read() {
    let at = |state: &PullState| match state {
        PullState::Closed(Closing { why, .. }) => why.to_string(),
        state => state.word().to_owned(),
    };
    let closed = after(vec![close("bob"), close("ann"), PullInput::BranchGone { base: false }]);
    assert_eq!(at(&closed.state), "by bob", "the first says why");
    assert_eq!(step(&closed, push("bbbb"), 3).unwrap(), closed, "what is pushed meanwhile is read when it is opened");
    let gone = after(vec![PullInput::BranchGone { base: true }]);
    assert_eq!(at(&gone.state), "its base branch is gone");
    assert_eq!(step(&gone, reopen(), 3).unwrap().state, PullState::Open);
    let merged = after(vec![PullInput::Merge(merge("aaaa")), PullInput::Merged]);
    for input in [close("ann"), reopen()] {
        assert_eq!(step(&merged, input, 3).unwrap_err().to_string(), "pull request #7 is merged");
    }
    let session = Who { name: "fix-parser".into(), session: Some("01A".into()) };
    assert!(step(&pull(), PullInput::Close(session.clone()), 2).is_err());
    assert!(step(&closed, PullInput::Reopen(session), 2).is_err());
    let before: PullState = serde_json::from_str(r#"{"state":"closed"}"#).unwrap();
    assert_eq!(at(&before), "its head branch is gone");
}

fn input() -> impl Strategy<Value = PullInput> {
    let head = || select(&HEADS[..]);
    let verdict = select(&[Verdict::Comment, Approve, RequestChanges][..]);
    prop_oneof![
        6 => (head(), any::<bool>()).prop_map(|(head, forced)| PullInput::Pushed { head: head.into(), forced }),
        6 => (select(&["ann", "bob"][..]), head(), verdict).prop_map(|(who, head, verdict)| review(who, head, verdict)),
        2 => head().prop_map(|head| PullInput::Merge(merge(head))),
        1 => Just(PullInput::Merged),
        2 => Just(PullInput::Abandoned),
        1 => any::<bool>().prop_map(|base| PullInput::BranchGone { base }),
        1 => Just(close("bob")),
        2 => Just(reopen()),
    ]
}

proptest! {
    #[test]
    fn nothing_breaks_a_pull_request(inputs in vec(input(), 0..40)) {
        let mut pull = pull();
        for (now, input) in (2..).zip(inputs) {
            let Ok(next) = step(&pull, input.clone(), now) else { continue };
            // A repeat of all but what people say changes nothing.
            if !matches!(input, PullInput::Review(_) | PullInput::Merge(_)) {
                prop_assert_eq!(&step(&next, input.clone(), now).unwrap(), &next);
            }
            let numbers: Vec<_> = next.revisions.iter().map(|revision| revision.number).collect();
            prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]) && !numbers.is_empty());
            prop_assert!(next.revisions.windows(2).all(|pair| pair[0].head != pair[1].head));
            prop_assert!(next.updated_at >= pull.updated_at && next.reviews.len() >= pull.reviews.len());
            // What is merged stays so, what is closed until it is opened again, and an approval that lets it be merged is of
            // this very head.
            let opened = matches!((&pull.state, &input), (PullState::Closed(_), PullInput::Reopen(_)));
            prop_assert!(pull.state.is_open() || next.state == pull.state || opened);
            if may_merge(&next, &Rules::default(), &[], &Who::person("x"), next.head()).is_ok() {
                prop_assert!(next.reviews.iter().any(|r| r.verdict == Approve && r.head == next.head()));
                prop_assert_eq!(next.standing(&Rules::default()), Standing::Approved);
            }
            let kept: PullRequest = serde_json::from_str(&serde_json::to_string(&next).unwrap()).unwrap();
            prop_assert_eq!(&kept, &next);
            pull = next;
        }
    }
}
