//! Drafts: every change is handed to the runtime, which keeps it; comments are carried to new revisions.

use std::sync::Arc;

use crate::{
    Effect, Millis, State,
    carry::Carry,
    dialog::{Dialog, Form, Target},
    diff::{DiffReport, Subject},
    draft::{Draft, Place},
    host_id::HostId,
    notice::Kind,
    pull::PullKey,
    text,
    ticket::Slot,
};

/// Milliseconds after which what is being typed is kept at the latest.
const TYPED_KEPT_AFTER: Millis = 1000;
/// Most drafts that are kept.
const DRAFTS_MAX: usize = 256;

impl State {
    /// Changes a draft and has it kept. `change` says whether there was room.
    pub(crate) fn change_draft(&mut self, key: &PullKey, change: impl FnOnce(&mut Draft) -> bool) {
        let before = self.drafts.get(key).cloned().unwrap_or_default();
        let mut draft = before.clone();
        let full = self.drafts.len() >= DRAFTS_MAX && !self.drafts.contains_key(key);
        if !change(&mut draft) || (full && !draft.is_empty()) {
            return self.notice(Kind::Warning, "There is no room for more drafts; send or discard some first");
        }
        if draft == before {
            return;
        }
        self.out.push(Effect::KeepDraft(key.clone(), Box::new(draft.clone())));
        match draft.is_empty() {
            true => drop(self.drafts.remove(key)),
            false => drop(self.drafts.insert(key.clone(), draft)),
        }
    }

    /// Takes the drafts that an earlier console kept; what this one has drafted meanwhile goes before them.
    pub(crate) fn kept_drafts(&mut self, host: HostId, drafts: Vec<(String, u64, Draft)>) {
        for (repository, number, draft) in drafts.into_iter().take(DRAFTS_MAX) {
            let key = PullKey { host: host.clone(), repository: Arc::from(&*repository), number };
            let draft = draft.cleaned();
            if !draft.is_empty() {
                self.drafts.entry(key).or_insert(draft);
            }
        }
    }

    /// Remembers that text was typed which is to be kept.
    pub(crate) fn typed_draft(&mut self) {
        let kept = match &self.dialog {
            Some(Dialog::Message(message)) => message.target.pull().is_some(),
            Some(Dialog::Form(_)) => true,
            _ => false,
        };
        if kept {
            self.keep_at.get_or_insert(self.now + TYPED_KEPT_AFTER);
        }
    }

    /// Keeps what was typed into the open dialog, so that closing it, or the console's end, loses nothing.
    pub(crate) fn keep_typed(&mut self) {
        self.keep_at = None;
        if let Some(Dialog::Form(form)) = &self.dialog {
            let (title, task) = (form.title.text().to_owned(), form.task.text().to_owned());
            return self.keep_form(title, task);
        }
        let Some(Dialog::Message(message)) = &self.dialog else { return };
        let text = message.field.text().to_owned();
        match message.target.clone() {
            Target::Session(_) => {}
            Target::Pull { key, .. } => self.change_draft(&key, |draft| {
                draft.body = text;
                true
            }),
            Target::Place { key, place } => self.change_draft(&key, |draft| draft.put_away(place, &text)),
        }
    }

    /// Has the new session that is being filled in kept, if it is another one than before.
    pub(crate) fn keep_form(&mut self, title: String, task: String) {
        let form = (title, task);
        if self.form_kept != form {
            self.form_kept = form.clone();
            self.out.push(Effect::KeepForm(form.0, form.1));
        }
    }

    /// Takes the form for a new session that an earlier console kept, unless this one has begun another.
    pub(crate) fn kept_form(&mut self, title: &str, task: &str) {
        let mut form = Form::new(&self.fleet, None);
        form.title.insert(title);
        form.task.insert(task);
        if self.draft.is_none() && !(form.title.is_empty() && form.task.is_empty()) {
            self.form_kept = (form.title.text().to_owned(), form.task.text().to_owned());
            self.draft = Some(Box::new(form));
        }
    }

    /// Keeps a comment for the next verdict.
    pub(crate) fn draft_comment(&mut self, key: &PullKey, place: Place, body: &str) {
        (self.dialog, self.keep_at) = (None, None);
        self.change_draft(key, |draft| draft.finish(place, body));
    }

    /// Begins to carry comments where a pull request has a newer revision than theirs.
    pub(crate) fn settle_carry(&mut self) {
        if self.keep_at.is_some_and(|at| at <= self.now) {
            self.keep_typed();
        }
        if self.carry.is_some() {
            return;
        }
        let found = self.drafts.iter().find_map(|(key, draft)| {
            let new = &self.fleet.pull(key)?.head;
            let up = self.fleet.host(&key.host).is_some_and(|host| host.is_up());
            let heads = draft.comments.iter().filter_map(|comment| comment.place.head());
            let old = heads
                .filter(|_| up)
                .find(|old| old != new && !self.carried.contains(&(key.clone(), (*old).into(), new.clone())));
            old.map(|old| (key.clone(), old.to_owned(), new.clone()))
        });
        let Some((key, old, new)) = found else { return };
        let ticket = self.ticket(Slot::Carry);
        let draft = self.drafts.get(&key).cloned().unwrap_or_default();
        self.carry = Some(Carry::new(ticket, key.clone(), &old, &new, &draft));
        self.out.push(Effect::OpenDiff { ticket, subject: Subject::Between { pull: key, old, new } });
    }

    /// Takes news of what differs between the revisions.
    pub(crate) fn carry_report(&mut self, report: DiffReport) {
        let Some(whole) = self.carry.as_mut().and_then(|carry| carry.report(report)) else { return };
        let Some(carry) = self.carry.take() else { return };
        let (key, old, new) = (carry.key.clone(), carry.old.clone(), carry.new.clone());
        // Once for each: what could not be carried stays with its revision. Only of pull requests that are drafted on.
        self.carried.retain(|(key, ..)| self.drafts.contains_key(key));
        self.carried.insert((key.clone(), old, new.clone()));
        if !whole {
            return;
        }
        let mut counts = (0, 0);
        self.change_draft(&key, |draft| {
            counts = carry.apply(draft);
            true
        });
        let name = self.fleet.pull(&key).and_then(|pull| pull.revision_of(&new));
        let name = name.map_or("the new revision".into(), |number| format!("revision {number}"));
        let (moved, left) = counts;
        let left = match left {
            0 => String::new(),
            left => format!("; {} on lines that it changes", text::count(left, "comment")),
        };
        if moved > 0 || !left.is_empty() {
            let moved = text::count(moved, "comment");
            self.notice(Kind::Info, &format!("{moved} on {} carried to {name}{left}", key.id()));
        }
    }
}
