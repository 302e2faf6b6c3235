use super::*;
use crate::story::{Event, Reading, StoryReport, StoryView};

/// Id of the session whose story these effects open, and the ticket.
fn opened(effects: &[Effect]) -> Option<(String, Ticket)> {
    effects.iter().find_map(|effect| match effect {
        Effect::OpenStory { ticket, session, .. } => Some((session.id.to_string(), *ticket)),
        _ => None,
    })
}

fn many(ids: std::ops::Range<i64>) -> Vec<Event> {
    ids.map(|id| Event { id, at: NOW, who: "ann".into(), what: "sent".into(), text: format!("number {id}") }).collect()
}

fn top(state: &State) -> i64 {
    state.story.as_ref().and_then(|story| story.shown().next()).map_or(0, |event| event.id)
}

#[test]
fn a_story_is_opened_in_the_place_of_the_terminal_and_follows_the_selection() {
    let mut state = fleet(SIZE);
    let first = state.selected_key().unwrap().id.to_string();
    let effects = press(&mut state, "s");
    let (id, ticket) = opened(&effects).unwrap();
    assert_eq!((id, effects.contains(&Effect::Close(Slot::Preview))), (first, true));
    samples::tell(&mut state, samples::story());
    assert_eq!(top(&state), 511);
    // What happens is there at once.
    samples::tell(&mut state, many(600..601));
    assert_eq!(top(&state), 600);
    let effects = press(&mut state, "j");
    let (id, next) = opened(&effects).unwrap();
    assert_eq!((id.as_str(), next > ticket), (&*state.selected_key().unwrap().id, true));
    report(&mut state, Report::Story(ticket, StoryReport::Events(many(1..3))));
    assert_eq!(state.story.as_ref().unwrap().reading, Reading::Going, "news of another one are late");
    let effects = press(&mut state, "s");
    assert!(effects.contains(&Effect::Close(Slot::Story)) && !effects.contains(&Effect::Close(Slot::Preview)));
    assert!(state.story.is_none() && state.preview.is_some(), "its terminal is there again");
    press(&mut state, "s esc");
    assert!(state.story.is_none() && !state.story_shown);
}

#[test]
fn a_story_closes_while_something_else_has_the_window() {
    let mut state = fleet(SIZE);
    press(&mut state, "s");
    assert!(press(&mut state, "L").contains(&Effect::Close(Slot::Story)));
    assert!(opened(&press(&mut state, "q")).is_some());
    assert!(press(&mut state, "R").contains(&Effect::Close(Slot::Story)));
    assert!(opened(&press(&mut state, "S")).is_some(), "it is shown still");
}

#[test]
fn a_long_story_is_read_page_by_page_with_the_keys_of_details() {
    let mut state = fleet((80, 24));
    press(&mut state, "s");
    samples::tell(&mut state, many(1000..1000 + i64::from(StoryView::PAGE)));
    assert_eq!(press(&mut state, "J J J K"), []);
    assert_eq!((top(&state), state.details), (1197, 0));
    let mut effects = vec![];
    for _ in 0..100 {
        effects.extend(press(&mut state, "ctrl-d"));
    }
    let [Effect::Call(ticket, _, Call::ReadStory(_, 1000))] = effects[..] else { panic!("{effects:?}") };
    let end = top(&state);
    assert!(end < 1030, "the rest fills the room: {end}");
    // What is new does not move what is looked at.
    samples::tell(&mut state, many(5000..5003));
    assert_eq!(top(&state), end);
    report(&mut state, Report::Answer(ticket, Ok(Answer::Story(many(990..1000)))));
    assert_eq!(press(&mut state, "ctrl-d ctrl-d ctrl-d ctrl-d"), [], "there are no older ones");
    assert!(top(&state) < 1010 && top(&state) >= 990, "{}", top(&state));
    for _ in 0..300 {
        press(&mut state, "ctrl-u");
    }
    assert_eq!(top(&state), 5002);
}

#[test]
fn older_events_that_cannot_be_had_are_asked_for_again() {
    let mut state = fleet((80, 24));
    press(&mut state, "s");
    samples::tell(&mut state, many(1000..1000 + i64::from(StoryView::PAGE)));
    let effects: Vec<_> = (0..100).flat_map(|_| press(&mut state, "ctrl-d")).collect();
    report(&mut state, Report::Answer(ticket(&effects), Err("the host hung up".into())));
    assert_eq!(last_notice(&state), "Could not read older events: the host hung up");
    assert!(matches!(calls(&press(&mut state, "J"))[..], [Call::ReadStory(_, 1000)]));
}

#[test]
fn errors_of_a_host_stay_with_the_story() {
    let mut state = fleet(SIZE);
    let (_, ticket) = opened(&press(&mut state, "s")).unwrap();
    samples::tell(&mut state, samples::story());
    report(&mut state, Report::Story(ticket, StoryReport::Lost("hung\x1b[2J up".into())));
    let story = state.story.as_ref().unwrap();
    assert_eq!((&story.reading, story.events().len()), (&Reading::Lost("hung[2J up".into()), 12));
    samples::tell(&mut state, many(600..601));
    assert_eq!(state.story.as_ref().unwrap().reading, Reading::Live);
    report(&mut state, Report::Story(ticket, StoryReport::Failed("no such session".into())));
    assert_eq!(state.story.as_ref().unwrap().reading, Reading::Failed("no such session".into()));
}

#[test]
fn without_room_a_story_is_not_opened_and_says_why() {
    let mut state = fleet((80, 10));
    assert_eq!(press(&mut state, "s"), []);
    assert!(last_notice(&state).contains("a larger window"), "{}", last_notice(&state));
    assert!(!state.story_shown);
    // A preview that was put away makes room.
    let mut state = fleet(SIZE);
    press(&mut state, "p");
    assert!(opened(&press(&mut state, "s")).is_some());
}
