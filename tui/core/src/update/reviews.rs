//! What a reviewer does: every verdict is of the revision that was shown.

use crate::{
    Command, Effect, State,
    dialog::{Dialog, Message, Question, Target, Then, Written},
    diff::{At, NoteKind, Reading},
    draft::{Comment, Place},
    edit::Field,
    effect::Call,
    host_id::HostId,
    notice::Kind,
    pull::{Pull, PullKey},
    state::View,
    text,
    ticket::Slot,
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

    /// The pull request that a verdict is about and the commit that was shown of it: the one that is read, else the selected
    /// one's that was read last, else its head, as its details say. A notice where there is none.
    fn shown(&mut self) -> Option<(PullKey, Pull, String)> {
        let Some(diff) = &self.diff else {
            let (key, pull) = self.need_pull()?;
            let head = self.seen.get(&key).unwrap_or(&pull.head).clone();
            return Some((key, pull, head));
        };
        let Some(key) = diff.subject.pull().cloned() else {
            self.notice(Kind::Info, "Verdicts are on pull requests; this is a session's working tree");
            return None;
        };
        let head = diff.commit.clone();
        let known = self.fleet.pull(&key).cloned();
        if known.is_none() || head.is_empty() {
            let text = if head.is_empty() { "It is not here yet" } else { "It is not open any more" };
            self.notice(Kind::Info, text);
            return None;
        }
        known.map(|pull| (key, pull, head))
    }

    /// Approves what was shown, after its text: never what nobody has looked at.
    pub(crate) fn approve(&mut self) {
        let Some((key, _, head)) = self.shown() else { return };
        match self.diff.as_ref().map(|diff| &diff.reading) {
            Some(Reading::Going) => {
                return self.notice(Kind::Info, "It is still being read; approve when all of it is here");
            }
            Some(Reading::Failed(_)) => {
                return self.notice(Kind::Warning, "Not all of it could be read, so it cannot be approved here");
            }
            Some(Reading::Done) => {}
            None if self.seen.get(&key) == Some(&head) => {}
            None => {
                let text = "Its changes were not shown yet: look at them first, and approve there or here";
                return self.notice(Kind::Info, text);
            }
        }
        self.open_review("approve");
    }

    /// Opens the text of a verdict or a comment. Where a newer revision is there, it asks first.
    pub(crate) fn open_review(&mut self, verdict: &'static str) {
        let Some((key, pull, head)) = self.shown() else { return };
        if pull.head != head {
            let then = Then::Review { key: key.clone(), head: head.clone(), verdict };
            return self.ask_about_newer(&key, &head, then);
        }
        self.write_review(key, head, verdict);
    }

    /// Opens the text of a verdict on this commit, as far as it was written.
    pub(crate) fn write_review(&mut self, key: PullKey, head: String, verdict: &'static str) {
        let Some(pull) = self.fleet.pull(&key) else { return };
        let revision = pull.revision_of(&head).map_or(String::new(), |number| format!(", revision {number}"));
        let name = format!("{}{revision}", pull.name());
        let draft = self.drafts.get(&key);
        let mut field = Field::line();
        field.insert(draft.map_or("", |draft| &draft.body));
        let along = draft.is_some_and(|draft| !draft.finished().is_empty());
        let target = Target::Pull { key, head, newest: pull.head.clone(), verdict, along };
        self.dialog = Some(Dialog::Message(Message { target, name, field, error: None, sending: None }));
    }

    /// Says that a newer revision came than the one that was shown, and asks what to do.
    pub(crate) fn ask_about_newer(&mut self, key: &PullKey, seen: &str, then: Then) {
        let Some(pull) = self.fleet.pull(key) else { return };
        let number = |head: &str| pull.revision_of(head).map_or("another revision".into(), |n| format!("revision {n}"));
        let age = pull.revisions.last().map_or(String::new(), |last| format!(" {} ago", text::age(self.now - last.at)));
        let (old, new) = (number(seen), number(&pull.head));
        self.dialog = Some(Dialog::Question(Question {
            title: format!("{}{} arrived", new[..1].to_uppercase(), &new[1..]),
            text: format!(
                "You have seen {old} of {}; {new} came{age}. Look at what it changes, or say what you say of {old} \
                 alone: it stands there, and an approval does not count for {new}.",
                pull.name()
            ),
            then,
            about: pull.name(),
            show: Some((key.clone(), seen.to_owned())),
        }));
    }

    /// Sends a verdict, with what was drafted where it is to go along; None where one is on its way already.
    pub(crate) fn submit_review(&mut self, review: Written) -> Option<u64> {
        let Written { key, head, verdict, body, along, older, name } = review;
        let comments = if along { self.drafts.get(&key).map_or(vec![], |draft| draft.finished()) } else { vec![] };
        let call = Call::Review { id: key.id(), head, older, verdict, body, comments: comments.clone() };
        let generation = self.call(&key.host, call, &name)?;
        if let Some(asked) = self.calls.get_mut(&generation) {
            asked.review = Some((key, comments));
        }
        Some(generation)
    }

    /// Removes from a draft what was sent; what was written meanwhile stays.
    pub(crate) fn drafted_sent(&mut self, key: &PullKey, sent: &[Comment]) {
        self.change_draft(key, |draft| {
            draft.comments.retain(|comment| !sent.contains(comment));
            draft.body.clear();
            true
        });
    }

    /// Opens the line for a comment on the selected line of a pull request's changes, or on what is drafted there.
    pub(crate) fn open_line_comment(&mut self) {
        let Some(diff) = &self.diff else { return };
        let Some(key) = diff.subject.pull().cloned() else {
            return self.notice(Kind::Info, "Comments are on pull requests; this is a session's working tree");
        };
        let place = match diff.at() {
            At::Note(n) => diff.notes.get(n).map(|note| match &note.kind {
                NoteKind::Draft(place) => place.clone(),
                NoteKind::Thread(id, _) => Place::Thread(*id),
            }),
            At::Row(_) if diff.commit.is_empty() => None,
            At::Row(_) => diff.row().and_then(|row| {
                let (path, line) = diff.place_of(row)?;
                Some(Place::Line { path: path.into(), line, head: diff.commit.clone(), quote: row.text() })
            }),
        };
        match place {
            Some(place) => self.write_comment(key, place),
            None => self.notice(Kind::Info, "Select a line that the head still has"),
        }
    }

    fn write_comment(&mut self, key: PullKey, place: Place) {
        let mut field = Field::line();
        field.insert(self.drafts.get(&key).and_then(|draft| draft.at(&place)).unwrap_or_default());
        let name = place.name();
        let target = Target::Place { key, place };
        self.dialog = Some(Dialog::Message(Message { target, name, field, error: None, sending: None }));
    }

    /// The selected thread, or the first one on the selected line: its pull request, its id, and whether it is resolved.
    fn thread_here(&mut self) -> Option<(PullKey, u64, bool)> {
        let diff = self.diff.as_ref()?;
        let key = diff.subject.pull().cloned();
        let thread = |kind: &NoteKind| match kind {
            NoteKind::Thread(id, resolved) => Some((*id, *resolved)),
            NoteKind::Draft(_) => None,
        };
        let found = match diff.at() {
            At::Note(n) => diff.notes.get(n).and_then(|note| thread(&note.kind)),
            At::Row(row) => diff.notes.iter().filter(|note| note.row == Some(row)).find_map(|note| thread(&note.kind)),
        };
        let found = key.zip(found).map(|(key, (id, resolved))| (key, id, resolved));
        if found.is_none() {
            self.notice(Kind::Info, "Select a thread of comments");
        }
        found
    }

    /// Opens the line for an answer in a thread.
    pub(crate) fn open_reply(&mut self) {
        if let Some((key, id, _)) = self.thread_here() {
            self.write_comment(key, Place::Thread(id));
        }
    }

    /// Marks the selected thread as resolved, or as open again.
    pub(crate) fn resolve(&mut self) {
        if let Some((key, thread, resolved)) = self.thread_here() {
            let about = format!("thread {thread} of {}", key.id());
            self.call(&key.host, Call::Resolve { id: key.id(), thread, resolved: !resolved }, &about);
        }
    }

    /// Reads a pull request with all that was said: what hosts tell of each is its newest.
    pub(crate) fn read_pull(&mut self, key: PullKey) {
        let ticket = self.ticket(Slot::Call);
        self.out.push(Effect::Call(ticket, key.host.clone(), Call::ReadPull(key.id())));
        let changed = self.fleet.pull(&key).map_or(0, |pull| pull.updated_at);
        self.reading_pull = Some((ticket.generation, key, changed));
    }

    /// Asks whether to forget what was drafted.
    pub(crate) fn ask_discard(&mut self) {
        let of_diff = self.diff.as_ref().and_then(|diff| diff.subject.pull().cloned());
        let selected = self.pulls.selected().filter(|_| self.diff.is_none() && self.view == View::Review).cloned();
        let drafted = of_diff.or(selected).and_then(|key| Some((self.drafts.get(&key)?, key)));
        let Some((draft, key)) = drafted else { return self.notice(Kind::Info, "You have drafted nothing on it") };
        let comments = text::count(draft.comments.len(), "comment");
        let text = if draft.body.is_empty() { "" } else { ", and the text of a verdict" };
        self.dialog = Some(Dialog::Question(Question {
            title: format!("Discard what you have drafted on {}?", key.id()),
            text: format!("{comments}{text}, not sent yet, will be forgotten."),
            about: key.id(),
            then: Then::Discard(key),
            show: None,
        }));
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
            then: Then::Call(key.host.clone(), Call::Merge { id: key.id(), head: pull.head.clone() }),
            about: pull.name(),
            show: None,
        }));
    }

    /// Asks whether to close the selected pull request, or to open it again.
    pub(crate) fn ask_close(&mut self) {
        let Some((key, pull)) = self.need_pull() else { return };
        let name = pull.name();
        let (title, text, call) = if pull.is_closed() {
            let text = format!(
                "It is open again as it was, with what was pushed to {} meanwhile; the branch is made again where it is gone.",
                pull.head_branch
            );
            (format!("Open {name} again?"), text, Call::Reopen(key.id()))
        } else {
            let keys = self.keymap.keys_for(Command::Closed, self.conditions()).map(|keys| crate::key::chord(&keys));
            let how = keys.map_or_else(String::new, |keys| format!(" ({keys} shows closed ones)"));
            let text = format!(
                "Nothing comes of it, and its author is told. The branch {} stays, and it can be opened again{how}.",
                pull.head_branch
            );
            (format!("Close {name}?"), text, Call::Close(key.id()))
        };
        let then = Then::Call(key.host.clone(), call);
        self.dialog = Some(Dialog::Question(Question { title, text, then, about: name, show: None }));
    }

    /// Shows closed pull requests below the open ones, or hides them. Hosts tell of open ones by themselves, of others when asked.
    pub(crate) fn show_closed(&mut self) {
        if self.view != View::Review {
            return self.notice(Kind::Info, "Closed pull requests are shown in Review");
        }
        (self.closed_shown, self.stale) = (!self.closed_shown, true);
        if !self.closed_shown {
            return;
        }
        let up: Vec<_> = self.fleet.hosts.iter().filter(|host| host.is_up()).map(|host| host.id.clone()).collect();
        for host in up {
            if !self.calls.values().any(|asked| asked.call == Call::ReadClosed && asked.host == host) {
                self.call(&host, Call::ReadClosed, "closed pull requests");
            }
        }
    }

    /// A host's closed pull requests.
    pub(crate) fn closed_read(&mut self, host: &HostId, pulls: Vec<Pull>) {
        if let Some(host) = self.fleet.host_mut(host) {
            host.closed.clear();
            pulls.into_iter().map(Pull::cleaned).filter(Pull::is_closed).for_each(|pull| host.take_pull(pull));
        }
        self.stale = true;
        if self.closed_shown && self.fleet.hosts.iter().all(|host| host.closed.is_empty()) {
            self.notice(Kind::Info, "No pull request is closed");
        }
    }
}
