//! The lists: made from the fleet, narrowed by filters.

use std::cmp::Reverse;

use crate::{
    State,
    fleet::{Environment, Host, Session, SessionKey, Turn},
    fuzzy::Search,
    layout::Layout,
    list::{List, Row},
    pull::Pull,
    state::{Detailed, View},
};

/// Texts that a filter looks at: names first, then what else is known.
type Texts<'a> = ([&'a str; 2], [&'a str; 4]);

impl State {
    /// Makes all lists anew. What is typed into a filter selects what matches it best.
    pub(crate) fn rebuild(&mut self) {
        let typed = std::mem::take(&mut self.filter_typed).then_some(self.view);
        let typed = |view: View| typed == Some(view);
        self.rebuild_sessions(typed(View::Sessions));
        self.rebuild_crashes(typed(View::Crashes));
        self.rebuild_pulls(typed(View::Review));
        let mut score = self.search(View::Hosts);
        let hosts = self.fleet.hosts.iter();
        let hosts = hosts.filter_map(|host| Some((host.id.clone(), score(&host_texts(host))?))).collect();
        fill(&mut self.hosts, hosts, typed(View::Hosts));
        let mut score = self.search(View::Environments);
        let environments = self.fleet.environments().into_iter();
        let scored = environments.filter_map(|key| {
            let score = score(&environment_texts(self.fleet.environment(&key)?))?;
            Some((key, score))
        });
        let scored = scored.collect();
        fill(&mut self.environments, scored, typed(View::Environments));
    }

    /// A function that says how well something's texts match a list's filter; `None`: it is not wanted.
    fn search(&self, view: View) -> impl FnMut(&Texts) -> Option<u32> + use<> {
        let field = &self.filters[view as usize].field;
        let mut search = (!field.is_empty()).then(|| Search::new(field.text()));
        move |(names, others)| search.as_mut().map_or(Some(0), |search| search.score(names, others))
    }

    fn rebuild_sessions(&mut self, typed: bool) {
        let mut score = self.search(View::Sessions);
        let mut groups: [Vec<(i64, SessionKey, u32)>; Turn::ALL.len()] = Default::default();
        for (key, session) in self.fleet.sessions() {
            if let Some(score) = score(&session_texts(session, self.fleet.host_name(&key.host))) {
                groups[session.turn as usize].push((rank(session), key, score));
            }
        }
        let mut rows = Vec::new();
        let mut scores = Vec::new();
        for (turn, mut group) in Turn::ALL.into_iter().zip(groups) {
            if !group.is_empty() {
                group.sort();
                rows.push(Row::Head((turn, group.len())));
                for (_, key, _) in &group {
                    let lines = self.fleet.session(key).map_or(0, Session::part_lines);
                    rows.push(Row::Item(key.clone()));
                    rows.extend((0..lines).map(|n| Row::Below(key.clone(), n)));
                }
                scores.extend(group.into_iter().map(|(_, key, score)| (key, score)));
            }
        }
        self.sessions.set(rows);
        select_best(&mut self.sessions, scores, typed);
    }

    /// Makes the list of pull requests: what wants a verdict first; of these, what waits longest.
    fn rebuild_pulls(&mut self, typed: bool) {
        let mut score = self.search(View::Review);
        let pulls = self.fleet.pulls(self.closed_shown).filter_map(|(key, pull)| {
            let score = score(&pull_texts(pull, &pull.name()))?;
            // Of closed ones the latest come first.
            let place = if pull.is_closed() { -pull.updated_at } else { pull.created_at };
            Some(((pull.rank(), place), key, score))
        });
        let mut pulls: Vec<_> = pulls.collect();
        pulls.sort();
        fill(&mut self.pulls, pulls.into_iter().map(|(_, key, score)| (key, score)).collect(), typed);
    }

    fn rebuild_crashes(&mut self, typed: bool) {
        let mut score = self.search(View::Crashes);
        let crashed = self.fleet.sessions().filter(|(_, s)| s.crashed()).filter_map(|(key, s)| {
            let score = score(&session_texts(s, self.fleet.host_name(&key.host)))?;
            Some((Reverse(s.updated_at), key, score))
        });
        let mut crashed: Vec<_> = crashed.collect();
        crashed.sort();
        fill(&mut self.crashes, crashed.into_iter().map(|(_, key, score)| (key, score)).collect(), typed);
    }

    /// Scrolls the details to their beginning where something else is selected.
    pub(crate) fn settle_details(&mut self) {
        let of = match self.view {
            View::Sessions | View::Crashes => Detailed::Session(self.selected_key().cloned()),
            View::Review => Detailed::Pull(self.pulls.selected().cloned()),
            View::Hosts => Detailed::Host(self.hosts.selected().cloned()),
            View::Environments => Detailed::Environment(self.environments.selected().cloned()),
        };
        if self.detailed.as_ref() != Some(&of) {
            (self.detailed, self.details) = (Some(of), 0);
        }
        if self.details > 0 {
            // There may be fewer than there were.
            self.details = self.details.min(crate::view::details_last(self));
        }
    }

    /// Scrolls the lists so that what is selected is seen.
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
        Turn::You | Turn::Checks | Turn::Other => session.since(),
        Turn::Agent => session.created_at,
        Turn::Nobody => -session.since(),
    }
}

/// Fills a list without headings.
fn fill<K: Clone + PartialEq>(list: &mut List<(), K>, scored: Vec<(K, u32)>, typed: bool) {
    list.set(scored.iter().map(|(key, _)| Row::Item(key.clone())).collect());
    select_best(list, scored, typed);
}

/// Selects the first of those that match best, if the filter was just typed.
fn select_best<H, K: Clone + PartialEq>(list: &mut List<H, K>, scored: Vec<(K, u32)>, typed: bool) {
    let best = scored.into_iter().rev().max_by_key(|(_, score)| *score).filter(|_| typed);
    if let Some((key, _)) = best {
        list.select(key);
    }
}

fn session_texts<'a>(s: &'a Session, host: &'a str) -> Texts<'a> {
    ([&s.title, &s.slug], [s.word(), &s.reason, &s.environment, host])
}

fn host_texts(host: &Host) -> Texts<'_> {
    ([&host.name, host.title()], [""; 4])
}

fn pull_texts<'a>(p: &'a Pull, name: &'a str) -> Texts<'a> {
    ([name, &p.author], [&p.repository, &p.standing, &p.outcome_text, ""])
}

fn environment_texts(e: &Environment) -> Texts<'_> {
    ([&e.name, ""], [&e.state, &e.repository, "", ""])
}
