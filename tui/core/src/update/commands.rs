//! What the commands do.

use crate::{
    Command, Effect, State,
    command::Group,
    dialog::{Dialog, Form, Message, Palette, Question, Target, Then},
    edit::Field,
    fleet::{EnvironmentKey, SessionKey},
    key::{self, Key},
    layout::{Layout, log_rows},
    log::{LogView, Source},
    notice::Kind,
    state::View,
    ticket::Slot,
};

/// Columns that lines are moved by at a time.
const PAN: isize = 8;

impl State {
    /// Carries out a command; `keys` began its chord.
    pub(crate) fn run(&mut self, command: Command, keys: &[Key]) {
        use Command as C;
        if let Some(answer) = command.answer() {
            return self.answer(answer);
        }
        match command {
            C::Up => self.step(-1),
            C::Down => self.step(1),
            C::PageUp => self.step(-self.page()),
            C::PageDown => self.step(self.page()),
            C::Top => self.go_to_end(true),
            C::Bottom => self.go_to_end(false),
            C::NextGroup => self.sessions.step_group(true),
            C::PreviousGroup => self.sessions.step_group(false),
            C::NextYours => self.next_yours(),
            C::Filter => self.set_filtering(true),
            C::FilterDone => self.set_filtering(false),
            C::FilterClear => self.clear_filter(),
            C::ShowSessions => self.show(View::Sessions),
            C::ShowReview => self.show(View::Review),
            C::ShowHosts => self.show(View::Hosts),
            C::ShowEnvironments => self.show(View::Environments),
            C::ShowCrashes => self.show(View::Crashes),
            C::NextView => self.show_next(1),
            C::PreviousView => self.show_next(View::ALL.len() - 1),
            C::Palette => self.dialog = Some(Dialog::Palette(Palette::new())),
            C::Help => self.dialog = Some(Dialog::Help(0, self.chapter())),
            C::Notices => self.dialog = Some(Dialog::Notices(0)),
            C::Back => self.back(),
            C::Redraw => self.out.push(Effect::Redraw),
            C::Background => self.out.push(Effect::Background),
            C::Quit => self.quit(),
            C::Story => self.toggle_story(),
            C::Preview => self.preview_shown = !self.preview_shown,
            C::Log => self.open_session_log(Source::Agent),
            C::SerialLog => self.open_session_log(Source::Serial),
            C::Diff => self.open_diff(),
            C::CommentLine => self.open_line_comment(),
            C::Reply => self.open_reply(),
            C::Resolve => self.resolve(),
            C::ShowNewer => self.run_show_newer(),
            C::TakeAlong => self.take_along(),
            C::Wrap => self.wrap_diff(),
            C::PanLeft => self.pan_diff(-PAN),
            C::PanRight => self.pan_diff(PAN),
            C::DetailsUp => self.scroll_details(-1),
            C::DetailsDown => self.scroll_details(1),
            C::DetailsPageUp => self.scroll_details(-self.details_page()),
            C::DetailsPageDown => self.scroll_details(self.details_page()),
            C::DiscardDraft => self.ask_discard(),
            C::NextHunk => self.step_hunk(true),
            C::PreviousHunk => self.step_hunk(false),
            C::NextFile => self.step_file(1),
            C::PreviousFile => self.step_file(-1),
            C::New => self.open_form(),
            C::Message => self.open_message(),
            C::Keys => self.open_keys(),
            C::Answers => self.open_answers(),
            C::Allow => self.answer_permission(true),
            C::Deny => self.answer_permission(false),
            C::Reach => self.open_reach(),
            C::Restart => self.ask_restart(),
            C::Checkpoint => self.take_checkpoint(),
            C::GoBack => self.ask_to_go_back(),
            C::Suspend => self.suspend_or_resume(),
            C::Fork => self.fork(),
            C::Delete => self.ask_delete(),
            C::Build => self.build(),
            C::Approve => self.approve(),
            C::RequestChanges => self.open_review("request-changes"),
            C::Comment => self.open_review("comment"),
            C::Merge => self.ask_merge(),
            C::Close => self.ask_close(),
            C::Closed => self.show_closed(),
            C::CheckLog => self.open_check_log(),
            C::Rerun => self.rerun(),
            C::NextCheck => self.step_check(1),
            C::PreviousCheck => self.step_check(-1),
            C::Yes => self.yes(),
            C::No => self.dialog = None,
            C::Submit => self.submit(),
            C::NextField | C::PreviousField | C::NextChoice | C::PreviousChoice => self.move_in_form(command),
            _ => self.run_terminal(command, keys),
        }
    }

    /// Sessions go on without the console, so it asks only where it was told that something does not.
    fn quit(&mut self) {
        match self.ends_with_it.clone() {
            None => self.out.push(Effect::Quit),
            Some(text) => {
                let title = "Leave the console?".into();
                self.dialog = Some(Dialog::Question(Question {
                    title,
                    text,
                    then: Then::Quit,
                    about: String::new(),
                    show: None,
                }));
            }
        }
    }

    /// Instead of the question's yes or no, or where changes are looked at.
    fn run_show_newer(&mut self) {
        match &mut self.dialog {
            Some(Dialog::Question(question)) => {
                if let Some((pull, old)) = question.show.take() {
                    self.show_newer(pull, old);
                }
            }
            Some(_) => {}
            None => self.show_changes_since(),
        }
    }

    /// Whether a verdict takes along what was drafted.
    fn take_along(&mut self) {
        if let Some(Dialog::Message(message)) = &mut self.dialog
            && let Target::Pull { key, along, .. } = &mut message.target
            && self.drafts.get(key).is_some_and(|draft| !draft.finished().is_empty())
        {
            *along = !*along;
        }
    }

    /// Shows more of what is known of the selected thing.
    fn scroll_details(&mut self, down: isize) {
        if Layout::of(self).beside.is_none() {
            let keys = self.keymap.keys_for(Command::Preview, self.conditions()).map(|keys| key::chord(&keys));
            let how = keys.map_or_else(String::new, |keys| format!("{keys}, or "));
            return self.notice(Kind::Info, &format!("Details are not shown: {how}a larger window shows them"));
        }
        if self.story_shown && matches!(self.view, View::Sessions | View::Crashes) {
            return self.scroll_story(down);
        }
        let last = crate::view::details_last(self);
        if self.details == 0 && down > 0 {
            self.read_refused();
        }
        let replaced = matches!(self.view, View::Sessions | View::Crashes | View::Environments);
        // What stood in their place goes first.
        let down = if replaced && self.details == 0 { down.min(1) } else { down };
        self.details = self.details.saturating_add_signed(down).min(last);
    }

    fn details_page(&self) -> isize {
        let rows = Layout::of(self).beside.map_or(1, |beside| beside.height.saturating_sub(1).max(1));
        isize::try_from(rows).unwrap_or(1)
    }

    fn page(&self) -> isize {
        let rows = match (&self.dialog, &self.log) {
            (Some(_), _) => usize::from(self.size.1).saturating_sub(6),
            (None, Some(_)) => log_rows(self.size),
            (None, None) if self.diff.is_some() => self.diff_area().1,
            (None, None) => Layout::of(self).list.height.into(),
        };
        isize::try_from(rows.saturating_sub(1).max(1)).unwrap_or(1)
    }

    fn step(&mut self, by: isize) {
        let height = log_rows(self.size);
        match (&mut self.dialog, &mut self.log) {
            (Some(Dialog::Notices(top)), _) => {
                *top = top.saturating_add_signed(by).min(crate::view::notices_last(&self.notices, self.size));
            }
            (Some(Dialog::Help(top, _)), _) => {
                *top = top.saturating_add_signed(by).min(crate::view::help_last(&self.keymap, self.size))
            }
            (Some(Dialog::Palette(palette)), _) => palette.step(by),
            (Some(Dialog::Answers(answers)), _) => answers.list.step(by),
            (Some(Dialog::Reach(reach)), _) => reach.list.step(by),
            (Some(_), _) => {}
            (None, Some(log)) => log.scroll(by, height),
            (None, None) if self.diff.is_some() => self.scroll_diff(by),
            (None, None) => match self.view {
                View::Sessions => self.sessions.step(by),
                View::Review => self.pulls.step(by),
                View::Hosts => self.hosts.step(by),
                View::Environments => self.environments.step(by),
                View::Crashes => self.crashes.step(by),
            },
        }
    }

    fn go_to_end(&mut self, top: bool) {
        match (&mut self.dialog, &mut self.log) {
            (Some(_), _) => self.step(if top { isize::MIN / 2 } else { isize::MAX / 2 }),
            (None, Some(log)) if top => log.to_top(),
            (None, Some(log)) => log.to_end(),
            (None, None) if self.diff.is_some() => self.diff.iter_mut().for_each(|diff| diff.to_end(top)),
            (None, None) => match (self.view, top) {
                (View::Sessions, true) => self.sessions.top(),
                (View::Sessions, false) => self.sessions.bottom(),
                (View::Review, true) => self.pulls.top(),
                (View::Review, false) => self.pulls.bottom(),
                (View::Hosts, true) => self.hosts.top(),
                (View::Hosts, false) => self.hosts.bottom(),
                (View::Environments, true) => self.environments.top(),
                (View::Environments, false) => self.environments.bottom(),
                (View::Crashes, true) => self.crashes.top(),
                (View::Crashes, false) => self.crashes.bottom(),
            },
        }
    }

    fn next_yours(&mut self) {
        self.show(View::Sessions);
        let fleet = &self.fleet;
        let yours = |key: &_| fleet.session(key).is_some_and(|s| s.turn == crate::fleet::Turn::You);
        self.sessions.step_to(yours);
        if self.selected().is_none_or(|(_, s)| s.turn != crate::fleet::Turn::You) {
            self.notice(Kind::Info, "No session waits for you");
        }
    }

    fn show(&mut self, view: View) {
        self.view = view;
        self.log = None;
        self.close_diff();
        self.dialog = None;
    }

    fn show_next(&mut self, by: usize) {
        self.show(View::ALL[(self.view as usize + by) % View::ALL.len()]);
    }

    fn set_filtering(&mut self, typing: bool) {
        match &mut self.log {
            Some(log) => log.filtering = typing,
            None => self.filter_mut().typing = typing,
        }
    }

    fn clear_filter(&mut self) {
        self.set_filtering(false);
        match &mut self.log {
            Some(log) => {
                log.filter.clear();
                log.refilter();
            }
            None => {
                self.filter_mut().field.clear();
                self.stale = true;
            }
        }
    }

    fn back(&mut self) {
        self.keep_typed();
        match self.dialog.take() {
            Some(Dialog::Form(mut form)) => {
                // What was typed is still there at the next `new`.
                form.error = None;
                let worth_keeping = !form.title.is_empty() || !form.task.is_empty();
                self.draft = worth_keeping.then_some(form);
            }
            Some(Dialog::Message(Message { target: Target::Session(key), field, .. })) if !field.is_empty() => {
                self.unsent.insert(key, field);
            }
            Some(_) => {}
            None if self.log.is_some() => {
                self.log = None;
                self.out.push(Effect::Close(Slot::Log));
            }
            None if self.diff.is_some() => self.close_diff(),
            None if self.story_shown && self.selected_key().is_some() => self.story_shown = false,
            None => {
                self.notices.clear();
            }
        }
    }

    fn open_session_log(&mut self, source: impl FnOnce(SessionKey) -> Source) {
        if let Some((key, _)) = self.need_session() {
            self.open_log(source(key));
        }
    }

    pub(crate) fn open_log(&mut self, source: Source) {
        let ticket = self.ticket(Slot::Log);
        self.log = Some(LogView::new(source.clone(), ticket));
        self.out.push(Effect::OpenLog { ticket, source });
    }

    fn open_form(&mut self) {
        let likely = self.likely_environment();
        let mut form = self.draft.take().unwrap_or_else(|| Box::new(Form::new(&self.fleet, likely.as_ref())));
        form.refresh(&self.fleet);
        // From the list of environments the selected one is meant.
        if let Some(key) = self.environments.selected().filter(|_| self.view == View::Environments)
            && let Some(at) = form.environments.iter().position(|e| e == key)
        {
            (form.chosen, form.by_hand) = (at, true);
            form.focus = crate::dialog::FormField::Title;
        }
        self.dialog = Some(Dialog::Form(form));
    }

    /// The environment that the last session was created in here, else the selected session's.
    fn likely_environment(&self) -> Option<EnvironmentKey> {
        let of_selected = || {
            let (key, session) = self.selected()?;
            Some(EnvironmentKey { name: session.environment.as_str().into(), host: key.host.clone() })
        };
        self.environment_used.clone().or_else(of_selected)
    }

    /// The chapter of the help about what is shown.
    fn chapter(&self) -> Group {
        match (&self.attach, &self.log, self.view) {
            (Some(_), ..) => Group::Attached,
            (None, Some(_), _) => Group::Lists,
            (None, None, _) if self.diff.is_some() => Group::Diff,
            (None, None, View::Sessions | View::Crashes) => Group::Session,
            (None, None, View::Review) => Group::Review,
            (None, None, View::Environments) => Group::Environments,
            (None, None, View::Hosts) => Group::Lists,
        }
    }

    fn open_message(&mut self) {
        let Some((key, name)) = self.need_session() else { return };
        let field = self.unsent.remove(&key).unwrap_or_else(Field::lines);
        let message = Message { target: Target::Session(key), name, field, error: None, sending: None };
        self.dialog = Some(Dialog::Message(message));
    }
}
