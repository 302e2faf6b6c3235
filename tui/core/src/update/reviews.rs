//! What a reviewer does: every verdict is of the head that is on the screen.

use crate::{
    State,
    dialog::{Dialog, Message, Question, Target},
    edit::Field,
    effect::Call,
    notice::Kind,
    pull::{Pull, PullKey},
    state::View,
};

impl State {
    /// The selected pull request; a notice where there is none.
    pub(crate) fn need_pull(&mut self) -> Option<(PullKey, Pull)> {
        let selected = self.pulls.selected().filter(|_| self.view == View::Review);
        let found = selected.and_then(|key| Some((key.clone(), self.fleet.pull(key)?.clone())));
        if found.is_none() {
            self.notice(Kind::Info, "Select a pull request first (in Review)");
        }
        found
    }

    pub(crate) fn approve(&mut self) {
        let Some((key, pull)) = self.need_pull() else { return };
        let (id, head, name) = (key.id(), pull.head.clone(), pull.name());
        let (verdict, body) = ("approve", String::new());
        self.call(key.host, Call::Review { id, head, verdict, body }, &name);
    }

    /// Opens the line for a comment, or for what must change.
    pub(crate) fn open_review(&mut self, verdict: &'static str) {
        let Some((key, pull)) = self.need_pull() else { return };
        let name = pull.name();
        let target = Target::Pull { key, head: pull.head, verdict };
        self.dialog = Some(Dialog::Message(Message { target, name, field: Field::line(), error: None, sending: None }));
    }

    pub(crate) fn ask_merge(&mut self) {
        let Some((key, pull)) = self.need_pull() else { return };
        if !pull.blocked.is_empty() {
            let text = format!("{} cannot be merged: {}", pull.name(), pull.blocked);
            return self.notice(Kind::Warning, &text);
        }
        let how = match &*pull.merge_method {
            "squash" => "as one commit",
            "fast-forward" => "by fast-forward",
            _ => "by a merge commit",
        };
        let text = format!(
            "Revision {} of {} goes into {} {how}, and its branch is cleaned up as the repository says ({}).",
            pull.revision, pull.head_branch, pull.base_branch, pull.outcome_text
        );
        self.dialog = Some(Dialog::Question(Question {
            title: format!("Merge {}?", pull.name()),
            text,
            host: key.host,
            call: Call::Merge { id: key.id(), head: pull.head.clone() },
            about: pull.name(),
        }));
    }
}
