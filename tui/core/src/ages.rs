//! Ages on screen: when one of them reads differently.

use crate::{
    Millis, State,
    attach::Link,
    fleet::{Connection, Session, SessionKey},
    layout::Layout,
    list::Row,
    state::View,
    text,
};

impl State {
    /// When what is shown reads differently although nothing happened: ages, notices. `None`: never.
    #[must_use]
    pub fn next_change(&self) -> Option<Millis> {
        let ages = self.times_shown().into_iter().map(|then| self.now + text::age_changes_in(self.now - then)).min();
        ages.into_iter().chain(self.notices.next_end()).chain(self.keep_at).min()
    }

    fn times_shown(&self) -> Vec<Millis> {
        if let Some(attach) = &self.attach {
            return if let Link::Lost(since, _) = attach.viewer.link { vec![since] } else { vec![] };
        }
        let layout = Layout::of(self);
        let height = layout.list.height.into();
        let session = |key: &SessionKey| self.fleet.session(key).map(Session::since);
        let mut times: Vec<Millis> = match self.view {
            View::Sessions => self.sessions.shown(height).iter().filter_map(|r| item(r).and_then(session)).collect(),
            View::Crashes => self.crashes.shown(height).iter().filter_map(|r| item(r).and_then(session)).collect(),
            View::Review => {
                let opened = |key| self.fleet.pull(key).map(|pull| pull.created_at);
                self.pulls.shown(height).iter().filter_map(|r| item(r).and_then(opened)).collect()
            }
            View::Hosts => self.fleet.hosts.iter().filter_map(|h| h.info.as_ref().map(|i| i.started_at)).collect(),
            View::Environments => {
                let built = |key| self.fleet.environment(key)?.build.as_ref().map(|b| b.created_at);
                self.environments.shown(height).iter().filter_map(|r| item(r).and_then(built)).collect()
            }
        };
        let selected = self.selected_key().and_then(|key| self.fleet.session(key));
        times.extend(selected.and_then(|session| session.last.as_ref()).map(|last| last.at));
        if let (Some(story), Some(beside)) = (self.story.as_ref(), layout.beside) {
            times.extend(story.shown().take(beside.height.into()).map(|event| event.at));
        }
        times.extend(self.fleet.hosts.iter().filter_map(|h| match h.connection {
            Connection::Lost(since, _) => Some(since),
            Connection::Up(since) if self.view == View::Hosts => Some(since),
            _ => None,
        }));
        times
    }
}

fn item<H, K>(row: &Row<H, K>) -> Option<&K> {
    if let Row::Item(key) = row { Some(key) } else { None }
}
