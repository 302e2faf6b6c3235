//! Notices: short news above the footer that age out by themselves.

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

/// At most so many are kept; the oldest go first.
const KEPT: usize = 4;

/// The notices shown, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Notices(Vec<Notice>);

impl Notices {
    /// Adds one. The same text again only stays longer.
    pub fn add(&mut self, kind: Kind, text: &str, now: Millis) {
        let text = text::one_line(text, 1000);
        let stays = match kind {
            Kind::Info | Kind::Good => 4_000,
            Kind::Warning => 7_000,
            Kind::Error => 12_000,
        };
        self.0.retain(|n| n.text != text);
        if self.0.len() == KEPT {
            self.0.remove(0);
        }
        self.0.push(Notice { kind, text, until: now + stays });
    }

    /// Drops those that begin so: they are no longer true.
    pub fn withdraw(&mut self, beginning: &str) {
        self.0.retain(|n| !n.text.starts_with(beginning));
    }

    /// Drops those whose time is over.
    pub fn age(&mut self, now: Millis) {
        self.0.retain(|n| n.until > now);
    }

    /// Drops all; whether there were any.
    pub fn clear(&mut self) -> bool {
        !std::mem::take(&mut self.0).is_empty()
    }

    /// Oldest first.
    #[must_use]
    pub fn all(&self) -> &[Notice] {
        &self.0
    }

    /// When the next one goes.
    #[must_use]
    pub fn next_end(&self) -> Option<Millis> {
        self.0.iter().map(|n| n.until).min()
    }
}
