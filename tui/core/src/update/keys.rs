//! Keys that a person presses for an agent, one by one, without its terminal.

use crate::{
    State,
    dialog::{Dialog, Keys},
    effect::Call,
    key::Key,
};

/// Keys in one call, and keys that are shown.
const MOST: usize = 32;

impl State {
    pub(crate) fn open_keys(&mut self) {
        let Some((session, name)) = self.need_session() else { return };
        let keys = Keys { session, name, sent: vec![], waiting: vec![], error: None, sending: None };
        self.dialog = Some(Dialog::Keys(keys));
    }

    /// Sends a key; while others are on their way, after them. False: no dialog takes keys.
    pub(crate) fn press(&mut self, key: Key) -> bool {
        let Some(Dialog::Keys(keys)) = &mut self.dialog else { return false };
        if keys.waiting.len() < MOST {
            keys.waiting.push(key.to_string());
        }
        self.send_keys();
        true
    }

    fn send_keys(&mut self) {
        let Some(Dialog::Keys(keys)) = &mut self.dialog else { return };
        if keys.sending.is_some() || keys.waiting.is_empty() {
            return;
        }
        let pressed = std::mem::take(&mut keys.waiting);
        let (session, name) = (keys.session.clone(), keys.name.clone());
        let sending = self.call(&session.host, Call::Press(session.id.to_string(), pressed.clone()), &name);
        if let Some(Dialog::Keys(keys)) = &mut self.dialog {
            keys.sending = sending;
            keys.sent.extend(pressed);
            keys.sent.drain(..keys.sent.len().saturating_sub(MOST));
        }
    }

    /// A call with keys of the open dialog is answered. False: it is not of it.
    pub(crate) fn pressed(&mut self, generation: u64, error: Option<&str>) -> bool {
        let Some(Dialog::Keys(keys)) = self.dialog.as_mut() else { return false };
        if keys.sending != Some(generation) {
            return false;
        }
        keys.sending = None;
        keys.error = error.map(str::to_owned);
        if error.is_some() {
            keys.waiting.clear();
        }
        self.send_keys();
        true
    }
}
