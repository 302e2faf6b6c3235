//! The last screens of sessions looked at, so that moving through the list shows something at once.

use crate::{fleet::SessionKey, terminal::Terminal};

/// Most screens that are kept.
const KEPT: usize = 24;

/// Last screens of sessions, least lately used first.
#[derive(Default)]
pub struct Screens(Vec<(SessionKey, Terminal)>);

impl Screens {
    /// Keeps a screen; the one used least lately goes.
    pub fn put(&mut self, key: SessionKey, terminal: Terminal) {
        self.0.retain(|(k, _)| *k != key);
        if self.0.len() == KEPT {
            self.0.remove(0);
        }
        self.0.push((key, terminal));
    }

    /// Removes and returns a session's screen; None: there is none.
    pub fn take(&mut self, key: &SessionKey) -> Option<Terminal> {
        let at = self.0.iter().position(|(k, _)| k == key)?;
        Some(self.0.remove(at).1)
    }
}
