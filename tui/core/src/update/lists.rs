//! The lists: made from the fleet, narrowed by filters.

use std::cmp::Reverse;

use crate::{
    State,
    fleet::{Environment, Host, Session, SessionKey, Turn},
    fuzzy::Fuzzy,
    layout::Layout,
    list::Row,
    pull::Pull,
    state::View,
};

impl State {
    /// Makes all lists anew.
    pub(crate) fn rebuild(&mut self) {
        self.rebuild_sessions();
        self.rebuild_crashes();
        self.rebuild_pulls();
        let mut wanted = self.wanted(View::Hosts);
        let hosts = (0..self.fleet.hosts.len()).filter(|&n| wanted(&host_texts(&self.fleet.hosts[n])));
        let rows = hosts.map(Row::Item).collect();
        self.hosts.set(rows);
        let mut wanted = self.wanted(View::Environments);
        let environments = self.fleet.environments().into_iter();
        let rows =
            environments.filter(|key| self.fleet.environment(key).is_some_and(|e| wanted(&environment_texts(e))));
        let rows = rows.map(Row::Item).collect();
        self.environments.set(rows);
    }

    /// Says of something's texts whether a list's filter wants it.
    fn wanted(&self, view: View) -> impl FnMut(&[&str]) -> bool + use<> {
        let field = &self.filters[view as usize].field;
        let mut fuzzy = (!field.is_empty()).then(|| Fuzzy::new(field.text()));
        move |texts| fuzzy.as_mut().is_none_or(|fuzzy| fuzzy.matches(texts))
    }

    fn rebuild_sessions(&mut self) {
        let mut wanted = self.wanted(View::Sessions);
        let mut groups: [Vec<(i64, SessionKey)>; Turn::ALL.len()] = Default::default();
        for (key, session) in self.fleet.sessions() {
            if wanted(&session_texts(session, self.fleet.host_name(key.host))) {
                groups[session.turn as usize].push((rank(session), key));
            }
        }
        let mut rows = Vec::new();
        for (turn, mut group) in Turn::ALL.into_iter().zip(groups) {
            if !group.is_empty() {
                group.sort();
                rows.push(Row::Head((turn, group.len())));
                rows.extend(group.into_iter().map(|(_, key)| Row::Item(key)));
            }
        }
        self.sessions.set(rows);
    }

    /// What wants a verdict first; of these, what waits longest.
    fn rebuild_pulls(&mut self) {
        let mut wanted = self.wanted(View::Review);
        let mut pulls: Vec<_> = (self.fleet.pulls())
            .filter(|(_, pull)| wanted(&pull_texts(pull)))
            .map(|(key, pull)| ((pull.rank(), pull.created_at), key))
            .collect();
        pulls.sort();
        self.pulls.set(pulls.into_iter().map(|(_, key)| Row::Item(key)).collect());
    }

    fn rebuild_crashes(&mut self) {
        let mut wanted = self.wanted(View::Crashes);
        let mut crashed: Vec<_> = self
            .fleet
            .sessions()
            .filter(|(_, s)| s.crashed())
            .filter(|(key, s)| wanted(&session_texts(s, self.fleet.host_name(key.host))))
            .map(|(key, s)| (Reverse(s.updated_at), key))
            .collect();
        crashed.sort();
        self.crashes.set(crashed.into_iter().map(|(_, key)| Row::Item(key)).collect());
    }

    /// Moves the lists so that what is selected is seen.
    pub(crate) fn settle_lists(&mut self) {
        let height = Layout::of(self).list.height.into();
        match self.view {
            View::Sessions => self.sessions.settle(height),
            View::Review => self.pulls.settle(height),
            View::Hosts => self.hosts.settle(height),
            View::Environments => self.environments.settle(height),
            View::Crashes => self.crashes.settle(height),
        }
    }
}

/// Order within a group: who waits longest comes first; agents at work keep their places; what finished last comes first.
fn rank(session: &Session) -> i64 {
    match session.turn {
        Turn::You | Turn::Checks | Turn::Other => session.updated_at,
        Turn::Agent => session.created_at,
        Turn::Nobody => -session.updated_at,
    }
}

fn session_texts<'a>(s: &'a Session, host: &'a str) -> [&'a str; 6] {
    [&s.title, &s.slug, s.word(), &s.reason, &s.environment, host]
}

fn host_texts(host: &Host) -> [&str; 2] {
    [&host.name, host.title()]
}

fn pull_texts(p: &Pull) -> [&str; 5] {
    [&p.title, &p.author, &p.repository, &p.standing, &p.outcome_text]
}

fn environment_texts(e: &Environment) -> [&str; 3] {
    [&e.name, &e.state, &e.repository]
}
