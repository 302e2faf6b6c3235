//! Keys and pastes that are text.

use crate::{State, dialog::Dialog, edit::Field, key::Key};

impl State {
    pub(crate) fn typed(&mut self, key: Key) {
        if self.dialog.is_none() && self.attach.is_some() {
            return self.type_into_terminal(key);
        }
        self.edit(|field| {
            field.key(key);
        });
        self.typed_draft();
    }

    pub(crate) fn pasted(&mut self, text: &str) {
        if self.dialog.is_none() && self.attach.is_some() {
            return self.paste_into_terminal(text);
        }
        self.edit(|field| field.insert(text));
        self.typed_draft();
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
