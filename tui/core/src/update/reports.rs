//! What news of the world changes.

use std::sync::Arc;

use crate::{
    Effect, Report, State,
    effect::Slot,
    fleet::{Connection, HostId, Session},
    notice::Kind,
    pull::Pull,
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
                if let Some(diff) = self.diff.as_mut().filter(|diff| diff.ticket == ticket)
                    && diff.report(report)
                {
                    self.out.push(Effect::Close(Slot::Diff));
                }
            }
            Report::Answer(ticket, result) => self.answered(ticket.generation, result),
            Report::Build(ticket, report) => self.built(ticket.generation, report),
            Report::Notice(kind, text) => self.notice(kind, &text),
        }
    }

    fn host_report(&mut self, id: HostId, report: HostReport) {
        let now = self.now;
        let Some(host) = self.fleet.hosts.get_mut(id) else { return };
        self.stale = true;
        match report {
            HostReport::Snapshot(snapshot) => {
                let Snapshot { info, sessions, environments } = *snapshot;
                let name = host.title().to_owned();
                let news = came_back(&mut host.connection, &name, now);
                self.notices.withdraw(&format!("{name} is out of reach"));
                host.info = info.map(crate::fleet::HostInfo::cleaned).or(host.info.take());
                host.sessions = sessions.into_iter().map(|s| (Arc::from(&*s.id), s.cleaned())).collect();
                host.environments = environments
                    .into_iter()
                    .map(crate::fleet::Environment::cleaned)
                    .map(|e| (Arc::from(&*e.name), e))
                    .collect();
                self.tell(news);
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
                host.sessions.insert(Arc::from(&*session.id), session);
                self.tell(news);
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
                let place = (Arc::from(&*pull.repository), pull.number);
                match pull.is_open() {
                    true => drop(host.pulls.insert(place, pull)),
                    false => drop(host.pulls.remove(&place)),
                }
            }
            HostReport::Lost(why) => {
                let name = host.title().to_owned();
                let news = lost(&mut host.connection, &name, &why, now);
                self.tell(news);
            }
        }
    }

    fn tell(&mut self, news: Option<(Kind, String)>) {
        if let Some((kind, text)) = news {
            self.notice(kind, &text);
        }
    }
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

/// What a person may want to hear of although they look elsewhere.
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
