//! Waits for review: what is told, and that it is told once.

use super::*;

#[test]
fn reviews_are_told_once_and_those_before_the_wait_count() {
    let review = |count| Input::Observed(Some(Box::new(seen("a", [Passed, Passed], count))));
    let (s, effects) = all(running(), [review(1), wait(1, WaitFor::Review), review(1)]);
    assert!(matches!(tells(&effects)[..], [(1, Answer::Review { reviews, .. })] if reviews.len() == 1));
    let (s, effects) = all(s, [Input::Delivered { generation: 3 }, wait(2, WaitFor::Review), review(1)]);
    assert!(tells(&effects).is_empty());
    let (_, effects) = all(s, [review(3)]);
    let told = tells(&effects);
    assert!(matches!(told[..], [(2, Answer::Review { reviews, .. })] if reviews.len() == 2 && reviews[0].id == 2));
}

#[test]
fn who_waits_for_review_is_told_once_that_the_checks_failed() {
    let told = Input::Delivered { generation: 3 };
    let (s, effects) = all(running(), [wait(1, WaitFor::Review), observed("a", [Passed, Failed]), told.clone()]);
    assert!(matches!(tells(&effects)[..], [(1, Answer::Checks { outcome, .. })] if outcome == "failed"));
    let (s, effects) = all(s, [wait(2, WaitFor::Review), observed("a", [Passed, Failed])]);
    assert!(tells(&effects).is_empty(), "it knows");
    // Of another head, it does not.
    let (s, effects) = all(s, [observed("b", [Failed, Passed]), told.clone()]);
    assert_eq!(tells(&effects).len(), 1);
    // Who has waited for the checks knows as well.
    let asked = [wait(3, WaitFor::Checks), observed("c", [Failed, Passed]), told];
    let (s, _) = all(s, asked);
    let (s, effects) = all(s, [wait(4, WaitFor::Review), observed("c", [Failed, Passed])]);
    assert!(tells(&effects).is_empty());
    // A review goes before.
    let (_, effects) = all(s, [Input::Observed(Some(Box::new(seen("d", [Failed, Passed], 1))))]);
    assert!(matches!(tells(&effects)[..], [(4, Answer::Review { .. })]));
}

#[rstest]
#[case::seen(&[again([Passed, Runs], 50)])]
#[case::between_two_looks(&[])]
fn who_waits_for_review_is_told_that_checks_failed_that_were_run_again(#[case] meanwhile: &[Input]) {
    let told = Input::Delivered { generation: 3 };
    let first = [wait(1, WaitFor::Review), again([Passed, Failed], 10), told.clone(), wait(2, WaitFor::Review)];
    let (s, _) = all(running(), first);
    let (s, effects) = all(s, meanwhile.iter().cloned());
    let turn = if meanwhile.is_empty() { Turn::Agent } else { Turn::Checks };
    assert_eq!((tells(&effects).len(), attention(&s, 60).turn), (0, turn));
    let (s, effects) = all(s, [again([Passed, Failed], 50), again([Passed, Failed], 50), told]);
    assert!(matches!(tells(&effects)[..], [(2, Answer::Checks { outcome, .. })] if outcome == "failed"));
    assert_eq!(attention(&s, 60).turn, Turn::Agent);
    let (_, effects) = all(s, [wait(3, WaitFor::Review), again([Passed, Failed], 50), again([Failed, Failed], 50)]);
    assert!(tells(&effects).is_empty(), "it knows, and of what began with that too");
}

#[test]
fn a_new_review_has_its_words_however_much_there_was_before() {
    let long = |len| "x".repeat(len);
    let mut much = seen("a", [Passed, Failed], 30);
    much.checks = (0..60).map(|n| CheckSeen { log: long(8 << 10), ..check(&format!("check {n}"), Failed) }).collect();
    much.reviews.iter_mut().for_each(|review| review.body = long(16 << 10));
    let told = Delivered { number: 5, review: 20, ..Delivered::default() };
    let s = Session { delivered: vec![told], ..running() };
    let (_, effects) = all(s.clone(), [wait(1, WaitFor::Review), Input::Observed(Some(Box::new(much.clone())))]);
    let told = tells(&effects);
    let [(1, Answer::Review { reviews, .. })] = &told[..] else { panic!("{told:?}") };
    let (first, last) = (&reviews[0], &reviews[9]);
    assert_eq!((first.id, last.id, last.body.len(), last.comments[0].body.as_str()), (21, 30, 16 << 10, "why?"));
    assert!(first.body.is_empty(), "the oldest are left out first");
    let (_, effects) = all(s, [wait(1, WaitFor::Checks), Input::Observed(Some(Box::new(much)))]);
    let told = tells(&effects);
    let [(1, Answer::Checks { checks, .. })] = &told[..] else { panic!("{told:?}") };
    assert!(checks.len() == 60 && checks.iter().all(|check| check.name.starts_with("check ")));
}

#[test]
fn the_first_review_of_the_next_pull_request_is_told() {
    let review = |number, count| {
        let mut seen = seen("a", [Passed, Passed], count);
        seen.pull.number = number;
        Input::Observed(Some(Box::new(seen)))
    };
    let told = Input::Delivered { generation: 3 };
    let (s, _) = all(running(), [wait(1, WaitFor::Review), review(5, 3), told.clone()]);
    let (s, effects) = all(s, [wait(2, WaitFor::Review), review(6, 1), told]);
    assert!(matches!(tells(&effects)[..], [(2, Answer::Review { number: 6, reviews, .. })] if reviews.len() == 1));
    // Back at the one before, nothing is told again.
    let (_, effects) = all(s, [wait(3, WaitFor::Review), review(5, 3), review(6, 1)]);
    assert!(tells(&effects).is_empty());
}
