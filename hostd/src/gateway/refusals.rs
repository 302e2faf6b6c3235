//! What guests asked for and did not get: by session, for those who wonder why an agent does not come on.

use std::collections::{HashMap, HashSet};

use hostd_core::{UnixMillis, recipe::Egress, text};

use super::egress::{Destination, Refusal};

/// Most destinations of a session that are kept; the one that was asked for longest ago goes first.
const OF_SESSION: usize = 32;
/// Most sessions of which refusals are kept; the one that was refused something longest ago goes first.
const SESSIONS: usize = 1024;
/// Most destinations of a session that are told of, so that its story is not theirs alone.
const TOLD: usize = 64;
/// Longest destination that is kept, in bytes.
const NAME: usize = 300;

/// A destination that a session was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The destination as `host:port`; of what a push was refused beside itself, in words.
    pub destination: String,
    /// Reason of the refusal, in a few words.
    pub why: String,
    /// How often the destination was refused.
    pub count: u64,
    /// When the destination was last refused.
    pub last_at: UnixMillis,
}

/// A refusal that is told of, of a destination that the session was not known to have been refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Id of the session, of the build, or of the run of a check.
    pub session: String,
    /// What was refused.
    pub refused: Refused,
}

/// Refusals of all sessions, by session id.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<String, OfSession>);

#[derive(Debug, Default)]
struct OfSession {
    refused: Vec<Refused>,
    /// Destinations that were told of.
    told: HashSet<String>,
}

impl Refusals {
    /// Records a refusal; returns it where it is to be told of.
    pub(super) fn add(
        &mut self,
        session: &str,
        destination: &Destination,
        refusal: &Refusal,
        now: UnixMillis,
    ) -> Option<Denied> {
        let why = refusal.word()?;
        let destination = text::clean(&text::one_line(&destination.to_string()), NAME);
        if !self.0.contains_key(session) && self.0.len() == SESSIONS {
            let last = |of: &OfSession| of.refused.iter().map(|refused| refused.last_at).max();
            let oldest = self.0.iter().min_by_key(|(_, of)| last(of)).map(|(session, _)| session.clone());
            self.0.remove(&oldest.unwrap_or_default());
        }
        let OfSession { refused, told } = self.0.entry(session.to_owned()).or_default();
        let known = refused.iter().position(|refused| refused.destination == destination);
        let count = known.map_or(0, |at| refused.remove(at).count);
        if refused.len() == OF_SESSION {
            refused.remove(0);
        }
        let one = Refused { destination, why, count: count.saturating_add(1), last_at: now };
        refused.push(one.clone());
        let tells = told.len() < TOLD && told.insert(one.destination.clone());
        tells.then(|| Denied { session: session.into(), refused: one })
    }

    /// Forgets what is allowed to a session now; where it is refused again, that is told again.
    pub(super) fn allowed(&mut self, session: &str, allowed: &[Egress]) {
        let Some(OfSession { refused, told }) = self.0.get_mut(session) else { return };
        let is_allowed = |destination: &str| {
            let entry = Egress { to: destination.into(), private: false };
            entry.parts().is_some_and(|(host, port)| allowed.iter().any(|entry| entry.names(host, port)))
        };
        refused.retain(|one| !is_allowed(&one.destination));
        told.retain(|destination| !is_allowed(destination));
    }

    /// Refusals of a session, the last one first.
    pub(super) fn of(&self, session: &str) -> Vec<Refused> {
        self.0.get(session).map(|of| of.refused.iter().rev().cloned().collect()).unwrap_or_default()
    }

    /// Forgets a session that is gone.
    pub(super) fn forget(&mut self, session: &str) {
        self.0.remove(session);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(refusals: &mut Refusals, session: &str, port: u16, now: UnixMillis) -> Option<Denied> {
        let destination = Destination { host: "a\x1b.example".into(), port };
        let refusal = Refusal::NotListed { destination: destination.clone(), environment: "demo".into() };
        refusals.add(session, &destination, &refusal, now)
    }

    #[test]
    fn they_are_counted_and_bounded() {
        let mut refusals = Refusals::default();
        for port in 1..=40 {
            add(&mut refusals, "a", port, i64::from(port));
        }
        add(&mut refusals, "a", 20, 50);
        let of = refusals.of("a");
        let first = Refused { destination: "a.example:20".into(), why: "not in egress".into(), count: 2, last_at: 50 };
        assert_eq!((of.len(), &of[0], of[31].destination.as_str()), (OF_SESSION, &first, "a.example:9"));
        for number in 0..SESSIONS {
            add(&mut refusals, &format!("s{number}"), 1, 100);
        }
        assert_eq!((refusals.0.len(), refusals.of("a").len()), (SESSIONS, 0));
        refusals.forget("s7");
        assert!(refusals.of("s7").is_empty());
    }

    #[test]
    fn a_destination_is_told_of_once_and_of_many_only_the_first() {
        let mut refusals = Refusals::default();
        let denied = add(&mut refusals, "a", 1, 5).unwrap();
        assert_eq!((denied.session.as_str(), denied.refused.destination.as_str()), ("a", "a.example:1"));
        assert_eq!(add(&mut refusals, "a", 1, 6), None);
        assert!(add(&mut refusals, "b", 1, 6).is_some());
        // Also one that was forgotten meanwhile for others: these are asked for in turn.
        let mut told = || (2..40).filter(|&port| add(&mut refusals, "a", port, 7).is_some()).count();
        assert_eq!((told(), told()), (38, 0));
        let told = (2..200).filter(|&port| add(&mut refusals, "a", port, 7).is_some()).count();
        assert_eq!(told, TOLD - 39);
        assert_eq!(refusals.of("a")[0].destination, "a.example:199");
    }

    #[test]
    fn what_is_allowed_was_not_refused_and_is_told_of_anew() {
        let mut refusals = Refusals::default();
        for port in [1, 2] {
            assert!(add(&mut refusals, "a", port, 5).is_some());
        }
        refusals.allowed("a", &[Egress { to: "a.example:1".into(), private: false }]);
        let left: Vec<_> = refusals.of("a").into_iter().map(|one| one.destination).collect();
        assert_eq!(left, ["a.example:2"]);
        let again = add(&mut refusals, "a", 1, 6).unwrap();
        assert_eq!(again.refused.count, 1);
    }

    #[test]
    fn a_host_that_is_down_was_not_refused() {
        let destination = Destination { host: "a.example".into(), port: 1 };
        let error = std::io::ErrorKind::TimedOut.into();
        let refusal = Refusal::Unreachable { destination: destination.clone(), error };
        let mut refusals = Refusals::default();
        assert_eq!(refusals.add("a", &destination, &refusal, 1), None);
        assert!(refusals.of("a").is_empty());
    }
}
