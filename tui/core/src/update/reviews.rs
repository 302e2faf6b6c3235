//! What a reviewer does: every verdict is of the head that is on the screen.

use crate::{
    State,
    dialog::{Dialog, Message, Question, Target, Then},
    diff::Subject,
    edit::Field,
    effect::Call,
    notice::Kind,
    pull::{Draft, LineComment, Pull, PullKey},
    state::View,
    text,
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
        let name = pull.name();
        self.submit_review(&key, pull.head, "approve", String::new(), &name);
    }

    /// Sends a verdict and what was drafted of lines; None where one is on its way already.
    pub(crate) fn submit_review(
        &mut self,
        key: &PullKey,
        head: String,
        verdict: &'static str,
        body: String,
        name: &str,
    ) -> Option<u64> {
        // Lines have their numbers in one commit: the host refuses the whole where it is not the head any more.
        let Draft { head, comments } = self.drafts.get(key).cloned().unwrap_or(Draft { head, comments: vec![] });
        let call = Call::Review { id: key.id(), head, verdict, body, comments: comments.clone() };
        let generation = self.call(key.host, call, name)?;
        if let Some(asked) = self.calls.get_mut(&generation) {
            asked.review = Some((key.clone(), comments));
        }
        Some(generation)
    }

    /// What was sent is no draft any more; what was written meanwhile is.
    pub(crate) fn drafted_sent(&mut self, key: &PullKey, sent: &[LineComment]) {
        if let Some(draft) = self.drafts.get_mut(key) {
            draft.comments.retain(|comment| !sent.contains(comment));
            if draft.comments.is_empty() {
                self.drafts.remove(key);
            }
        }
    }

    /// Opens the line for a comment on the selected line of a pull request's changes.
    pub(crate) fn open_line_comment(&mut self) {
        let Some(diff) = &self.diff else { return };
        let Subject::Pull(key) = diff.subject.clone() else {
            return self.notice(Kind::Info, "Comments are on pull requests; this is a session's working tree");
        };
        let (Some((path, line)), false) = (diff.place(), diff.commit.is_empty()) else {
            return self.notice(Kind::Info, "Select a line that the head still has");
        };
        let (path, head) = (path.to_owned(), diff.commit.clone());
        let known = self.drafts.get(&key);
        if known.is_some_and(|draft| draft.head != head) {
            let text = "Your comments are on an older revision; send or discard them first";
            return self.notice(Kind::Warning, text);
        }
        let mut field = Field::line();
        field.insert(known.and_then(|draft| draft.at(&path, line)).unwrap_or_default());
        let name = format!("{path}:{line}");
        let target = Target::Line { key, head, path, line };
        self.dialog = Some(Dialog::Message(Message { target, name, field, error: None, sending: None }));
    }

    /// Keeps what is said of a line for the next verdict.
    pub(crate) fn draft_comment(&mut self, key: PullKey, head: String, comment: LineComment) {
        self.dialog = None;
        let draft = self.drafts.entry(key.clone()).or_insert(Draft { head, comments: vec![] });
        draft.put(comment);
        if draft.comments.is_empty() {
            self.drafts.remove(&key);
        }
    }

    /// Asks whether to forget what was drafted.
    pub(crate) fn ask_discard(&mut self) {
        let of_diff = self.diff.as_ref().and_then(|diff| match &diff.subject {
            Subject::Pull(key) => Some(key.clone()),
            Subject::Session(_) => None,
        });
        let selected = self.pulls.selected().filter(|_| self.diff.is_none() && self.view == View::Review).cloned();
        let drafted = of_diff.or(selected).and_then(|key| Some((self.drafts.get(&key)?.comments.len(), key)));
        let Some((count, key)) = drafted else { return self.notice(Kind::Info, "You have drafted no comments on it") };
        self.dialog = Some(Dialog::Question(Question {
            title: format!("Discard your comments on {}?", key.id()),
            text: format!("{}, not sent yet, will be forgotten.", text::count(count, "comment")),
            about: key.id(),
            then: Then::Discard(key),
        }));
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
            then: Then::Call(key.host, Call::Merge { id: key.id(), head: pull.head.clone() }),
            about: pull.name(),
        }));
    }
}
