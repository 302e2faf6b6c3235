//! The story of the selected session: read while it is shown.

use crate::{
    Effect, State,
    dialog::Asked,
    effect::Call,
    fleet::SessionKey,
    layout::Layout,
    notice::Kind,
    state::View,
    story::{Event, StoryReport, StoryView},
    ticket::{Slot, Ticket},
};

/// Milliseconds after which the story of a selected session is opened: running through the list opens none.
const DELAY: u64 = 60;

impl State {
    /// Shows the selected session's story in the place of its terminal and details, or these again.
    pub(crate) fn toggle_story(&mut self) {
        if self.story_shown {
            self.story_shown = false;
            return;
        }
        if self.need_session().is_none() {
            return;
        }
        self.story_shown = true;
        if Layout::of(self).beside.is_none() {
            self.story_shown = false;
            self.notice(Kind::Info, "There is no room for a story: a larger window shows it, `pilothouse events` too");
        }
    }

    /// Opens, changes or closes the story so that it is the selected session's.
    pub(crate) fn settle_story(&mut self) {
        let wanted = self.wanted_story();
        if self.story.as_ref().map(|story| &story.session) == wanted.as_ref() {
            return;
        }
        let was_open = self.story.take().is_some();
        match wanted {
            None if was_open => self.out.push(Effect::Close(Slot::Story)),
            None => {}
            Some(session) => {
                let ticket = self.ticket(Slot::Story);
                self.story = Some(StoryView::new(session.clone(), ticket));
                self.out.push(Effect::OpenStory { ticket, session, delay: DELAY });
            }
        }
    }

    fn wanted_story(&self) -> Option<SessionKey> {
        let shown = self.attach.is_none()
            && self.log.is_none()
            && self.diff.is_none()
            && self.story_shown
            && matches!(self.view, View::Sessions | View::Crashes)
            && Layout::of(self).beside.is_some();
        self.selected_key().filter(|_| shown).cloned()
    }

    pub(crate) fn story_report(&mut self, ticket: Ticket, report: StoryReport) {
        if let Some(story) = self.story.as_mut().filter(|story| story.ticket == ticket) {
            story.report(report);
        }
    }

    /// Scrolls the story, and asks for older events before its end is seen.
    pub(crate) fn scroll_story(&mut self, down: isize) {
        let last = crate::view::story_last(self);
        let rows = Layout::of(self).beside.map_or(0, |beside| usize::from(beside.height));
        let Some(story) = &mut self.story else { return };
        story.scroll(down, last);
        let Some(before) = story.wants_older(rows) else { return };
        let host = story.session.host.clone();
        let call = Call::ReadStory(story.session.id.to_string(), before);
        if !self.calls.values().any(|asked| asked.host == host && asked.call == call) {
            self.call(&host, call, "older events");
        }
    }

    /// A page of older events came.
    pub(crate) fn story_read(&mut self, asked: &Asked, events: Vec<Event>) {
        let Call::ReadStory(id, _) = &asked.call else { return };
        let key = SessionKey { host: asked.host.clone(), id: id.as_str().into() };
        if let Some(story) = self.story.as_mut().filter(|story| story.session == key) {
            story.take_older(events);
        }
    }
}
