//! What hosts are asked: create, message, answer, restart, delete, review; and what comes of it.

use crate::{
    Command, Effect, Millis, State,
    dialog::{Answers, Asked, Choices, Dialog, Form, Question, Reach, Target, Then, Written},
    draft::Draft,
    effect::Call,
    fleet::{Refusal, SessionKey},
    host_id::HostId,
    notice::Kind,
    pull::{Pull, PullKey},
    report::Answer,
    state::View,
    text,
    ticket::Slot,
};

impl State {
    /// The selected session and its name; a notice where there is none.
    pub(crate) fn need_session(&mut self) -> Option<(SessionKey, String)> {
        let found = self.selected().map(|(key, session)| (key.clone(), session.name().to_owned()));
        if found.is_none() {
            self.notice(Kind::Info, "No session is selected");
        }
        found
    }

    /// Asks a host and gives the ticket's generation; None, and a notice, where it is asked the same already: a key that
    /// bounces does nothing twice.
    pub(crate) fn call(&mut self, host: &HostId, call: Call, about: &str) -> Option<u64> {
        if let Some(asked) = self.calls.values().find(|asked| asked.host == *host && call.repeats(&asked.call)) {
            let text = format!("Already asked to {}", asked.what);
            self.notice(Kind::Info, &text);
            return None;
        }
        let ticket = self.ticket(Slot::Call);
        self.calls.insert(ticket.generation, Asked::of(call.clone(), host.clone(), about));
        self.out.push(Effect::Call(ticket, host.clone(), call));
        Some(ticket.generation)
    }

    pub(crate) fn answer(&mut self, number: usize) {
        let Some((key, session)) = self.selected() else { return };
        let (key, name, asked_at) = (key.clone(), session.name().to_owned(), session.updated_at);
        let Some(choice) = session.choices.get(number).cloned() else {
            return self.notice(Kind::Info, &format!("{name} offers no answer {}", number + 1));
        };
        let about = format!("{name}: {choice}");
        // A filter may have put another session under the cursor than the one that was meant.
        if !self.filter().field.is_empty() {
            self.dialog = Some(Dialog::Question(Question {
                title: format!("Answer {name}?"),
                text: format!("Answer {} goes to {name}: {choice}", number + 1),
                then: Then::Answer { session: key, choice, asked_at },
                about,
                show: None,
            }));
            return;
        }
        self.send_answer(key, choice, asked_at, &about);
    }

    /// Allows or denies what the selected session needs a permission for. Asks nothing: the host compares what was shown with what is
    /// asked now.
    pub(crate) fn answer_permission(&mut self, allow: bool) {
        let Some((key, session)) = self.selected() else { return };
        let (key, name) = (key.clone(), session.name().to_owned());
        let Some(permission) = session.permission.clone() else {
            return self.notice(Kind::Info, &format!("{name} needs no permission"));
        };
        if (if allow { &permission.allow } else { &permission.deny }).is_empty() {
            return self.notice(Kind::Info, &format!("{name} takes no key for that: attach to it and answer there"));
        }
        let call = Call::Answer { id: key.id.to_string(), permission: permission.id, allow };
        self.call(&key.host, call, &format!("{name}: {}", permission.text));
    }

    /// What was answered is asked no more, also where the host's news of it are still on their way.
    fn permission_over(&mut self, key: &SessionKey, id: &str) {
        if let Some(session) = self.fleet.session_mut(key) {
            session.permission.take_if(|permission| permission.id == id);
        }
    }

    /// Opens the list of what the selected session's agent offers.
    pub(crate) fn open_answers(&mut self) {
        let Some((key, session)) = self.selected() else { return };
        let (key, name) = (key.clone(), session.name().to_owned());
        if session.choices.is_empty() {
            return self.notice(Kind::Info, &format!("{name} offers no answers"));
        }
        let (asked_at, list) = (session.updated_at, Choices::new(session.choices.clone()));
        self.dialog = Some(Dialog::Answers(Answers { session: key, name, asked_at, list }));
    }

    /// Asks which destinations the selected session was refused, and then which of them it may reach.
    pub(crate) fn open_reach(&mut self) {
        let Some((key, _)) = self.need_session() else { return };
        self.reaches = Some(key);
        self.read_refused();
    }

    fn choose_reach(&mut self, key: SessionKey) {
        let Some(session) = self.fleet.session(&key) else { return };
        let (name, environment) = (session.name().to_owned(), session.environment.to_string());
        let refused = self.refused.as_ref().map_or(&[][..], |(_, refused)| refused);
        let elsewhere = self.dialog.is_some() || self.attach.is_some() || self.log.is_some() || self.diff.is_some();
        let asks = !elsewhere && self.selected_key() == Some(&key);
        match Reach::new(key, name.clone(), &environment, refused) {
            // Whoever has opened something else meanwhile is at that.
            Some(reach) if asks => self.dialog = Some(Dialog::Reach(reach)),
            Some(_) => {}
            None => self.notice(Kind::Info, &format!("{name} was refused nothing that could be allowed")),
        }
    }

    /// Lets the session reach what was chosen.
    fn submit_reach(&mut self) {
        let Some(Dialog::Reach(reach)) = &self.dialog else { return };
        let Some((destination, private, recipe)) = reach.list.chosen().and_then(|n| reach.means.get(n)).cloned() else {
            return;
        };
        let (key, about) = (reach.session.clone(), format!("{destination} to {}", reach.name));
        self.dialog = None;
        let call = Call::Allow { id: key.id.to_string(), destination, private, recipe };
        self.call(&key.host, call, &about);
    }

    /// Sends the selected answer of the open list, as long as it is still one to the same question.
    fn submit_answer(&mut self) {
        let Some(Dialog::Answers(answers)) = &self.dialog else { return };
        let Some(choice) = answers.list.chosen().and_then(|n| answers.list.lines.get(n)).cloned() else { return };
        let (key, name, asked_at) = (answers.session.clone(), answers.name.clone(), answers.asked_at);
        let same = self.fleet.session(&key).is_some_and(|session| session.choices == answers.list.lines);
        self.dialog = None;
        match same {
            true => self.send_answer(key, choice.clone(), asked_at, &format!("{name}: {choice}")),
            false => self.notice(Kind::Warning, &format!("Not sent: {name} does not ask this any more")),
        }
    }

    fn send_answer(&mut self, session: SessionKey, choice: String, asked_at: Millis, about: &str) {
        let sending = self.call(&session.host, Call::Send(session.id.to_string(), choice), about);
        if let Some(asked) = sending.and_then(|generation| self.calls.get_mut(&generation)) {
            asked.question = Some((session, asked_at));
        }
    }

    /// What was answered is asked no more, also where the host's news of it are still on their way.
    fn question_over(&mut self, key: &SessionKey, asked_at: Millis) {
        if let Some(session) = self.fleet.session_mut(key).filter(|session| session.updated_at == asked_at) {
            session.choices.clear();
        }
    }

    pub(crate) fn ask_restart(&mut self) {
        let Some((key, session)) = self.selected() else { return };
        let name = session.name().to_owned();
        if !session.can_restart() {
            let text = format!("{name} is {}; only a stopped or crashed session can be restarted", session.lifecycle);
            return self.notice(Kind::Info, &text);
        }
        let offer = session.checkpoints.last().map(|last| {
            let ago = text::ago(self.now - last.at);
            format!(" Instead it can go back to its last checkpoint, of {ago}: the command go-back.")
        });
        let offer = offer.unwrap_or_default();
        self.dialog = Some(Dialog::Question(Question {
            title: format!("Restart {name}?"),
            text: if &*session.lifecycle == "suspended" {
                "Its VM boots from its disk as it was suspended, and the agent starts anew. What is in its memory is \
                 given up; this is for a session that cannot be resumed."
            } else {
                "Its VM boots again from its disk and the agent starts anew. What was in its memory is lost already."
            }
            .to_owned()
                + &offer,
            then: Then::Call(key.host.clone(), Call::Restart(key.id.to_string())),
            about: name,
            show: None,
        }));
    }

    /// Loses nothing, so it asks nothing.
    pub(crate) fn take_checkpoint(&mut self) {
        let Some((key, session)) = self.selected() else { return };
        let name = session.name().to_owned();
        if &*session.lifecycle != "running" {
            let text = format!("{name} is {}; a checkpoint is taken of a running session", session.lifecycle);
            return self.notice(Kind::Info, &text);
        }
        let (host, call) = (key.host.clone(), Call::Checkpoint(key.id.to_string()));
        self.call(&host, call, &name);
    }

    pub(crate) fn ask_to_go_back(&mut self) {
        let Some((key, session)) = self.selected() else { return };
        let name = session.name().to_owned();
        let Some(last) = session.checkpoints.last() else {
            return self.notice(Kind::Info, &format!("{name} has no checkpoint"));
        };
        let ago = text::ago(self.now - last.at);
        self.dialog = Some(Dialog::Question(Question {
            title: format!("Have {name} go back?"),
            text: format!(
                "It is as it was at its checkpoint {}, of {ago}, and runs on from there. What it did since is lost, in its memory and on its \
                 disk, but for what it has pushed.",
                last.number
            ),
            then: Then::Call(key.host.clone(), Call::GoBack(key.id.to_string(), last.number)),
            about: name,
            show: None,
        }));
    }

    /// Loses nothing either way, so it asks nothing.
    pub(crate) fn suspend_or_resume(&mut self) {
        let Some((key, session)) = self.selected() else { return };
        let name = session.name().to_owned();
        let call = match &*session.lifecycle {
            "running" => Call::Suspend(key.id.to_string()),
            "suspended" => Call::Resume(key.id.to_string()),
            other => {
                let text =
                    format!("{name} is {other}; only a running or a suspended session can be put away or resumed");
                return self.notice(Kind::Info, &text);
            }
        };
        let host = key.host.clone();
        self.call(&host, call, &name);
    }

    /// Takes nothing from the session that is forked, so it asks nothing.
    pub(crate) fn fork(&mut self) {
        let Some((key, session)) = self.selected() else { return };
        let name = session.name().to_owned();
        if !matches!(&*session.lifecycle, "running" | "suspended") {
            let text = format!("{name} is {}; only a running or a suspended session can be forked", session.lifecycle);
            return self.notice(Kind::Info, &text);
        }
        let (host, call) = (key.host.clone(), Call::Fork(key.id.to_string()));
        self.call(&host, call, &name);
    }

    pub(crate) fn ask_delete(&mut self) {
        let Some((key, session)) = self.selected() else { return };
        let name = session.name().to_owned();
        let pushed = if session.repository.is_empty() { "" } else { " What it has pushed stays in the repository." };
        self.dialog = Some(Dialog::Question(Question {
            title: format!("Delete {name}?"),
            text: format!(
                "{} is {}. Its VM ends, its disk and its logs are removed for good.{pushed}",
                session.slug, session.lifecycle
            ),
            then: Then::Call(key.host.clone(), Call::Delete(key.id.to_string())),
            about: name,
            show: None,
        }));
    }

    pub(crate) fn yes(&mut self) {
        if let Some(Dialog::Question(question)) = self.dialog.take() {
            let (host, call) = match question.then {
                Then::Call(host, call) => (host, call),
                Then::Answer { session, choice, asked_at } => {
                    return self.send_answer(session, choice, asked_at, &question.about);
                }
                Then::Quit => return self.out.push(Effect::Quit),
                Then::Review { key, head, verdict } => return self.write_review(key, head, verdict),
                Then::Send(written) => {
                    self.submit_review(*written);
                    return;
                }
                Then::Discard(key) => {
                    return self.change_draft(&key, |draft| {
                        *draft = Draft::default();
                        true
                    });
                }
            };
            let delete = matches!(call, Call::Delete(_));
            if self.call(&host, call, &question.about).is_some() && delete {
                self.look_away();
            }
        }
    }

    /// Selects the neighbour of what is about to go: a session being deleted changes its place first.
    fn look_away(&mut self) {
        match self.view {
            View::Crashes => self.crashes.step_aside(),
            _ => self.sessions.step_aside(),
        }
    }

    /// A call is answered. Errors go where the person still is: into the open dialog, else into a notice.
    pub(crate) fn answered(&mut self, generation: u64, result: Result<Answer, String>) {
        if let Some((_, key, asked_at)) = self.reading_pull.take_if(|(reading, ..)| *reading == generation) {
            return self.pull_read(key, asked_at, result);
        }
        let Some(asked) = self.calls.remove(&generation) else { return };
        if self.pressed(generation, result.as_ref().err().map(|why| text::one_line(why, 2000)).as_deref()) {
            return;
        }
        let in_dialog = match &self.dialog {
            Some(Dialog::Form(form)) => form.sending == Some(generation),
            Some(Dialog::Message(message)) => message.sending == Some(generation),
            _ => false,
        };
        match result {
            Ok(Answer::Pulls(pulls)) => self.closed_read(&asked.host, pulls),
            Ok(Answer::Refused(refused)) => self.refused_read(&asked, refused),
            Ok(Answer::Story(events)) => self.story_read(&asked, events),
            Ok(answer) => {
                let of_form = |form: &Form| form.sending == Some(generation);
                let open = matches!(&self.dialog, Some(Dialog::Form(form)) if of_form(form));
                if open || self.draft.as_deref().is_some_and(of_form) {
                    self.keep_form(String::new(), String::new());
                }
                if in_dialog {
                    (self.dialog, self.keep_at) = (None, None);
                }
                if self.draft.as_ref().is_some_and(|form| form.sending == Some(generation)) {
                    self.draft = None;
                }
                self.notice(Kind::Good, &asked.done);
                if let Call::Send(id, text) = &asked.call {
                    let key = SessionKey { host: asked.host.clone(), id: id.as_str().into() };
                    // It was put away while it was on its way.
                    if self.unsent.get(&key).is_some_and(|field| field.text() == text) {
                        self.unsent.remove(&key);
                    }
                }
                if let Call::Answer { id, permission, .. } = &asked.call {
                    let key = SessionKey { host: asked.host.clone(), id: id.as_str().into() };
                    self.permission_over(&key, permission);
                }
                if let (Call::Allow { id, destination, .. }, Some((of, refused))) = (&asked.call, &mut self.refused)
                    && *of.id == **id
                    && of.host == asked.host
                {
                    refused.retain(|refusal| refusal.destination != *destination);
                }
                if let Some((key, sent)) = asked.review {
                    self.drafted_sent(&key, &sent);
                }
                if let Some((key, asked_at)) = asked.question {
                    self.question_over(&key, asked_at);
                }
                match answer {
                    Answer::Created(session) => {
                        self.created(
                            SessionKey { host: asked.host.clone(), id: session.id.as_str().into() },
                            in_dialog,
                        );
                    }
                    Answer::Pull(pull) => self.pull_changed(asked.host, *pull),
                    Answer::Done | Answer::Pulls(_) | Answer::Refused(_) | Answer::Story(_) => {}
                }
            }
            Err(why) => {
                if matches!(asked.call, Call::ReadRefused(_)) {
                    self.reaches = None;
                }
                let why = text::one_line(&why, 2000);
                match &mut self.dialog {
                    Some(Dialog::Form(form)) if in_dialog => (form.sending, form.error) = (None, Some(why)),
                    Some(Dialog::Message(message)) if in_dialog => (message.sending, message.error) = (None, Some(why)),
                    _ => self.notice(Kind::Error, &format!("Could not {}: {why}", asked.what)),
                }
            }
        }
    }

    /// Asks which destinations the selected session was refused: hosts tell it with nothing else.
    pub(crate) fn read_refused(&mut self) {
        let Some(key) = self.selected_key().cloned() else { return };
        let call = Call::ReadRefused(key.id.to_string());
        if !self.calls.values().any(|asked| asked.host == key.host && asked.call == call) {
            self.call(&key.host, call, "refused destinations");
        }
    }

    fn refused_read(&mut self, asked: &Asked, refused: Vec<Refusal>) {
        if let Call::ReadRefused(id) = &asked.call {
            let key = SessionKey { host: asked.host.clone(), id: id.as_str().into() };
            let refused = refused.into_iter().take(Refusal::MOST).map(Refusal::cleaned).collect();
            self.refused = Some((key.clone(), refused));
            if self.reaches.take_if(|reaches| *reaches == key).is_some() {
                self.choose_reach(key);
            }
        }
    }

    /// All that was said of a pull request. Where it cannot be had, what its host told of it is all there is.
    fn pull_read(&mut self, key: PullKey, asked_at: Millis, result: Result<Answer, String>) {
        let known = self.fleet.pull(&key).cloned();
        let read = match result {
            Ok(Answer::Pull(pull)) => Some(pull.cleaned()),
            _ => known,
        };
        self.whole = read.map(|mut pull| {
            pull.updated_at = pull.updated_at.max(asked_at);
            (key, pull)
        });
    }

    /// What a host answered of a pull request: news, before it tells its watchers.
    fn pull_changed(&mut self, host: HostId, pull: Pull) {
        let pull = pull.cleaned();
        let key = PullKey { host, repository: pull.repository.as_str().into(), number: pull.number };
        if self.diff.as_ref().is_some_and(|diff| diff.subject.pull() == Some(&key)) {
            self.whole = Some((key, pull));
        }
    }

    /// Selects what was created, once it is there.
    fn created(&mut self, key: SessionKey, look: bool) {
        self.sessions.select(key);
        if look && self.attach.is_none() {
            self.view = View::Sessions;
            self.log = None;
            self.close_diff();
        }
    }

    pub(crate) fn submit(&mut self) {
        match &mut self.dialog {
            Some(Dialog::Palette(palette)) => {
                // Where nothing matches, what was typed stays, to be mended.
                if let Some(&command) = palette.matches.get(palette.at) {
                    self.dialog = None;
                    self.run(command, &[]);
                }
            }
            Some(Dialog::Answers(_)) => self.submit_answer(),
            Some(Dialog::Reach(_)) => self.submit_reach(),
            Some(Dialog::Message(_)) => self.submit_message(),
            Some(Dialog::Form(_)) => self.submit_form(),
            _ => {}
        }
    }

    fn submit_message(&mut self) {
        let Some(Dialog::Message(message)) = &mut self.dialog else { return };
        if message.sending.is_some() {
            return;
        }
        let drafted = match &message.target {
            Target::Pull { verdict, along, .. } => *along || *verdict == "approve",
            Target::Place { .. } => true,
            Target::Session(_) => false,
        };
        if message.field.text().trim().is_empty() && !drafted {
            message.error = Some("There is nothing to send yet".into());
            return;
        }
        let (name, body) = (message.name.clone(), message.field.text().trim().to_owned());
        let sending = match message.target.clone() {
            Target::Session(key) => {
                let body = message.field.text().to_owned();
                self.call(&key.host, Call::Send(key.id.to_string(), body), &name)
            }
            Target::Pull { key, head, newest, verdict, along } => {
                let now = self.fleet.pull(&key).map_or_else(|| newest.clone(), |pull| pull.head.clone());
                let older = head != now;
                let written = Written { key: key.clone(), head: head.clone(), verdict, body, along, older, name };
                if now != newest {
                    // It arrived while the text was written, which is kept.
                    self.keep_typed();
                    return self.ask_about_newer(&key, &head, Then::Send(Box::new(written)));
                }
                self.submit_review(written)
            }
            Target::Place { key, place } => return self.draft_comment(&key, place, &body),
        };
        let Some(sending) = sending else { return };
        if let Some(Dialog::Message(message)) = &mut self.dialog {
            (message.sending, message.error) = (Some(sending), None);
        }
    }

    fn submit_form(&mut self) {
        let Some(Dialog::Form(form)) = &mut self.dialog else { return };
        if form.sending.is_some() {
            return;
        }
        let Some(environment) = form.environment().cloned() else {
            form.error =
                Some("There is no environment to start it in; register one with `pilothouse env build FILE`".into());
            return;
        };
        let (title, task) = (form.title.text().trim().to_owned(), form.task.text().trim().to_owned());
        if title.is_empty() && task.is_empty() {
            form.error = Some("Say what to do, or at least what to call it".into());
            return;
        }
        let about = text::fit(if title.is_empty() { &task } else { &title }, 60);
        let call = Call::Create { environment: environment.name.to_string(), title, task };
        let Some(sending) = self.call(&environment.host, call, &about) else { return };
        self.environment_used = Some(environment);
        if let Some(Dialog::Form(form)) = &mut self.dialog {
            (form.sending, form.error) = (Some(sending), None);
        }
    }

    pub(crate) fn move_in_form(&mut self, command: Command) {
        let Some(Dialog::Form(form)) = &mut self.dialog else { return };
        match command {
            Command::NextField => form.step(true),
            Command::PreviousField => form.step(false),
            Command::NextChoice => form.choose(1),
            _ => form.choose(-1),
        }
    }
}
