//! Keys and pastes that are text.

use crate::{
    State,
    dialog::{Dialog, Message, Target},
    edit::Field,
    key::{Code, Key},
};

impl State {
    pub(crate) fn typed(&mut self, key: Key) {
        if self.dialog.is_none() && self.attach.is_some() {
            return self.type_into_terminal(key);
        }
        if !self.press(key) && !self.offer(key) {
            self.edit(|field| {
                field.key(key);
            });
        }
        self.typed_draft();
    }

    pub(crate) fn pasted(&mut self, text: &str) {
        if self.dialog.is_none() && self.attach.is_some() {
            return self.paste_into_terminal(text);
        }
        self.edit(|field| field.insert(text));
        self.typed_draft();
    }

    /// Up and down choose among the answers that an agent offers, while nothing else is written to it. False: they do not.
    fn offer(&mut self, key: Key) -> bool {
        let Some(Dialog::Message(Message { target: Target::Session(session), field, .. })) = &mut self.dialog else {
            return false;
        };
        let choices = self.fleet.session(session).map_or(&[][..], |session| &session.choices);
        let at = choices.iter().position(|choice| choice == field.text());
        let next = match key.code {
            Code::Down => at.map_or(0, |at| (at + 1) % choices.len().max(1)),
            Code::Up => at.unwrap_or(0).checked_sub(1).unwrap_or(choices.len().saturating_sub(1)),
            _ => return false,
        };
        match choices.get(next) {
            Some(choice) if at.is_some() || field.is_empty() => {
                field.clear();
                field.insert(choice);
                true
            }
            _ => false,
        }
    }

    /// Changes the text field that has the keyboard, and what depends on it.
    fn edit(&mut self, change: impl FnOnce(&mut Field)) {
        let filter = &mut self.filters[self.view as usize];
        match (&mut self.dialog, &mut self.log) {
            (Some(Dialog::Palette(palette)), _) => {
                let before = palette.field.text().to_owned();
                change(&mut palette.field);
                if palette.field.text() != before {
                    palette.refilter();
                }
            }
            (Some(Dialog::Answers(answers)), _) => answers.list.edit(change),
            (Some(Dialog::Reach(reach)), _) => reach.list.edit(change),
            (Some(Dialog::Form(form)), _) => {
                if let Some(field) = form.field() {
                    change(field);
                }
            }
            (Some(Dialog::Message(message)), _) => change(&mut message.field),
            (Some(_), _) => {}
            (None, Some(log)) if log.filtering => {
                change(&mut log.filter);
                log.refilter();
            }
            (None, None) if filter.typing => {
                let before = filter.field.text().to_owned();
                change(&mut filter.field);
                self.filter_typed = filter.field.text() != before && !filter.field.is_empty();
                self.stale = true;
            }
            (None, _) => {}
        }
    }
}
