//! Changes of a session that more than one input makes.

use super::{Activity, Effect, Session};

impl Session {
    /// Has the agent do this now. What it said and what it offered to choose from was of before.
    pub(super) fn set_activity(&mut self, activity: Activity, text: String) {
        self.reports.agent = None;
        self.activity = activity;
        self.text = text;
        self.choices.clear();
        if self.wait.is_none() && !self.ended_turn() {
            // It works again: what it is told is worked out anew once that turn is over.
            self.answer = None;
        }
    }

    /// Wants the session resumed as soon as there is room.
    pub(super) fn want(&mut self) -> Vec<Effect> {
        if std::mem::replace(&mut self.wanted, true) {
            return vec![];
        }
        self.notice.clear();
        vec![Effect::Admit]
    }
}
