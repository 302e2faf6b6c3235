//! Notices: short news above the footer that age out by themselves.

use std::collections::VecDeque;

use crate::{Millis, text};

/// Kind of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// News that a person may want to know.
    Info,
    /// Something was done.
    Good,
    /// Something needs a look.
    Warning,
    /// Something went wrong.
    Error,
}

/// A notice that is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Kind of the notice.
    pub kind: Kind,
    /// Text of the notice, one line or a few.
    pub text: String,
    /// When the notice goes.
    pub until: Millis,
}

/// Most notices that are shown; the oldest go first.
const SHOWN: usize = 4;
/// Most notices that are remembered.
const REMEMBERED: usize = 200;

/// Notices that are shown, and what was told before, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Notices {
    shown: Vec<Notice>,
    told: VecDeque<Told>,
}

/// A notice that is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Kind of the notice.
    pub kind: Kind,
    /// Text of the notice, one line or a few.
    pub text: String,
    /// When the notice was told last.
    pub at: Millis,
    /// How often the notice was told, one after the other.
    pub times: u32,
}

impl Notices {
    /// Adds a notice. The same text again only stays longer.
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

    /// Drops the shown notices whose text begins with this: they are no longer true.
    pub fn withdraw(&mut self, beginning: &str) {
        self.shown.retain(|n| !n.text.starts_with(beginning));
    }

    /// Drops the shown notices whose time is over.
    pub fn age(&mut self, now: Millis) {
        self.shown.retain(|n| n.until > now);
    }

    /// Drops all shown notices; returns whether there were any.
    pub fn clear(&mut self) -> bool {
        !std::mem::take(&mut self.shown).is_empty()
    }

    /// Notices that are shown, oldest first.
    #[must_use]
    pub fn all(&self) -> &[Notice] {
        &self.shown
    }

    /// Notices that are remembered, the newest first.
    pub fn told(&self) -> impl Iterator<Item = &Told> {
        self.told.iter().rev()
    }

    /// When the next shown notice goes; None: none is shown.
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
