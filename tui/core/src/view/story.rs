//! Beside the list: the selected session's story, the newest event first.

use ratatui::layout::Rect;

use super::pen::Pen;
use crate::{
    Command, State,
    fleet::Session,
    key,
    layout::Layout,
    story::{Event, Mood, Reading, StoryView},
    text,
    theme::Scope,
};

/// Columns for how long ago an event was.
const WHEN: usize = 4;

#[cfg(test)]
std::thread_local! {
    /// Number of events whose rows were built; tests see that those out of sight are not.
    pub(super) static EVENTS_BUILT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Draws the story of this session, as far as it was read.
pub(super) fn draw(state: &State, session: &Session, layout: &Layout, area: Rect, pen: &mut Pen) {
    let back = state.keymap.keys_for(Command::Story, state.conditions_below()).map(|keys| key::chord(&keys));
    let back = back.map_or_else(String::new, |keys| format!("{keys} back to its terminal"));
    let heading = if layout.is_wide() { Rect { height: 1, ..area } } else { layout.rule };
    pen.rule(heading, 0, &format!("story of {}", session.name()), &back);
    let area = body(layout, area);
    let Some(story) = &state.story else { return };
    let said = says(story);
    if story.last().is_none() {
        let (why, scope) = said.unwrap_or(("Nothing is kept of it".into(), Scope::Dim));
        let lines = text::wrap(&why, usize::from(area.width).saturating_sub(4).max(8));
        return pen.centered(area, &lines.iter().map(|line| (line.as_str(), scope)).collect::<Vec<_>>());
    }
    let mut lines = pen.lines(area, 0);
    if let Some((why, scope)) = said {
        text::wrap(&why, lines.columns()).iter().for_each(|line| lines.put(line, scope));
    }
    let columns = Columns::of(area.width);
    let mut shown = 0;
    for event in story.shown().take(area.height.into()) {
        let rows = columns.rows(event);
        shown += usize::from(rows.len() <= lines.room());
        for (n, row) in rows.iter().enumerate() {
            let Some(mut line) = lines.next() else { break };
            let when = if n == 0 { text::age(state.now - event.at) } else { String::new() };
            let who = if n == 0 { event.who.as_str() } else { "" };
            line.skip(1).column_right(&when, WHEN, Scope::Dim).column(who, columns.who, Scope::Strong);
            match row.strip_prefix(event.what.as_str()).filter(|_| n == 0) {
                Some(rest) => line.put(&event.what, tone(&event.what)).put(rest, Scope::Text),
                None => line.put(row, Scope::Text),
            };
        }
    }
    let below = story.shown().count().saturating_sub(shown);
    if below > 0 || story.has_older() {
        let more = if story.has_older() { "+" } else { "" };
        let last = Rect { y: area.bottom().saturating_sub(1), height: area.height.min(1), ..area };
        pen.line(last, 0).put_right_over(&format!(" {below}{more} older below "), Scope::Hint);
    }
}

/// Largest number of events that may be above the first one shown: the rest fills the area.
pub(super) fn last(state: &State, layout: &Layout, area: Rect) -> usize {
    let Some(story) = &state.story else { return 0 };
    let area = body(layout, area);
    let columns = Columns::of(area.width);
    let said = says(story).map_or(0, |(why, _)| text::wrap(&why, usize::from(area.width).saturating_sub(2)).len());
    let (mut rows, count) = (said, story.events().len());
    for (n, event) in story.events().enumerate() {
        rows += columns.rows(event).len();
        if rows > area.height.into() {
            return (count - n).min(count - 1);
        }
    }
    0
}

fn body(layout: &Layout, area: Rect) -> Rect {
    let used = u16::from(layout.is_wide()).min(area.height);
    Rect { y: area.y + used, height: area.height - used, ..area }
}

/// What a person should know of the reading itself; None: nothing, it is live.
fn says(story: &StoryView) -> Option<(String, Scope)> {
    match &story.reading {
        Reading::Live => None,
        Reading::Going => Some(("Reading its story …".into(), Scope::StateBusy)),
        Reading::Lost(why) => Some((format!("Reconnecting: {why}"), Scope::StateBusy)),
        Reading::Failed(why) => Some((why.clone(), Scope::StateBad)),
        Reading::Over => Some(("The session is gone".into(), Scope::Dim)),
    }
}

/// Widths of the columns.
struct Columns {
    who: usize,
    what: usize,
}

impl Columns {
    fn of(width: u16) -> Self {
        let who = if width >= 90 { 20 } else { 14 };
        Self { who, what: usize::from(width).saturating_sub(1 + WHEN + 1 + who + 1).max(8) }
    }

    /// Rows of what happened.
    fn rows(&self, event: &Event) -> Vec<String> {
        #[cfg(test)]
        EVENTS_BUILT.set(EVENTS_BUILT.get() + 1);
        text::wrap(&format!("{} {}", event.what, event.text), self.what)
    }
}

fn tone(what: &str) -> Scope {
    match Mood::of(what) {
        Mood::Bad => Scope::StateBad,
        Mood::Asks => Scope::StateAsks,
        Mood::Good => Scope::StateGood,
        Mood::Plain => Scope::StateBusy,
    }
}
