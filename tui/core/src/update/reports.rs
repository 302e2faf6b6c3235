//! What news of the world changes.

use std::sync::Arc;

use crate::{
    Effect, Report, State,
    fleet::{Connection, Session, SessionKey, Turn},
    host_id::HostId,
    notice::Kind,
    pull::{Pull, PullKey},
    report::{HostReport, Snapshot},
    text,
};

impl State {
    /// Takes one piece of news.
    pub(crate) fn report(&mut self, report: Report) {
        match report {
            Report::Host(host, report) => self.host_report(host, report),
            Report::Terminal(ticket, report) => self.terminal_report(ticket, report),
            Report::Log(ticket, report) => {
                if let Some(log) = self.log.as_mut().filter(|log| log.ticket == ticket) {
                    log.report(report);
                }
            }
            Report::Diff(ticket, report) => {
                if self.diff.as_ref().is_some_and(|diff| diff.ticket == ticket) {
                    self.diff_report(report);
                } else if self.carry.as_ref().is_some_and(|carry| carry.ticket == ticket) {
                    self.carry_report(report);
                }
            }
            Report::Story(ticket, report) => self.story_report(ticket, report),
            Report::Answer(ticket, result) => self.answered(ticket.generation, result),
            Report::Build(ticket, report) => self.built(ticket.generation, report),
            Report::Drafts(host, drafts) => self.kept_drafts(host, drafts),
            Report::Form(title, task) => self.kept_form(&title, &task),
            Report::Notice(kind, text) => self.notice(kind, &text),
        }
    }

    fn host_report(&mut self, id: HostId, report: HostReport) {
        let now = self.now;
        let names = matches!(report, HostReport::Snapshot(_) | HostReport::Info(_));
        let Some(host) = self.fleet.host_mut(&id) else { return };
        self.stale = true;
        match report {
            HostReport::Snapshot(snapshot) => {
                let Snapshot { info, sessions, environments } = *snapshot;
                let name = host.title().to_owned();
                let news = came_back(&mut host.connection, &name, now);
                self.notices.withdraw(&format!("{name} is out of reach"));
                host.info = info.map(crate::fleet::HostInfo::cleaned).or(host.info.take());
                let before = std::mem::take(&mut host.sessions);
                host.sessions = sessions.into_iter().map(|s| (Arc::from(&*s.id), s.cleaned())).collect();
                let turned = host.sessions.iter().filter_map(|(key, session)| turned(before.get(key), session));
                let turned: Vec<_> = turned.collect();
                host.environments = environments
                    .into_iter()
                    .map(crate::fleet::Environment::cleaned)
                    .map(|e| (Arc::from(&*e.name), e))
                    .collect();
                self.tell(news);
                self.turned(&id, turned);
            }
            HostReport::Resumed => {
                let name = host.title().to_owned();
                let news = came_back(&mut host.connection, &name, now);
                self.notices.withdraw(&format!("{name} is out of reach"));
                self.tell(news);
            }
            HostReport::Session(session) => {
                let session = session.cleaned();
                let known = host.sessions.get(&*session.id);
                let news = session_news(known, &session);
                let turned = turned(known, &session);
                host.sessions.insert(Arc::from(&*session.id), session);
                self.tell(news);
                self.turned(&id, turned);
            }
            HostReport::SessionRemoved(session) => {
                host.sessions.remove(&*session);
            }
            HostReport::Info(info) => host.info = Some(info.cleaned()),
            HostReport::Environment(environment) => {
                let environment = environment.cleaned();
                host.environments.insert(Arc::from(&*environment.name), environment);
            }
            HostReport::Queue(pulls) => {
                let open = pulls.into_iter().map(Pull::cleaned).filter(Pull::is_open);
                host.pulls = open.map(|pull| ((Arc::from(&*pull.repository), pull.number), pull)).collect();
            }
            HostReport::Pull(pull) => {
                let pull = pull.cleaned();
                let place: (Arc<str>, u64) = (Arc::from(&*pull.repository), pull.number);
                let key = PullKey { host: id.clone(), repository: place.0.clone(), number: pull.number };
                let news = host.pulls.get(&place).and_then(|was| pull_news(was, &pull));
                host.take_pull(pull);
                // Of those that this person is at.
                self.tell(news.filter(|_| self.seen.contains_key(&key) || self.drafts.contains_key(&key)));
            }
            HostReport::Lost(why) => {
                let name = host.title().to_owned();
                let news = lost(&mut host.connection, &name, &why, now);
                self.tell(news);
            }
        }
        if names {
            self.fleet.name_hosts();
        }
    }

    /// Notes that it became a person's turn: told once, unless that session is being looked at.
    fn turned(&mut self, host: &HostId, turned: impl IntoIterator<Item = (Arc<str>, String)>) {
        for (id, text) in turned {
            let key = SessionKey { host: host.clone(), id };
            let viewer = self.attach.as_ref().map(|attach| &attach.viewer).or(self.preview.as_ref());
            if self.focused && viewer.is_some_and(|viewer| viewer.session == key) {
                continue;
            }
            self.alerts.push(text);
            let now = self.now;
            let attached = self.attach.as_mut().filter(|attach| attach.viewer.session == key);
            match attached {
                // A program's bell is what made it a person's turn, and was heard.
                Some(attach) if attach.rang.is_some_and(|at| now.abs_diff(at) < ONE_BELL) => {}
                attached => {
                    self.alerts_ring = true;
                    attached.into_iter().for_each(|attach| attach.called = self.bell.then_some(now));
                }
            }
        }
    }

    /// Hands on whose turn it has become.
    pub(crate) fn alert(&mut self) {
        let mut alerts = std::mem::take(&mut self.alerts);
        if alerts.len() > ALERTS_MAX {
            let more = alerts.split_off(ALERTS_MAX - 1).len();
            alerts.push(format!("and {more} more sessions"));
        }
        if !alerts.is_empty() {
            if std::mem::take(&mut self.alerts_ring) && self.bell {
                self.out.push(Effect::Bell);
            }
            self.out.push(Effect::Alert(alerts));
        }
    }

    fn tell(&mut self, news: Option<(Kind, String)>) {
        if let Some((kind, text)) = news {
            self.notice(kind, &text);
        }
    }
}

/// Milliseconds within which a program's bell and the news of the turn that it made are one bell, whichever comes first.
pub(crate) const ONE_BELL: u64 = 5_000;

/// Most lines of one alert: a host that is back may have many.
const ALERTS_MAX: usize = 4;

/// The session in which it has become a person's turn, with its name and reason; None: it has not.
fn turned(was: Option<&Session>, now: &Session) -> Option<(Arc<str>, String)> {
    let person = matches!(now.turn, Turn::You | Turn::Other) && was.is_some_and(|was| was.turn != now.turn);
    (person && !now.deleting).then(|| (Arc::from(&*now.id), format!("{}: {}", now.name(), now.reason)))
}

type News = Option<(Kind, String)>;

fn came_back(connection: &mut Connection, name: &str, now: i64) -> News {
    let news = matches!(connection, Connection::Lost(..)).then(|| (Kind::Good, format!("{name} is back")));
    if !matches!(connection, Connection::Up(_)) {
        *connection = Connection::Up(now);
    }
    news
}

fn lost(connection: &mut Connection, name: &str, why: &str, now: i64) -> News {
    let why = text::one_line(why, 1024);
    match connection {
        Connection::Connecting(error) => {
            *error = Some(why);
            None
        }
        Connection::Lost(_, error) => {
            *error = why;
            None
        }
        Connection::Up(_) => {
            let news = (Kind::Warning, format!("{name} is out of reach: {why}; trying again"));
            *connection = Connection::Lost(now, why);
            Some(news)
        }
    }
}

/// News of a pull request that a reviewer may want to hear of.
fn pull_news(was: &Pull, now: &Pull) -> News {
    let name = now.name();
    match (now.is_open(), was.head == now.head) {
        (false, _) => Some((Kind::Info, format!("{name} is {}", now.state))),
        (true, false) => Some((Kind::Info, format!("Revision {} of {name} arrived", now.revision))),
        (true, true) => None,
    }
}

/// News of a session that a person may want to hear of although they look elsewhere.
fn session_news(known: Option<&Session>, session: &Session) -> News {
    let was = known?;
    if session.crashed() && !was.crashed() {
        return Some((Kind::Error, format!("{} crashed: {}", session.name(), session.cause)));
    }
    if session.activity == "needs-input" && was.activity != "needs-input" {
        return Some((Kind::Warning, format!("{} {}", session.name(), session.reason)));
    }
    None
}
