//! Notices: short news above the footer that age out by themselves.

use std::collections::VecDeque;

use crate::{Millis, text};

/// What sort of news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To know.
    Info,
    /// Something was done.
    Good,
    /// Something needs a look.
    Warning,
    /// Something went wrong.
    Error,
}

/// A notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What sort.
    pub kind: Kind,
    /// One line or a few.
    pub text: String,
    /// When it goes.
    pub until: Millis,
}

/// At most so many are shown; the oldest go first.
const SHOWN: usize = 4;
/// So many are remembered.
const REMEMBERED: usize = 200;

/// The notices: those shown, and what was told before, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Notices {
    shown: Vec<Notice>,
    told: VecDeque<Told>,
}

/// What was told, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What sort.
    pub kind: Kind,
    /// One line or a few.
    pub text: String,
    /// When it was told last.
    pub at: Millis,
    /// How often, one after the other.
    pub times: u32,
}

impl Notices {
    /// Adds one. The same text again only stays longer.
    pub fn add(&mut self, kind: Kind, text: &str, now: Millis) {
        let text = text::one_line(text, 1000);
        let stays = match kind {
            Kind::Info | Kind::Good => 4_000,
            Kind::Warning => 7_000,
            Kind::Error => 12_000,
        };
        self.remember(kind, &text, now);
        self.shown.retain(|n| n.text != text);
        if self.shown.len() == SHOWN {
            self.shown.remove(0);
        }
        self.shown.push(Notice { kind, text, until: now + stays });
    }

    fn remember(&mut self, kind: Kind, text: &str, at: Millis) {
        if let Some(last) = self.told.back_mut().filter(|last| last.text == text) {
            (last.at, last.times) = (at, last.times.saturating_add(1));
            return;
        }
        if self.told.len() == REMEMBERED {
            self.told.pop_front();
        }
        self.told.push_back(Told { kind, text: text.to_owned(), at, times: 1 });
    }

    /// Drops those shown that begin so: they are no longer true.
    pub fn withdraw(&mut self, beginning: &str) {
        self.shown.retain(|n| !n.text.starts_with(beginning));
    }

    /// Drops those shown whose time is over.
    pub fn age(&mut self, now: Millis) {
        self.shown.retain(|n| n.until > now);
    }

    /// Shows none; whether there were any.
    pub fn clear(&mut self) -> bool {
        !std::mem::take(&mut self.shown).is_empty()
    }

    /// Those shown, oldest first.
    #[must_use]
    pub fn all(&self) -> &[Notice] {
        &self.shown
    }

    /// What was told, the newest first.
    pub fn told(&self) -> impl Iterator<Item = &Told> {
        self.told.iter().rev()
    }

    /// When the next one goes.
    #[must_use]
    pub fn next_end(&self) -> Option<Millis> {
        self.shown.iter().map(|n| n.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_no_more_is_remembered() {
        let mut notices = Notices::default();
        for n in 0..300 {
            notices.add(Kind::Info, &format!("notice {n}"), n);
        }
        notices.add(Kind::Error, "no", 300);
        notices.add(Kind::Error, "no", 301);
        notices.age(100_000);
        assert!(notices.all().is_empty());
        let told: Vec<_> = notices.told().map(|told| (&*told.text, told.at, told.times)).collect();
        assert_eq!((told.len(), told[0], told[1]), (200, ("no", 301, 2), ("notice 299", 299, 1)));
    }
}
